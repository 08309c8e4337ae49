"""The roofline: how near each variant comes to what the same engine reaches at best on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from benchmarks.plots.labels import Label, Stroke, format_log_axis, write_labels
from benchmarks.plots.style import (
    INK,
    MARKER_SIGNS,
    MUTED,
    PRECISIONS,
    SMALL,
    TEXT_BACKGROUND,
    Picture,
    PlotStyle,
    annotate,
    create_figure,
    get_engine,
    get_precision,
    truncate,
)
from benchmarks.reporting.formats import format_number
from i2i_sdk.perf.record import Row

MIN_LABEL_RATIO = 1.4  # roofs whose names would touch
REQUIRED_VALUES = ("macs", "traffic", "peak", "bandwidth")


class RooflinePoint(NamedTuple):
    """A measured variant."""

    subject: str
    side: int  # its width
    precision: str
    intensity: float  # MAC per byte
    speed: float  # GMAC/s


def draw_roofline_pictures(rows: Sequence[Row]) -> list[Picture]:
    """One for every engine of which peaks were measured: roofs of its precisions, all subjects and sizes."""
    chosen = [
        row
        for row in rows
        if row.batch == 1
        and "frame" in row.times
        and get_precision(row.name)
        and all(row.values.get(name, 0) > 0 for name in REQUIRED_VALUES)
    ]
    groups: dict[str, list[Row]] = {}
    for row in chosen:
        groups.setdefault(get_engine(row.name)[0], []).append(row)
    return [_draw_picture(engine, rows) for engine, rows in sorted(groups.items())]


def _draw_picture(engine: str, rows: Sequence[Row]) -> Picture:
    spots = [_make_point(row) for row in rows]
    peaks = {
        precision: max(r.values["peak"] for r in rows if get_precision(r.name) == precision) / 1e9
        for precision in PRECISIONS
        if any(spot.precision == precision for spot in spots)
    }
    bandwidth = max(row.values["bandwidth"] for row in rows) / 1e9
    figure = create_figure(4.9, f"{engine}: how near to the limit")
    axes: Any = figure.subplots()
    left = min(min(s.intensity for s in spots), min(peaks.values()) / bandwidth) / 3
    right = max(max(s.intensity for s in spots), max(peaks.values()) / bandwidth) * 12  # for the roofs' names
    top = max([*peaks.values(), *(s.speed for s in spots)]) * 2
    bottom = min(min(s.speed for s in spots) / 3, min(peaks.values()) / 6)
    axes.set(xscale="log", yscale="log", xlim=(left, right), ylim=(bottom, top))
    format_log_axis(axes.xaxis, left, right)
    format_log_axis(axes.yaxis, bottom, top)
    axes.grid(linewidth=0.7)
    axes.set_xlabel("MAC per byte of weights, input and output")
    axes.set_ylabel("GMAC/s")
    strokes = _draw_roofs(axes, peaks, bandwidth, (left, right))
    names = _draw_points(axes, spots, strokes)
    write_labels(figure, axes, names, strokes, [Label(s.intensity, s.speed, "") for s in spots])
    said = ", ".join(f"{precision.upper()} {format_number(peak)} GMAC/s" for precision, peak in peaks.items())
    alt = f"Roofline of {engine}. Measured peaks: {said}; memory {format_number(bandwidth)} GB/s."
    return Picture("roofline", (engine,), engine, alt, figure)


def _make_point(row: Row) -> RooflinePoint:
    macs = row.values["macs"]
    precision = get_precision(row.name) or ""
    speed = macs / row.times["frame"].median_ms / 1e6
    return RooflinePoint(row.subject, row.width or 0, precision, macs / row.values["traffic"], speed)


def _draw_roofs(
    axes: Any, peaks: dict[str, float], bandwidth: float, x_limits: tuple[float, float]
) -> list[Stroke]:
    """The slope that memory allows and a roof for each precision -> their strokes."""
    left, right = x_limits
    highest = max(peaks.values())
    slope = (left, left * bandwidth, highest / bandwidth, highest)
    axes.plot(slope[::2], slope[1::2], color=MUTED, linewidth=1.6)
    strokes: list[Stroke] = [slope]
    for precision, peak in peaks.items():
        color = PRECISIONS[precision].color
        axes.plot([peak / bandwidth, right], [peak, peak], color=color, linewidth=2)
        strokes.append((peak / bandwidth, peak, right, peak))
        below = any(peak < other < MIN_LABEL_RATIO * peak for other in peaks.values())
        name = f"{MARKER_SIGNS[PRECISIONS[precision].marker]} {precision.upper()} {format_number(peak)}"
        how = {"ha": "right", "va": "top" if below else "bottom", "bbox": TEXT_BACKGROUND}
        annotate(axes, name, (right, peak), (0, -3 if below else 3), **how)
    said, how = f"slope: memory, {format_number(bandwidth)} GB/s", {"va": "top", "color": MUTED}
    axes.text(0.03, 0.97, said, transform=axes.transAxes, fontsize=SMALL, **how)
    return strokes


def _draw_points(axes: Any, spots: Sequence[RooflinePoint], strokes: list[Stroke]) -> list[Label]:
    """The points: a line through the sizes of each variant, one through the variants at the largest size.

    Adds to the strokes. Returns the names of the subjects.
    """
    labels: list[Label] = []
    for subject in dict.fromkeys(spot.subject for spot in spots):
        same = sorted((s for s in spots if s.subject == subject), key=lambda spot: spot.intensity)
        for precision in dict.fromkeys(spot.precision for spot in same):
            strokes += _draw_line(axes, [s for s in same if s.precision == precision], PRECISIONS[precision])
        sides = [spot.side for spot in same]
        largest = sorted((s for s in same if s.side == max(sides)), key=lambda spot: spot.speed)
        strokes += _draw_line(axes, largest, None)
        said = f", {min(sides)}² to {max(sides)}²" if min(sides) < max(sides) else ""
        lowest = min(same, key=lambda spot: spot.speed)
        labels.append(Label(lowest.intensity, lowest.speed, f"{truncate(subject, 20)}{said}"))
    return labels


def _draw_line(axes: Any, spots: Sequence[RooflinePoint], style: PlotStyle | None) -> list[Stroke]:
    """A line through points, which have markers where there is a look -> its strokes."""
    ends = [(spot.intensity, spot.speed) for spot in spots]
    how: dict[str, Any] = {"linewidth": 1, "linestyle": ":", "color": MUTED, "zorder": 2}
    if style:
        how = {"linewidth": 1.2, "marker": style.marker, "markersize": style.size, "color": style.color}
        how |= {"markeredgecolor": INK, "markeredgewidth": 0.6, "zorder": 3}
    axes.plot(*zip(*ends, strict=True), **how)
    return [(*a, *b) for a, b in pairwise(ends)]
