"""The device's peaks: networks in which an engine does little else than multiply or read memory.

The arithmetic's is a stack of wide convolutions, the kind of layer that engines are best at. Other shapes
(128 channels at 128x128, 512 at 32x32, 256 at 128x128) gave no more in any engine. The memory's is the same
stack on a single pixel, which reads its weights and does little else, as the middle of a U-Net does; a large
tensor that was written and read gave less.

Stacks keep a bundle's contract and go through the export's own steps, so that the same engine classes run
them as they run models, read back what they compute in, and refuse what is not what was asked for.

Shares of a peak are those of the roofline of Williams, Waterman and Patterson (2009): a call can be no faster
than its arithmetic at the peak of its precision, nor than its memory traffic at the bandwidth.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.support.probe_files import write_stack
from benchmarks.support.probe_openers import StackShape
from i2i_sdk.perf.candidates import Candidate

Key = tuple[str, str]  # backend and precision: ("openvino", "bf16")

PRECISIONS: dict[str, tuple[str, ...]] = {
    "ort": ("fp32", "int8"),
    "openvino": ("fp32", "bf16", "int8"),
    "ncnn": ("fp32", "fp16"),
}
# Calls of tens of milliseconds on two cores. The second has 201 MB of weights, which no cache holds.
STACK = StackShape(channels=256, layers=3, kernel=3, side=64)
WEIGHTS = StackShape(channels=4096, layers=3, kernel=1, side=1)
# Bytes of a weight that is stored in a precision.
WEIGHT_BYTES: dict[str, int] = {"fp32": 4, "bf16": 2, "fp16": 2, "w8": 1, "int8": 1}


@dataclass(frozen=True)
class Probe:
    """A network that shows a peak, and what a call of it does."""

    candidate: Candidate
    key: Key
    macs: int  # counted as models' are: with multiplications by the zeros of a padding
    bytes: int = 0  # read, only of what no cache holds; 0: it shows the arithmetic's peak


@dataclass(frozen=True)
class Work:
    """What a call does at least."""

    macs: float  # multiply-accumulates
    low_share: float  # share of them in the variant's precision, 0..1; the others are in the float beside it
    traffic: float  # bytes, see `compute_min_traffic`


def get_rest_precision(backend: str, precision: str) -> str:
    """The float that computes those layers of a variant which are not in its precision."""
    if (backend, precision) == ("openvino", "int8"):
        openvino = importlib.import_module("i2i_sdk.backends.openvino")  # not everywhere installed
        return openvino.PRECISION_NAMES[openvino.choose_float_precision("int8")]
    return "fp32"


def write_probes(folder: Path, requested: Iterable[Key], threads: int | None = None) -> list[Probe]:
    """Write the networks for some backends and precisions, and for the floats that go with them.

    Args:
        folder: of the files.
        requested: pairs of `PRECISIONS` that can run here.
        threads: of the engines; None: their own choice.

    Returns:
        One probe of the arithmetic for each pair, one of the memory for each backend, in FP32.

    Raises:
        ExportError: pnnx is missing, which ncnn's need.
    """
    keys = list(dict.fromkeys(k for key in requested for k in (key, (key[0], get_rest_precision(*key)))))

    def make_candidate(name: str, shape: StackShape, key: Key) -> Candidate:
        files = [str(path) for path in write_stack(folder, shape, *key)]
        arguments = {"backend": key[0], "precision": key[1], "files": files, "threads": threads}
        return Candidate(name, "benchmarks.support.probe_openers:open_engine", arguments)

    probes = [Probe(make_candidate(f"peak {'-'.join(key)}", STACK, key), key, STACK.macs) for key in keys]
    for backend in dict.fromkeys(backend for backend, _ in keys):
        candidate = make_candidate(f"bandwidth {backend}", WEIGHTS, (backend, "fp32"))
        probes.append(Probe(candidate, (backend, "fp32"), WEIGHTS.macs, 4 * WEIGHTS.weights))
    return probes


def compute_min_traffic(parameters: int, precision: str, image_bytes: int) -> int:
    """Bytes that a call moves at least: every weight once in the variant's precision, input and output once.

    Layers that were kept in a wider type move more, and so do values between layers that leave the caches.
    Weights that stay in a cache from call to call move less; a call that is faster for it than the bandwidth
    allows is marked.

    Args:
        parameters: of the model.
        precision: one of `WEIGHT_BYTES`.
        image_bytes: of input and output together.

    Returns:
        Bytes of one call.
    """
    return parameters * WEIGHT_BYTES[precision] + image_bytes


def compute_shares(
    work: Work, low: Sequence[float], rest: Sequence[float], bandwidth: float, medians: Sequence[float]
) -> tuple[float, float]:
    """What a call reaches of the peak arithmetic, and of the roofline: medians of the shares of all rounds.

    Round by round, because the machine's clock and its other guests change the peaks along with the calls.

    Args:
        work: of the call.
        low: MAC/s in the variant's precision, in each round.
        rest: MAC/s in the float that computes the other layers, in each round.
        bandwidth: B/s.
        medians: of the call's milliseconds, in each round.

    Returns:
        Both shares, the second never below the first. Above 1 the peak was not shown.
    """
    slow_part = (1.0 - work.low_share) / np.asarray(rest)
    arithmetic_ms = 1000.0 * work.macs * (work.low_share / np.asarray(low) + slow_part)
    least_ms = np.maximum(arithmetic_ms, 1000.0 * work.traffic / bandwidth)
    times = np.asarray(medians)
    return float(np.median(arithmetic_ms / times)), float(np.median(least_ms / times))
