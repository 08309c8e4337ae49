"""The front of latency against quality: what is worth choosing from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from i2i_sdk.perf.record import Row

MAX_PSNR = 80.0  # dB; beyond it not even a pixel in a hundred differs by a gray level


@dataclass(frozen=True)
class Point:
    """A variant as measured."""

    name: str
    ms: float  # of one frame, less is better
    psnr: float  # dB, more is better


def dominates(a: Point, b: Point) -> bool:
    """Is `a` at least as fast and at least as good as `b`, and better in one? Noise is not considered.

    Example:
        >>> dominates(Point("a", 8.0, 50.0), Point("b", 9.0, 50.0))
        True
    """
    return a.ms <= b.ms and a.psnr >= b.psnr and (a.ms < b.ms or a.psnr > b.psnr)


def find_pareto(points: Sequence[Point]) -> list[Point]:
    """The points that none dominates, the fastest first; each is better than the one before, or its equal."""
    kept = [point for point in points if not any(dominates(other, point) for other in points)]
    return sorted(kept, key=lambda point: point.ms)


def find_dominator(point: Point, points: Sequence[Point]) -> Point | None:
    """The fastest point of the front that dominates `point`; None for one that is on the front."""
    return next((other for other in find_pareto(points) if dominates(other, point)), None)


def make_points(rows: Sequence[Row]) -> list[Point]:
    """The rows that have a time and a quality. Beyond `MAX_PSNR` all are alike: no eye sees a difference."""
    return [
        Point(row.name, row.times["frame"].median_ms, min(row.values["psnr"], MAX_PSNR))
        for row in rows
        if "frame" in row.times and "psnr" in row.values
    ]
