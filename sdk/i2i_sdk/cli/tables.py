"""Tables on the terminal: plain columns that still read well at 80 characters."""

from __future__ import annotations

from collections.abc import Sequence

UNLIMITED_WIDTH = 100_000  # characters


def print_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under headings; the first column is text, the others are set to the right.

    A terminal's width is kept to. A file or a pipe has none: there the table is as wide as its cells need.

    Args:
        title: above the table; "" for none.
        headings: one for each column.
        rows: cells, as many as there are headings.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0))
    for index, heading in enumerate(headings):
        last = index == len(headings) - 1
        table.add_column(heading, justify="right" if index else "left", no_wrap=not last)
    for row in rows:
        table.add_row(*map(Text, row))  # as text: "[openvino]" and names of strangers are no markup
    console = Console()
    if not console.is_terminal:
        console = Console(width=UNLIMITED_WIDTH)
    if title:
        console.print(Text(title, style="bold"), soft_wrap=True)
    console.print(table)
