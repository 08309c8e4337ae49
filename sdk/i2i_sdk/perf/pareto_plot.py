"""The front of latency against quality as a picture."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false
# matplotlib's own hints are incomplete.

from __future__ import annotations

import importlib.util
import math
import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from i2i_sdk.errors import InputError
from i2i_sdk.perf.pareto import Point, find_pareto

Groups = Sequence[Sequence[Point]]  # points of one size, which may be compared with one another

# Two of Okabe and Ito's colors, told apart with any color vision; the markers differ as well.
PARETO_COLOR, DOMINATED_COLOR = "#0072B2", "#D55E00"

DISTANCES = (9, 14, 20, 28, 40, 55, 75, 100)  # of a label from its point, in points of 1/72 inch
DIRECTIONS = ((1, 0), (0, 1), (-1, 0), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
MARKER_RADIUS = 7  # half of a marker's width, in points


class TextBox(NamedTuple):
    """A rectangle on paper."""

    left: float
    bottom: float
    right: float
    top: float

    def grow(self, by: float) -> TextBox:
        """With so much more on every side."""
        return TextBox(self.left - by, self.bottom - by, self.right + by, self.top + by)

    def overlaps(self, other: TextBox) -> bool:
        """Do the two share more than an edge?"""
        across = self.left < other.right and other.left < self.right
        return across and self.bottom < other.top and other.bottom < self.top

    def contains(self, other: TextBox) -> bool:
        """Is the other inside?"""
        across = self.left <= other.left and other.right <= self.right
        return across and self.bottom <= other.bottom and other.top <= self.top


def check_plot(path: Path) -> None:
    """Raise InputError where `draw_pareto` could not write `path`: better before measuring than after."""
    if path.suffix.lower() != ".png":
        raise InputError(f"--plot {path}: a name that ends in .png is needed")
    if not path.parent.is_dir():
        raise InputError(f"--plot {path}: there is no folder {path.parent}")
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError("--plot needs matplotlib: pip install 'i2i-sdk[plot]'")


def draw_pareto(path: Path, groups: Groups, p95: Mapping[str, float], title: str, note: str) -> None:
    """Write a PNG of every point, with a line along the front of each group.

    p95: milliseconds by name, drawn as a whisker to the right. title, note: lines above, the second smaller.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = Figure(figsize=(6, 5.8), dpi=160, layout="constrained")  # read on phones: large type
    canvas = FigureCanvasAgg(figure)  # draws to a file, without a display and without pyplot's state
    axes: Any = figure.subplots()
    for points in groups:
        best = find_pareto(points)
        _draw_points(axes, best, p95, PARETO_COLOR, "o")
        _draw_points(axes, [point for point in points if point not in best], p95, DOMINATED_COLOR, "X")
        line = [p.ms for p in best], [p.psnr for p in best]
        axes.plot(*line, color=PARETO_COLOR, drawstyle="steps-post", zorder=2)
    everything = [point for points in groups for point in points]
    _set_limits(axes, everything, p95)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("ms per frame, median; whisker: 95th percentile", fontsize=12)
    axes.set_ylabel("PSNR against FP32, dB", fontsize=12)
    axes.tick_params(labelsize=12)
    axes.grid(alpha=0.25)
    figure.suptitle(title, fontsize=14, fontweight="bold")
    axes.set_title(textwrap.fill(note, 72), fontsize=9)
    for color, marker, label in ((PARETO_COLOR, "o", "on the front"), (DOMINATED_COLOR, "X", "dominated")):
        axes.scatter([], [], s=70, color=color, marker=marker, label=label)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, fontsize=12, frameon=False)
    figure.draw_without_rendering()  # the layout decides about places
    _draw_labels(axes, groups, p95, canvas.get_renderer(), figure.dpi / 72)
    figure.savefig(path)


def place_labels(
    centers: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    inside: TextBox,
    obstacles: Sequence[TextBox] = (),
) -> list[TextBox]:
    """A place for a label of each size near its center: the nearest where nothing is in the way.

    All in points of 1/72 inch. Where everything is full a label stays where it was tried last.
    """
    occupied = [*(TextBox(x, y, x, y).grow(MARKER_RADIUS) for x, y in centers), *obstacles]
    labels: list[TextBox] = []
    for (x, y), (width, height) in zip(centers, sizes, strict=True):
        box = inside
        for distance, (right, up) in ((d, direction) for d in DISTANCES for direction in DIRECTIONS):
            length = distance / math.hypot(right, up)
            left = x + right * length + (right - 1) * width / 2
            bottom = y + up * length + (up - 1) * height / 2
            box = TextBox(left, bottom, left + width, bottom + height)
            if inside.contains(box) and not any(box.overlaps(other) for other in [*occupied, *labels]):
                break
        labels.append(box)
    return labels


def _draw_points(axes: Any, points: list[Point], p95: Mapping[str, float], color: str, marker: str) -> None:
    x, y = [p.ms for p in points], [p.psnr for p in points]
    axes.hlines(y, x, [p95[p.name] for p in points], color=color, alpha=0.5, linewidth=2)
    axes.scatter(x, y, s=70, color=color, marker=marker, zorder=3)


def _set_limits(axes: Any, points: Sequence[Point], p95: Mapping[str, float]) -> None:
    """Room around the points for their labels."""
    fastest, slowest = min(p.ms for p in points), max(max(p.ms, p95[p.name]) for p in points)
    lowest, highest = min(p.psnr for p in points), max(p.psnr for p in points)
    width, height = max(slowest / fastest, 2.0), max(highest - lowest, 10.0)
    axes.set_xscale("log")
    axes.set_xlim(fastest / width**0.2, slowest * width**0.2)
    axes.set_ylim(lowest - 0.15 * height, highest + 0.15 * height)


def _collect_strokes(groups: Groups, p95: Mapping[str, float]) -> list[tuple[float, ...]]:
    """The strokes that `draw_pareto` draws, each as ms, dB, ms, dB of its two ends."""
    strokes = [(p.ms, p.psnr, p95[p.name], p.psnr) for points in groups for p in points]
    for points in groups:
        best = find_pareto(points)
        for a, b in pairwise(best):
            strokes += [(a.ms, a.psnr, b.ms, a.psnr), (b.ms, a.psnr, b.ms, b.psnr)]
    return strokes


def _draw_labels(axes: Any, groups: Groups, p95: Mapping[str, float], renderer: Any, scale: float) -> None:
    """Write every point's name beside it, with a thin line where it is not the nearest thing."""

    def to_paper(ms: float, psnr: float) -> tuple[float, float]:
        x, y = axes.transData.transform((ms, psnr)) / scale
        return float(x), float(y)

    points = [point for group in groups for point in group]
    centers = [to_paper(point.ms, point.psnr) for point in points]
    sizes: list[tuple[float, float]] = []
    for point in points:
        text = axes.text(0, 0, point.name, fontsize=12)
        extent = text.get_window_extent(renderer)
        sizes.append((extent.width / scale, extent.height / scale))
        text.remove()
    strokes: list[TextBox] = []
    for ms, psnr, other_ms, other_psnr in _collect_strokes(groups, p95):
        (x, y), (other_x, other_y) = to_paper(ms, psnr), to_paper(other_ms, other_psnr)
        ends = TextBox(min(x, other_x), min(y, other_y), max(x, other_x), max(y, other_y))
        strokes.append(ends.grow(1))
    border = axes.get_window_extent(renderer)
    inside = TextBox(border.x0 / scale, border.y0 / scale, border.x1 / scale, border.y1 / scale)
    boxes = place_labels(centers, sizes, inside, strokes)
    line = {"arrowstyle": "-", "color": "0.6", "shrinkB": MARKER_RADIUS}
    for point, (x, y), box in zip(points, centers, boxes, strict=True):
        away = math.hypot(max(box.left - x, 0, x - box.right), max(box.bottom - y, 0, y - box.top))
        axes.annotate(
            point.name,
            (point.ms, point.psnr),
            xytext=((box.left + box.right) / 2 - x, (box.bottom + box.top) / 2 - y),
            textcoords="offset points",
            fontsize=12,
            horizontalalignment="center",
            verticalalignment="center",
            arrowprops=line if away > DISTANCES[1] else None,
        )
