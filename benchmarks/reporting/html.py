"""Records as one HTML file that needs nothing else: no network, no scripts.

python -m benchmarks.reporting.html out/bench/*.json -o out/bench/report.html
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import cast

from benchmarks.plots import KINDS, Picture, draw_pictures, render_svg
from benchmarks.plots.style import FAINT, INK, MUTED, PAPER, PRECISIONS
from benchmarks.reporting.formats import get_display_name
from benchmarks.reporting.record_tables import Table, build_summary, build_tables
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
ROOFLINE_HEADINGS = (
    get_display_name("of_peak"),
    get_display_name("of_limit"),
)  # headings of columns with bars
COLLAPSED_KINDS = {"histogram"}  # kinds of pictures that are shown on demand: they are long
RERUN_COMMANDS = """make bench            # the short set; leave the machine alone meanwhile
python -m benchmarks.reporting.html out/bench/*.json -o out/bench/report.html"""


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
    engines = [record for record in records if record.part == "engines"]
    others = [record for record in records if record.part != "engines"]
    drawn = [picture for record in records for picture in draw_pictures(record)]
    table = build_growth_table(records)
    variants = "".join(_render_tables(engines))
    sections = {
        "Variants": f"<p>{BOLD_NOTE}</p>{variants}" if variants else "",
        "Pictures": "".join(_render_pictures(drawn)),
        "Other measurements": "".join(_render_tables(others)),
        "Worse than linear": _render_list(describe_growth(records)) + (_render_table(table) if table else ""),
        "Machine": "".join(_render_machines(records)),
        "How to read the figures": _render_definitions(collect_definitions(records), "meanings"),
        "Measure again": f"<pre><code>{escape(RERUN_COMMANDS)}</code></pre>",
    }
    sections = {title: body for title, body in sections.items() if body}
    links = "".join(f'<a href="#{_make_anchor(title)}">{escape(title)}</a>' for title in sections)
    body = "".join(
        f'<section id="{_make_anchor(title)}"><h2>{escape(title)}</h2>{content}</section>\n'
        for title, content in sections.items()
    )
    style = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
    parts = escape(", ".join(dict.fromkeys(record.part for record in records)))
    days = (
        escape(" to ".join(sorted({min(_list_days(records)), max(_list_days(records))}))) if records else ""
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Benchmark report</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f"<header><h1>Benchmark report</h1>{''.join(map(_render_machine, _group_by_machine(records)))}"
        f'<p class="quiet">{parts}; measured {days}</p></header>\n'
        f"{_render_banner(records)}<nav>{links}</nav>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )


def _list_days(records: Sequence[Record]) -> list[str]:
    return [record.created[:10] for record in records]


def _render_banner(records: Sequence[Record]) -> str:
    """Which records are not to be relied on, and why; nothing where all are trusted."""
    marked = [f"{record.title}: {mark}" for record in records for mark in record.conditions.marks]
    if not marked:
        return ""
    warning = "<strong>Do not rely on these figures</strong>"
    return f'<div class="banner" role="alert">{warning}{_render_list(marked)}</div>'


def _group_by_machine(records: Sequence[Record]) -> list[list[Record]]:
    """Records by machine."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(json.dumps(select_stable_facts(record.machine), sort_keys=True), []).append(record)
    return list(groups.values())


def _render_machine(records: Sequence[Record]) -> str:
    """A machine in a line."""
    machine = records[0].machine
    said = [str(machine.get("gpu") or machine.get("cpu", "")), f"{machine.get('cores', '?')} cores"]
    return f"<p>{escape(', '.join(said))}</p>"


def _render_machines(records: Sequence[Record]) -> Iterable[str]:
    """Each machine once, with the records that were measured on it and how quiet it was."""
    for same in _group_by_machine(records):
        yield _render_definitions(
            {key: _format_value(value) for key, value in select_stable_facts(same[0].machine).items()}
        )
        for record in same:
            yield f"<h3>{escape(record.title)}</h3>"
            conditions = escape(format_conditions(record.conditions))
            yield f'<p class="quiet">{escape(record.created)}: {conditions}</p>'
            if record.facts:
                facts = {key: _format_value(value) for key, value in record.facts.items() if key != "checks"}
                summary = "<summary>Options and versions</summary>"
                yield f"<details>{summary}{_render_definitions(facts)}</details>"


def _render_tables(records: Sequence[Record]) -> Iterable[str]:
    """The tables of records; those of several under the title of each, with what it is to be read with."""
    several = len(records) > 1
    for record in records:
        if several:
            yield f"<h3>{escape(record.title)}</h3>"
        if record.conditions.marks:
            yield f'<p class="warning">Not to be relied on: {escape("; ".join(record.conditions.marks))}</p>'
        yield from (
            _render_table(table, 4 if several else 3) for table in build_tables(record, columns=build_summary)
        )
        yield _render_checks(record.facts.get("checks"))


def _render_checks(checks: object) -> str:
    """What a record promised, by whether it held; nothing where it has no checks."""
    if not isinstance(checks, dict):
        return ""
    held = cast("dict[str, object]", checks)
    lines = "".join(
        f'<li class="{"held" if ok else "warning"}">{"held" if ok else "DID NOT HOLD"}: {escape(text)}</li>'
        for text, ok in held.items()
    )
    failed = sum(not ok for ok in held.values())
    said = f"{failed} of {len(held)} checks did not hold" if failed else f"All {len(held)} checks held"
    return f"<details{' open' if failed else ''}><summary>{said}</summary><ul>{lines}</ul></details>"


def _render_table(table: Table, level: int = 3) -> str:
    """A table under its title: a heading of this level, or the summary of what may be folded away."""
    title = escape(table.title)
    head = f"<summary>{title}</summary>" if table.is_collapsible else f"<h{level}>{title}</h{level}>"
    heads = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in table.headings)
    lines: list[str] = []
    for index, (name, *cells) in enumerate(table.rows):
        written = "".join(map(_render_cell, table.headings[1:], cells))
        strong = ' class="strong"' if index in table.highlighted else ""
        lines.append(f'<tr{strong}><th scope="row">{escape(name)}</th>{written}</tr>')
    body = (
        f'{head}<div class="scroll" role="region" tabindex="0" aria-label="{title}"><table>'
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
        f"{_render_list(table.notes, 'notes')}\n"
    )
    return f"<details>{body}</details>" if table.is_collapsible else body


def _render_cell(heading: str, text: str) -> str:
    """A figure; a share of a limit with a bar below it."""
    if heading in ROOFLINE_HEADINGS and (found := re.fullmatch(r"([\d.]+) %", text)):
        return f'<td class="bar" style="--share: {found[1]}%">{escape(text)}</td>'
    return f"<td>{escape(text)}</td>"


def _render_pictures(drawings: Sequence[Picture]) -> Iterable[str]:
    for kind, (title, how) in KINDS.items():
        chosen = [(number, picture) for number, picture in enumerate(drawings) if picture.kind == kind]
        if not chosen:
            continue
        figures = "".join(
            f"<figure>{render_inline_svg(picture, f'p{n}-')}</figure>\n" for n, picture in chosen
        )
        grid = f'<div class="pictures">{figures}</div>'
        if kind in COLLAPSED_KINDS:
            grid = f"<details><summary>Show {len(chosen)}</summary>{grid}</details>"
        yield f"<h3>{escape(title)}</h3><p>{escape(how)}</p>{grid}"


def render_inline_svg(picture: Picture, prefix: str) -> str:
    """A picture as an element of the page: unique ids, and the page's colors for paper and ink."""
    text = render_svg(picture)
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{prefix}', text)
    text = re.sub(r'href="#', f'href="#{prefix}', text)
    text = text.replace("url(#", f"url(#{prefix}")
    for color, name in COLOR_VARIABLES.items():
        text = re.sub(re.escape(color), f"var({name})", text, flags=re.IGNORECASE)
    text = re.sub(r'<svg ([^>]*?)width="[^"]*"', r"<svg \1", text, count=1)
    text = re.sub(r'<svg ([^>]*?)height="[^"]*"', r"<svg \1", text, count=1)
    text = re.sub(r"\s*\n\s*", " ", text)
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(picture.alt)}" ', 1)


def _render_definitions(entries: Mapping[str, str], name: str = "facts") -> str:
    written = "".join(f"<dt>{escape(key)}</dt><dd>{escape(text)}</dd>" for key, text in entries.items())
    return f'<dl class="{name}">{written}</dl>' if written else ""


def _render_list(entries: Iterable[str], name: str = "") -> str:
    written = "".join(f"<li>{escape(entry)}</li>" for entry in entries)
    return f'<ul class="{name}">{written}</ul>' if written else ""


def _format_value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return "; ".join(
            f"{key}: {_format_value(of)}" for key, of in cast("dict[str, object]", value).items()
        )
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _make_anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
