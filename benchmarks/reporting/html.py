"""Records as one HTML file that needs nothing else: no network, no scripts.

python -m benchmarks.reporting.html out/bench/*.json -o out/bench/report.html
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any, cast

from markupsafe import Markup

from benchmarks.plots import KINDS, Picture, draw_pictures, render_svg
from benchmarks.plots.style import FAINT, INK, MUTED, PAPER, PRECISIONS
from benchmarks.reporting.formats import get_display_name
from benchmarks.reporting.record_tables import build_tables
from benchmarks.reporting.templates import render_template
from benchmarks.reporting.wording import (
    BOLD_NOTE,
    build_growth_table,
    collect_definitions,
    describe_growth,
    format_conditions,
    select_stable_facts,
)
from i2i_sdk.errors import InputError
from i2i_sdk.files import write_atomically
from i2i_sdk.perf.record import Record, read_record

# Colors that the page exchanges when it is dark; the names are the style sheet's.
COLOR_VARIABLES = {
    PAPER: "--paper",
    INK: "--ink",
    MUTED: "--muted",
    FAINT: "--faint",
    PRECISIONS["fp32"].color: "--fp32",
}


def main(argv: Sequence[str]) -> int:
    """Write the report; 2 where a file is no record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reporting.html", description=__doc__)
    parser.add_argument("records", type=Path, nargs="+", help="JSON files of the suite")
    parser.add_argument("-o", "--output", type=Path, default=Path("out/bench/report.html"))
    args = parser.parse_args(argv)
    try:
        text = render_report([read_record(path) for path in args.records])
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(args.output) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"wrote {args.output}")
    return 0


def render_report(records: Sequence[Record]) -> str:
    """The page of some records. Equal records give an equal page."""
    shown = [(record, build_tables(record)) for record in records]
    days = sorted(record.created[:10] for record in records)
    filters = (format_conditions, format_machine, format_value, select_stable_facts)
    return render_template(
        "report.html.jinja",
        *filters,
        parts=", ".join(dict.fromkeys(record.part for record in records)),
        days=" to ".join(dict.fromkeys([*days[:1], *days[-1:]])),
        marked=[f"{record.title}: {mark}" for record in records for mark in record.conditions.marks],
        engines=[(record, tables) for record, tables in shown if record.part == "engines"],
        others=[(record, tables) for record, tables in shown if record.part != "engines"],
        bold_note=BOLD_NOTE,
        shares=[get_display_name("of_peak"), get_display_name("of_limit")],  # headings of columns with bars
        kinds=KINDS,
        drawings=group_pictures(picture for record in records for picture in draw_pictures(record)),
        growth=describe_growth(records),
        fits=build_growth_table(records),
        machines=group_by_machine(records),
        definitions=collect_definitions(records),
    )


def group_by_machine(records: Sequence[Record]) -> list[list[Record]]:
    """Records by what stays the same of their machines."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(json.dumps(select_stable_facts(record.machine), sort_keys=True), []).append(record)
    return list(groups.values())


def group_pictures(pictures: Iterable[Picture]) -> dict[str, list[Markup]]:
    """Each kind's pictures as elements of the page, in the order of KINDS."""
    groups = {kind: list[Markup]() for kind in KINDS}
    for number, picture in enumerate(pictures):
        groups[picture.kind].append(render_inline_svg(picture, f"p{number}-"))
    return groups


def render_inline_svg(picture: Picture, prefix: str) -> Markup:
    """A picture as an element of the page: unique ids, and the page's colors for paper and ink."""
    text = render_svg(picture)
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{prefix}", text)
    for color, name in COLOR_VARIABLES.items():
        text = re.sub(re.escape(color), f"var({name})", text, flags=re.IGNORECASE)
    head, rest = re.sub(r"\s*\n\s*", " ", text).split(">", 1)
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    label = f'<svg role="img" aria-label="{escape(picture.alt)}"'
    return Markup(f"{head.replace('<svg', label)}>{rest}")


def format_machine(machine: dict[str, Any]) -> str:
    """A machine in a line."""
    return f"{machine.get('gpu') or machine.get('cpu', '')}, {machine.get('cores', '?')} cores"


def format_value(value: object) -> str:
    """A fact as a reader writes it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        parts = cast("dict[str, object]", value).items()
        return "; ".join(f"{name}: {format_value(of)}" for name, of in parts)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
