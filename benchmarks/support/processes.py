"""What a process uses of the processor."""

from __future__ import annotations

import time

import psutil


class CpuShare:
    """Processor time of a process by the clock, since this was made; 1 is one core kept busy."""

    def __init__(self, process: int) -> None:
        self._process = psutil.Process(process)
        self._began, self._before = time.perf_counter(), self._read_cpu_s()

    def __call__(self) -> float:
        """So far."""
        return (self._read_cpu_s() - self._before) / (time.perf_counter() - self._began)

    def _read_cpu_s(self) -> float:
        times = self._process.cpu_times()
        return times.user + times.system
