"""How time grows with pixels, batch and streams: exponents of power laws, and what is worse than linear."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from i2i_sdk.perf.record import Row

MAX_EXCESS = 0.05  # more time a doubling than twice; what is above is listed


@dataclass(frozen=True)
class GrowthKind:
    """Something that time grows with."""

    time: str  # of `record.TIMES`
    get_amount: Callable[[Row], int]  # what varies
    get_group: Callable[[Row], tuple[int, ...]]  # what has to be equal
    is_included: Callable[[Row], bool]  # rows that count
    min_points: int  # points for a fit


def _get_size(row: Row) -> tuple[int, int]:
    return row.height or 0, row.width or 0


def _compute_aspect(row: Row) -> tuple[int, ...]:
    """Height to width in smallest numbers: (1, 1) for every square."""
    height, width = _get_size(row)
    divisor = math.gcd(height, width) or 1
    return height // divisor, width // divisor


def _is_single_picture(row: Row) -> bool:
    return (row.batch, row.streams) == (1, 1) and math.prod(_get_size(row)) > 0


KINDS: dict[str, GrowthKind] = {
    "pixels": GrowthKind(
        "frame", lambda row: math.prod(_get_size(row)), _compute_aspect, _is_single_picture, 3
    ),
    # engines are measured at batch 1 and 4 only
    "batch": GrowthKind("frame", lambda row: row.batch, _get_size, lambda row: row.streams == 1, 2),
    "streams": GrowthKind(
        "round", lambda row: row.streams, lambda row: (*_get_size(row), row.batch), lambda row: True, 3
    ),
}


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

    Pixels vary at batch 1 and one aspect, batch at one size, streams at one size and batch. Pixels and
    streams need three points, batch two. Raises ValueError where the same point was measured twice, and for
    a time that is not above 0.
    """
    all_rows = tuple(rows)
    found: list[Fit] = []
    for against, kind in KINDS.items():
        groups: dict[tuple[str, str, tuple[int, ...]], dict[int, float]] = defaultdict(dict)
        for row in all_rows:
            if kind.time not in row.times or not kind.is_included(row):
                continue
            points = groups[row.subject, row.name, kind.get_group(row)]
            amount = kind.get_amount(row)
            if amount in points:
                raise ValueError(f"{row.subject} {row.name}: {amount} {against} were measured twice")
            points[amount] = row.times[kind.time].median_ms
        for (subject, name, where), points in groups.items():
            if len(points) >= kind.min_points:
                ordered = tuple(sorted(points.items()))
                found.append(Fit(subject, name, against, where, ordered, _fit_exponent(points)))
    return tuple(found)


def select_superlinear(candidates: Iterable[Fit]) -> tuple[Fit, ...]:
    """Those that grow worse than linearly by more than 5 % a doubling, over all or between neighbors."""
    return tuple(fit for fit in candidates if max(fit.excess, fit.worst[2]) > MAX_EXCESS)


def _compute_excess(exponent: float) -> float:
    return 2.0 ** (exponent - 1.0) - 1.0


def _fit_exponent(points: Mapping[int, float]) -> float:
    """The slope of log(time) over log(amount), by least squares."""
    amounts, times = (np.array(list(values), float) for values in (points.keys(), points.values()))
    if not ((amounts > 0).all() and (times > 0).all()):
        raise ValueError(f"amounts and times have to be above 0, they are {dict(points)}")
    x, y = np.log(amounts) - np.log(amounts).mean(), np.log(times)
    return float(x @ y / (x @ x))
