"""The timer and its statistics: calls that take turns, so that a slow moment hits all alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

# ONNX Runtime's threads go on spinning for tens of milliseconds after a call, and slowed down whatever came
# next by up to 2 times; after a tenth of a second that was gone.
SETTLE_S = 0.1
MIN_CALLS, MIN_TURN_S, MAX_CALLS = 2, 0.05, 20  # of a turn that are measured
STABLE_TOLERANCE = 0.05  # the last calls of a warm-up may differ by so much from those before
WARM_UP_WINDOW, MAX_WARM_UP_CALLS, MAX_WARM_UP_S = 4, 60, 15.0
SPREAD_PARTS = 20  # that times without rounds are cut into for the spread
CONFIDENCE = 0.95
# Times that a turn is taken again, and waited for, while the machine is disturbed.
MAX_REPEATS, MAX_WAITS = 2, 10


Times = Sequence[float]


@dataclass(frozen=True)
class Timing:
    """Statistics of many calls, in milliseconds."""

    runs: int
    min_ms: float
    median_ms: float
    p95_ms: float
    p99_ms: float
    mean_ms: float
    # Half the width of the 95 % confidence interval of the median of the rounds, as a share of the median:
    # what it is uncertain by, because the machine is not the same from one round to the next. Of fewer than
    # nine rounds that is nearly all of them, of fewer than six all.
    spread: float


@dataclass(frozen=True)
class WarmUp:
    """How a call became ready to be measured."""

    calls: int
    stable: bool  # else it was given up, and the figures hold some of it


def compute_statistics(milliseconds: Times, rounds: Sequence[Times] | None = None) -> Timing:
    """Summarize times in their order of measurement. Percentiles interpolate linearly, as NumPy does.

    rounds: the same times, as they were taken: the median is that of the rounds' medians then, since a slow
    round has fewer calls and would count for less. Without them 20 parts of equal length stand for rounds in
    the spread.
    """
    if not len(milliseconds):
        raise ValueError("no times to summarize")
    p50, p95, p99 = (float(np.percentile(milliseconds, q)) for q in (50, 95, 99))
    mean, least = float(np.mean(milliseconds)), float(min(milliseconds))
    parts = rounds or np.array_split(np.asarray(milliseconds, float), min(SPREAD_PARTS, len(milliseconds)))
    medians = [float(np.median(part)) for part in parts]
    middle = float(np.median(medians)) if rounds else p50
    return Timing(len(milliseconds), least, middle, p95, p99, mean, compute_spread(medians))


def compute_spread(medians: Sequence[float]) -> float:
    """As `Timing.spread`, by order statistics (Conover 1999, 3.2): no shape of the distribution is assumed.

    Of fewer than six medians the interval is all of them, and covers less than 95 %.
    """
    ordered, n = sorted(medians), len(medians)
    below = [sum(math.comb(n, i) for i in range(rank + 1)) / 2**n for rank in range(n)]  # P(at most rank)
    cut = sum(2 * chance <= 1 - CONFIDENCE for chance in below)
    low, high = ordered[cut - 1 if cut else 0], ordered[n - cut if cut else -1]
    middle = float(np.median(ordered))
    return float((high - low) / 2 / abs(middle)) if middle else 0.0


def compute_median_ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    """How many times faster: the median of the ratios taken pair by pair."""
    return float(np.median(np.asarray(slow) / np.asarray(fast)))


def time_call(call: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1000.0


def warm_up(call: Callable[[], object]) -> WarmUp:
    """Call until the times stay alike: lazy initialization, caches and clocks are done then."""
    times: list[float] = []
    start = time.perf_counter()
    while len(times) < MAX_WARM_UP_CALLS and time.perf_counter() - start < MAX_WARM_UP_S:
        times.append(time_call(call))
        before, last = times[-2 * WARM_UP_WINDOW : -WARM_UP_WINDOW], times[-WARM_UP_WINDOW:]
        if before and len(times) >= 2 * WARM_UP_WINDOW:
            change = abs(float(np.median(last)) - float(np.median(before)))
            if change <= STABLE_TOLERANCE * float(np.median(before)):
                return WarmUp(len(times), True)
    return WarmUp(len(times), False)


def time_turn(call: Callable[[], object]) -> list[float]:
    """Milliseconds of a few calls in a row, without the first: it finds others' data in the caches."""
    call()
    times: list[float] = []
    while len(times) < MIN_CALLS or (sum(times) < 1000 * MIN_TURN_S and len(times) < MAX_CALLS):
        times.append(time_call(call))
    return times


def pause() -> bool:
    """Let the last turn's threads fall asleep. True: it says nothing against the turn."""
    time.sleep(SETTLE_S)
    return True


@dataclass(frozen=True)
class Turns:
    """What `take_turns` measured, by name."""

    rounds: dict[str, list[list[float]]]  # milliseconds of each round
    repeated: dict[str, int]  # turns that were thrown away
    disturbed: int  # of the turns that were kept

    @property
    def kept_count(self) -> int:
        """How many turns."""
        return sum(map(len, self.rounds.values()))


def take_turns(
    turns: Mapping[str, Callable[[], list[float]]],
    rounds: int,
    *,
    seconds: float = 0.0,
    check_steady: Callable[[], bool] = pause,
) -> Turns:
    """Every turn once per round, for at least so many rounds and so many seconds.

    Where the machine is not as fast as usual, the next turn waits, and the one before is taken again: what is
    thrown away is decided by something else than its own times. Neither goes on for long: where the machine
    stays disturbed, turns are kept and counted.

    Args:
        turns: by name, each gives milliseconds of its calls.
        rounds: at least.
        seconds: at least.
        check_steady: called between turns; it pauses and says whether the machine is as fast as usual.

    Returns:
        Milliseconds by name and round, and how many turns were disturbed.
    """
    times: dict[str, list[list[float]]] = {name: [] for name in turns}
    repeated, disturbed = dict.fromkeys(turns, 0), 0
    start, done = time.perf_counter(), 0
    calm = check_steady()
    while done < rounds or time.perf_counter() - start < seconds:
        done += 1
        for name, take in turns.items():
            timings: list[float] = []
            for attempt in range(MAX_REPEATS + 1):
                for _ in range(MAX_WAITS):
                    calm = calm or check_steady()
                before, timings, calm = calm, take(), check_steady()
                if before and calm:
                    break
                if attempt < MAX_REPEATS:
                    repeated[name] += 1
                else:
                    disturbed += 1
            times[name].append(timings)
    return Turns(times, repeated, disturbed)


def time_interleaved(
    calls: Mapping[str, Callable[[], object]], *, rounds: int = 50, warmup: int = 5
) -> dict[str, list[float]]:
    """Time every call of this process once per round, for what cannot have a process of its own.

    Args:
        calls: by name.
        rounds: in which each is timed once.
        warmup: calls of each before, which are not timed.

    Returns:
        Milliseconds by name, in order of measurement, so that ratios can be taken round by round.
    """
    for call in calls.values():
        for _ in range(warmup):
            call()
    pause = SETTLE_S if len(calls) > 1 else 0.0  # nobody else's threads are awake
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            time.sleep(pause)
            times[name].append(time_call(call))
    return times
