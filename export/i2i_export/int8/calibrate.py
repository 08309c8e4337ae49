"""Ranges of activations, from real frames, streamed one at a time.

What is kept of a tensor is its smallest and largest value, a histogram, and per channel the mean and the
largest magnitude: the memory needed does not grow with the number of frames.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray

from i2i_sdk.backends.ort.saturation import avoid_saturation
from i2i_sdk.quality.grids import QuantizationGrid

BINS = 4096
PERCENTILE = 99.999  # of all values lie inside the range on either side
SHRINKS = np.linspace(0.3, 1.0, 71)  # how much of the largest value a range may keep

Floats = NDArray[np.float64]


@dataclass
class Activation:
    """What was seen of one tensor, float32 [1, C, H, W] per frame."""

    low: float  # smallest value, or 0
    high: float  # largest value, or 0
    reach: float  # the histogram covers -reach to +reach
    counts: Floats  # [BINS]
    channel_mean: Floats  # [C], mean over frames
    channel_peak: Floats  # [C], largest magnitude
    has_known_range: bool = False  # the range is not a matter of what was seen: a picture's

    def compute_centers(self) -> Floats:
        """The value in the middle of each bin, [BINS]."""
        return ((np.arange(BINS) + 0.5) / BINS * 2 - 1) * self.reach


def observe(
    model: onnx.ModelProto, tensors: Sequence[str], frames: Iterable[NDArray[np.uint8]]
) -> Observations:
    """Run frames through a float graph one by one and keep what its tensors show.

    Args:
        model: a float graph with one input.
        tensors: names of its tensors, float32 [1, C, H, W] each.
        frames: what it takes, without the batch: uint8 [H, W, C].

    Returns:
        What was seen of each tensor.
    """
    watched = copy.deepcopy(model)
    graph_outputs = {output.name for output in watched.graph.output}
    watched.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        for name in tensors
        if name not in graph_outputs
    )
    session = open_session(watched)
    name = session.get_inputs()[0].name
    found: dict[str, Activation] = {}
    count = 0
    for frame in frames:
        count += 1
        for tensor, values in zip(tensors, session.run(list(tensors), {name: frame[None]}), strict=True):
            found[tensor] = _update_activation(found.get(tensor), np.asarray(values, np.float32))
    for activation in found.values():
        activation.channel_mean = activation.channel_mean / count
    return found


Observations = dict[str, Activation]


def open_session(model: onnx.ModelProto) -> Any:
    """ONNX Runtime's session of a graph, on the CPU, quiet; the same pictures on every CPU, to rounding."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    avoid_saturation(options)
    providers = ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers)


def _update_activation(previous: Activation | None, values: NDArray[np.float32]) -> Activation:
    """`previous` with one more frame in it. The mean is a sum until all frames were seen."""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    mean = values.mean((0, 2, 3), dtype=np.float64)
    peak = np.abs(values).max((0, 2, 3)).astype(np.float64)
    reach = max(-low, high, 1e-30)
    if previous is None:
        counts = np.zeros(BINS)
    else:
        low, high = min(low, previous.low), max(high, previous.high)
        mean, peak = mean + previous.channel_mean, np.maximum(peak, previous.channel_peak)
        counts, reach = _widen_histogram(previous.counts, previous.reach, reach)
    upper = float(np.nextafter(np.float32(reach), np.float32(np.inf)))  # OpenCV's upper end is exclusive
    counts = counts + cv2.calcHist([values.reshape(-1, 1)], [0], None, [BINS], [-upper, upper]).ravel()
    return Activation(low, high, reach, counts, mean, peak)


def _widen_histogram(counts: Floats, reach: float, needed: float) -> tuple[Floats, float]:
    """The same histogram over a range that covers `needed`: doubled, two bins becoming one."""
    while reach < needed:
        quarter = np.zeros(BINS // 4)
        counts, reach = np.concatenate([quarter, counts.reshape(-1, 2).sum(1), quarter]), 2 * reach
    return counts, reach


def choose_minmax_range(activation: Activation, grid: QuantizationGrid) -> tuple[float, float]:
    """All that was seen."""
    return grid.compute_limits(activation.low, activation.high)


def choose_percentile_range(activation: Activation, grid: QuantizationGrid) -> tuple[float, float]:
    """All but the outermost 0.001 % on either side."""
    below = np.cumsum(activation.counts) / activation.counts.sum()
    outside = 1 - PERCENTILE / 100
    centers = activation.compute_centers()
    low = centers[np.searchsorted(below, outside)] if activation.low < 0 else 0.0
    high = centers[min(np.searchsorted(below, 1 - outside), BINS - 1)] if activation.high > 0 else 0.0
    return grid.compute_limits(max(activation.low, min(low, 0.0)), min(activation.high, max(high, 0.0)))


def choose_mse_range(activation: Activation, grid: QuantizationGrid) -> tuple[float, float]:
    """The range with the least squared error: outliers clipped against a finer step for all others."""
    filled = activation.counts > 0
    counts, centers = activation.counts[filled], activation.compute_centers()[filled]

    def compute_error(limits: tuple[float, float]) -> float:
        step, zero = grid.compute_scale_and_zero(*limits)
        smallest = -128.0 if grid.signed else -float(zero)
        rounded = np.clip(np.rint(centers / step), smallest, smallest + 255) * step
        return float(counts @ np.square(centers - rounded))

    one_sided = grid.signed or activation.low == 0 or activation.high == 0
    shrinks = zip(SHRINKS, SHRINKS, strict=True) if one_sided else product(SHRINKS[::5], SHRINKS[::5])
    return min(
        (grid.compute_limits(activation.low * low, activation.high * high) for low, high in shrinks),
        key=compute_error,
    )


def choose_entropy_range(activation: Activation, grid: QuantizationGrid) -> tuple[float, float]:
    """The range that loses least information: Kullback-Leibler divergence of magnitudes.

    As in "8-bit inference with TensorRT" (Migacz 2017): of the histogram cut at a threshold, with what lies
    outside in its last bin, from the same histogram in 128 levels. Zeros, half of all values after a ReLU and
    exact in every range, do not count; with them the smallest range would win.
    """
    half = BINS // 2
    magnitudes = activation.counts[half:] + activation.counts[:half][::-1]
    magnitudes[0] = magnitudes[1]
    levels = 128

    def compute_divergence(cut: int) -> float:
        kept = magnitudes[:cut].copy()
        kept[-1] += magnitudes[cut:].sum()
        level = np.arange(cut) * levels // cut
        sums = np.bincount(level, magnitudes[:cut], levels)
        filled = np.bincount(level, magnitudes[:cut] > 0, levels)
        coarse = np.where(magnitudes[:cut] > 0, (sums / np.maximum(filled, 1))[level], 0)
        p, q = kept / max(kept.sum(), 1e-30), coarse / max(coarse.sum(), 1e-30)
        mask = p > 0
        return float(np.sum(p[mask] * np.log(p[mask] / np.maximum(q[mask], 1e-12))))

    cut = min(range(levels, half + 1, 16), key=compute_divergence)
    reach = activation.reach * cut / half
    return grid.compute_limits(max(activation.low, -reach), min(activation.high, reach))


# How a range is chosen.
RANGE_METHODS: dict[str, Callable[[Activation, QuantizationGrid], tuple[float, float]]] = {
    "percentile": choose_percentile_range,
    "mse": choose_mse_range,
    "minmax": choose_minmax_range,
    "entropy": choose_entropy_range,
}
