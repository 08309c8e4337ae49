"""How figures are written: for the terminal, the HTML report and docs/benchmarks.md alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from i2i_sdk.measure.record import TIMES, VALUES, Record, Row
from i2i_sdk.measure.timing import Timing

MISSING, CROSS = "\u2013", "\u00d7"  # an en dash; the sign of multiplication
NOT_AVAILABLE = "not available"
IDENTICAL_DB = 120.0  # what PSNR is where no pixel differs


def number(value: float) -> str:
    """Three digits that count, without an exponent: 0.123, 9.87, 98.7, 304, 12345."""
    size = abs(value)
    digits = next((d for least, d in ((99.95, 0), (9.995, 1), (0.9995, 2)) if size >= least), 3)
    return f"{value:.{digits}f}"


def share(value: float) -> str:
    """0.883 -> "88 %"; small ones with a digit more."""
    percent = 100 * value
    return f"{percent:.1f} %" if 0.05 <= abs(percent) < 9.95 else f"{percent:.0f} %"


def times(value: float) -> str:
    """4.312 -> "4.31" and the sign of multiplication."""
    return f"{value:.2f}{CROSS}" if value < 10 else f"{number(value)}{CROSS}"


def decibels(value: float) -> str:
    """53.12 -> "53.1"."""
    return "identical" if value >= IDENTICAL_DB else f"{value:.1f}"


def count(value: float) -> str:
    """A whole number."""
    return f"{value:.0f}"


def _divided(by: float) -> Callable[[float], str]:
    return lambda value: number(value / by)


def _ssim(value: float) -> str:
    return f"{value:.4f}"


SHARES = ("low", "of_peak", "of_limit", "cpu", "camera_cpu", "server_cpu", "steadier", "rss_growth")
# What stands in a cell: the unit in the column's head ("" where the cell says it) and how it is written.
SHOWN: dict[str, tuple[str, Callable[[float], str]]] = {
    "faster": ("", times),
    "psnr": ("dB", decibels),
    "ssim": ("", _ssim),
    "frames": ("", count),
    "macs": ("GMAC", _divided(1e9)),
    "warm_up": ("calls", count),
    "dropped": ("frames", count),
    "losses": ("", count),
    "reconnects": ("", count),
    **dict.fromkeys(SHARES, ("", share)),
}
BY_UNIT: dict[str, tuple[str, Callable[[float], str]]] = {
    "B": ("MB", _divided(1e6)),
    "B/s": ("GB/s", _divided(1e9)),
    "MAC/s": ("GMAC/s", _divided(1e9)),
    "1": ("", number),
    "1/s": ("per second", number),
}
HEADINGS = {
    "faster": "times faster",
    "psnr": "PSNR",
    "ssim": "SSIM",
    "of_peak": "of peak",
    "of_limit": "of roofline",
    "fps": "results",
    "cpu": "CPU",
    "camera_cpu": "camera's CPU",
    "server_cpu": "server's CPU",
    "rss_growth": "memory growth",
    "warm_up": "warm-up",
    "macs": "MACs",
    "low": "in low precision",
}


def value(name: str, row: Row) -> str:
    """A figure of a row as written; MISSING where it has none."""
    return _shown(name)[1](row.values[name]) if name in row.values else MISSING


def heading(name: str) -> str:
    """A quantity's name and unit: "memory, MB"."""
    unit = _shown(name)[0]
    return f"{called(name)}, {unit}" if unit else called(name)


def called(name: str) -> str:
    """A quantity's name as tables have it."""
    return HEADINGS.get(name, name.replace("_", " "))


def _shown(name: str) -> tuple[str, Callable[[float], str]]:
    unit = VALUES[name].unit
    return SHOWN.get(name) or BY_UNIT.get(unit) or (unit, number)


def time(row: Row, name: str, statistic: str) -> str:
    """A statistic of a row's times, in milliseconds without the unit: time(row, "frame", "median_ms")."""
    return number(getattr(row.times[name], statistic)) if name in row.times else MISSING


def size(row: Row) -> str:
    """Width by height; nothing for what has no size."""
    return sides(row.height or 0, row.width or 0)


def sides(height: int, width: int) -> str:
    """Width by height; nothing where one is 0."""
    return f"{width} {CROSS} {height}" if height and width else ""


def where(subject: str, sized: str) -> str:
    """The title of a table or a picture."""
    return f"{subject}, {sized}" if sized else subject


@dataclass(frozen=True)
class Table:
    """Written figures; the first column is text, the others stand to the right."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()  # below it
    strong: int | None = None  # the row that others are compared with
    aside: bool = False  # may be folded away


FIRST = ("faster", "psnr", "ssim", "of_peak", "of_limit")
STATISTICS = ("min", "p95", "p99")
LAST = ("memory", "size")


def tables(record: Record, *, columns: Callable[[Sequence[Row], str | None], list[Table]]) -> list[Table]:
    """All tables of a record. columns: `summary` or `brief`, for the variants of models."""
    if record.part != "engines":
        return overview(record.rows)
    models = [row for row in record.rows if row.height]
    return [*columns(models, record.baseline), *overview([row for row in record.rows if not row.height])]


def summary(rows: Sequence[Row], baseline: str | None) -> list[Table]:
    """For every subject, size and batch, one table of its variants, the fastest first."""
    return [_summary(group, baseline) for group in _alike(rows)]


def brief(rows: Sequence[Row], baseline: str | None) -> list[Table]:
    """As `summary`, with fewer columns."""
    return [_brief(group, baseline) for group in _alike(rows)]


def _alike(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows by subject, size and batch; the fastest first, last what was not run."""
    groups: dict[tuple[str, int, int, int], list[Row]] = {}
    for row in sorted(rows, key=lambda row: (_median(row), row.name)):
        groups.setdefault((row.subject, row.height or 0, row.width or 0, row.batch), []).append(row)
    return [group for _, group in sorted(groups.items())]


def _summary(rows: Sequence[Row], baseline: str | None) -> Table:
    energy = any("energy" in row.values for row in rows)
    headings = ["median, ms", *map(heading, FIRST), *STATISTICS, "spread", *map(heading, LAST)]
    cells: list[tuple[str, ...]] = []
    for row in rows:
        statistics = [time(row, "frame", f"{name}_ms") for name in STATISTICS]
        spread = share(row.times["frame"].spread) if "frame" in row.times else MISSING
        line = [row.name, time(row, "frame", "median_ms"), *(value(name, row) for name in FIRST)]
        line += [*statistics, spread, *(value(name, row) for name in LAST)]
        if energy:
            line.append(value("energy", row) if "energy" in row.values else NOT_AVAILABLE)
        cells.append(tuple(line))
    notes = _notes(rows) if energy else [*_notes(rows), f"Energy: {NOT_AVAILABLE} on this machine."]
    return _variants(rows, baseline, [*headings, *([heading("energy")] if energy else [])], cells, notes)


def _brief(rows: Sequence[Row], baseline: str | None) -> Table:
    shown = [name for name in (*FIRST, *LAST) if name != "of_limit"]
    cells: list[tuple[str, ...]] = []
    for row in rows:
        median, least, p95 = (time(row, "frame", f"{name}_ms") for name in ("median", "min", "p95"))
        took = f"{median} ({least}, {p95})" if "frame" in row.times else MISSING
        cells.append((row.name, took, *(value(name, row) for name in shown)))
    return _variants(rows, baseline, ["ms median (min, p95)", *map(heading, shown)], cells, _notes(rows))


def _variants(
    rows: Sequence[Row],
    baseline: str | None,
    headings: Sequence[str],
    cells: Sequence[tuple[str, ...]],
    notes: Sequence[str],
) -> Table:
    strong = next((i for i, row in enumerate(rows) if row.name == baseline), None)
    title, batch = where(rows[0].subject, size(rows[0])), rows[0].batch
    title = title if batch == 1 else f"{title}, batch {batch}"
    return Table(title, ("variant", *headings), tuple(cells), tuple(notes), strong, batch > 1)


def overview(rows: Sequence[Row]) -> list[Table]:
    """For rows of any part, one table a subject: every quantity that one of its rows has."""
    subjects = dict.fromkeys(row.subject for row in rows)
    return [_overview(subject, [row for row in rows if row.subject == subject]) for subject in subjects]


def _overview(subject: str, rows: Sequence[Row]) -> Table:
    timed = [name for name in TIMES if any(name in row.times for row in rows)]
    valued = [name for name in VALUES if any(name in row.values for row in rows)]
    sized = any(map(size, rows))
    batches, streams = (any(n > 1 for n in ns) for ns in ([r.batch for r in rows], [r.streams for r in rows]))
    headings = [*(["size"] if sized else []), *(["batch"] if batches else [])]
    headings += [*(["streams"] if streams else []), *(f"{name}, ms (p95)" for name in timed)]
    cells: list[tuple[str, ...]] = []
    for row in rows:
        line = [row.name, *([size(row) or MISSING] if sized else []), *([str(row.batch)] if batches else [])]
        line += [*([str(row.streams)] if streams else []), *(_median_p95(row.times.get(n)) for n in timed)]
        cells.append((*line, *(value(name, row) for name in valued)))
    return Table(subject, ("", *headings, *map(heading, valued)), tuple(cells), tuple(_notes(rows)))


def _median_p95(timing: Timing | None) -> str:
    return f"{number(timing.median_ms)} ({number(timing.p95_ms)})" if timing else MISSING


def _median(row: Row) -> float:
    """What was not run comes last."""
    return row.times["frame"].median_ms if "frame" in row.times else float("inf")


def _notes(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(f"{row.name}: {note}" for row in rows for note in row.notes))
