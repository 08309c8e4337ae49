"""The timer and its statistics: calls that take turns, so that a slow moment hits all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

# ONNX Runtime's threads go on spinning for tens of milliseconds after a call, and slowed down whatever came
# next by up to 2 times; after a tenth of a second that was gone.
SETTLE_S = 0.1
LEAST_CALLS, LEAST_S, MOST_CALLS = 2, 0.05, 20  # of a turn that are measured
STABLE = 0.05  # the last calls of a warm-up may differ by so much from those before
WARM_UP_WINDOW, MOST_WARM_UP, MOST_WARM_UP_S = 4, 60, 15.0
PARTS = 10  # of a measurement whose medians are compared for the spread


@dataclass(frozen=True)
class Timing:
    """Statistics of many calls, in milliseconds."""

    runs: int
    min_ms: float
    median_ms: float
    p95_ms: float
    p99_ms: float
    mean_ms: float
    # How far the medians of ten consecutive parts lie apart (10th to 90th percentile), as a share of the
    # median: what it is uncertain by, because the machine changes while it is measured.
    spread: float


@dataclass(frozen=True)
class WarmUp:
    """How a call became ready to be measured."""

    calls: int
    stable: bool  # else it was given up, and the figures hold some of it


def statistics(milliseconds: Sequence[float]) -> Timing:
    """Summarise times in their order of measurement. Percentiles interpolate linearly, as NumPy does."""
    if not len(milliseconds):
        raise ValueError("no times to summarise")
    p50, p95, p99 = (float(np.percentile(milliseconds, q)) for q in (50, 95, 99))
    mean, least = float(np.mean(milliseconds)), float(min(milliseconds))
    return Timing(len(milliseconds), least, p50, p95, p99, mean, spread(milliseconds))


def spread(milliseconds: Sequence[float]) -> float:
    """As `Timing.spread`: 0 for times that stay alike, 0.1 where the machine wandered by 10 %."""
    parts = np.array_split(np.asarray(milliseconds, float), min(PARTS, len(milliseconds)))
    low, middle, high = np.percentile([np.median(part) for part in parts], (10, 50, 90))
    return float((high - low) / middle) if middle else 0.0


def ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    """How many times faster: the median of the ratios taken pair by pair."""
    return float(np.median(np.asarray(slow) / np.asarray(fast)))


def timed(call: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1000.0


def warm_up(call: Callable[[], object]) -> WarmUp:
    """Call until the times stay alike: lazy initialisation, caches and clocks are done then."""
    times: list[float] = []
    start = time.perf_counter()
    while len(times) < MOST_WARM_UP and time.perf_counter() - start < MOST_WARM_UP_S:
        times.append(timed(call))
        before, last = times[-2 * WARM_UP_WINDOW : -WARM_UP_WINDOW], times[-WARM_UP_WINDOW:]
        if before and len(times) >= 2 * WARM_UP_WINDOW:
            change = abs(float(np.median(last)) - float(np.median(before)))
            if change <= STABLE * float(np.median(before)):
                return WarmUp(len(times), True)
    return WarmUp(len(times), False)


def turn(call: Callable[[], object]) -> list[float]:
    """Milliseconds of a few calls in a row, without the first: it finds others' data in the caches."""
    call()
    times: list[float] = []
    while len(times) < LEAST_CALLS or (sum(times) < 1000 * LEAST_S and len(times) < MOST_CALLS):
        times.append(timed(call))
    return times


def take_turns(
    turns: Mapping[str, Callable[[], list[float]]],
    rounds: int,
    between: Callable[[], object] = lambda: None,
) -> dict[str, list[list[float]]]:
    """Every turn once per round, with a pause before each in which the last one's threads fall asleep.

    between: called before each round. Returns, by name, the times of each round.
    """
    times: dict[str, list[list[float]]] = {name: [] for name in turns}
    for _ in range(rounds):
        between()
        for name, take in turns.items():
            time.sleep(SETTLE_S)
            times[name].append(take())
    return times


def interleaved(
    calls: Mapping[str, Callable[[], object]], *, rounds: int = 50, warmup: int = 5
) -> dict[str, list[float]]:
    """Time every call of this process once per round, for what cannot have a process of its own.

    Returns the times in milliseconds per name, in order of measurement, so that ratios can be taken
    round by round.
    """
    for call in calls.values():
        for _ in range(warmup):
            call()
    pause = SETTLE_S if len(calls) > 1 else 0.0  # nobody else's threads are awake
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            time.sleep(pause)
            times[name].append(timed(call))
    return times
