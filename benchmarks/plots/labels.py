"""Names beside points, where nothing is in the way."""

# pyright: reportMissingTypeStubs=false

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

from benchmarks.plots.style import BEHIND, MUTED, SMALL
from i2i_sdk.front_plot import DISTANCES, MARKER, Box, place

FAR, TRIES = 45, 24  # points of 1/72 inch, and tries, until a name stays where it was first
PIECES = 24  # of a line, each a box that labels stay off


class Label(NamedTuple):
    """A name that belongs to a point, in the axes' own units."""

    x: float
    y: float
    text: str


Point = tuple[float, float]  # on paper, in points of 1/72 inch
Stroke = tuple[float, float, float, float]  # x, y and x, y of its ends, in the axes' own units


def write_labels(
    figure: Figure, axes: Any, labels: Sequence[Label], strokes: Sequence[Stroke], points: Sequence[Label]
) -> None:
    """Write every label near its point, with a thin line where it is not the nearest thing.

    strokes, points: what must stay visible besides the labels' own points.
    """
    figure.draw_without_rendering()  # the layout decides about places
    canvas = cast("FigureCanvasAgg", figure.canvas)
    renderer, scale = canvas.get_renderer(), figure.dpi / 72

    def on_paper(x: float, y: float) -> Point:
        across, up = axes.transData.transform((x, y)) / scale
        return float(across), float(up)

    taken = [box for stroke in strokes for box in _boxes(on_paper(*stroke[:2]), on_paper(*stroke[2:]))]
    for text in axes.texts:
        taken.append(_box(text.get_window_extent(renderer), scale))
    centers = [on_paper(label.x, label.y) for label in labels]
    taken += [_marker(on_paper(point.x, point.y)) for point in points]
    inside = _box(axes.get_window_extent(renderer), scale)
    sizes = [_size(axes, label.text, renderer, scale) for label in labels]
    boxes = _best(centers, sizes, inside, taken)
    for label, center, box in zip(labels, centers, boxes, strict=True):
        _write(axes, label, center, box)


def _best(centers: Sequence[Point], sizes: Sequence[Point], inside: Box, taken: Sequence[Box]) -> list[Box]:
    """Places for names, one after the other; the first decides for the rest, so some orders are tried."""
    given = list(range(len(centers)))
    orders = [given, *(sorted(given, key=lambda i: sign * centers[i][k]) for k in (0, 1) for sign in (1, -1))]
    found: list[tuple[float, list[Box]]] = []
    for order in orders:
        boxes = _one_by_one([centers[i] for i in order], [sizes[i] for i in order], inside, taken)
        places = [boxes[order.index(i)] for i in given]
        away = [_away(center, box) for center, box in zip(centers, places, strict=True)]
        lost = sum(
            not _belongs(center, box, [c for c in centers if c != center], [b for b in places if b != box])
            for center, box in zip(centers, places, strict=True)
        )
        if not lost and max(away, default=0) <= DISTANCES[1]:
            return places
        found.append((FAR * lost + sum(away), places))
    return min(found, key=lambda one: one[0])[1]


def _one_by_one(
    centers: Sequence[Point], sizes: Sequence[Point], inside: Box, taken: Sequence[Box]
) -> list[Box]:
    """The place of each name, where those before it and the lines to their points are in the way."""
    taken = list(taken)
    written: list[Box] = []
    for center, size in zip(centers, sizes, strict=True):
        box = _place(center, size, inside, taken, [other for other in centers if other != center], written)
        taken.append(box)
        written.append(box)
        if _away(center, box) > DISTANCES[1]:
            taken += _boxes(center, ((box.left + box.right) / 2, (box.bottom + box.top) / 2))
    return written


def _place(
    center: Point,
    size: Point,
    inside: Box,
    taken: Sequence[Box],
    others: Sequence[Point],
    written: Sequence[Box],
) -> Box:
    """The nearest place where nothing is in the way and a name cannot be taken for another point's."""
    obstacles = [*taken, *(_marker(other) for other in others)]
    places = [place([center], [size], inside, obstacles)[0]]
    for _ in range(TRIES):
        if _belongs(center, places[-1], others, written):
            return places[-1]
        (box,) = place([center], [size], inside, [*obstacles, *places])
        if _away(center, box) > FAR:
            break  # full
        places.append(box)
    return places[0]


def _belongs(center: Point, box: Box, others: Sequence[Point], written: Sequence[Box]) -> bool:
    """Is no other point nearer to the name, or else the line to its own not through another or a name?"""
    away = _away(center, box)
    if away <= DISTANCES[1]:
        return all(_away(other, box) > away for other in others)
    line = _boxes(center, ((box.left + box.right) / 2, (box.bottom + box.top) / 2))
    return not any(there.overlaps(piece) for there in (*map(_marker, others), *written) for piece in line[2:])


def _marker(center: Point) -> Box:
    x, y = center
    return Box(x - MARKER, y - MARKER, x + MARKER, y + MARKER)


def _write(axes: Any, label: Label, center: Point, box: Box) -> None:
    """Write a label into its box, with a line to its point where that is not near."""
    line = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.7, "shrinkA": 0, "shrinkB": MARKER - 2}
    written = axes.annotate(
        label.text,
        (label.x, label.y),
        xytext=((box.left + box.right) / 2 - center[0], (box.bottom + box.top) / 2 - center[1]),
        textcoords="offset points",
        fontsize=SMALL,
        ha="center",
        va="center",
        bbox=BEHIND,
        arrowprops=line if _away(center, box) > DISTANCES[1] else None,
    )
    written.set_in_layout(False)  # else it moves the axes, and with them everything it was placed by


def _away(center: Point, box: Box) -> float:
    """How far a box is from a point."""
    x, y = center
    return math.hypot(max(box.left - x, 0, x - box.right), max(box.bottom - y, 0, y - box.top))


def _box(extent: Any, scale: float) -> Box:
    return Box(*(edge / scale for edge in (extent.x0, extent.y0, extent.x1, extent.y1)))


def log_axis(axis: Any, lowest: float, highest: float) -> None:
    """Round numbers on a logarithmic axis: 1, 2, 5, 10 …; only tens where there are many."""
    span = highest / lowest
    subs = (1.0,) if span > 200 else (1.0, 2.0, 5.0) if span > 12 else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
    axis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def _boxes(start: Point, end: Point) -> list[Box]:
    """A line as small boxes, a point of 1/72 inch around it."""
    steps = [i / PIECES for i in range(PIECES + 1)]
    xs, ys = ([a + (b - a) * t for t in steps] for a, b in zip(start, end, strict=True))
    return [
        Box(min(a, b) - 1, min(c, d) - 1, max(a, b) + 1, max(c, d) + 1)
        for a, b, c, d in zip(xs, xs[1:], ys, ys[1:], strict=False)
    ]


def _size(axes: Any, text: str, renderer: Any, scale: float) -> Point:
    trial = axes.text(0, 0, text, fontsize=SMALL)
    extent = trial.get_window_extent(renderer)
    trial.remove()
    return extent.width / scale, extent.height / scale
