"""Tables on the terminal: plain columns that still read well at 80 characters."""

from __future__ import annotations

from collections.abc import Sequence


def print_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under headings; the first column is text, the others are set to the right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(title),
        title_justify="left",
        title_style="bold",
        box=None,
        padding=(0, 2, 0, 0),
    )
    for index, heading in enumerate(headings):
        table.add_column(
            heading, justify="left" if index == 0 else "right", no_wrap=index < len(headings) - 1
        )
    for row in rows:
        table.add_row(*map(Text, row))  # as text: "[openvino]" and names of strangers are no markup
    Console().print(table)
