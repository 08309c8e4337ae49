"""How time grows with pixels, batch and streams: exponents of power laws, and what is worse than linear."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from i2i_sdk.perf.record import Row
from i2i_sdk.perf.tables import CROSS, format_share, format_title

MAX_EXCESS = 0.05  # more time a doubling than twice; what is above is listed
MIN_POINTS = {"pixels": 3, "batch": 2, "streams": 3}  # for a fit; engines are measured at batch 1 and 4 only


@dataclass(frozen=True)
class Fit:
    """Time as a power of what varies: milliseconds = factor * amount ** exponent."""

    subject: str
    name: str
    quantity: str  # "pixels", "batch" or "streams"
    group: tuple[int, ...]  # what was the same: pixels' aspect, batch's size, streams' size and batch
    points: tuple[tuple[int, float], ...]  # (amount, median milliseconds), by amount
    exponent: float  # least squares in log-log; 1 is linear

    @property
    def excess(self) -> float:
        """More time a doubling than linear growth takes, over all: 0.05 is 5 % more than twice."""
        return _compute_excess(self.exponent)

    @property
    def worst(self) -> tuple[int, int, float]:
        """The two neighbors between which time grows fastest, and the excess a doubling there."""
        steps = [(a, b, _compute_excess(_fit_exponent(dict((a, b))))) for a, b in pairwise(self.points)]
        (low, _), (high, _), excess = max(steps, key=lambda step: step[2])
        return low, high, excess


def fit_growth(rows: Iterable[Row]) -> tuple[Fit, ...]:
    """A fit for all rows of the same thing that differ in one amount alone.

    Pixels vary at batch 1 and one aspect, batch at one size, streams at one size and batch.
    """
    groups: dict[tuple[str, str, str, tuple[int, ...]], dict[int, float]] = {}
    for row in rows:
        for quantity, group, amount, ms in _list_amounts(row):
            groups.setdefault((row.subject, row.name, quantity, group), {})[amount] = ms
    return tuple(
        Fit(*key, tuple(sorted(points.items())), _fit_exponent(points))
        for key, points in groups.items()
        if len(points) >= MIN_POINTS[key[2]]
    )


def select_superlinear(candidates: Iterable[Fit]) -> tuple[Fit, ...]:
    """Those that grow worse than linearly by more than 5 % a doubling, over all or between neighbors."""
    return tuple(fit for fit in candidates if max(fit.excess, fit.worst[2]) > MAX_EXCESS)


def describe_growth(rows: Iterable[Row]) -> list[str]:
    """What grows worse than linearly; that nothing does; or nothing where no growth was measured."""
    found = fit_growth(rows)
    if not found:
        return []
    least = format_share(MAX_EXCESS)
    none = f"None of {len(found)} fits is worse than linear by more than {least} per doubling."
    return [_format_fit(fit) for fit in select_superlinear(found)] or [none]


def format_subject(fit: Fit) -> str:
    """What grows: its subject, and what stayed the same: the size, or an unusual shape."""
    height, width = fit.group[:2]
    if fit.quantity == "pixels":
        return format_title(fit.subject, "" if height == width else f"{width}:{height}")
    return format_title(fit.subject, f"{width} {CROSS} {height}" if height and width else "")


def _list_amounts(row: Row) -> Iterator[tuple[str, tuple[int, ...], int, float]]:
    """Of what a row is a point: the quantity, what has to be equal, the amount and the milliseconds."""
    height, width = row.height or 0, row.width or 0
    if "frame" in row.times and row.streams == 1:
        ms = row.times["frame"].median_ms
        yield "batch", (height, width), row.batch, ms
        if row.batch == 1 and height * width:
            divisor = math.gcd(height, width)
            yield "pixels", (height // divisor, width // divisor), height * width, ms
    if "round" in row.times:
        yield "streams", (height, width, row.batch), row.streams, row.times["round"].median_ms


def _compute_excess(exponent: float) -> float:
    return 2.0 ** (exponent - 1.0) - 1.0


def _fit_exponent(points: Mapping[int, float]) -> float:
    """The slope of log(time) over log(amount), by least squares."""
    return float(np.polyfit(np.log([*points]), np.log([*points.values()]), 1)[0])


def _format_fit(fit: Fit) -> str:
    low, high, excess = fit.worst
    return (
        f"{format_subject(fit)}, {fit.name}, with {fit.quantity}: exponent {fit.exponent:.2f}, "
        f"a doubling takes {_format_excess(fit.excess)} time than by linear growth, "
        f"and {_format_excess(excess)} between {low} and {high}"
    )


def _format_excess(excess: float) -> str:
    """0.05 -> "5 % more"."""
    return f"{format_share(abs(excess))} {'more' if excess > 0 else 'less'}"
