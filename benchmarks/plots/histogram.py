"""How a variant's times are spread: one strip each, all of the same relative width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.formats import number, size, where
from benchmarks.plots.style import INK, MUTED, NORMAL, SMALL, Picture, look_of, new_figure, short, slug
from i2i_sdk.measure.record import Row

BINS = 48
LEAST, MOST = 0.5, 2.0  # of the median; what lies beyond is counted in words


def histogram_picture(rows: Sequence[Row]) -> Picture | None:
    """One subject and size, one frame at a time, the fastest on top; None where no samples were kept."""
    chosen = [row for row in rows if row.batch == 1 and row.samples.get("frame")]
    if not chosen:
        return None
    chosen.sort(key=lambda row: float(np.median(row.samples["frame"])))
    title = where(chosen[0].subject, size(chosen[0]))
    figure = new_figure(0.8 + 0.75 * len(chosen), title)
    strips: Any = figure.subplots(len(chosen), 1, squeeze=False)[:, 0]
    low, high = _range(chosen)
    for axes, row in zip(strips, chosen, strict=True):
        _strip(axes, row, low, high)
    strips[-1].set_xlabel("ms per frame; all strips have the same relative width")
    said = "; ".join(f"{row.name} {number(float(np.median(row.samples['frame'])))} ms" for row in chosen)
    alt = f"Histograms of the times of {title}. Medians: {said}."
    return Picture(slug("histogram", chosen[0].subject, size(chosen[0])), "histogram", title, alt, figure)


def _range(rows: Sequence[Row]) -> tuple[float, float]:
    """The common range as shares of each median: to twice as far from it as the 95th percentile."""
    shares = [np.asarray(row.samples["frame"]) / np.median(row.samples["frame"]) for row in rows]
    low, high = min(float(s.min()) for s in shares), max(float(np.percentile(s, 95)) for s in shares)
    return max(min(low, 0.98) - 0.01, LEAST), min(2 * max(high, 1.05) - 1, MOST)


def _strip(axes: Any, row: Row, low: float, high: float) -> None:
    samples = np.asarray(row.samples["frame"])
    median, look = float(np.median(samples)), look_of(row.name)
    edges = np.linspace(low * median, high * median, BINS + 1)
    inside = samples[(samples >= edges[0]) & (samples <= edges[-1])]
    counts, _ = np.histogram(inside, edges)
    axes.stairs(counts, edges, fill=True, color=look.color, alpha=0.85, linewidth=0)
    axes.plot([median, median], [0, 1.08 * counts.max()], color=INK, linewidth=1.3)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0, 1.12 * counts.max())
    axes.yaxis.set_visible(False)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="x", labelsize=SMALL, pad=1, length=3)
    axes.locator_params(axis="x", nbins=5, min_n_ticks=3)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_title(short(row.name), loc="left", fontsize=NORMAL, pad=2)
    beyond = len(samples) - len(inside)
    said = f"{number(median)} ms" + (f", {beyond} of {len(samples)} beyond" if beyond else "")
    axes.set_title(said, loc="right", fontsize=SMALL, pad=2, color=MUTED)
