"""Records as one HTML file that needs nothing else: no network, no scripts.

python -m benchmarks.html out/bench/*.json -o out/bench/report.html
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

from benchmarks.formats import called
from benchmarks.plots import KINDS, Picture, pictures, svg_of
from benchmarks.plots.style import FAINT, INK, MUTED, PAPER, PRECISIONS
from benchmarks.tables import Table, summary, tables
from benchmarks.wording import BOLD, conditions, definitions, grown, growth_table, settled
from i2i_sdk.errors import InputError
from i2i_sdk.files import written_atomically
from i2i_sdk.measure.record import Record, read_record

# Colours that the page exchanges when it is dark; the names are the style sheet's.
EXCHANGED = {
    PAPER: "--paper",
    INK: "--ink",
    MUTED: "--muted",
    FAINT: "--faint",
    PRECISIONS["fp32"].color: "--fp32",
}
LIMITS = (called("of_peak"), called("of_limit"))  # headings of columns with bars
FOLDED = {"histogram"}  # kinds of pictures that are shown on demand: they are long
AGAIN = """make bench            # the short set; leave the machine alone meanwhile
python -m benchmarks.html out/bench/*.json -o out/bench/report.html"""


def main(argv: Sequence[str]) -> int:
    """Write the report; 2 where a file is no record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.html", description=__doc__)
    parser.add_argument("records", type=Path, nargs="+", help="JSON files of the suite")
    parser.add_argument("-o", "--output", type=Path, default=Path("out/bench/report.html"))
    args = parser.parse_args(argv)
    try:
        text = report([read_record(path) for path in args.records])
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with written_atomically(args.output) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"wrote {args.output}")
    return 0


def report(records: Sequence[Record]) -> str:
    """The page of some records. Equal records give an equal page."""
    engines = [record for record in records if record.part == "engines"]
    others = [record for record in records if record.part != "engines"]
    drawn = [picture for record in records for picture in pictures(record)]
    table = growth_table(records)
    variants = "".join(_tables(engines))
    sections = {
        "Variants": f"<p>{BOLD}</p>{variants}" if variants else "",
        "Pictures": "".join(_pictures(drawn)),
        "Other measurements": "".join(_tables(others)),
        "Worse than linear": _list(grown(records)) + (_table(table) if table else ""),
        "Machine": "".join(_machines(records)),
        "How to read the figures": _definitions(definitions(records), "meanings"),
        "Measure again": f"<pre><code>{escape(AGAIN)}</code></pre>",
    }
    sections = {title: body for title, body in sections.items() if body}
    links = "".join(f'<a href="#{_anchor(title)}">{escape(title)}</a>' for title in sections)
    body = "".join(
        f'<section id="{_anchor(title)}"><h2>{escape(title)}</h2>{content}</section>\n'
        for title, content in sections.items()
    )
    style = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
    parts = escape(", ".join(dict.fromkeys(record.part for record in records)))
    days = escape(" to ".join(sorted({min(_days(records)), max(_days(records))}))) if records else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Benchmark report</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f"<header><h1>Benchmark report</h1>{''.join(map(_where, _machines_of(records)))}"
        f'<p class="quiet">{parts}; measured {days}</p></header>\n'
        f"{_banner(records)}<nav>{links}</nav>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )


def _days(records: Sequence[Record]) -> list[str]:
    return [record.created[:10] for record in records]


def _banner(records: Sequence[Record]) -> str:
    """Which records are not to be relied on, and why; nothing where all are trusted."""
    marked = [f"{record.title}: {mark}" for record in records for mark in record.conditions.marks]
    if not marked:
        return ""
    return (
        f'<div class="banner" role="alert"><strong>Do not rely on these figures</strong>{_list(marked)}</div>'
    )


def _machines_of(records: Sequence[Record]) -> list[list[Record]]:
    """Records by machine."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(json.dumps(settled(record.machine), sort_keys=True), []).append(record)
    return list(groups.values())


def _where(same: Sequence[Record]) -> str:
    """A machine in a line."""
    machine = same[0].machine
    said = [str(machine.get("gpu") or machine.get("cpu", "")), f"{machine.get('cores', '?')} cores"]
    return f"<p>{escape(', '.join(said))}</p>"


def _machines(records: Sequence[Record]) -> Iterable[str]:
    """Each machine once, with the records that were measured on it and how quiet it was."""
    for same in _machines_of(records):
        yield _definitions({key: _said(value) for key, value in settled(same[0].machine).items()})
        for record in same:
            yield f"<h3>{escape(record.title)}</h3>"
            yield f'<p class="quiet">{escape(record.created)}: {escape(conditions(record.conditions))}</p>'
            if record.facts:
                facts = {key: _said(value) for key, value in record.facts.items() if key != "checks"}
                yield f"<details><summary>Options and versions</summary>{_definitions(facts)}</details>"


def _tables(records: Sequence[Record]) -> Iterable[str]:
    """The tables of records; those of several under the title of each, with what it is to be read with."""
    several = len(records) > 1
    for record in records:
        if several:
            yield f"<h3>{escape(record.title)}</h3>"
        if record.conditions.marks:
            yield f'<p class="warning">Not to be relied on: {escape("; ".join(record.conditions.marks))}</p>'
        yield from (_table(table, 4 if several else 3) for table in tables(record, columns=summary))
        yield _checks(record.facts.get("checks"))


def _checks(checks: object) -> str:
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


def _table(table: Table, level: int = 3) -> str:
    """A table under its title: a heading of this level, or the summary of what may be folded away."""
    title = escape(table.title)
    head = f"<summary>{title}</summary>" if table.aside else f"<h{level}>{title}</h{level}>"
    heads = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in table.headings)
    lines: list[str] = []
    for index, (name, *cells) in enumerate(table.rows):
        written = "".join(map(_cell, table.headings[1:], cells))
        strong = ' class="strong"' if index in table.strong else ""
        lines.append(f'<tr{strong}><th scope="row">{escape(name)}</th>{written}</tr>')
    body = (
        f'{head}<div class="scroll" role="region" tabindex="0" aria-label="{title}"><table>'
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
        f"{_list(table.notes, 'notes')}\n"
    )
    return f"<details>{body}</details>" if table.aside else body


def _cell(heading: str, written: str) -> str:
    """A figure; a share of a limit with a bar below it."""
    if heading in LIMITS and (found := re.fullmatch(r"([\d.]+) %", written)):
        return f'<td class="bar" style="--share: {found[1]}%">{escape(written)}</td>'
    return f"<td>{escape(written)}</td>"


def _pictures(drawn: Sequence[Picture]) -> Iterable[str]:
    for kind, (title, how) in KINDS.items():
        chosen = [(number, picture) for number, picture in enumerate(drawn) if picture.kind == kind]
        if not chosen:
            continue
        figures = "".join(f"<figure>{inline_svg(picture, f'p{n}-')}</figure>\n" for n, picture in chosen)
        grid = f'<div class="pictures">{figures}</div>'
        if kind in FOLDED:
            grid = f"<details><summary>Show {len(chosen)}</summary>{grid}</details>"
        yield f"<h3>{escape(title)}</h3><p>{escape(how)}</p>{grid}"


def inline_svg(picture: Picture, prefix: str) -> str:
    """A picture as an element of the page: unique ids, and the page's colours for paper and ink."""
    text = svg_of(picture)
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{prefix}', text)
    text = re.sub(r'href="#', f'href="#{prefix}', text)
    text = text.replace("url(#", f"url(#{prefix}")
    for color, name in EXCHANGED.items():
        text = re.sub(re.escape(color), f"var({name})", text, flags=re.IGNORECASE)
    text = re.sub(r'<svg ([^>]*?)width="[^"]*"', r"<svg \1", text, count=1)
    text = re.sub(r'<svg ([^>]*?)height="[^"]*"', r"<svg \1", text, count=1)
    text = re.sub(r"\s*\n\s*", " ", text)
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(picture.alt)}" ', 1)


def _definitions(entries: Mapping[str, str], name: str = "facts") -> str:
    written = "".join(f"<dt>{escape(key)}</dt><dd>{escape(text)}</dd>" for key, text in entries.items())
    return f'<dl class="{name}">{written}</dl>' if written else ""


def _list(entries: Iterable[str], name: str = "") -> str:
    written = "".join(f"<li>{escape(entry)}</li>" for entry in entries)
    return f'<ul class="{name}">{written}</ul>' if written else ""


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_said(of)}" for key, of in cast("dict[str, object]", value).items())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
