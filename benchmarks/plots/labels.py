"""Names beside points, where nothing is in the way."""

# pyright: reportMissingTypeStubs=false

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

from benchmarks.plots.style import MUTED, SMALL, TEXT_BACKGROUND, annotate
from i2i_sdk.perf.pareto_plot import DISTANCES, MARKER_RADIUS, TextBox, place_labels

MAX_DISTANCE, MAX_TRIES = 45, 24  # points of 1/72 inch, and tries, until a name stays where it was first
LINE_PIECES = 24  # of a line, each a box that labels stay off


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

    def to_points(x: float, y: float) -> Point:
        across, up = axes.transData.transform((x, y)) / scale
        return float(across), float(up)

    occupied = [
        box for stroke in strokes for box in _split_line(to_points(*stroke[:2]), to_points(*stroke[2:]))
    ]
    for text in axes.texts:
        occupied.append(_to_box(text.get_window_extent(renderer), scale))
    centers = [to_points(label.x, label.y) for label in labels]
    occupied += [_make_marker_box(to_points(point.x, point.y)) for point in points]
    inside = _to_box(axes.get_window_extent(renderer), scale)
    sizes = [_measure_text(axes, label.text, renderer, scale) for label in labels]
    boxes = _place_labels(centers, sizes, inside, occupied)
    for label, center, box in zip(labels, centers, boxes, strict=True):
        _draw_label(axes, label, center, box)


def _place_labels(
    centers: Sequence[Point], sizes: Sequence[Point], bounds: TextBox, occupied: Sequence[TextBox]
) -> list[TextBox]:
    """Places for names, one after the other; the first decides for the rest, so some orders are tried."""
    indices = list(range(len(centers)))
    orders = [
        indices,
        *(sorted(indices, key=lambda i: sign * centers[i][k]) for k in (0, 1) for sign in (1, -1)),
    ]
    found: list[tuple[float, list[TextBox]]] = []
    for order in orders:
        boxes = _place_in_order([centers[i] for i in order], [sizes[i] for i in order], bounds, occupied)
        places = [boxes[order.index(i)] for i in indices]
        away = [_compute_distance(center, box) for center, box in zip(centers, places, strict=True)]
        lost = sum(
            not _is_unambiguous(
                center, box, [c for c in centers if c != center], [b for b in places if b != box]
            )
            for center, box in zip(centers, places, strict=True)
        )
        if not lost and max(away, default=0) <= DISTANCES[1]:
            return places
        found.append((MAX_DISTANCE * lost + sum(away), places))
    return min(found, key=lambda one: one[0])[1]


def _place_in_order(
    centers: Sequence[Point], sizes: Sequence[Point], bounds: TextBox, occupied: Sequence[TextBox]
) -> list[TextBox]:
    """The place of each name, where those before it and the lines to their points are in the way."""
    occupied = list(occupied)
    written: list[TextBox] = []
    for center, size in zip(centers, sizes, strict=True):
        box = _place_label(
            center, size, bounds, occupied, [other for other in centers if other != center], written
        )
        occupied.append(box)
        written.append(box)
        if _compute_distance(center, box) > DISTANCES[1]:
            occupied += _split_line(center, ((box.left + box.right) / 2, (box.bottom + box.top) / 2))
    return written


def _place_label(
    center: Point,
    size: Point,
    bounds: TextBox,
    occupied: Sequence[TextBox],
    others: Sequence[Point],
    placed: Sequence[TextBox],
) -> TextBox:
    """The nearest place where nothing is in the way and a name cannot be taken for another point's."""
    obstacles = [*occupied, *(_make_marker_box(other) for other in others)]
    places = [place_labels([center], [size], bounds, obstacles)[0]]
    for _ in range(MAX_TRIES):
        if _is_unambiguous(center, places[-1], others, placed):
            return places[-1]
        (box,) = place_labels([center], [size], bounds, [*obstacles, *places])
        if _compute_distance(center, box) > MAX_DISTANCE:
            break  # full
        places.append(box)
    return places[0]


def _is_unambiguous(center: Point, box: TextBox, others: Sequence[Point], placed: Sequence[TextBox]) -> bool:
    """Is no other point nearer to the name, or else the line to its own not through another or a name?"""
    away = _compute_distance(center, box)
    if away <= DISTANCES[1]:
        return all(_compute_distance(other, box) > away for other in others)
    line = _split_line(center, ((box.left + box.right) / 2, (box.bottom + box.top) / 2))
    return not any(
        there.overlaps(piece) for there in (*map(_make_marker_box, others), *placed) for piece in line[2:]
    )


def _make_marker_box(center: Point) -> TextBox:
    x, y = center
    return TextBox(x - MARKER_RADIUS, y - MARKER_RADIUS, x + MARKER_RADIUS, y + MARKER_RADIUS)


def _draw_label(axes: Any, label: Label, center: Point, box: TextBox) -> None:
    """Write a label into its box, with a line to its point where that is not near."""
    line = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.7, "shrinkA": 0, "shrinkB": MARKER_RADIUS - 2}
    offset = (box.left + box.right) / 2 - center[0], (box.bottom + box.top) / 2 - center[1]
    how = {"ha": "center", "va": "center", "bbox": TEXT_BACKGROUND}
    how["arrowprops"] = line if _compute_distance(center, box) > DISTANCES[1] else None
    written = annotate(axes, label.text, (label.x, label.y), offset, **how)
    written.set_in_layout(False)  # else it moves the axes, and with them everything it was placed by


def _compute_distance(center: Point, box: TextBox) -> float:
    """How far a box is from a point."""
    x, y = center
    return math.hypot(max(box.left - x, 0, x - box.right), max(box.bottom - y, 0, y - box.top))


def _to_box(extent: Any, scale: float) -> TextBox:
    return TextBox(*(edge / scale for edge in (extent.x0, extent.y0, extent.x1, extent.y1)))


def format_log_axis(axis: Any, lowest: float, highest: float) -> None:
    """Round numbers on a logarithmic axis: 1, 2, 5, 10 …; only tens where there are many."""
    span = highest / lowest
    subs = (1.0,) if span > 200 else (1.0, 2.0, 5.0) if span > 12 else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
    axis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def _split_line(start: Point, end: Point) -> list[TextBox]:
    """A line as small boxes, a point of 1/72 inch around it."""
    steps = [i / LINE_PIECES for i in range(LINE_PIECES + 1)]
    xs, ys = ([a + (b - a) * t for t in steps] for a, b in zip(start, end, strict=True))
    return [
        TextBox(min(a, b) - 1, min(c, d) - 1, max(a, b) + 1, max(c, d) + 1)
        for a, b, c, d in zip(xs, xs[1:], ys, ys[1:], strict=False)
    ]


def _measure_text(axes: Any, text: str, renderer: Any, scale: float) -> Point:
    trial = axes.text(0, 0, text, fontsize=SMALL)
    extent = trial.get_window_extent(renderer)
    trial.remove()
    return extent.width / scale, extent.height / scale
