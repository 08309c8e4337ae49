"""Measuring: the timer, statistics, what a figure must be read with, and the format of results.

The only copies in the project. What is needed everywhere is here; `record`, `comparing`, `quiet`, `energy`
and `candidates` are imported by who benchmarks.
"""

from i2i_sdk.measure.machine import (
    ENGINES,
    cpu_flags,
    cpu_name,
    machine,
    package_version,
    peak_memory,
)
from i2i_sdk.measure.timing import Timing, interleaved, statistics

__all__ = [
    "ENGINES",
    "Timing",
    "cpu_flags",
    "cpu_name",
    "interleaved",
    "machine",
    "package_version",
    "peak_memory",
    "statistics",
]
