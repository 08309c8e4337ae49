"""The suite's pictures of a record, in the style of `i2i_sdk.perf.plots`."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from benchmarks.reporting.power_laws import Fit, fit_growth, format_subject
from i2i_sdk.perf.pareto import Point, find_pareto, make_points
from i2i_sdk.perf.plots import (
    COLORS,
    GRAY,
    LEGEND_LINE,
    MARKERS,
    apply_style,
    create_figure,
    draw_pareto,
    save_figure,
    set_log_scale,
    shorten,
)
from i2i_sdk.perf.record import Record, Row
from i2i_sdk.perf.tables import CROSS, format_number, format_size, format_title

# Of each kind: its heading and how to read it.
KINDS = {
    "front": (
        "Latency and quality",
        "To the left is faster, up is nearer to FP32. The line joins what is worth choosing: no variant is "
        "both faster and at least as good. Hollow: another is. From 80 dB on no eye sees a difference.",
    ),
    "roofline": (
        "Distance from the limit",
        "Each roof is the most arithmetic that the same engine reached on this machine in that precision, "
        "the slope the most memory traffic. A point on its roof cannot be faster with this engine. A model's "
        "points are its sizes.",
    ),
    "spread": (
        "How steady each time is",
        "The box has half of the calls, the whiskers nine of ten, as a share of the variant's own median.",
    ),
    "growth": (
        "Growth",
        "The exponent says how time grows: 1 is linear, twice the work takes twice the time. Steeper than "
        "the dotted line is worse than linear. Growth with the batch is drawn for one size.",
    ),
}
GROWTH_LABELS = {"pixels": "pixels of a frame", "batch": "frames in a batch", "streams": "streams at once"}
ROOFLINE_VALUES = ("macs", "traffic", "peak", "bandwidth")


@dataclass(frozen=True)
class Picture:
    """A drawing with what a page says of it."""

    kind: str  # of KINDS
    slug: str  # its file's name without a suffix
    alt: str  # for those who cannot see it
    figure: Figure

    def render_svg(self, source: str = "") -> str:
        """The drawing as SVG, equal for equal figures. source: what it was drawn from, kept in the file."""
        buffer = io.StringIO()
        metadata = {"Date": None, "Creator": None, "Source": source or None}
        save_figure(self.figure, buffer, format="svg", metadata=metadata)
        return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def draw_pictures(record: Record, kinds: Collection[str] = tuple(KINDS)) -> list[Picture]:
    """All of some kinds that a record has figures for, in the order of KINDS."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in sorted(record.rows, key=lambda row: (row.subject, row.height or 0, row.width or 0)):
        if row.height and row.batch == 1 and "frame" in row.times:
            groups.setdefault((row.subject, format_size(row)), []).append(row)
    draw: dict[str, Callable[[], Iterable[Picture | None]]] = {
        "front": lambda: (_draw_front(rows, record.baseline) for rows in groups.values()),
        "roofline": lambda: _draw_rooflines([row for rows in groups.values() for row in rows]),
        "spread": lambda: (_draw_spread(rows) for rows in groups.values()),
        "growth": lambda: _draw_growths(fit_growth(record.rows)),
    }
    with apply_style():
        return [picture for kind in KINDS if kind in kinds for picture in draw[kind]() if picture]


def make_slug(*parts: str) -> str:
    """A file's name: letters, digits, dots, "_" and "-" only."""
    text = "-".join(parts).replace(f" {CROSS} ", "x")
    return re.sub(r"(-|[^\w.])+", "-", text, flags=re.ASCII).strip("-.").lower()


def _draw_front(rows: Sequence[Row], baseline: str | None) -> Picture | None:
    """Variants of one subject and size; None where none has a quality."""
    points = make_points(rows)
    if not points:
        return None
    title = format_title(rows[0].subject, format_size(rows[0]))
    p95 = {row.name: row.times["frame"].p95_ms for row in rows}
    medians = {row.name: row.times["frame"].median_ms for row in rows}
    line = Point(baseline, medians[baseline], 0.0) if baseline in medians else None
    best = [f"{p.name} ({format_number(p.ms)} ms, {p.psnr:.0f} dB)" for p in find_pareto(points)]
    alt = f"Latency against quality of {title}. On the front, the fastest first: {', '.join(best)}."
    figure = draw_pareto([points], p95, title, baseline=line)
    return Picture("front", make_slug("front", rows[0].subject, format_size(rows[0])), alt, figure)


def _draw_rooflines(rows: Sequence[Row]) -> list[Picture]:
    """One for every engine of which peaks were measured: roofs of its precisions, all subjects and sizes."""
    engines: dict[str, list[Row]] = {}
    for row in rows:
        if all(row.values.get(name, 0) > 0 for name in ROOFLINE_VALUES):
            engines.setdefault(row.name.partition("-")[0], []).append(row)
    return [_draw_roofline(engine, rows) for engine, rows in sorted(engines.items())]


def _draw_roofline(engine: str, rows: Sequence[Row]) -> Picture:
    precisions = sorted({row.name.partition("-")[2] for row in rows})
    subjects = sorted({row.subject for row in rows})
    figure = create_figure(
        3.3 + LEGEND_LINE * (len(precisions) + len(subjects)), f"{engine}: how near to the limit"
    )
    axes: Any = figure.subplots()
    bandwidth = max(row.values["bandwidth"] for row in rows)
    work = [row.values["macs"] / row.values["traffic"] for row in rows]
    peaks: dict[str, float] = {}
    for precision, color in zip(precisions, COLORS, strict=False):
        same = [row for row in rows if row.name.partition("-")[2] == precision]
        peak = peaks[precision] = max(row.values["peak"] for row in same)
        ends = sorted([min(*work, peak / bandwidth) / 3, peak / bandwidth, max(*work, peak / bandwidth) * 3])
        roof = [min(peak, bandwidth * x) / 1e9 for x in ends]
        label = f"{precision}: at most {format_number(peak / 1e9)} GMAC/s"
        axes.plot(ends, roof, color=color, marker="", label=label)
        for subject, marker in zip(subjects, MARKERS, strict=False):
            points = [
                (
                    row.values["macs"] / row.values["traffic"],
                    row.values["macs"] / row.times["frame"].median_ms / 1e6,
                )
                for row in same
                if row.subject == subject
            ]
            if points:
                axes.plot(*zip(*points, strict=True), color=color, marker=marker, linestyle=":", markersize=8)
    for subject, marker in zip(subjects, MARKERS, strict=False):
        axes.plot([], [], color=GRAY, marker=marker, linestyle="", label=shorten(subject))
    axes.set(xscale="log", yscale="log", xlabel="MAC per byte of weights, input and output", ylabel="GMAC/s")
    set_log_scale(axes.xaxis)
    set_log_scale(axes.yaxis)
    figure.legend(loc="outside lower left")
    reached = ", ".join(f"{name.upper()} {format_number(peak / 1e9)} GMAC/s" for name, peak in peaks.items())
    alt = f"Roofline of {engine}. Measured peaks: {reached}; memory {format_number(bandwidth / 1e9)} GB/s."
    return Picture("roofline", make_slug("roofline", engine), alt, figure)


def _draw_spread(rows: Sequence[Row]) -> Picture | None:
    """One subject and size, the fastest on top; None where no samples were kept."""
    rows = sorted((r for r in rows if r.samples.get("frame")), key=lambda row: -row.times["frame"].median_ms)
    if not rows:
        return None
    title = format_title(rows[0].subject, format_size(rows[0]))
    figure = create_figure(1.2 + 0.3 * len(rows), title)
    axes: Any = figure.subplots()
    medians = {row.name: row.times["frame"].median_ms for row in rows}
    axes.boxplot(
        [[100 * ms / medians[row.name] for ms in row.samples["frame"]] for row in rows],
        orientation="horizontal",
        whis=(5, 95),
        showfliers=False,
        tick_labels=[shorten(name) for name in medians],
    )
    axes.set_xlabel("time of a call, % of the median")
    written = "; ".join(f"{name} {format_number(ms)} ms" for name, ms in medians.items())
    alt = f"Spread of the times of {title}. Medians: {written}."
    return Picture("spread", make_slug("spread", rows[0].subject, format_size(rows[0])), alt, figure)


def _draw_growths(fits: Sequence[Fit]) -> list[Picture]:
    """One for every subject and what it grows with."""
    groups: dict[tuple[str, str], dict[tuple[int, ...], list[Fit]]] = {}
    for fit in fits:
        groups.setdefault((fit.subject, fit.quantity), {}).setdefault(fit.group, []).append(fit)
    # Of several sizes one picture is enough; the fits of all are in the tables.
    return [_draw_growth(by_size[sorted(by_size)[len(by_size) // 2]]) for by_size in groups.values()]


def _draw_growth(fits: Sequence[Fit]) -> Picture:
    subject, quantity = format_subject(fits[0]), fits[0].quantity
    figure = create_figure(3.3 + LEGEND_LINE * len(fits), f"{subject}, by {quantity}")
    axes: Any = figure.subplots()
    fits = sorted(fits, key=lambda fit: -fit.points[-1][1])  # as the lines end
    for fit in fits:
        axes.plot(*zip(*fit.points, strict=True), label=f"{shorten(fit.name)}: exponent {fit.exponent:.2f}")
    amounts = sorted({amount for fit in fits for amount, _ in fit.points})
    fastest = min(ms for fit in fits for _, ms in fit.points)
    linear = [fastest * amount / amounts[0] for amount in amounts]
    axes.plot(amounts, linear, color=GRAY, marker="", linestyle=":", label="linear growth")
    axes.set(xscale="log", yscale="log", xlabel=GROWTH_LABELS[quantity], ylabel="ms, median")
    axes.set_xticks(amounts, [_format_amount(amount, quantity) for amount in amounts])
    axes.xaxis.set_minor_locator(NullLocator())
    set_log_scale(axes.yaxis)
    figure.legend(loc="outside lower left")
    exponents = "; ".join(f"{fit.name} {fit.exponent:.2f}" for fit in fits)
    alt = f"Time of {subject} against {GROWTH_LABELS[quantity]}, both logarithmic. Exponents: {exponents}."
    return Picture("growth", make_slug("growth", fits[0].subject, quantity), alt, figure)


def _format_amount(amount: int, quantity: str) -> str:
    """Of a square its side: 256\u00b2."""
    side = math.isqrt(amount)
    if quantity != "pixels":
        return str(amount)
    return f"{side}\u00b2" if side * side == amount else f"{amount / 1e6:.2g} M"
