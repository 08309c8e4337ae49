"""How time grows with pixels, batch and streams."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.ticker import NullLocator

from benchmarks.growth import Fit
from benchmarks.plots.labels import log_axis
from benchmarks.plots.style import MUTED, Picture, engine_of, look_of, new_figure, short, slug
from benchmarks.wording import thing

AXES = {
    "pixels": "pixels of a frame",
    "batch": "frames in a batch",
    "streams": "streams at once",
}
LINES = 4  # of linear growth, parallel


def growth_pictures(fits: Sequence[Fit]) -> list[Picture]:
    """One for every subject and what it grows with."""
    groups: dict[tuple[str, str], dict[tuple[int, ...], list[Fit]]] = {}
    for fit in fits:
        groups.setdefault((fit.subject, fit.against), {}).setdefault(fit.where, []).append(fit)
    return [_picture(subject, against, _middle(by_size)) for (subject, against), by_size in groups.items()]


def _middle(by_size: dict[tuple[int, ...], list[Fit]]) -> list[Fit]:
    """Of several sizes one picture is enough; the fits of all are in the tables."""
    return by_size[sorted(by_size)[len(by_size) // 2]]


def _picture(subject: str, against: str, fits: Sequence[Fit]) -> Picture:
    title = f"{thing(fits[0])}, by {against}"
    figure = new_figure(3.9 + 0.21 * len(fits), title)
    axes: Any = figure.subplots()
    xs = sorted({x for fit in fits for x, _ in fit.points})
    ys = [y for fit in fits for _, y in fit.points]
    room = (xs[-1] / xs[0]) ** 0.06
    axes.set(xscale="log", yscale="log", xlim=(xs[0] / room, xs[-1] * room))
    axes.set_ylim(min(ys) / 1.5, max(ys) * 1.5)
    _linear(axes, xs, min(ys), max(ys))
    ordered = sorted(fits, key=lambda fit: -fit.points[-1][1])  # as the lines end
    for fit in ordered:
        look = look_of(fit.name)
        axes.plot(
            *zip(*fit.points, strict=True),
            color=look.color,
            marker=look.marker,
            markersize=look.size - 1.5,
            linestyle=engine_of(fit.name)[1],
            linewidth=1.8,
            label=f"{short(fit.name)}: exponent {fit.exponent:.2f}",
        )
    axes.set_xticks(xs, [_tick(x, against) for x in xs])
    axes.xaxis.set_minor_locator(NullLocator())
    log_axis(axes.yaxis, min(ys), max(ys))
    axes.grid(axis="y", linewidth=0.7)
    axes.set_xlabel(AXES[against])
    axes.set_ylabel("ms, median")
    figure.legend(loc="outside lower left", handlelength=3.4, labelspacing=0.35)
    said = "; ".join(f"{fit.name} {fit.exponent:.2f}" for fit in ordered)
    alt = f"Time of {thing(fits[0])} against {AXES[against]}, both logarithmic. Exponents: {said}."
    return Picture(slug("growth", subject, against), "growth", title, alt, figure)


def _linear(axes: Any, xs: Sequence[float], lowest: float, highest: float) -> None:
    """Parallel lines of linear growth from below the fastest to above the slowest."""
    first, last = xs[0], xs[-1]
    start, end = lowest * first / last, highest
    for i in range(2 * LINES):
        y = start * (end / start) ** (i / (2 * LINES - 1))
        label = "linear growth" if i == 0 else None
        axes.plot([first, last], [y, y * last / first], color=MUTED, linewidth=0.7, alpha=0.6, label=label)


def _tick(x: float, against: str) -> str:
    side = math.isqrt(round(x))
    if against == "pixels":
        return f"{side}²" if side * side == round(x) else f"{x / 1e6:.2g} M"
    return f"{x:g}"
