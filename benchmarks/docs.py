"""docs/benchmarks.md, its pictures and README's tables, from the records that are kept.

python -m benchmarks.docs           # write
python -m benchmarks.docs --check   # 1 where a file is not what would be written
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.plots import draw_pictures
from benchmarks.reporting.pages import PageSection, render_template
from benchmarks.support.places import ROOT
from i2i_sdk.errors import InputError
from i2i_sdk.files import write_atomically
from i2i_sdk.perf.record import SCHEMA, Record, Row, read_record
from i2i_sdk.perf.tables import (
    MISSING,
    PLUS_MINUS,
    Table,
    build_tables,
    format_number,
    format_size,
    format_value,
)

RESULTS, PAGE = ROOT / "benchmarks" / "results", ROOT / "docs" / "benchmarks.md"
README = ROOT / "README.md"
MARKS = "<!-- {}: written by `python -m benchmarks.docs` -->", "<!-- /{} -->"  # of README's tables
README_SIDE = 256  # of the frames of its table of engines
PICTURE_KINDS = ("front", "roofline", "growth")
PARETO_SIZE = "256x256"  # a front is drawn for it; the tables have every size


@dataclass(frozen=True)
class GeneratedFile:
    """What is to be on disk."""

    path: Path
    text: str
    stamp: str = ""  # of a picture: what it was drawn from, which is in its text

    @property
    def is_current(self) -> bool:
        """Of a picture only its stamp counts: its strokes differ from one matplotlib to the next."""
        text = self.path.read_text(encoding="utf-8") if self.path.is_file() else ""
        return self.stamp in text if self.stamp else self.text == text


def main(argv: Sequence[str]) -> int:
    """Write or check; 1 for a file that is not current, 2 for a record that cannot be shown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.docs", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of JSON files")
    parser.add_argument("--readme", type=Path, default=README, help="with the marks of the table")
    parser.add_argument("--page", type=Path, default=PAGE, help="the Markdown file")
    args = parser.parse_args(argv)
    folder = args.page.with_suffix("")
    try:
        files = make_files(args.results, args.page, args.readme)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    extra = {*folder.glob("*.svg")} - {file.path for file in files}
    if args.check:
        stale = [file.path for file in files if not file.is_current]
        for path in (*stale, *extra):
            print(f"{path} is not what the records say: run `python -m benchmarks.docs`", file=sys.stderr)
        return 1 if stale or extra else 0
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        with write_atomically(file.path) as temporary:
            temporary.write_text(file.text, encoding="utf-8")
    for path in extra:
        path.unlink()
    print(f"wrote {', '.join(str(file.path) for file in files)}")
    return 0


def make_files(results: Path, page: Path, readme: Path) -> list[GeneratedFile]:
    """All files that depend on the records; equal for equal records.

    Args:
        results: folder of records, and of JSON files of other formats, which the page links to.
        page: the Markdown file; its pictures are in the folder of its name.
        readme: a Markdown file with the marks of the table.

    Returns:
        The pictures, the page and README.

    Raises:
        InputError: a record is marked, or cannot be read.
    """
    files: list[GeneratedFile] = []
    sections: list[PageSection] = []
    others: list[Path] = []
    for path in sorted(results.glob("*.json")):
        record = read_kept_record(path)
        if record is None:
            others.append(path)
            continue
        stamp = f"{path.name} sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
        pictures = {
            f"{page.stem}/{path.stem}-{picture.slug}.svg": picture
            for picture in draw_pictures(record, PICTURE_KINDS)
            if picture.kind != "front" or picture.slug.endswith(PARETO_SIZE)
        }
        for name, picture in pictures.items():
            files.append(GeneratedFile(page.parent / name, picture.render_svg(stamp), stamp))
        sections.append(PageSection(record, build_tables(record, is_brief=True), pictures, path))
    text = render_template("docs.md.jinja", sections=sections, others=others)
    records = [section.record for section in sections]
    return [*files, GeneratedFile(page, text), GeneratedFile(readme, fill_readme(readme, records))]


def read_kept_record(path: Path) -> Record | None:
    """A record; None for JSON of another format. Raises InputError for a marked record."""
    try:
        loaded = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(f"{path}: no JSON: {error}") from error
    if not isinstance(loaded, dict) or loaded.get("schema") != SCHEMA:
        return None
    record = read_record(path)
    if not record.is_trusted:
        marks = "; ".join(record.conditions.marks)
        raise InputError(f"{path}: not trusted: {marks}. Measure again on a quiet machine, or take it away")
    return record


def fill_readme(path: Path, records: Sequence[Record]) -> str:
    """README's text with its tables as the records say. Raises InputError where a mark is missing."""
    text = path.read_text(encoding="utf-8")
    engines = [record for record in records if record.part == "engines"]
    students = [record for record in records if record.part == "students"]
    if engines:
        text = replace_table(text, "speed", engines[-1], build_speed_table(engines[-1]))
    if students:
        text = replace_table(text, "students", students[-1], build_student_table(students))
    return text


def replace_table(text: str, name: str, record: Record, table: Table) -> str:
    """README's text with the table between its two marks.

    Args:
        text: of README.
        name: of the marks and of the template.
        record: that the table is of.
        table: what is shown.

    Returns:
        The text.

    Raises:
        InputError: a mark is missing.
    """
    first, last = (mark.format(name) for mark in MARKS)
    before, begin, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not (begin and end):
        raise InputError(f"README.md has no place for the table: {first} and {last} are needed")
    written = render_template(f"{name}.md.jinja", sections=[], record=record, table=table)
    return f"{before}{first}\n\n{written}\n{last}{after}"


def build_speed_table(record: Record) -> Table:
    """Variants below one another, models beside one another; the slowest first."""
    size = (README_SIDE, README_SIDE, 1)
    rows = [row for row in record.rows if (row.height, row.width, row.batch) == size and row.times]
    models = tuple(dict.fromkeys(row.subject for row in rows))
    cells = {(row.name, row.subject): format_cell(row) for row in rows}
    rows.sort(key=lambda row: -row.times["frame"].median_ms)
    names = dict.fromkeys(row.name for row in rows)
    lines = [(name, *(cells.get((name, model), MISSING) for model in models)) for name in names]
    return Table("", ("", *models), tuple(lines))


def build_student_table(records: Sequence[Record]) -> Table:
    """Each teacher, and below it its students: of each network the fastest variant."""
    lines: list[tuple[str, ...]] = []
    for record in records:
        fastest: dict[str, Row] = {}
        for row in record.rows:
            network = row.name.partition(", ")[0]
            best = fastest.get(network, row)
            fastest[network] = min(best, row, key=lambda each: each.times["frame"].median_ms)
        lines += [format_network(row, row.name == record.baseline) for row in fastest.values()]
    headings = ("", "a frame", "faster", "edit energy", "edit correlation", "file")
    sizes = dict.fromkeys(format_size(row) for record in records for row in record.rows)
    return Table("", headings, tuple(lines), notes=(" and ".join(sizes),))


def format_network(row: Row, is_teacher: bool) -> tuple[str, ...]:
    """A line of the table of students."""
    timing, values = row.times["frame"], row.values
    effect = ("teacher", "") if is_teacher else (MISSING, MISSING)
    if "correlation" in values:
        energy = f"{values['energy_least']:.2f} to {values['energy_most']:.2f}"
        effect = energy, f"{values['correlation']:.2f}"
    time = f"{format_number(timing.median_ms)} ms {PLUS_MINUS} {timing.spread:.0%}"
    return row.name, time, format_value("faster", values["faster"]), *effect, f"{values['size'] / 1e6:.1f} MB"


def format_cell(row: Row) -> str:
    """Median and what it is uncertain by, times faster, decibels."""
    timing, values = row.times["frame"], row.values
    parts = [f"{format_number(timing.median_ms)} ms {PLUS_MINUS} {timing.spread:.0%}"]
    if "faster" in values:
        parts.append(format_value("faster", values["faster"]))
    if "psnr" in values:
        parts.append(f"{values['psnr']:.0f} dB")
    return ", ".join(parts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
