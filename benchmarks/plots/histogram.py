"""How a variant's times are spread: one strip each, all on one axis of shares of the median."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.plots.style import INK, MUTED, SMALL, Picture, create_figure, get_style, truncate
from benchmarks.reporting.formats import format_number, format_row_size, format_title
from i2i_sdk.perf.record import Row

MIN_BINS, MAX_BINS = 24, 48
MIN_PERCENT, MAX_PERCENT = 50.0, 150.0  # percent of the median; what lies beyond the axis is counted in words


def draw_histogram_picture(rows: Sequence[Row]) -> Picture | None:
    """One subject and size, one frame at a time, the fastest on top; None where no samples were kept.

    Probes of the device, which have no size, are left out: nobody waits for them.
    """
    chosen = [row for row in rows if row.height and row.batch == 1 and row.samples.get("frame")]
    if not chosen:
        return None
    chosen.sort(key=lambda row: float(np.median(row.samples["frame"])))
    title = format_title(chosen[0].subject, format_row_size(chosen[0]))
    figure = create_figure(1.1 + 0.55 * len(chosen), title)
    strips: Any = figure.subplots(len(chosen), 1, sharex=True, squeeze=False)[:, 0]
    shares = [_compute_percents(row) for row in chosen]
    edges = _compute_edges(shares)
    for axes, row, percents in zip(strips, chosen, shares, strict=True):
        _draw_strip(axes, row, percents, edges)
    last = strips[-1]
    last.spines["bottom"].set_visible(True)
    last.tick_params(axis="x", bottom=True, labelsize=SMALL)
    last.locator_params(axis="x", nbins=6)
    last.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    last.set_xlabel("time of a call, % of the variant's median")
    said = "; ".join(f"{row.name} {_format_median(row)}" for row in chosen)
    alt = f"Histograms of the times of {title}. Medians: {said}."
    return Picture("histogram", (chosen[0].subject, format_row_size(chosen[0])), title, alt, figure)


def _format_median(row: Row) -> str:
    return f"{format_number(float(np.median(row.samples['frame'])))} ms"


def _compute_percents(row: Row) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Times as percents of their median."""
    samples = np.asarray(row.samples["frame"], float)
    return 100 * samples / np.median(samples)


def _compute_edges(shares: Sequence[np.ndarray[Any, Any]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The common bins, from the fastest call to the largest 95th percentile, fewer for few samples."""
    low, high = min(float(s.min()) for s in shares), max(float(np.percentile(s, 95)) for s in shares)
    bins = int(np.clip(3 * np.sqrt(min(map(len, shares))), MIN_BINS, MAX_BINS))
    return np.linspace(max(min(low, 98) - 1, MIN_PERCENT), min(max(high, 103) + 2, MAX_PERCENT), bins + 1)


def _draw_strip(axes: Any, row: Row, percents: np.ndarray[Any, Any], edges: np.ndarray[Any, Any]) -> None:
    look = get_style(row.name)
    inside = percents[(percents >= edges[0]) & (percents <= edges[-1])]
    counts, _ = np.histogram(inside, edges)
    axes.stairs(counts, edges, fill=True, color=look.color, alpha=0.85, linewidth=0)
    axes.plot([100, 100], [0, 1.08 * counts.max()], color=INK, linewidth=1.3)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0, 1.12 * counts.max())
    axes.yaxis.set_visible(False)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="x", bottom=False)
    axes.grid(axis="x", linewidth=0.7)
    axes.set_title(truncate(row.name), loc="left", pad=2)
    beyond = len(percents) - len(inside)
    said = _format_median(row) + (f", {beyond} of {len(percents)} beyond" if beyond else "")
    axes.set_title(said, loc="right", fontsize=SMALL, pad=2, color=MUTED)
