"""Statistics and the order of measurement. No test here asserts a time."""

from __future__ import annotations

import json
import math
import time
from importlib import metadata
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from i2i_sdk.device import read_cpu_name, read_peak_memory
from i2i_sdk.perf.machine import describe_machine
from i2i_sdk.perf.timing import (
    MAX_REPEATS,
    compute_spread,
    compute_statistics,
    take_turns,
    time_interleaved,
    warm_up,
)


def test_statistics_of_known_samples() -> None:
    timing = compute_statistics([float(ms) for ms in range(100, -1, -1)])  # percentiles are themselves
    assert timing.runs == 101
    assert (timing.min_ms, timing.median_ms, timing.p95_ms, timing.p99_ms) == (0.0, 50.0, 95.0, 99.0)
    assert timing.mean_ms == 50.0


@pytest.mark.parametrize(
    ("times", "median", "p95", "mean"),
    [([1.0, 2.0], 1.5, 1.95, 1.5), ([7.5], 7.5, 7.5, 7.5), ([1.0] * 99 + [1000.0], 1.0, 1.0, 10.99)],
)
def test_percentiles_interpolate_and_an_outlier_moves_the_mean_alone(
    times: list[float], median: float, p95: float, mean: float
) -> None:
    timing = compute_statistics(times)
    assert (timing.median_ms, timing.p95_ms, timing.mean_ms) == pytest.approx((median, p95, mean))
    assert timing.runs == len(times)


def test_no_samples() -> None:
    with pytest.raises(ValueError, match="no times"):
        compute_statistics([])


def test_the_spread_is_a_confidence_interval_of_the_median() -> None:
    """Order statistics: of ten the second and the ninth, of twenty the sixth and the fifteenth."""
    ten = [float(ms) for ms in (100, 91, 92, 98, 97, 93, 96, 94, 95, 99)]
    assert compute_spread(ten) == pytest.approx((99 - 92) / 2 / 95.5)
    assert compute_spread([float(ms) for ms in range(91, 111)]) == pytest.approx((105 - 96) / 2 / 100.5)
    assert compute_spread([90.0, 100.0, 120.0]) == pytest.approx(0.15)  # too few for 95 %: all of them
    assert compute_spread([7.0]) == 0.0 and compute_spread([0.0, 0.0]) == 0.0
    assert compute_spread([-90.0, -100.0, -120.0]) == pytest.approx(0.15)  # of a difference


@given(st.lists(st.floats(1, 1000), min_size=1, max_size=60), st.floats(0.1, 10))
def test_the_spread_does_not_depend_on_order_or_unit(medians: list[float], factor: float) -> None:
    value = compute_spread(medians)
    assert 0 <= value <= (max(medians) - min(medians)) / 2 / np.median(medians) + 1e-9
    assert compute_spread(medians[::-1]) == value
    assert compute_spread([factor * ms for ms in medians]) == pytest.approx(value)


def test_rounds_count_for_the_spread_and_not_single_calls() -> None:
    rounds = [[10.0, 30.0, 10.0]] * 4 + [[12.0, 12.0, 50.0]] * 4
    flat = [ms for times in rounds for ms in times]
    assert compute_statistics(flat, rounds).spread == pytest.approx((12 - 10) / 2 / 11)


def test_a_slow_round_counts_as_much_as_a_fast_one() -> None:
    """It has fewer calls, since a turn lasts for a time."""
    rounds = [[2.6] * 19] * 4 + [[5.2] * 9] * 5
    flat = [ms for times in rounds for ms in times]
    assert np.median(flat) == 2.6 and compute_statistics(flat, rounds).median_ms == 5.2


def test_turns_that_were_disturbed_are_taken_again() -> None:
    """It is not their own times that decide. The turn after waits until the machine is steady."""
    order: list[str] = []
    looks = iter([True, True, False, False, True, *[True] * 50])  # after the first b, and while it waits
    turns = {name: (lambda name=name: order.append(name) or [float(len(order))]) for name in ("a", "b")}
    found = take_turns(turns, 3, check_steady=lambda: next(looks))
    assert "".join(order) == "abb" + "ab" * 2
    assert found.repeated == {"a": 0, "b": 1} and (found.kept_count, found.disturbed) == (6, 0)
    assert found.rounds == {"a": [[1.0], [4.0], [6.0]], "b": [[3.0], [5.0], [7.0]]}


def test_a_machine_that_is_never_steady_is_not_waited_for_long() -> None:
    take = Mock(return_value=[1.0])
    found = take_turns({"a": take, "b": take}, 10, check_steady=lambda: False)
    assert found.repeated == {"a": 10 * MAX_REPEATS, "b": 10 * MAX_REPEATS}
    assert take.call_count == 20 * (1 + MAX_REPEATS)
    assert (found.kept_count, found.disturbed) == (20, 20)


def test_rounds_go_on_for_the_seconds() -> None:
    found = take_turns({"a": lambda: [1.0]}, 1, seconds=0.05, check_steady=lambda: True)
    assert len(found.rounds["a"]) > 1


def test_warming_up_ends_when_times_stay_alike() -> None:
    call = Mock(side_effect=lambda: time.sleep(0.05 if call.call_count < 6 else 0.004))
    assert warm_up(call).calls == call.call_count > 6


def test_calls_take_turns() -> None:
    order: list[str] = []
    calls = {name: (lambda name=name: order.append(name)) for name in ("a", "b", "c")}
    times = time_interleaved(calls, rounds=3, warmup=2)
    assert order == ["a", "a", "b", "b", "c", "c", *["a", "b", "c"] * 3]
    assert list(times) == ["a", "b", "c"]
    assert all(len(ms) == 3 and all(math.isfinite(t) and t >= 0 for t in ms) for ms in times.values())


def test_warm_up_is_not_measured() -> None:
    call = Mock()
    assert time_interleaved({"x": call}, rounds=0, warmup=3) == {"x": []}
    assert call.call_count == 3


def test_machine_names_what_a_figure_depends_on() -> None:
    facts = describe_machine()
    assert facts["cpu"] == read_cpu_name() and facts["cpu"]
    assert facts["numpy"] == np.__version__
    assert facts["onnxruntime"] == metadata.version("onnxruntime")
    assert isinstance(facts["cores"], int) and facts["cores"] >= 1
    assert json.loads(json.dumps(facts)) == facts


def test_peak_memory_never_falls() -> None:
    block = np.ones(2**26, np.uint8)
    peak = read_peak_memory()
    assert peak is None or 2**26 <= peak < 2**40
    del block
    assert (read_peak_memory() or 0) >= 0.99 * (peak or 0)  # Linux counts in batches of pages
