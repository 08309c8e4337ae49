"""The roofline: how near each variant comes to what the same engine reaches at best on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from benchmarks.formats import number
from benchmarks.plots.labels import Label, Stroke, log_axis, write_labels
from benchmarks.plots.style import (
    BEHIND,
    INK,
    MUTED,
    PRECISIONS,
    SIGNS,
    SMALL,
    Look,
    Picture,
    engine_of,
    new_figure,
    precision_of,
    short,
    slug,
)
from i2i_sdk.measure.record import Row

CLOSE = 1.4  # roofs whose names would touch
NEEDED = ("macs", "traffic", "peak", "bandwidth")


class Spot(NamedTuple):
    """A measured variant."""

    subject: str
    side: int  # its width
    precision: str
    intensity: float  # MAC per byte
    speed: float  # GMAC/s


def roofline_pictures(rows: Sequence[Row]) -> list[Picture]:
    """One for every engine of which peaks were measured: roofs of its precisions, all subjects and sizes."""
    chosen = [
        row
        for row in rows
        if row.batch == 1
        and "frame" in row.times
        and precision_of(row.name)
        and all(row.values.get(name, 0) > 0 for name in NEEDED)
    ]
    engines = sorted({engine_of(row.name)[0] for row in chosen})
    return [
        _picture(engine, [row for row in chosen if engine_of(row.name)[0] == engine]) for engine in engines
    ]


def _picture(engine: str, rows: Sequence[Row]) -> Picture:
    spots = [_spot(row) for row in rows]
    peaks = {
        precision: max(r.values["peak"] for r in rows if precision_of(r.name) == precision) / 1e9
        for precision in PRECISIONS
        if any(spot.precision == precision for spot in spots)
    }
    bandwidth = max(row.values["bandwidth"] for row in rows) / 1e9
    figure = new_figure(4.9, f"{engine}: how near to the limit")
    axes: Any = figure.subplots()
    left = min(min(s.intensity for s in spots), min(peaks.values()) / bandwidth) / 3
    right = max(max(s.intensity for s in spots), max(peaks.values()) / bandwidth) * 12  # for the roofs' names
    top = max([*peaks.values(), *(s.speed for s in spots)]) * 2
    bottom = min(min(s.speed for s in spots) / 3, min(peaks.values()) / 6)
    axes.set(xscale="log", yscale="log", xlim=(left, right), ylim=(bottom, top))
    log_axis(axes.xaxis, left, right)
    log_axis(axes.yaxis, bottom, top)
    axes.grid(linewidth=0.7)
    axes.set_xlabel("MAC per byte of weights, input and output")
    axes.set_ylabel("GMAC/s")
    strokes = _roofs(axes, peaks, bandwidth, (left, right))
    names = _draw(axes, spots, strokes)
    write_labels(figure, axes, names, strokes, [Label(s.intensity, s.speed, "") for s in spots])
    said = ", ".join(f"{precision.upper()} {number(peak)} GMAC/s" for precision, peak in peaks.items())
    alt = f"Roofline of {engine}. Measured peaks: {said}; memory {number(bandwidth)} GB/s."
    return Picture(slug("roofline", engine), "roofline", engine, alt, figure)


def _spot(row: Row) -> Spot:
    macs = row.values["macs"]
    precision = precision_of(row.name) or ""
    speed = macs / row.times["frame"].median_ms / 1e6
    return Spot(row.subject, row.width or 0, precision, macs / row.values["traffic"], speed)


def _roofs(axes: Any, peaks: dict[str, float], bandwidth: float, across: tuple[float, float]) -> list[Stroke]:
    """The slope that memory allows and a roof for each precision -> their strokes."""
    left, right = across
    strokes: list[Stroke] = []
    highest = max(peaks.values())
    slope = (left, left * bandwidth, highest / bandwidth, highest)
    axes.plot(slope[::2], slope[1::2], color=MUTED, linewidth=1.6)
    strokes.append(slope)
    for precision, peak in peaks.items():
        color = PRECISIONS[precision].color
        axes.plot([peak / bandwidth, right], [peak, peak], color=color, linewidth=2)
        strokes.append((peak / bandwidth, peak, right, peak))
        below = any(peak < other < CLOSE * peak for other in peaks.values())
        axes.annotate(
            f"{SIGNS[PRECISIONS[precision].marker]} {precision.upper()} {number(peak)}",
            (right, peak),
            xytext=(0, -3 if below else 3),
            textcoords="offset points",
            ha="right",
            va="top" if below else "bottom",
            fontsize=SMALL,
            bbox=BEHIND,
        )
    axes.text(
        0.03,
        0.97,
        f"slope: memory, {number(bandwidth)} GB/s",
        transform=axes.transAxes,
        va="top",
        fontsize=SMALL,
        color=MUTED,
    )
    return strokes


def _draw(axes: Any, spots: Sequence[Spot], strokes: list[Stroke]) -> list[Label]:
    """The points: a line through the sizes of each variant, one through the variants at the largest size.

    Adds to the strokes. Returns the names of the subjects.
    """
    labels: list[Label] = []
    for subject in dict.fromkeys(spot.subject for spot in spots):
        same = sorted((s for s in spots if s.subject == subject), key=lambda spot: spot.intensity)
        for precision in dict.fromkeys(spot.precision for spot in same):
            strokes += _line(axes, [s for s in same if s.precision == precision], PRECISIONS[precision])
        sides = [spot.side for spot in same]
        largest = sorted((s for s in same if s.side == max(sides)), key=lambda spot: spot.speed)
        strokes += _line(axes, largest, None)
        said = f", {min(sides)}² to {max(sides)}²" if min(sides) < max(sides) else ""
        lowest = min(same, key=lambda spot: spot.speed)
        labels.append(Label(lowest.intensity, lowest.speed, f"{short(subject, 20)}{said}"))
    return labels


def _line(axes: Any, spots: Sequence[Spot], look: Look | None) -> list[Stroke]:
    """A line through points, which have markers where there is a look -> its strokes."""
    ends = [(spot.intensity, spot.speed) for spot in spots]
    if look:
        axes.plot(*zip(*ends, strict=True), linewidth=1.2, marker=look.marker, **_marker(look), zorder=3)
    else:
        axes.plot(*zip(*ends, strict=True), linewidth=1, linestyle=":", color=MUTED, zorder=2)
    return [(*a, *b) for a, b in pairwise(ends)]


def _marker(look: Look) -> dict[str, Any]:
    return {"markersize": look.size, "color": look.color, "markeredgecolor": INK, "markeredgewidth": 0.6}
