"""Ranges of activations, from real frames, streamed one at a time.

What is kept of a tensor is its smallest and largest value, a histogram, and per channel the mean and the
largest magnitude: the memory needed does not grow with the number of frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray

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
    known: bool = False  # the range is not a matter of what was seen: a picture's

    def centres(self) -> Floats:
        """The value in the middle of each bin, [BINS]."""
        return ((np.arange(BINS) + 0.5) / BINS * 2 - 1) * self.reach


def observe(model: onnx.ModelProto, tensors: Sequence[str], frames: Iterable[NDArray[np.uint8]]) -> Observed:
    """Run uint8 [H, W, C] frames through a float graph one by one and keep what its tensors show."""
    import onnxruntime as ort

    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    given = {output.name for output in watched.graph.output}
    watched.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        for name in tensors
        if name not in given
    )
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    found: dict[str, Activation] = {}
    count = 0
    for frame in frames:
        count += 1
        for tensor, values in zip(tensors, session.run(list(tensors), {name: frame[None]}), strict=True):
            found[tensor] = _seen(found.get(tensor), np.asarray(values, np.float32))
    for activation in found.values():
        activation.channel_mean = activation.channel_mean / count
    return found


Observed = dict[str, Activation]


def _seen(before: Activation | None, values: NDArray[np.float32]) -> Activation:
    """`before` with one more frame in it. The mean is a sum until all frames were seen."""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    mean = values.mean((0, 2, 3), dtype=np.float64)
    peak = np.abs(values).max((0, 2, 3)).astype(np.float64)
    reach = max(-low, high, 1e-30)
    if before is None:
        counts = np.zeros(BINS)
    else:
        low, high = min(low, before.low), max(high, before.high)
        mean, peak = mean + before.channel_mean, np.maximum(peak, before.channel_peak)
        counts, reach = _widened(before.counts, before.reach, reach)
    upper = float(np.nextafter(np.float32(reach), np.float32(np.inf)))  # OpenCV's upper end is exclusive
    counts = counts + cv2.calcHist([values.reshape(-1, 1)], [0], None, [BINS], [-upper, upper]).ravel()
    return Activation(low, high, reach, counts, mean, peak)


def _widened(counts: Floats, reach: float, needed: float) -> tuple[Floats, float]:
    """The same histogram over a range that covers `needed`: doubled, two bins becoming one."""
    while reach < needed:
        quarter = np.zeros(BINS // 4)
        counts, reach = np.concatenate([quarter, counts.reshape(-1, 2).sum(1), quarter]), 2 * reach
    return counts, reach


@dataclass(frozen=True)
class Grid:
    """The numbers that an 8-bit tensor can have."""

    signed: bool  # symmetric around 0 (TensorRT), else any range that holds 0 (CPU engines)

    def limits(self, low: float, high: float) -> tuple[float, float]:
        """The range really covered when `low` to `high` is asked for."""
        if not self.signed:
            return min(low, 0.0), max(high, 0.0)
        high = max(-low * 127 / 128, high)  # int8 goes from -128 to 127
        return -high * 128 / 127, high

    def scale_and_zero(self, low: float, high: float) -> tuple[np.float32, NDArray[np.generic]]:
        """Step and zero point for a range; 0 is always hit exactly, which padding needs."""
        low, high = self.limits(low, high)
        if self.signed:
            return np.float32(max(high, 1e-12) / 127), np.array(0, np.int8)
        step = max(high - low, 1e-12) / 255
        return np.float32(step), np.array(np.clip(np.rint(-low / step), 0, 255), np.uint8)


def minmax(seen: Activation, grid: Grid) -> tuple[float, float]:
    """All that was seen."""
    return grid.limits(seen.low, seen.high)


def percentile(seen: Activation, grid: Grid) -> tuple[float, float]:
    """All but the outermost 0.001 % on either side."""
    below = np.cumsum(seen.counts) / seen.counts.sum()
    outside = 1 - PERCENTILE / 100
    centres = seen.centres()
    low = centres[np.searchsorted(below, outside)] if seen.low < 0 else 0.0
    high = centres[min(np.searchsorted(below, 1 - outside), BINS - 1)] if seen.high > 0 else 0.0
    return grid.limits(max(seen.low, min(low, 0.0)), min(seen.high, max(high, 0.0)))


def mse(seen: Activation, grid: Grid) -> tuple[float, float]:
    """The range with the least squared error: outliers clipped against a finer step for all others."""
    filled = seen.counts > 0
    counts, centres = seen.counts[filled], seen.centres()[filled]

    def error(limits: tuple[float, float]) -> float:
        step, zero = grid.scale_and_zero(*limits)
        smallest = -128.0 if grid.signed else -float(zero)
        rounded = np.clip(np.rint(centres / step), smallest, smallest + 255) * step
        return float(counts @ np.square(centres - rounded))

    one_sided = grid.signed or seen.low == 0 or seen.high == 0
    shrinks = zip(SHRINKS, SHRINKS, strict=True) if one_sided else product(SHRINKS[::5], SHRINKS[::5])
    return min((grid.limits(seen.low * low, seen.high * high) for low, high in shrinks), key=error)


def entropy(seen: Activation, grid: Grid) -> tuple[float, float]:
    """The range that loses least information: Kullback-Leibler divergence of magnitudes.

    As in "8-bit inference with TensorRT" (Migacz 2017): of the histogram cut at a threshold, with what lies
    outside in its last bin, from the same histogram in 128 levels. Zeros, half of all values after a ReLU and
    exact in every range, do not count; with them the smallest range would win.
    """
    half = BINS // 2
    magnitudes = seen.counts[half:] + seen.counts[:half][::-1]
    magnitudes[0] = magnitudes[1]
    levels = 128

    def divergence(cut: int) -> float:
        kept = magnitudes[:cut].copy()
        kept[-1] += magnitudes[cut:].sum()
        level = np.arange(cut) * levels // cut
        sums = np.bincount(level, magnitudes[:cut], levels)
        filled = np.bincount(level, magnitudes[:cut] > 0, levels)
        coarse = np.where(magnitudes[:cut] > 0, (sums / np.maximum(filled, 1))[level], 0)
        p, q = kept / max(kept.sum(), 1e-30), coarse / max(coarse.sum(), 1e-30)
        mask = p > 0
        return float(np.sum(p[mask] * np.log(p[mask] / np.maximum(q[mask], 1e-12))))

    cut = min(range(levels, half + 1, 16), key=divergence)
    reach = seen.reach * cut / half
    return grid.limits(max(seen.low, -reach), min(seen.high, reach))


# How a range is chosen.
METHODS: dict[str, Callable[[Activation, Grid], tuple[float, float]]] = {
    "percentile": percentile,
    "mse": mse,
    "minmax": minmax,
    "entropy": entropy,
}
