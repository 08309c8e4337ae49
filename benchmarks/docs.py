"""docs/benchmarks.md and its pictures, from the records that are kept.

python -m benchmarks.docs           # write
python -m benchmarks.docs --check   # 1 where the page is not what would be written
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks.plots import KINDS, Picture, draw_pictures, render_svg
from benchmarks.reporting.readme import replace_table
from benchmarks.reporting.record_tables import Table, build_tables
from benchmarks.reporting.templates import render_template
from benchmarks.reporting.wording import (
    BOLD_NOTE,
    collect_definitions,
    describe_growth,
    format_conditions,
    select_stable_facts,
)
from benchmarks.support.places import ROOT
from i2i_sdk.errors import InputError
from i2i_sdk.files import write_atomically
from i2i_sdk.perf.record import SCHEMA, Record, read_record

RESULTS, PAGE = ROOT / "benchmarks" / "results", ROOT / "docs" / "benchmarks.md"
README = ROOT / "README.md"
PICTURE_KINDS = ("front", "roofline", "growth")
PARETO_SIZE = "256x256"  # a front is drawn for it; the tables have every size


@dataclass(frozen=True)
class RecordFile:
    """A kept record, and what the page shows of it."""

    path: Path
    record: Record
    stamp: str  # of the file's content; its pictures carry it

    @cached_property
    def tables(self) -> list[Table]:
        """Of its rows."""
        return build_tables(self.record, is_brief=True)

    @cached_property
    def growth(self) -> list[str]:
        """What grows worse than linearly."""
        return describe_growth([self.record])

    @cached_property
    def pictures(self) -> dict[str, Picture]:
        """By the file's name."""
        return {
            f"{self.path.stem}-{picture.slug}.svg": picture
            for picture in draw_pictures(self.record, PICTURE_KINDS)
            if picture.kind != "front" or picture.slug.endswith(PARETO_SIZE)
        }


@dataclass(frozen=True)
class Page:
    """What is to be on disk."""

    text: str
    pictures: dict[str, tuple[RecordFile, Picture]]  # by the file's name


def main(argv: Sequence[str]) -> int:
    """Write or check; 1 for a page that is not current, 2 for a record that cannot be shown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.docs", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of JSON files")
    parser.add_argument("--readme", type=Path, default=README, help="with the marks of the table")
    parser.add_argument("--page", type=Path, default=PAGE, help="the Markdown file")
    args = parser.parse_args(argv)
    try:
        sources, others = read_sources(args.results)
        page, readme = make_page(sources, others), render_readme(sources, args.readme)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    if not args.check:
        write_page(page, args.page)
        write_text(args.readme, readme)
        print(f"wrote {args.page}, {len(page.pictures)} pictures and the table of {args.readme}")
        return 0
    differences = [*find_stale(page, args.page)]
    if args.readme.read_text(encoding="utf-8") != readme:
        differences.append(f"{args.readme} has another table")
    for difference in differences:
        print(f"{difference}: run `python -m benchmarks.docs`", file=sys.stderr)
    return 1 if differences else 0


def read_sources(folder: Path) -> tuple[list[RecordFile], list[Path]]:
    """The folder's records, and its JSON files of other formats. Raises InputError for a marked record."""
    sources: list[RecordFile] = []
    others: list[Path] = []
    for path in sorted(folder.glob("*.json")):
        data = path.read_bytes()
        try:
            loaded = json.loads(data)
        except ValueError as error:
            raise InputError(f"{path}: no JSON: {error}") from error
        if not isinstance(loaded, dict) or loaded.get("schema") != SCHEMA:
            others.append(path)
            continue
        record, digest = read_record(path), hashlib.sha256(data).hexdigest()[:16]
        if not record.is_trusted:
            marks = "; ".join(record.conditions.marks)
            raise InputError(
                f"{path}: not trusted: {marks}. Measure again on a quiet machine, or take it away"
            )
        sources.append(RecordFile(path, record, f"{path.name} sha256 {digest}"))
    return sources, others


def make_page(sources: Sequence[RecordFile], others: Sequence[Path]) -> Page:
    """The page of some records; equal for equal records."""
    filters = (escape_markdown, format_conditions, select_stable_facts)
    text = render_template(
        "docs.md.jinja",
        *filters,
        sources=sources,
        others=others,
        bold_note=BOLD_NOTE,
        kinds=KINDS,
        definitions=collect_definitions([source.record for source in sources]),
    )
    drawn = ((name, (source, picture)) for source in sources for name, picture in source.pictures.items())
    return Page(text, dict(drawn))


def write_page(page: Page, path: Path) -> None:
    """Write the page, and its pictures into the folder of its name; others there are taken away."""
    folder = path.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    for name, (source, picture) in page.pictures.items():
        (folder / name).write_text(render_svg(picture, source.stamp), encoding="utf-8")
    for old in {*folder.glob("*.svg")} - {folder / name for name in page.pictures}:
        old.unlink()
    write_text(path, page.text)


def render_readme(sources: Sequence[RecordFile], readme: Path) -> str:
    """README as it is to be: with the table of the last record of engines, if there is one."""
    engines = [source.record for source in sources if source.record.part == "engines"]
    text = readme.read_text(encoding="utf-8")
    return replace_table(text, engines[-1]) if engines else text


def write_text(path: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def find_stale(page: Page, path: Path) -> Iterator[str]:
    """What on disk is not as it would be written. Of a picture only its source is looked at: its strokes
    differ from one version of matplotlib to the next."""
    if not path.is_file() or path.read_text(encoding="utf-8") != page.text:
        yield f"{path} is not what the records say"
    folder = path.with_suffix("")
    for name, (source, _) in page.pictures.items():
        picture = folder / name
        if not picture.is_file() or source.stamp not in picture.read_text(encoding="utf-8"):
            yield f"{picture} is missing or drawn from other figures"
    for old in sorted({*folder.glob("*.svg")} - {folder / name for name in page.pictures}):
        yield f"{old} belongs to no record"


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is, in one line."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"[\\`*\[\]|~$>]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
