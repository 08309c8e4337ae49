"""How time grows with pixels, batch and streams."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.ticker import NullLocator

from benchmarks.plots.labels import format_log_axis
from benchmarks.plots.style import MUTED, Picture, create_figure, get_engine, get_style, truncate
from benchmarks.reporting.power_laws import Fit
from benchmarks.reporting.wording import format_subject

AXIS_LABELS = {"pixels": "pixels of a frame", "batch": "frames in a batch", "streams": "streams at once"}
GUIDE_LINES = 4  # of linear growth, parallel


def draw_growth_pictures(fits: Sequence[Fit]) -> list[Picture]:
    """One for every subject and what it grows with."""
    groups: dict[tuple[str, str], dict[tuple[int, ...], list[Fit]]] = {}
    for fit in fits:
        groups.setdefault((fit.subject, fit.quantity), {}).setdefault(fit.group, []).append(fit)
    # Of several sizes one picture is enough; the fits of all are in the tables.
    return [
        _draw_picture(subject, against, by_size[sorted(by_size)[len(by_size) // 2]])
        for (subject, against), by_size in groups.items()
    ]


def _draw_picture(subject: str, quantity: str, fits: Sequence[Fit]) -> Picture:
    title = f"{format_subject(fits[0])}, by {quantity}"
    figure = create_figure(3.9 + 0.21 * len(fits), title)
    axes: Any = figure.subplots()
    xs = sorted({x for fit in fits for x, _ in fit.points})
    ys = [y for fit in fits for _, y in fit.points]
    room = (xs[-1] / xs[0]) ** 0.06
    axes.set(xscale="log", yscale="log", xlim=(xs[0] / room, xs[-1] * room))
    axes.set_ylim(min(ys) / 1.5, max(ys) * 1.5)
    _draw_linear(axes, xs, min(ys), max(ys))
    ordered = sorted(fits, key=lambda fit: -fit.points[-1][1])  # as the lines end
    for fit in ordered:
        look = get_style(fit.name)
        marker = {"color": look.color, "marker": look.marker, "markersize": look.size - 1.5}
        line = {"linestyle": get_engine(fit.name)[1], "linewidth": 1.8}
        label = f"{truncate(fit.name)}: exponent {fit.exponent:.2f}"
        axes.plot(*zip(*fit.points, strict=True), **marker, **line, label=label)
    axes.set_xticks(xs, [_format_tick(x, quantity) for x in xs])
    axes.xaxis.set_minor_locator(NullLocator())
    format_log_axis(axes.yaxis, min(ys), max(ys))
    axes.grid(axis="y", linewidth=0.7)
    axes.set_xlabel(AXIS_LABELS[quantity])
    axes.set_ylabel("ms, median")
    figure.legend(loc="outside lower left", handlelength=3.4, labelspacing=0.35)
    said = "; ".join(f"{fit.name} {fit.exponent:.2f}" for fit in ordered)
    against = f"Time of {format_subject(fits[0])} against {AXIS_LABELS[quantity]}"
    alt = f"{against}, both logarithmic. Exponents: {said}."
    return Picture("growth", (subject, quantity), title, alt, figure)


def _draw_linear(axes: Any, xs: Sequence[float], lowest: float, highest: float) -> None:
    """Parallel lines of linear growth from below the fastest to above the slowest."""
    first, last = xs[0], xs[-1]
    start, end = lowest * first / last, highest
    for i in range(2 * GUIDE_LINES):
        y = start * (end / start) ** (i / (2 * GUIDE_LINES - 1))
        label = "linear growth" if i == 0 else None
        axes.plot([first, last], [y, y * last / first], color=MUTED, linewidth=0.7, alpha=0.6, label=label)


def _format_tick(x: float, quantity: str) -> str:
    side = math.isqrt(round(x))
    if quantity == "pixels":
        return f"{side}²" if side * side == round(x) else f"{x / 1e6:.2g} M"
    return f"{x:g}"
