"""Curves over the steps of a run as SVG, for a page: light cards, colors that everyone can tell apart."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import NDArray

Curve = Sequence[tuple[int, float]]  # (step, finite value), in order of steps

# Okabe and Ito, "Color Universal Design", 2008: told apart with every kind of color vision.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
FIGURE_SIZE = (4.6, 2.8)  # inches; 331 points, so that text keeps its size on a phone
MAX_POINTS = 80  # per line; of more values, each point is the mean of neighbors
TEXT_COLOR, GRID_COLOR = "#33373d", "#d9dce1"


def render_curves_svg(curves: Mapping[str, Curve], unit: str = "", better: int = 0) -> str:
    """One figure as an `<svg>` element that takes the width of what it stands in.

    Args:
        curves: by name, at least one value each; the names are the legend of two or more.
        unit: of the vertical axis.
        better: 1 or -1 rings the highest or lowest value of each curve, 0 none.

    Returns:
        SVG. Of long curves the line is the mean of neighboring values, and the band holds four of five of
        them.

    Example:
        >>> render_curves_svg({"D": [(50, 0.7), (100, 0.6)]})[:4]
        '<svg'
    """
    figure = Figure(figsize=FIGURE_SIZE, layout="constrained")
    draw_curves(figure.add_subplot(), curves, unit, better)
    return _render_svg(figure, ", ".join(curves))


def draw_curves(axes: Axes, curves: Mapping[str, Curve], unit: str = "", better: int = 0) -> None:
    """The curves of `render_curves_svg` on axes of a figure that the caller arranges.

    Args:
        axes: what is drawn on.
        curves: by name, at least one value each; the names are the legend of two or more.
        unit: of the vertical axis.
        better: 1 or -1 rings the highest or lowest value of each curve, 0 none.
    """
    for (name, curve), color in zip(curves.items(), COLORS * len(curves), strict=False):
        _draw_curve(axes, curve, color, better, name)
    _style_axes(axes, unit)
    _fit_y_axis(axes, curves.values())
    if len(curves) > 1:
        style = {"frameon": False, "fontsize": 10, "handlelength": 1.2, "labelcolor": TEXT_COLOR}
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, **style)


def downsample_curve(curve: Curve, points: int = MAX_POINTS) -> NDArray[np.float64]:
    """Runs of about as many neighbors: [4, points], mean step and value, 10th and 90th percentile of values.

    Example:
        >>> downsample_curve([(1, 0.0), (2, 10.0), (3, 5.0), (4, 5.0)], points=2)[:2].tolist()
        [[1.5, 3.5], [5.0, 5.0]]
    """
    parts = np.array_split(np.asarray(curve, np.float64), min(points, len(curve)))
    rows = [(*part.mean(axis=0), *np.percentile(part[:, 1], (10, 90))) for part in parts]
    return np.asarray(rows).T


def find_best(curve: Curve, better: int) -> tuple[int, float]:
    """(step, value) of the highest (better > 0) or lowest value; the first of equals."""
    return max(curve, key=lambda point: point[1] * better)


def _draw_curve(axes: Axes, curve: Curve, color: str, better: int, name: str) -> None:
    steps, mean, low, high = downsample_curve(curve)
    marker = "o" if len(curve) <= 30 else ""
    axes.plot(steps, mean, color=color, linewidth=1.6, marker=marker, markersize=3.2, zorder=3, label=name)
    if len(curve) > MAX_POINTS:
        axes.fill_between(steps, low, high, color=color, alpha=0.2, linewidth=0, zorder=2)
    if better:
        step, value = find_best(curve, better)
        ring = {"markersize": 9, "markerfacecolor": "none", "markeredgecolor": color}
        axes.plot(step, value, "o", zorder=4, **ring)


def _style_axes(axes: Axes, unit: str) -> None:
    axes.set_xlabel("step", fontsize=10, color=TEXT_COLOR)
    axes.set_ylabel(unit, fontsize=10, color=TEXT_COLOR, parse_math=False)
    axes.ticklabel_format(axis="y", scilimits=(-3, 5))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.tick_params(labelsize=10, colors=TEXT_COLOR, length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GRID_COLOR)
    axes.grid(axis="y", color=GRID_COLOR, linewidth=0.7)


def _fit_y_axis(axes: Axes, curves: Iterable[Curve]) -> None:
    """Room for all lines and all but the wildest of the bands, which would flatten everything else."""
    few = [downsample_curve(curve) for curve in curves]
    bottom = min(min(mean.min(), np.percentile(low, 3)) for _, mean, low, _ in few)
    top = max(max(mean.max(), np.percentile(high, 97)) for _, mean, _, high in few)
    margin = 0.08 * (top - bottom) or 0.05 * abs(top) or 1.0
    axes.set_ylim(bottom - margin, top + margin)


def _render_svg(figure: Figure, label: str) -> str:
    """The figure without what only a file needs, and with text as text, for the page's own font."""
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "i2i"}), io.StringIO() as file:
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # the same in every figure: ids are once per page
    head, rest = text.split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{escape(label)}">{rest.strip()}'
