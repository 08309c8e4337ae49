"""Which variants are worth choosing from: the front of latency against quality."""

from __future__ import annotations

from collections.abc import Sequence

from i2i_sdk.perf.pareto import Point, find_pareto
from i2i_sdk.perf.record import Row

MAX_PSNR = 80.0  # dB; beyond it not even a pixel in a hundred differs by a gray level


def make_points(rows: Sequence[Row]) -> list[Point]:
    """The rows that have a time and a quality. Beyond the ceiling all are alike: no eye sees a difference."""
    return [
        Point(row.name, row.times["frame"].median_ms, min(row.values["psnr"], MAX_PSNR))
        for row in rows
        if "frame" in row.times and "psnr" in row.values
    ]


def list_pareto_variants(rows: Sequence[Row]) -> list[str]:
    """Names of the variants of one subject, size and batch that no other one beats, the fastest first."""
    return [point.name for point in find_pareto(make_points(rows))]
