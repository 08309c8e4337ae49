"""Tables of records, and how their figures are written: for the terminal, the report and the docs alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from i2i_sdk.perf.pareto import find_pareto, make_points
from i2i_sdk.perf.record import TIMES, VALUES, Conditions, Record, Row

MISSING, CROSS, PLUS_MINUS = "\u2013", "\u00d7", "\u00b1"
IDENTICAL_DB = 120.0  # what PSNR is where no pixel differs
STAGES = ("capture", "pre", "engine", "post", "handed")  # parts of a time that stands beside them
# What a reader of a page does without: it follows from other columns or concerns the measurement itself.
JSON_ONLY = ("macs", "traffic", "warm_up", "frames", "fps_mean", "camera_cpu")
VARIANT_VALUES = ("faster", "of_peak", "of_limit", "psnr", "ssim", "memory", "size", "repeated", "energy")
SHARES = (
    *("low", "of_peak", "of_limit", "cpu", "camera_cpu", "server_cpu", "steadier"),
    *("rss_growth", "accepted"),
)
# A unit of records -> the one that tables have instead, and by what to divide.
SCALES = {"B": ("MB", 1e6), "B/s": ("GB/s", 1e9), "MAC/s": ("GMAC/s", 1e9), "1/s": ("per second", 1.0)}
HEADINGS = {
    "faster": "times faster",
    "psnr": "PSNR",
    "ssim": "SSIM",
    "of_limit": "of roofline",
    "fps": "results",
    "fps_mean": "results of a stream",
    "fps_least": "slowest stream",
    "cpu": "CPU",
    "camera_cpu": "camera's CPU",
    "server_cpu": "server's CPU",
    "rss_growth": "memory growth",
    "warm_up": "warm-up",
    "macs": "MACs",
    "low": "in low precision",
    "energy_least": "edit energy, least",
    "energy_most": "edit energy, most",
    "correlation": "edit correlation",
    "accepted": "taken for the teacher's",
}

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


def format_number(value: float) -> str:
    """Three digits that count, without an exponent: 0.123, 9.87, 98.7, 304, 12345."""
    size = abs(value)
    digits = next((d for least, d in ((99.95, 0), (9.995, 1), (0.9995, 2)) if size >= least), 3)
    return f"{value:.{digits}f}"


def format_share(value: float) -> str:
    """0.883 -> "88 %"; small ones with a digit more."""
    percent = 100 * value
    return f"{percent:.1f} %" if 0.05 <= abs(percent) < 9.95 else f"{percent:.0f} %"


def format_value(name: str, value: float) -> str:
    """A quantity of `record.VALUES` as tables have it: its unit stands in their headings."""
    unit = VALUES[name].unit
    if name == "faster":
        return f"{format_number(value)}{CROSS}"
    if name == "ssim":
        return f"{value:.4f}"
    if name in SHARES:
        return format_share(value)
    if unit == "dB":
        return "identical" if value >= IDENTICAL_DB else f"{value:.1f}"
    if unit == "1" and value == int(value):
        return f"{value:.0f}"
    return format_number(value / SCALES.get(unit, (unit, 1.0))[1])


def get_display_name(name: str) -> str:
    """A quantity's name as tables have it."""
    return HEADINGS.get(name, name.replace("_", " "))


def format_heading(name: str) -> str:
    """A quantity's name and unit: "memory, MB"."""
    unit = VALUES[name].unit
    unit = SCALES.get(unit, (unit, 1.0))[0]
    return get_display_name(name) if unit == "1" else f"{get_display_name(name)}, {unit}"


def format_size(row: Row) -> str:
    """Width by height; nothing for what has no size."""
    return f"{row.width} {CROSS} {row.height}" if row.height and row.width else ""


def format_title(subject: str, *details: str) -> str:
    """The title of a table or a picture: the subject, and what is not empty of the rest."""
    return ", ".join([subject, *filter(None, details)])


def format_conditions(conditions: Conditions) -> str:
    """How quiet the machine was, as far as it tells."""
    parts = [f"{format_number(conditions.seconds)} s"]
    if conditions.load_before is not None and conditions.load_after is not None:
        parts.append(f"load {conditions.load_before:.2f} before and {conditions.load_after:.2f} after")
    shares = {
        "of the processor taken by others": conditions.others,
        "by other virtual machines": conditions.stolen,
        "slower in the slowest third of the time": conditions.slowdown,
        "of the turns disturbed": conditions.disturbed,
        "as many turns thrown away as kept": conditions.repeated,
    }
    parts += [f"{format_share(value)} {what}" for what, value in shares.items() if value is not None]
    if conditions.throttled is not None:
        parts.append(f"throttled {conditions.throttled} times by heat")
    return ", ".join(parts)


def build_tables(record: Record, *, is_brief: bool = False) -> list[Table]:
    """All tables of a record: of engines one for each model, size and batch, else one for each subject.

    is_brief: with the times of a variant in one column, and without its share of the roofline.
    """
    variants: dict[tuple[str, int, int, int], list[Row]] = {}
    others: dict[str, list[Row]] = {}
    for row in record.rows:
        if record.part == "engines" and row.height and row.width:
            variants.setdefault((row.subject, row.height, row.width, row.batch), []).append(row)
        else:
            others.setdefault(row.subject, []).append(row)
    tables = [_build_variant_table(rows, is_brief) for _, rows in sorted(variants.items())]
    return tables + [_build_overview_table(subject, rows) for subject, rows in others.items()]


def _build_variant_table(rows: Sequence[Row], is_brief: bool) -> Table:
    """The variants of one model, size and batch, the fastest first; what decides stands to the left."""
    rows = sorted(
        rows, key=lambda row: (row.times["frame"].median_ms if row.times else float("inf"), row.name)
    )
    others: list[Column] = []
    median: Column = ("ms median (min, p95)", _format_median_min_p95)
    if not is_brief:
        median = _make_statistic_column("median")
        others = [_make_statistic_column(name) for name in ("min", "p95", "p99")]
    names = [name for name in VARIANT_VALUES if not (is_brief and name == "of_limit")]
    columns = [median, (PLUS_MINUS, _format_spread), *_make_value_columns(rows, names), *others]
    batch = rows[0].batch
    best = {point.name for point in find_pareto(make_points(rows))}
    return Table(
        format_title(rows[0].subject, format_size(rows[0]), f"batch {batch}" if batch > 1 else ""),
        ("variant", *(heading for heading, _ in columns)),
        tuple((row.name, *(write(row) for _, write in columns)) for row in rows),
        _collect_notes(rows),
        tuple(index for index, row in enumerate(rows) if row.name in best),
        is_collapsible=batch > 1,
    )


def _build_overview_table(subject: str, rows: Sequence[Row]) -> Table:
    """Rows of any part with the quantities that they have; a size that all share stands in the title."""
    columns: list[Column] = []
    sizes = list(dict.fromkeys(format_size(row) for row in rows))
    if len(sizes) > 1:
        columns.append(("size", lambda row: format_size(row) or MISSING))
    if any(row.batch > 1 for row in rows):
        columns.append(("batch", lambda row: str(row.batch)))
    if any(row.streams > 1 for row in rows):
        columns.append(("streams", lambda row: str(row.streams)))
    columns += [_make_time_column(name) for name in TIMES if any(name in row.times for row in rows)]
    columns += _make_value_columns(rows, [name for name in VALUES if name not in JSON_ONLY])
    return Table(
        format_title(subject, sizes[0] if len(sizes) == 1 else ""),
        ("", *(heading for heading, _ in columns)),
        tuple((row.name, *(write(row) for _, write in columns)) for row in rows),
        _collect_notes(rows),
    )


def _make_value_columns(rows: Sequence[Row], names: Sequence[str]) -> list[Column]:
    """Of those quantities that a row has."""

    def make_column(name: str) -> Column:
        return format_heading(
            name
        ), lambda row: format_value(name, row.values[name]) if name in row.values else MISSING

    return [make_column(name) for name in names if any(name in row.values for row in rows)]


def _make_statistic_column(name: str) -> Column:
    def write(row: Row) -> str:
        return format_number(getattr(row.times["frame"], f"{name}_ms")) if row.times else MISSING

    return ("median, ms" if name == "median" else name), write


def _make_time_column(name: str) -> Column:
    """The median; of a time that is no stage also what it is uncertain by, and the 95th percentile."""

    def write(row: Row) -> str:
        if name not in row.times:
            return MISSING
        timing = row.times[name]
        median = format_number(timing.median_ms)
        if name in STAGES:
            return median
        return f"{median} {PLUS_MINUS} {format_share(timing.spread)} ({format_number(timing.p95_ms)})"

    return f"{name}, ms" if name in STAGES else f"{name}, ms (p95)", write


def _format_median_min_p95(row: Row) -> str:
    if not row.times:
        return MISSING
    timing = row.times["frame"]
    least, p95 = format_number(timing.min_ms), format_number(timing.p95_ms)
    return f"{format_number(timing.median_ms)} ({least}, {p95})"


def _format_spread(row: Row) -> str:
    return format_share(row.times["frame"].spread) if row.times else MISSING


def _collect_notes(rows: Sequence[Row]) -> tuple[str, ...]:
    """What rows note, each once with the names; that a median is uncertain stands in the table already."""
    names: dict[str, list[str]] = {}
    for row in rows:
        for note in row.notes:
            if not note.startswith("unsteady: "):
                names.setdefault(note, []).append(row.name)
    return tuple(f"{', '.join(dict.fromkeys(who))}: {note}" for note, who in names.items())
