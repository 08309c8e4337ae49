"""Is the machine quiet? Figures of a busy, throttled or stolen processor are marked and never a reference."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from i2i_sdk.perf.record import Conditions
from i2i_sdk.perf.timing import SETTLE_S, Turns, time_call

# What a share may be before figures are marked.
MAX_OTHERS, MAX_LOAD = 0.08, 0.25  # in cores; for each core
MAX_STOLEN, MAX_SLOWDOWN, MAX_DISTURBED = 0.02, 0.10, 0.10
CHECK_REPEATS = 3  # of which the fastest counts: a clock is judged by its best, not by an interruption
INITIAL_CHECKS = 5  # before anything is measured
USUAL_PERCENTILE = 25  # a machine that is disturbed most of the time has its usual speed in between
MAX_CORES = 4  # that are looked at each time


@dataclass(frozen=True)
class Usage:
    """Processor time since the start of the machine, in ticks of all cores together."""

    total: int
    busy: int  # of it, not idle; without what was stolen
    stolen: int
    own: int  # of this process, and of its descendants that ended
    throttled: int | None


class QuietMonitor:
    """Watches the machine from entering to leaving; `conditions` says how it was.

    Call `check_steady` now and then, while nothing is measured: it times a calculation that is always the
    same, which only a slower clock, or another process on its core, makes slower. Linux tells the rest;
    elsewhere the load average has to do.
    """

    def __init__(self, proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> None:
        self._proc, self._sys = proc, sys
        self._clock: list[float] = []
        self._turns = self._repeated = self._disturbed = 0

    def __enter__(self) -> QuietMonitor:
        self._began, self._load = time.perf_counter(), read_load()
        self._before = read_usage(self._proc, self._sys)
        for _ in range(INITIAL_CHECKS):
            self.check_steady()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            return
        self.check_steady()
        seconds = time.perf_counter() - self._began
        turns = (self._repeated / self._turns, self._disturbed / self._turns) if self._turns else (None, None)
        used = compute_shares(self._before, read_usage(self._proc, self._sys))
        slowdown = compute_slowdown(self._clock)
        found = Conditions(seconds, self._load, read_load(), *used[:2], slowdown, used[2], *turns)
        self.conditions = replace(found, marks=list_marks(found, os.cpu_count() or 1))

    def count_turns(self, turns: Turns) -> None:
        """Keep in mind how many turns were disturbed, for the conditions."""
        self._turns += turns.kept_count
        self._repeated += sum(turns.repeated.values())
        self._disturbed += turns.disturbed

    def check_steady(self) -> bool:
        """Time the calculation. Takes a tenth of a second, most of it a pause for others' threads.

        Returns whether it is as fast as usual: no more than 10 % slower than a quarter of all looks.
        """
        time.sleep(SETTLE_S)
        self._clock.append(time_slowest_core())
        usual = float(np.percentile(self._clock, USUAL_PERCENTILE))
        return self._clock[-1] <= (1 + MAX_SLOWDOWN) * usual


def time_slowest_core() -> float:
    """Milliseconds of the calculation on the slowest of up to four cores; of any core where not on Linux."""
    if not hasattr(os, "sched_setaffinity"):
        return min(time_call(run_calculation) for _ in range(CHECK_REPEATS))
    allowed = os.sched_getaffinity(0)
    cores = sorted(allowed)
    try:
        return max(_time_on_core(core) for core in cores[:: max(1, len(cores) // MAX_CORES)][:MAX_CORES])
    finally:
        os.sched_setaffinity(0, allowed)


def _time_on_core(core: int) -> float:
    os.sched_setaffinity(0, {core})
    return min(time_call(run_calculation) for _ in range(CHECK_REPEATS))


def run_calculation() -> int:
    """Always the same work for one core, of some milliseconds."""
    return sum(number & 7 for number in range(100_000))


def compute_slowdown(clock: list[float]) -> float:
    """How much slower the usual speed of the slowest third of the time was than that of the fastest.

    Less than nine looks are cut into halves, less than six not at all: one look is no part of the time.
    """
    thirds = np.array_split(clock, max(1, min(3, len(clock) // 3)))
    parts = [float(np.percentile(third, USUAL_PERCENTILE)) for third in thirds]
    return max(parts) / min(parts) - 1


def compute_shares(
    before: Usage | None, after: Usage | None
) -> tuple[float | None, float | None, int | None]:
    """Between two readings: the shares that other processes and other machines took, and throttlings."""
    if not (before and after and after.total > before.total):
        return None, None, None
    total = after.total - before.total
    others = max(0.0, (after.busy - before.busy - (after.own - before.own)) / total)
    throttled = None
    if before.throttled is not None and after.throttled is not None:
        throttled = after.throttled - before.throttled
    return others, (after.stolen - before.stolen) / total, throttled


def list_marks(conditions: Conditions, cores: int) -> tuple[str, ...]:
    """Everything that makes figures of these conditions unreliable."""
    others, load = conditions.others, conditions.load_before
    marks: list[str] = []
    if others is not None:
        if others * cores > MAX_OTHERS:
            marks.append(f"busy: other processes took {others * cores:.2f} of {cores} cores")
    elif load is None:
        marks.append("unknown: this system does not tell whether it was busy")
    elif load > MAX_LOAD * cores:
        marks.append(f"busy: the load was {load:.2f} on {cores} cores before it began")
    if conditions.throttled:
        marks.append(f"throttled: the processor was too hot {conditions.throttled} times")
    limits = (
        (conditions.stolen, MAX_STOLEN, "shared: the hypervisor gave {:.0%} of the processor time to others"),
        (conditions.slowdown, MAX_SLOWDOWN, "unsteady clock: a fixed calculation became up to {:.0%} slower"),
        (conditions.disturbed, MAX_DISTURBED, "disturbed: the machine was slow around {:.0%} of the turns"),
    )
    marks += [text.format(share) for share, most, text in limits if share is not None and share > most]
    return tuple(marks)


def read_load() -> float | None:
    """The load average over the last minute; None where there is none."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def read_usage(proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> Usage | None:
    """What Linux has counted; None on other systems."""
    try:
        words = (proc / "stat").read_text().split("\n", 1)[0].split()
    except OSError:
        return None
    user, nice, system, idle, iowait, irq, softirq, steal = map(int, words[1:9])
    busy = user + nice + system + irq + softirq
    own = round(sum(os.times()[:4]) * os.sysconf("SC_CLK_TCK"))
    return Usage(busy + idle + iowait + steal, busy, steal, own, count_throttlings(sys))


def count_throttlings(sys: Path) -> int | None:
    """How often the processor's cores were slowed down because of heat; None where nobody counts."""
    counts: list[int] = []
    for file in sys.glob("devices/system/cpu/cpu*/thermal_throttle/core_throttle_count"):
        with suppress(OSError, ValueError):
            counts.append(int(file.read_text()))
    return sum(counts) if counts else None
