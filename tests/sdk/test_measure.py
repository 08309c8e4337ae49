"""Statistics and the order of measurement. No test here asserts a time."""

from __future__ import annotations

import json
import math
from importlib import metadata

import numpy as np
import pytest

from i2i_sdk.measure import cpu_name, interleaved, machine, package_version, peak_memory, statistics


def test_statistics_of_known_samples() -> None:
    timing = statistics([float(ms) for ms in range(100, -1, -1)])  # 100 … 0, so percentiles are themselves
    assert timing.runs == 101
    assert (timing.min_ms, timing.median_ms, timing.p95_ms, timing.p99_ms) == (0.0, 50.0, 95.0, 99.0)
    assert timing.mean_ms == 50.0


def test_percentiles_interpolate() -> None:
    timing = statistics([1.0, 2.0])
    assert timing.median_ms == 1.5 and timing.p95_ms == pytest.approx(1.95) and timing.mean_ms == 1.5


def test_one_sample_is_all_of_them() -> None:
    timing = statistics([7.5])
    assert {timing.min_ms, timing.median_ms, timing.p95_ms, timing.p99_ms, timing.mean_ms} == {7.5}
    assert timing.runs == 1


def test_an_outlier_moves_the_mean_and_not_the_median() -> None:
    timing = statistics([1.0] * 99 + [1000.0])
    assert timing.median_ms == 1.0 and timing.p95_ms == 1.0 and timing.mean_ms == pytest.approx(10.99)


def test_no_samples() -> None:
    with pytest.raises(ValueError, match="no times"):
        statistics([])


def test_results_are_plain_floats_for_json() -> None:
    timing = statistics(list(np.array([1, 2, 3], np.float64)))
    assert all(type(value) in (int, float) or isinstance(value, float) for value in vars(timing).values())
    json.dumps(vars(timing))


def test_calls_take_turns() -> None:
    order: list[str] = []
    calls = {name: (lambda name=name: order.append(name)) for name in ("a", "b", "c")}
    times = interleaved(calls, rounds=3, warmup=2)
    assert order == ["a", "a", "b", "b", "c", "c", *["a", "b", "c"] * 3]
    assert list(times) == ["a", "b", "c"]
    assert all(len(ms) == 3 and all(math.isfinite(t) and t >= 0 for t in ms) for ms in times.values())


def test_warm_up_is_not_measured() -> None:
    count = 0

    def call() -> None:
        nonlocal count
        count += 1

    assert len(interleaved({"x": call}, rounds=4, warmup=0)["x"]) == 4
    assert count == 4
    assert interleaved({"x": call}, rounds=0, warmup=3) == {"x": []}
    assert count == 7


def test_a_call_that_fails_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        interleaved({"x": lambda: 1 / 0}, rounds=1, warmup=0)


def test_machine_names_what_a_figure_depends_on() -> None:
    facts = machine()
    assert facts["cpu"] == cpu_name() and facts["cpu"]
    assert facts["numpy"] == np.__version__
    assert facts["onnxruntime"] == metadata.version("onnxruntime")
    assert isinstance(facts["cores"], int) and facts["cores"] >= 1
    assert json.loads(json.dumps(facts)) == facts


def test_versions_of_what_is_not_installed() -> None:
    assert package_version("no-such-distribution-anywhere") is None


def test_peak_memory_never_falls() -> None:
    block = np.ones(2**26, np.uint8)
    peak = peak_memory()
    assert peak is None or 2**26 <= peak < 2**40
    del block
    assert (peak_memory() or 0) >= (peak or 0)
