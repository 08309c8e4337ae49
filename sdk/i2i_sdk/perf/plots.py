"""Plots: the front of latency and quality, and what all plots of measurements share."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false
# matplotlib's own hints are incomplete. It is imported where it is needed: i2i-sdk[plot] brings it.

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from i2i_sdk.errors import InputError
from i2i_sdk.perf.pareto import Point, find_pareto
from i2i_sdk.perf.tables import format_number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 4.8  # inches; at 360 px a point of type is then about a pixel
GRAY = "#667080"
LEGEND_LINE = 0.19  # inches
# Okabe and Ito's colors, which any eye tells apart; the markers differ as well.
COLORS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X"]
STYLE: dict[Any, Any] = {
    "axes.prop_cycle": f"cycler(color={COLORS * 2}, marker={MARKERS + MARKERS[1:] + MARKERS[:1]})",
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "figure.titleweight": "bold",
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "savefig.dpi": 200,
    "svg.hashsalt": "i2i",  # the same file for the same figures
    "text.parse_math": False,  # a "$" in a name is a dollar
}


def check_plot(path: Path) -> None:
    """Raise InputError where a plot could not be written to `path`: better before measuring than after."""
    if path.suffix.lower() != ".png":
        raise InputError(f"--plot {path}: a name that ends in .png is needed")
    if not path.parent.is_dir():
        raise InputError(f"--plot {path}: there is no folder {path.parent}")
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError("--plot needs matplotlib: pip install 'i2i-sdk[plot]'")


def apply_style() -> AbstractContextManager[None]:
    """Draw and write within it."""
    import matplotlib

    return matplotlib.rc_context(STYLE)


def save_figure(figure: Figure, file: Path | IO[str], **how: Any) -> None:
    """Write a figure in the common style.

    Args:
        figure: that was drawn within `apply_style`.
        file: a path, or a text file for SVG.
        how: as matplotlib's `savefig` takes it.
    """
    with apply_style():
        figure.savefig(file, **how)


def create_figure(height: float, title: str) -> Figure:
    """A figure of the common width and so many inches, its title to the left; within `apply_style`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height))
    figure.suptitle(shorten(title, 44), x=0.02, ha="left")
    return figure


def shorten(text: str, max_length: int = 30) -> str:
    """One line that fits; the tables have the whole name."""
    text = " ".join(text.split())
    return text if len(text) <= max_length else f"{text[: max_length - 1]}\u2026"


def set_log_scale(axis: Any) -> None:
    """Round numbers on a logarithmic axis whose limits are set; only powers of ten where there are many."""
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

    low, high = axis.get_view_interval()
    subs = (
        (1.0,) if high / low > 200 else (1.0, 2.0, 5.0) if high / low > 12 else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
    )
    axis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def draw_pareto(
    groups: Sequence[Sequence[Point]],
    p95: Mapping[str, float],
    title: str,
    *,
    note: str = "",
    baseline: Point | None = None,
) -> Figure:
    """Every point with its name in the legend, and a line along the front of each group.

    Args:
        groups: points that may be compared with one another; a name is of one point.
        p95: milliseconds by name, to which a bar goes.
        title: of the figure.
        note: a line below it, such as the machine.
        baseline: drawn as a line at its milliseconds.

    Returns:
        The figure; points that another one dominates are hollow.
    """
    points = sorted((point for group in groups for point in group), key=lambda point: point.ms)
    with apply_style():
        figure = create_figure(3.5 + LEGEND_LINE * (len(points) + 2), title)
        axes: Any = figure.subplots()
        axes.set_xscale("log")
        best = [point for group in groups for point in find_pareto(group)]
        for point in points:
            bar = [[0.0], [max(0.0, p95[point.name] - point.ms)]]
            label = f"{shorten(point.name)}: {format_number(point.ms)} ms, {point.psnr:.0f} dB"
            fill = {} if point in best else {"markerfacecolor": "white"}
            axes.errorbar(point.ms, point.psnr, xerr=bar, linestyle="", markersize=8, label=label, **fill)
        for group in groups:
            front = find_pareto(group)
            line = {"color": GRAY, "marker": "", "drawstyle": "steps-post", "linewidth": 1, "zorder": 1}
            axes.plot([point.ms for point in front], [point.psnr for point in front], **line)
        if baseline:
            label = f"{shorten(baseline.name)}: {format_number(baseline.ms)} ms"
            axes.axvline(baseline.ms, color=GRAY, linestyle="--", label=label)
        axes.margins(0.1, 0.15)
        set_log_scale(axes.xaxis)
        axes.set_xlabel("ms per frame: median, bar to the 95th percentile")
        axes.set_ylabel("PSNR against FP32, dB")
        axes.set_title(shorten(note, 80), fontsize=7)
        figure.legend(loc="outside lower left", title="filled: worth choosing", alignment="left")
    return figure
