"""Records as tables: for the terminal, the HTML report and docs/benchmarks.md alike."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from benchmarks.reporting.choice import list_pareto_variants
from benchmarks.reporting.formats import (
    MISSING,
    NOT_AVAILABLE,
    format_heading,
    format_number,
    format_row_size,
    format_row_spread,
    format_share,
    format_spread,
    format_time,
    format_title,
    format_value,
)
from i2i_sdk.perf.record import TIMES, VALUES, Record, Row

STATISTICS = ("min", "p95", "p99")
STAGES = ("capture", "pre", "engine", "post", "handed")  # parts of a time that stands beside them
# What a reader of a page does without: it follows from other columns or concerns the measurement itself.
JSON_ONLY = ("macs", "traffic", "warm_up", "frames", "fps_mean", "camera_cpu")
MAX_SEPARATE_NOTES = 3  # more rows than these with notes of one kind share a line
NUMBER_PATTERN = re.compile(r"\d+(?:\.\d+)?")
NO_ENERGY_NOTE = "energy is not available on this machine"
SAME_SHARES_NOTE = (
    "memory limits none of the variants, so each one's share of the roofline is its share of the peak"
)

Column = tuple[str, Callable[[Row], str]]  # its heading, and what stands in the cell of a row


@dataclass(frozen=True)
class Table:
    """Written figures; the first column is text, the others stand to the right."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()  # below it
    highlighted: tuple[int, ...] = ()  # the rows that are worth choosing
    is_collapsible: bool = False  # may be folded away


def build_tables(record: Record, *, is_brief: bool = False) -> list[Table]:
    """All tables of a record. is_brief: fewer columns for the variants of models."""
    if record.part != "engines":
        return build_overview(record.rows)
    models = [row for row in record.rows if row.height]
    return [*build_summary(models, is_brief), *build_overview([r for r in record.rows if not r.height])]


def build_summary(rows: Sequence[Row], is_brief: bool = False) -> list[Table]:
    """For every subject, size and batch, one table of its variants, the fastest first."""
    return _hoist_shared_notes([_build_variant_table(group, is_brief) for group in _group_rows(rows)])


def _group_rows(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows by subject, size and batch; the fastest first, last what was not run."""
    groups: dict[tuple[str, int, int, int], list[Row]] = {}
    for row in sorted(rows, key=lambda row: (_get_median(row), row.name)):
        groups.setdefault((row.subject, row.height or 0, row.width or 0, row.batch), []).append(row)
    return [group for _, group in sorted(groups.items())]


def _get_median(row: Row) -> float:
    """What was not run comes last."""
    return row.times["frame"].median_ms if "frame" in row.times else float("inf")


def _build_columns(rows: Sequence[Row], is_brief: bool) -> list[Column]:
    """What decides first: a phone shows no more than that. Last is what only some machines have."""
    median = ("median, ms", partial(format_time, name="frame", statistic="median_ms"))
    others = [(name, partial(format_time, name="frame", statistic=f"{name}_ms")) for name in STATISTICS]
    if is_brief:
        median, others = ("ms median (min, p95)", _format_median_min_p95), []
    limits = ("of_peak",) if _has_equal_shares(rows) else ("of_peak", "of_limit")
    names = ("faster", *limits, "psnr", "ssim", "memory", "size")
    columns = [median, ("\u00b1", partial(format_row_spread, name="frame"))]
    columns += [*map(_build_value_column, names), *others]
    if any(row.values.get("repeated") for row in rows):
        columns.append(_build_value_column("repeated"))
    if _has_value(rows, "energy"):
        columns.append((format_heading("energy"), _format_energy))
    return columns


def _build_value_column(name: str) -> Column:
    return format_heading(name), partial(format_value, name)


def _format_energy(row: Row) -> str:
    return format_value("energy", row) if "energy" in row.values else NOT_AVAILABLE


def _format_median_min_p95(row: Row) -> str:
    median, least, p95 = (format_time(row, "frame", f"{name}_ms") for name in ("median", "min", "p95"))
    return f"{median} ({least}, {p95})" if "frame" in row.times else MISSING


def _has_value(rows: Sequence[Row], name: str) -> bool:
    return any(name in row.values for row in rows)


def _has_equal_shares(rows: Sequence[Row]) -> bool:
    """Is each row's share of the roofline, as written, its share of the peak?"""
    pairs = [(row.values.get("of_peak"), row.values.get("of_limit")) for row in rows]
    return all(format_share(peak or 0) == format_share(limit or 0) for peak, limit in pairs)


def _build_variant_table(rows: Sequence[Row], is_brief: bool) -> Table:
    title, batch = format_title(rows[0].subject, format_row_size(rows[0])), rows[0].batch
    title = title if batch == 1 else f"{title}, batch {batch}"
    notes = _collect_notes(rows)
    if _has_value(rows, "of_limit") and _has_equal_shares(rows):
        notes.append(SAME_SHARES_NOTE)
    if not _has_value(rows, "energy"):
        notes.append(NO_ENERGY_NOTE)
    best = list_pareto_variants(rows)
    table = _build_table(title, "variant", rows, _build_columns(rows, is_brief), notes)
    highlighted = tuple(i for i, row in enumerate(rows) if row.name in best)
    return replace(table, highlighted=highlighted, is_collapsible=batch > 1)


def _build_table(
    title: str, first_heading: str, rows: Sequence[Row], columns: Sequence[Column], notes: Sequence[str]
) -> Table:
    cells = tuple((row.name, *(cell(row) for _, cell in columns)) for row in rows)
    return Table(title, (first_heading, *(head for head, _ in columns)), cells, tuple(notes))


def build_overview(rows: Sequence[Row]) -> list[Table]:
    """For rows of any part, one table a subject, with the quantities that its rows have."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.subject, []).append(row)
    return [_build_overview_table(subject, group) for subject, group in groups.items()]


def _build_overview_table(subject: str, rows: Sequence[Row]) -> Table:
    """What all rows share, the size and the name of the only variant, stands in the title."""
    columns: list[Column] = []
    one_size = len({format_row_size(row) for row in rows}) == 1
    if not one_size:
        columns.append(("size", lambda row: format_row_size(row) or MISSING))
    if any(row.batch > 1 for row in rows):
        columns.append(("batch", lambda row: str(row.batch)))
    if any(row.streams > 1 for row in rows):
        columns.append(("streams", lambda row: str(row.streams)))
    columns += [_build_time_column(name) for name in TIMES if any(name in row.times for row in rows)]
    shown = [name for name in VALUES if name not in JSON_ONLY and _has_value(rows, name)]
    columns += map(_build_value_column, shown)
    title = format_title(subject, format_row_size(rows[0]) if one_size else "")
    table = _build_table(title, "", rows, columns, _collect_notes(rows))
    if len({row.name for row in rows}) > 1 or len(rows) == 1 or not columns:
        return table
    cells = tuple(row[1:] for row in table.rows)
    return replace(table, title=f"{table.title}, {rows[0].name}", headings=table.headings[1:], rows=cells)


def _build_time_column(name: str) -> Column:
    if name in STAGES:
        return f"{name}, ms", partial(format_time, name=name, statistic="median_ms")
    return f"{name}, ms (p95)", partial(_format_median_p95, name)


def _format_median_p95(name: str, row: Row) -> str:
    """A median, what it is uncertain by, and the 95th percentile."""
    if name not in row.times:
        return MISSING
    timing = row.times[name]
    median = f"{format_number(timing.median_ms)} \u00b1 {format_spread(timing.spread)}"
    return f"{median} ({format_number(timing.p95_ms)})"


def _collect_notes(rows: Sequence[Row]) -> list[str]:
    """What rows note. Notes of many rows that differ in their figures alone become one line."""
    kinds: dict[str, list[tuple[str, str]]] = {}
    for row in rows:
        for note in row.notes:
            kinds.setdefault(NUMBER_PATTERN.sub("#", note), []).append((row.name, note))
    lines: list[str] = []
    for noted in kinds.values():
        if len(noted) <= MAX_SEPARATE_NOTES:
            lines += [f"{name}: {note}" for name, note in noted]
            continue
        everyone = len(noted) == len(rows)
        names = "all" if everyone else ", ".join(dict.fromkeys(name for name, _ in noted))
        lines.append(f"{names}: {_merge_notes([note for _, note in noted])}")
    return list(dict.fromkeys(lines))


def _merge_notes(notes: Sequence[str]) -> str:
    """Notes that differ in their figures -> one that says from where to where these go."""
    columns = zip(*(NUMBER_PATTERN.findall(note) for note in notes), strict=True)
    ends = ((min(column, key=float), max(column, key=float)) for column in columns)
    ranges = iter([low if low == high else f"{low} to {high}" for low, high in ends])
    return NUMBER_PATTERN.sub(lambda _: next(ranges), notes[0])


def _hoist_shared_notes(all_tables: Sequence[Table]) -> list[Table]:
    """What is noted below every table is said below the first alone."""
    if len(all_tables) < 2:
        return list(all_tables)
    shared = [note for note in all_tables[0].notes if all(note in table.notes for table in all_tables)]
    rest = [
        replace(table, notes=tuple(note for note in table.notes if note not in shared))
        for table in all_tables
    ]
    said = tuple(f"here and below: {note}" for note in shared)
    return [replace(rest[0], notes=(*rest[0].notes, *said)), *rest[1:]]
