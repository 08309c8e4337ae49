"""The suite's pictures, each as PNG and SVG from one drawing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from benchmarks.plots.front import draw_pareto_picture
from benchmarks.plots.growth import draw_growth_pictures
from benchmarks.plots.histogram import draw_histogram_picture
from benchmarks.plots.roofline import draw_roofline_pictures
from benchmarks.plots.style import Picture, apply_style, render_svg, write_picture
from benchmarks.reporting.formats import format_row_size
from benchmarks.reporting.power_laws import fit_growth
from i2i_sdk.perf.record import Record, Row

__all__ = ["KINDS", "Picture", "draw_pictures", "render_svg", "write_picture"]

# Of each kind: its heading and how to read it.
KINDS = {
    "front": (
        "Latency and quality",
        "To the left is faster, up is nearer to FP32. The line joins what is worth choosing: no variant is "
        "both faster and at least as good. Hollow: another is. From 80 dB on no eye sees a difference.",
    ),
    "roofline": (
        "Distance from the limit",
        "Each roof is the most arithmetic that the same engine reached on this machine in that precision, "
        "the slope the most memory traffic. A point on its roof cannot be faster with this engine. "
        "Dotted: the variants of a model at its largest size.",
    ),
    "histogram": (
        "How steady each time is",
        "How many calls took how long, as a share of each variant's own median, the line: a wide hill means "
        "unsteady times.",
    ),
    "growth": (
        "Growth",
        "The exponent says how time grows: 1 is linear, twice the work takes twice the time. Steeper than "
        "the thin parallel lines is worse than linear. Growth with the batch is drawn for one size.",
    ),
}


def draw_pictures(record: Record, kinds: Collection[str] = tuple(KINDS)) -> list[Picture]:
    """All of some kinds that a record has figures for, in the order of KINDS."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in sorted(record.rows, key=lambda row: (row.subject, row.height or 0, row.width or 0)):
        groups.setdefault((row.subject, format_row_size(row)), []).append(row)
    draw: dict[str, Callable[[], Iterable[Picture | None]]] = {
        "front": lambda: (draw_pareto_picture(rows, record.baseline) for rows in groups.values()),
        "roofline": lambda: draw_roofline_pictures(record.rows),
        "histogram": lambda: map(draw_histogram_picture, groups.values()),
        "growth": lambda: draw_growth_pictures(fit_growth(record.rows)),
    }
    with apply_style():
        return [picture for kind in KINDS if kind in kinds for picture in draw[kind]() if picture]
