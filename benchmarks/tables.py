"""Records as tables: for the terminal, the HTML report and docs/benchmarks.md alike."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from benchmarks.choice import worth_choosing
from benchmarks.formats import (
    MISSING,
    NOT_AVAILABLE,
    heading,
    number,
    plus_minus,
    share,
    size,
    time,
    uncertain,
    value,
    where,
)
from i2i_sdk.measure.record import TIMES, VALUES, Record, Row

STATISTICS = ("min", "p95", "p99")
STAGES = ("capture", "pre", "engine", "post", "handed")  # parts of a time that stands beside them
# What a reader of a page does without: it follows from other columns or concerns the measurement itself.
ONLY_IN_JSON = ("macs", "traffic", "warm_up", "frames", "fps_mean", "camera_cpu")
MANY = 3  # more rows than these with notes of one kind share a line
FIGURE = re.compile(r"\d+(?:\.\d+)?")
NO_ENERGY = "energy is not available on this machine"
AS_OF_PEAK = (
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
    strong: tuple[int, ...] = ()  # the rows that are worth choosing
    aside: bool = False  # may be folded away


def tables(record: Record, *, columns: Callable[[Sequence[Row]], list[Table]]) -> list[Table]:
    """All tables of a record. columns: `summary` or `brief`, for the variants of models."""
    if record.part != "engines":
        return overview(record.rows)
    models = [row for row in record.rows if row.height]
    return [*columns(models), *overview([row for row in record.rows if not row.height])]


def summary(rows: Sequence[Row]) -> list[Table]:
    """For every subject, size and batch, one table of its variants, the fastest first."""
    return _once([_variants(group, _all_columns(group)) for group in _alike(rows)])


def brief(rows: Sequence[Row]) -> list[Table]:
    """As `summary`, with fewer columns."""
    return _once([_variants(group, _few_columns(group)) for group in _alike(rows)])


def _alike(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows by subject, size and batch; the fastest first, last what was not run."""
    groups: dict[tuple[str, int, int, int], list[Row]] = {}
    for row in sorted(rows, key=lambda row: (_median(row), row.name)):
        groups.setdefault((row.subject, row.height or 0, row.width or 0, row.batch), []).append(row)
    return [group for _, group in sorted(groups.items())]


def _median(row: Row) -> float:
    """What was not run comes last."""
    return row.times["frame"].median_ms if "frame" in row.times else float("inf")


def _all_columns(rows: Sequence[Row]) -> list[Column]:
    """What decides first: a phone shows no more than that."""
    median = ("median, ms", partial(time, name="frame", statistic="median_ms"))
    others = [(name, partial(time, name="frame", statistic=f"{name}_ms")) for name in STATISTICS]
    return [median, *_deciding(rows), *others, *_seldom(rows)]


def _few_columns(rows: Sequence[Row]) -> list[Column]:
    return [("ms median (min, p95)", _median_min_p95), *_deciding(rows), *_seldom(rows)]


def _deciding(rows: Sequence[Row]) -> list[Column]:
    limits = ("of_peak",) if _as_of_peak(rows) else ("of_peak", "of_limit")
    names = ("faster", *limits, "psnr", "ssim", "memory", "size")
    return [("\u00b1", partial(plus_minus, name="frame")), *map(_valued, names)]


def _seldom(rows: Sequence[Row]) -> list[Column]:
    """What only some machines have."""
    repeated = [_valued("repeated")] if any(row.values.get("repeated") for row in rows) else []
    energy = [(heading("energy"), _energy)] if _has(rows, "energy") else []
    return [*repeated, *energy]


def _valued(name: str) -> Column:
    return heading(name), partial(value, name)


def _energy(row: Row) -> str:
    return value("energy", row) if "energy" in row.values else NOT_AVAILABLE


def _median_min_p95(row: Row) -> str:
    median, least, p95 = (time(row, "frame", f"{name}_ms") for name in ("median", "min", "p95"))
    return f"{median} ({least}, {p95})" if "frame" in row.times else MISSING


def _has(rows: Sequence[Row], name: str) -> bool:
    return any(name in row.values for row in rows)


def _as_of_peak(rows: Sequence[Row]) -> bool:
    """Is each row's share of the roofline, as written, its share of the peak?"""
    pairs = [(row.values.get("of_peak"), row.values.get("of_limit")) for row in rows]
    return all(share(peak or 0) == share(limit or 0) for peak, limit in pairs)


def _variants(rows: Sequence[Row], columns: Sequence[Column]) -> Table:
    title, batch = where(rows[0].subject, size(rows[0])), rows[0].batch
    title = title if batch == 1 else f"{title}, batch {batch}"
    notes = _notes(rows)
    if _has(rows, "of_limit") and _as_of_peak(rows):
        notes.append(AS_OF_PEAK)
    if not _has(rows, "energy"):
        notes.append(NO_ENERGY)
    best = worth_choosing(rows)
    table = _table(title, "variant", rows, columns, notes)
    return replace(table, strong=tuple(i for i, row in enumerate(rows) if row.name in best), aside=batch > 1)


def _table(
    title: str, first: str, rows: Sequence[Row], columns: Sequence[Column], notes: Sequence[str]
) -> Table:
    cells = tuple((row.name, *(cell(row) for _, cell in columns)) for row in rows)
    return Table(title, (first, *(head for head, _ in columns)), cells, tuple(notes))


def overview(rows: Sequence[Row]) -> list[Table]:
    """For rows of any part, one table a subject, with the quantities that its rows have."""
    subjects = dict.fromkeys(row.subject for row in rows)
    return [_overview(subject, [row for row in rows if row.subject == subject]) for subject in subjects]


def _overview(subject: str, rows: Sequence[Row]) -> Table:
    """What all rows share, the size and the name of the only variant, stands in the title."""
    columns: list[Column] = []
    one_size = len({size(row) for row in rows}) == 1
    if not one_size:
        columns.append(("size", lambda row: size(row) or MISSING))
    if any(row.batch > 1 for row in rows):
        columns.append(("batch", lambda row: str(row.batch)))
    if any(row.streams > 1 for row in rows):
        columns.append(("streams", lambda row: str(row.streams)))
    columns += [_timed(name) for name in TIMES if any(name in row.times for row in rows)]
    columns += [_valued(name) for name in VALUES if name not in ONLY_IN_JSON and _has(rows, name)]
    table = _table(where(subject, size(rows[0]) if one_size else ""), "", rows, columns, _notes(rows))
    if len({row.name for row in rows}) > 1 or len(rows) == 1 or not columns:
        return table
    cells = tuple(row[1:] for row in table.rows)
    return replace(table, title=f"{table.title}, {rows[0].name}", headings=table.headings[1:], rows=cells)


def _timed(name: str) -> Column:
    if name in STAGES:
        return f"{name}, ms", partial(time, name=name, statistic="median_ms")
    return f"{name}, ms (p95)", partial(_median_p95, name)


def _median_p95(name: str, row: Row) -> str:
    """A median, what it is uncertain by, and the 95th percentile."""
    if name not in row.times:
        return MISSING
    timing = row.times[name]
    return f"{number(timing.median_ms)} \u00b1 {uncertain(timing.spread)} ({number(timing.p95_ms)})"


def _notes(rows: Sequence[Row]) -> list[str]:
    """What rows note. Notes of many rows that differ in their figures alone become one line."""
    kinds: dict[str, list[tuple[str, str]]] = {}
    for row in rows:
        for note in row.notes:
            kinds.setdefault(FIGURE.sub("#", note), []).append((row.name, note))
    lines: list[str] = []
    for noted in kinds.values():
        if len(noted) <= MANY:
            lines += [f"{name}: {note}" for name, note in noted]
            continue
        everyone = len(noted) == len(rows)
        names = "all" if everyone else ", ".join(dict.fromkeys(name for name, _ in noted))
        lines.append(f"{names}: {_together([note for _, note in noted])}")
    return list(dict.fromkeys(lines))


def _together(notes: Sequence[str]) -> str:
    """Notes that differ in their figures -> one that says from where to where these go."""
    columns = zip(*(FIGURE.findall(note) for note in notes), strict=True)
    ends = ((min(column, key=float), max(column, key=float)) for column in columns)
    ranges = iter([low if low == high else f"{low} to {high}" for low, high in ends])
    return FIGURE.sub(lambda _: next(ranges), notes[0])


def _once(written: Sequence[Table]) -> list[Table]:
    """What is noted below every table is said below the first alone."""
    if len(written) < 2:
        return list(written)
    shared = [note for note in written[0].notes if all(note in table.notes for table in written)]
    rest = [
        replace(table, notes=tuple(note for note in table.notes if note not in shared)) for table in written
    ]
    said = tuple(f"here and below: {note}" for note in shared)
    return [replace(rest[0], notes=(*rest[0].notes, *said)), *rest[1:]]
