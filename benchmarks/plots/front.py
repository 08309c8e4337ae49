"""Latency against quality: which variants are worth choosing from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from benchmarks.plots.labels import Label, Stroke, format_log_axis, write_labels
from benchmarks.plots.style import INK, MUTED, PAPER, Picture, annotate, create_figure, get_style, truncate
from benchmarks.reporting.choice import MAX_PSNR, make_points
from benchmarks.reporting.formats import format_number, format_row_size, format_title
from i2i_sdk.perf.pareto import Point, find_pareto
from i2i_sdk.perf.record import Row


def draw_pareto_picture(rows: Sequence[Row], baseline: str | None) -> Picture | None:
    """Variants of one subject and size, one frame at a time; None where none has a quality."""
    chosen = [row for row in rows if row.batch == 1 and "psnr" in row.values and "frame" in row.times]
    if not chosen:
        return None
    title = format_title(chosen[0].subject, format_row_size(chosen[0]))
    figure = create_figure(4.9, title)
    axes: Any = figure.subplots()
    shown = make_points(chosen)
    p95 = {row.name: row.times["frame"].p95_ms for row in chosen}
    eager = next((r for r in rows if r.name == baseline and r.batch == 1 and "frame" in r.times), None)
    line = eager.times["frame"].median_ms if eager else None
    _set_limits(axes, shown, [*p95.values(), *([line] if line else [])])
    strokes = _draw(axes, shown, p95)
    if eager and line:
        axes.axvline(line, color=MUTED, linestyle=(0, (4, 3)), linewidth=1.2, zorder=1)
        low, high = axes.get_ylim()  # a name may interrupt the line
        where = {"ha": "right", "va": "bottom", "rotation": 90, "color": MUTED}
        annotate(axes, truncate(eager.name), (line, low + 0.02 * (high - low)), (-3, 0), **where)
    _add_legend(axes)
    labels = [Label(p.ms, p.psnr, truncate(p.name)) for p in shown]
    write_labels(figure, axes, labels, strokes, [])
    best = [f"{p.name} ({format_number(p.ms)} ms, {_format_level(p.psnr)} dB)" for p in find_pareto(shown)]
    alt = f"Latency against quality of {title}. On the front, the fastest first: {', '.join(best)}."
    return Picture("front", (chosen[0].subject, format_row_size(chosen[0])), title, alt, figure)


def _set_limits(axes: Any, plotted_points: Sequence[Point], others: Sequence[float]) -> None:
    """Room around the points for their names."""
    fastest, slowest = min(p.ms for p in plotted_points), max(*(p.ms for p in plotted_points), *others)
    lowest = min(p.psnr for p in plotted_points)
    span = max(slowest / fastest, 2.0)
    axes.set_xscale("log")
    axes.set_xlim(fastest / span**0.3, slowest * span**0.4)
    height = max(MAX_PSNR - lowest, 20.0)
    format_log_axis(axes.xaxis, *axes.get_xlim())
    ticks = range(int(lowest // 10) * 10, int(MAX_PSNR) + 1, 10)
    axes.set_yticks(ticks, [*map(_format_level, ticks)])
    axes.set_ylim(lowest - 0.15 * height, MAX_PSNR + 0.2 * height)
    axes.grid(linewidth=0.7)
    axes.set_xlabel("ms per frame (median; bar to the 95th percentile)")
    axes.set_ylabel("PSNR against FP32, dB")


def _draw(axes: Any, plotted_points: Sequence[Point], p95: dict[str, float]) -> list[Stroke]:
    """Points, bars and the line along the front -> the strokes."""
    best = find_pareto(plotted_points)
    axes.plot([p.ms for p in best], [p.psnr for p in best], color=INK, linewidth=1.2, drawstyle="steps-post")
    for point in plotted_points:
        look, y = get_style(point.name), point.psnr
        axes.hlines(y, point.ms, p95[point.name], color=look.color, linewidth=2.5, zorder=2)
        fill = look.color if point in best else PAPER
        style = {"markersize": look.size, "markerfacecolor": fill, "markeredgecolor": look.color}
        axes.plot(point.ms, y, look.marker, **style, markeredgewidth=1.8, zorder=3)
    strokes = [(p.ms, p.psnr, p95[p.name], p.psnr) for p in plotted_points]
    for a, b in pairwise(best):
        strokes += [(a.ms, a.psnr, b.ms, a.psnr), (b.ms, a.psnr, b.ms, b.psnr)]
    return strokes


def _add_legend(axes: Any) -> None:
    style = {"color": MUTED, "markeredgecolor": MUTED, "markeredgewidth": 1.8, "markersize": 8}
    axes.plot([], [], "o", **style, label="worth choosing")
    axes.plot([], [], "o", **style, markerfacecolor=PAPER, label="another is faster, no worse")
    axes.legend(loc="lower left", bbox_to_anchor=(-0.1, 1.0), ncols=2, handletextpad=0.1, columnspacing=1.2)


def _format_level(psnr: float) -> str:
    """Decibels; beyond the ceiling it does not matter how many."""
    return f"{psnr:.0f}" if psnr < MAX_PSNR else f"≥ {MAX_PSNR:.0f}"
