"""Ranges of activations: what is kept of them, and how they are chosen."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto, helper
from onnxruntime.quantization.calibrate import HistogramCollector
from scipy.stats import laplace
from scipy.stats import t as student_t

from i2i_export.int8.calibrate import (
    BINS,
    RANGE_METHODS,
    Activation,
    QuantizationGrid,
    choose_entropy_range,
    choose_mse_range,
    choose_percentile_range,
    observe,
)
from tests.export.conftest import make_float_model

SIGNED, UNSIGNED = QuantizationGrid(signed=True), QuantizationGrid(signed=False)
LARGE = 1e6


def make_identity_graph(channels: int, height: int, width: int) -> ModelProto:
    """float32 [1, C, H, W] "x" -> the same as "y"."""
    return make_float_model([helper.make_node("Identity", ["x"], ["y"])], [1, channels, height, width], "y")


def observe_values(values: NDArray[Any]) -> Activation:
    """What `observe` keeps of one frame with these values."""
    frame: Any = values.astype(np.float32).reshape(1, 1, -1)
    return observe(make_identity_graph(*frame.shape), ["y"], [frame])["y"]


@st.composite
def draw_frames(draw: st.DrawFn) -> list[NDArray[np.float32]]:
    """Frames [C, H, W] of one shape, each of another magnitude: the range doubles on the way, or not."""
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4)))
    number = st.floats(-1, 1, width=32, allow_subnormal=False)
    count, size = draw(st.integers(1, 6)), int(np.prod(shape))
    sizes = st.floats(-20, 6, allow_subnormal=False)
    numbers = st.lists(number, min_size=size, max_size=size)
    values = [np.array(draw(numbers)) * 10 ** draw(sizes) for _ in range(count)]
    return [v.astype(np.float32).reshape(shape) for v in values]


@given(draw_frames())
def test_streamed_frames_show_what_all_at_once_would(frames: list[NDArray[Any]]) -> None:
    seen = observe(make_identity_graph(*frames[0].shape), ["y"], frames)["y"]
    together = np.stack(frames).astype(np.float64)
    assert (seen.low, seen.high) == (min(0, together.min()), max(0, together.max()))
    np.testing.assert_allclose(seen.channel_mean, together.mean((0, 2, 3)), rtol=1e-6, atol=1e-30)
    np.testing.assert_array_equal(seen.channel_peak, np.abs(together).max((0, 2, 3)))
    assert seen.counts.sum() == together.size
    assert seen.reach >= np.abs(together).max()
    # Values on an edge, to the rounding of float32, may count on either side of it.
    edges = np.linspace(-seen.reach, seen.reach, BINS + 1)
    ordered, slack = np.sort(together.ravel()), 1e-6 * seen.reach
    below = np.concatenate([[0], np.cumsum(seen.counts)])
    assert (np.searchsorted(ordered, edges - slack, "left") <= below).all()
    assert (below <= np.searchsorted(ordered, edges + slack, "right")).all()


def test_frames_are_not_kept() -> None:
    """One frame at a time is alive, and what is kept of a tensor has a size of its own."""
    before: list[weakref.ref[Any]] = []

    def iterate_frames() -> Iterator[Any]:
        for number in range(6):
            gc.collect()
            assert sum(frame() is not None for frame in before) <= 1
            frame = np.full((3, 64, 64), number, np.float32)
            before.append(weakref.ref(frame))
            yield frame

    seen = observe(make_identity_graph(3, 64, 64), ["y"], iterate_frames())["y"]
    assert len(before) == 6 and seen.high == 5
    sizes = {name: np.size(value) for name, value in vars(seen).items() if np.size(value) > 1}
    assert sizes == {"counts": BINS, "channel_mean": 3, "channel_peak": 3}


limit = st.floats(0, LARGE)


def round_to_grid(grid: QuantizationGrid, low: float, high: float, values: NDArray[Any]) -> NDArray[Any]:
    """`values` through QuantizeLinear and DequantizeLinear."""
    step, zero = grid.compute_scale_and_zero(low, high)
    kind = np.iinfo(np.int8 if grid.signed else np.uint8)
    assert zero.dtype == kind.dtype and step.dtype == np.float32 and step > 0
    shift = float(zero)
    return (np.clip(np.rint(values / np.float64(step)) + shift, kind.min, kind.max) - shift) * step


@given(limit, limit, st.booleans())
def test_a_grid_hits_zero_and_covers_its_limits(below: float, above: float, signed: bool) -> None:
    grid = QuantizationGrid(signed)
    low, high = grid.compute_limits(-below, above)
    assert low <= -below * (1 - 1e-9) and high >= above * (1 - 1e-9)
    np.testing.assert_allclose(grid.compute_limits(low, high), (low, high), rtol=1e-12)
    values = np.linspace(low, high, 1001)
    found = round_to_grid(grid, -below, above, np.append(values, 0.0))
    assert found[-1] == 0
    step = max(high - low, 2e-12) / (254 if signed else 255)  # no range is narrower than 1e-12 on a side
    assert np.abs(found[:-1] - values).max() <= 0.501 * step
    if signed:
        assert grid.compute_scale_and_zero(-below, above)[1] == 0
        wider = 1 - 1e-6  # nothing is given away: the range ends where one of the limits is
        assert high * wider <= above or low * wider >= -below or max(below, above) == 0


def test_an_unsigned_grid_spends_nothing_on_what_never_comes() -> None:
    assert UNSIGNED.compute_limits(0, 3) == (0, 3)
    assert UNSIGNED.compute_scale_and_zero(0, 3)[1] == 0
    assert UNSIGNED.compute_scale_and_zero(-3, 0)[1] == 255


DISTRIBUTIONS = {
    "normal": lambda rng: rng.normal(size=40_000),
    "skew": lambda rng: rng.gamma(2, 1, 40_000) - 0.5,
    "outliers above": lambda rng: np.append(rng.normal(size=40_000), rng.uniform(0, 30, 12)),
    "outliers below": lambda rng: np.append(rng.normal(size=40_000), rng.uniform(-30, 0, 12)),
    "relu": lambda rng: np.maximum(rng.normal(size=40_000), 0),
    "negative": lambda rng: -np.abs(rng.standard_t(3, 40_000)),
}


@pytest.fixture(params=DISTRIBUTIONS)
def samples(request: pytest.FixtureRequest) -> NDArray[np.float64]:
    return DISTRIBUTIONS[request.param](np.random.default_rng(1)).astype(np.float32).astype(np.float64)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("name", RANGE_METHODS)
def test_a_range_lies_in_what_was_seen(name: str, signed: bool, samples: NDArray[np.float64]) -> None:
    seen, grid = observe_values(samples), QuantizationGrid(signed)
    low, high = RANGE_METHODS[name](seen, grid)
    whole = grid.compute_limits(seen.low, seen.high)
    assert whole[0] <= low <= 0 <= high <= whole[1]
    assert high - low >= 0.3 * np.abs(samples).std()
    if name == "minmax":
        assert (low, high) == whole


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("name", RANGE_METHODS)
def test_a_silent_tensor_has_a_range(name: str, signed: bool) -> None:
    low, high = RANGE_METHODS[name](observe_values(np.zeros(50)), QuantizationGrid(signed))
    assert -1e-9 < low <= 0 <= high < 1e-9
    assert (round_to_grid(QuantizationGrid(signed), low, high, np.zeros(3)) == 0).all()


def test_percentiles_leave_out_one_in_100_000_on_either_side(samples: NDArray[np.float64]) -> None:
    seen = observe_values(samples)
    expected = np.quantile(samples, [1e-5, 1 - 1e-5], method="inverted_cdf")
    low, high = choose_percentile_range(seen, UNSIGNED)
    width = 2 * seen.reach / BINS
    assert low == pytest.approx(min(expected[0], 0), abs=width)
    assert high == pytest.approx(max(expected[1], 0), abs=width)


@pytest.mark.parametrize("signed", [True, False])
def test_mse_finds_the_least_squared_error(signed: bool, samples: NDArray[np.float64]) -> None:
    """Against a search over both ends, on the values themselves."""
    seen, grid = observe_values(samples), QuantizationGrid(signed)

    def compute_error(low: float, high: float) -> float:
        return float(np.square(samples - round_to_grid(grid, low, high, samples)).mean())

    shrinks = np.linspace(0.3, 1, 36)
    best = min(compute_error(seen.low * a, seen.high * b) for a, b in product(shrinks, shrinks))
    assert compute_error(*choose_mse_range(seen, grid)) <= 1.05 * best


@pytest.mark.parametrize("sign", [1, -1])
def test_mse_clips_an_outlier_at_its_own_end_only(sign: int) -> None:
    values = np.append(np.random.default_rng(1).normal(size=500_000), 12.0)
    inner, outer = choose_mse_range(observe_values(sign * values), UNSIGNED)[::sign]
    assert abs(outer) < 0.6 * 12
    assert abs(inner) > 0.75 * abs(values.min())


def make_dense_activation(density: Any, limit: float) -> Activation:
    """An activation with so many values that its histogram has the shape of `density`."""
    seen = Activation(-limit, limit, limit, np.zeros(BINS), np.zeros(1), np.full(1, limit))
    seen.counts = np.rint(1e9 * density(seen.compute_centers()) * 2 * limit / BINS)
    return seen


@pytest.mark.parametrize(("density", "reach"), [(laplace.pdf, 20.0), (student_t(5).pdf, 40.0)])
def test_entropy_agrees_with_onnxruntimes(density: Any, reach: float) -> None:
    seen = make_dense_activation(density, reach)
    # It wants a bin in the middle of an odd number of them.
    counts = np.insert(seen.counts, BINS // 2, seen.counts[BINS // 2]).astype(np.int64)
    edges = np.linspace(-reach, reach, BINS + 2)
    collector = HistogramCollector("entropy", True, BINS + 1, 128, 99.99, {})
    _, expected = collector.get_entropy_threshold((counts, edges, edges[0], edges[-1], reach), 128)
    assert 0.2 * reach < expected < 0.8 * reach
    for grid in (SIGNED, UNSIGNED):
        assert choose_entropy_range(seen, grid)[1] == pytest.approx(expected, rel=0.06)


def test_the_zeros_of_a_relu_do_not_move_an_entropy_range() -> None:
    """Half of all values in one bin: a range so small that it has a level for each bin would win."""
    seen = make_dense_activation(laplace.pdf, 20.0)
    half = Activation(0.0, 20.0, 20.0, seen.counts.copy(), seen.channel_mean, seen.channel_peak)
    half.counts[: BINS // 2] = 0
    expected = choose_entropy_range(half, UNSIGNED)
    assert expected[0] == 0 and expected[1] > 5
    half.counts[BINS // 2] += seen.counts[: BINS // 2].sum()
    assert choose_entropy_range(half, UNSIGNED) == expected
