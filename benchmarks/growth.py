"""How time grows with pixels, batch and streams: exponents of power laws, and what is worse than linear."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from i2i_sdk.measure.record import Row

EXCESS = 0.05  # more time a doubling than twice; what is above is listed


@dataclass(frozen=True)
class Kind:
    """Something that time grows with."""

    time: str  # of `record.TIMES`
    of: Callable[[Row], int]  # what varies
    same: Callable[[Row], tuple[int, ...]]  # what has to be equal
    only: Callable[[Row], bool]  # rows that count
    least: int  # points for a fit


def _pixels(row: Row) -> int:
    return (row.height or 0) * (row.width or 0)


def _aspect(row: Row) -> tuple[int, ...]:
    """Height to width in smallest numbers: (1, 1) for every square."""
    height, width = row.height or 0, row.width or 0
    divisor = math.gcd(height, width) or 1
    return height // divisor, width // divisor


KINDS: dict[str, Kind] = {
    "pixels": Kind(
        "frame", _pixels, _aspect, lambda row: (row.batch, row.streams) == (1, 1) and _pixels(row) > 0, 3
    ),
    # engines are measured at batch 1 and 4 only
    "batch": Kind(
        "frame",
        lambda row: row.batch,
        lambda row: (row.height or 0, row.width or 0),
        lambda row: row.streams == 1,
        2,
    ),
    "streams": Kind(
        "round",
        lambda row: row.streams,
        lambda row: (row.height or 0, row.width or 0, row.batch),
        lambda row: True,
        3,
    ),
}


@dataclass(frozen=True)
class Fit:
    """Time as a power of what varies: milliseconds = factor * amount ** exponent."""

    subject: str
    name: str
    against: str  # "pixels", "batch" or "streams"
    where: tuple[int, ...]  # what was the same: pixels' aspect, batch's size, streams' size and batch
    points: tuple[tuple[int, float], ...]  # (amount, median milliseconds), by amount
    exponent: float  # least squares in log-log; 1 is linear

    @property
    def excess(self) -> float:
        """More time a doubling than linear growth takes, over all: 0.05 is 5 % more than twice."""
        return 2.0 ** (self.exponent - 1.0) - 1.0

    @property
    def worst(self) -> tuple[int, int, float]:
        """The two neighbours between which time grows fastest, and the excess a doubling there."""
        pairs = zip(self.points, self.points[1:], strict=False)
        steps = [
            (a, b, 2.0 ** (_exponent({a: before, b: after}) - 1.0) - 1.0) for (a, before), (b, after) in pairs
        ]
        return max(steps, key=lambda step: step[2])


def fits(rows: Iterable[Row]) -> tuple[Fit, ...]:
    """A fit for all rows of the same thing that differ in one amount alone.

    Pixels vary at batch 1 and one aspect, batch at one size, streams at one size and batch. Pixels and
    streams need three points, batch two. Raises ValueError where the same point was measured twice, and for
    a time that is not above 0.
    """
    given = tuple(rows)
    found: list[Fit] = []
    for against, kind in KINDS.items():
        groups: dict[tuple[str, str, tuple[int, ...]], dict[int, float]] = defaultdict(dict)
        for row in given:
            if kind.time not in row.times or not kind.only(row):
                continue
            points = groups[row.subject, row.name, kind.same(row)]
            amount = kind.of(row)
            if amount in points:
                raise ValueError(f"{row.subject} {row.name}: {amount} {against} were measured twice")
            points[amount] = row.times[kind.time].median_ms
        for (subject, name, where), points in groups.items():
            if len(points) >= kind.least:
                ordered = tuple(sorted(points.items()))
                found.append(Fit(subject, name, against, where, ordered, _exponent(points)))
    return tuple(found)


def superlinear(found: Iterable[Fit]) -> tuple[Fit, ...]:
    """Those that grow worse than linearly by more than 5 % a doubling, over all or between neighbours."""
    return tuple(fit for fit in found if max(fit.excess, fit.worst[2]) > EXCESS)


def _exponent(points: Mapping[int, float]) -> float:
    """The slope of log(time) over log(amount), by least squares."""
    amounts, times = (np.array(list(values), float) for values in (points.keys(), points.values()))
    if not ((amounts > 0).all() and (times > 0).all()):
        raise ValueError(f"amounts and times have to be above 0, they are {dict(points)}")
    x, y = np.log(amounts) - np.log(amounts).mean(), np.log(times)
    return float(x @ y / (x @ x))
