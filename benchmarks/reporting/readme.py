"""The table of README's section Speed, from a kept record: written by `python -m benchmarks.docs`."""

from __future__ import annotations

from benchmarks.reporting.formats import CROSS, MISSING, format_number, format_ratio
from i2i_sdk.errors import InputError
from i2i_sdk.perf.record import Record, Row

BEGIN, END = "<!-- speed: written by `python -m benchmarks.docs` -->", "<!-- /speed -->"
SIDE = 256  # of the frames


def replace_table(text: str, record: Record) -> str:
    """README's text with the record's table between its two marks. Raises InputError without them."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise InputError(f"README.md has no place for the table: {BEGIN} and {END} are needed")
    return f"{before}{BEGIN}\n\n{render_speed_table(record)}\n\n{END}{after}"


def render_speed_table(record: Record) -> str:
    """Variants below one another, models beside one another: median, times faster, PSNR."""
    rows = [row for row in record.rows if (row.height, row.width, row.batch) == (SIDE, SIDE, 1) and row.times]
    models = list(dict.fromkeys(row.subject for row in rows))
    cells = {(row.name, row.subject): format_cell(row) for row in rows}
    slowest = {name: max(_get_median(row) for row in rows if row.name == name) for name, _ in cells}
    names = sorted(slowest, key=lambda name: -slowest[name])
    lines = [f"| | {' | '.join(f'`{model}`' for model in models)} |", "|---|" + "---|" * len(models)]
    for name in names:
        lines.append(f"| {name} | {' | '.join(cells.get((name, model), MISSING) for model in models)} |")
    machine = record.machine
    return "\n".join(
        [
            f"One {SIDE}{CROSS}{SIDE} frame: median, times faster than {record.baseline}, PSNR against FP32",
            f"on real frames. {machine['cores']} cores of: {machine['cpu']}; {record.created[:10]}:",
            "",
            *lines,
        ]
    )


def format_cell(row: Row) -> str:
    """Median and what it is uncertain by, times faster, decibels."""
    parts = [f"{format_number(_get_median(row))} ms \u00b1 {row.times['frame'].spread:.0%}"]
    if "faster" in row.values:
        parts.append(format_ratio(row.values["faster"]))
    if "psnr" in row.values:
        parts.append(f"{row.values['psnr']:.0f} dB")
    return ", ".join(parts)


def _get_median(row: Row) -> float:
    return row.times["frame"].median_ms
