"""The device's peaks: networks in which an engine does little else than multiply, or read and write memory.

The arithmetic's is a stack of wide convolutions, the kind of layer that engines are best at. Other shapes
(128 channels at 128x128, 512 at 32x32, 256 at 128x128) gave no more in any engine. The memory's is the same
stack on a single pixel, which reads its weights and does little else, as the middle of a U-Net does, and a
large tensor that is written and read.

Stacks keep a bundle's contract and go through the export's own steps, so that the same engine classes run
them as they run models, read back what they compute in, and refuse what is not what was asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks.reporting.roofline_limits import Ceilings
from benchmarks.support.probe_files import COPY_PASSES, write_copy, write_stack
from benchmarks.support.probe_openers import StackShape
from i2i_sdk.backends import explain_unsupported_backend
from i2i_sdk.errors import BackendError, InputError
from i2i_sdk.perf.candidates import Candidate

Key = tuple[str, str]  # backend and precision: ("openvino", "bf16")

PRECISIONS: dict[str, tuple[str, ...]] = {
    "ort": ("fp32", "int8"),
    "openvino": ("fp32", "bf16", "int8"),
    "ncnn": ("fp32", "fp16"),
}


@dataclass(frozen=True)
class ProbeSizes:
    """How large the probes are: calls of tens of milliseconds on two cores, tensors larger than caches."""

    stack: StackShape
    weights: StackShape  # of a matrix-vector product at side 1, as in the middle of a U-Net
    copy: int  # float32 numbers


FULL = ProbeSizes(
    stack=StackShape(channels=256, layers=3, kernel=3, side=64),
    weights=StackShape(channels=4096, layers=3, kernel=1, side=1),  # 201 MB
    copy=1 << 26,  # 268 MB
)


@dataclass(frozen=True)
class Probe:
    """A network that shows a peak, and what a call of it does."""

    candidate: Candidate
    backend: str
    precision: str
    kind: Literal["arithmetic", "memory"]
    macs: int  # counted as models' are: with multiplications by the zeros of a padding
    bytes: int  # read and written, only of what no cache holds


@dataclass(frozen=True)
class Peak:
    """The most that any probe of a kind reached."""

    probe: str  # the candidate's name
    rounds: tuple[float, ...]  # MAC/s or B/s in each round, of the round's median time

    @property
    def per_second(self) -> float:
        """MAC/s or B/s: the median of the rounds."""
        return float(np.median(self.rounds))


@dataclass(frozen=True)
class Peaks:
    """What a device can do, as its engines showed it in one run."""

    arithmetic: dict[Key, Peak]
    bandwidth: Peak | None  # of the device: the most that any engine reached

    def get_ceilings(self, backend: str, precision: str) -> Ceilings | None:
        """What limits a variant, round by round; None where a peak that it takes was not measured."""
        low = self.arithmetic.get((backend, precision))
        rest = self.arithmetic.get((backend, get_rest_precision(backend, precision)))
        if low is None or rest is None or self.bandwidth is None:
            return None
        return Ceilings(low.rounds, rest.rounds, self.bandwidth.rounds)


def get_rest_precision(backend: str, precision: str) -> str:
    """The float that computes those layers of a variant which are not in its precision."""
    if (backend, precision) == ("openvino", "int8"):
        openvino = importlib.import_module("i2i_sdk.backends.openvino")  # not everywhere installed
        return openvino.PRECISION_NAMES[openvino.choose_float_precision("int8")]
    return "fp32"


def write_probes(
    folder: Path, requested: Iterable[Key], *, threads: int | None = None, sizes: ProbeSizes = FULL
) -> list[Probe]:
    """Write the networks for all (backend, precision) wanted, and for the floats that go with them.

    One probe of the arithmetic for each, one of the memory for each backend (ONNX Runtime: two), in FP32.
    Raises InputError for what has no probe, BackendError for what cannot run here, ExportError without pnnx.
    """
    keys = _add_rest_precisions(requested)
    probes: list[Probe] = []
    for backend, precision in keys:
        name = f"peak {backend}-{precision}"
        opened = _make_stack_candidate(name, (backend, precision), folder, sizes.stack, threads)
        probes.append(Probe(opened, backend, precision, "arithmetic", sizes.stack.macs, 0))
    for backend in dict.fromkeys(backend for backend, _ in keys):
        key = backend, "fp32"
        read = _make_stack_candidate(f"bandwidth {backend} weights", key, folder, sizes.weights, threads)
        probes.append(Probe(read, *key, "memory", sizes.weights.macs, 4 * sizes.weights.weights))
        if backend == "ort":  # the others broadcast and reduce far slower than their memory
            paths = (write_copy(folder, sizes.copy),)
            copy = _make_engine_candidate(f"bandwidth {backend} copy", key, paths, threads)
            probes.append(Probe(copy, *key, "memory", 0, 4 * COPY_PASSES * sizes.copy))
    return probes


def find_peaks(probes: Sequence[Probe], rounds: Mapping[str, Sequence[Sequence[float]]]) -> Peaks:
    """The peaks, of the milliseconds of every round by candidate's name; probes not in it are left out.

    The best probe is the one with the highest median; its rounds are kept whole, for shares round by round.
    """
    arithmetic: dict[Key, Peak] = {}
    bandwidth: Peak | None = None
    for probe in probes:
        if probe.candidate.name not in rounds:
            continue
        amount = probe.macs if probe.kind == "arithmetic" else probe.bytes
        seconds = [float(np.median(times)) / 1000.0 for times in rounds[probe.candidate.name]]
        peak = Peak(probe.candidate.name, tuple(amount / s for s in seconds))
        if probe.kind == "memory":
            bandwidth = _choose_better(bandwidth, peak)
        else:
            key = probe.backend, probe.precision
            arithmetic[key] = _choose_better(arithmetic.get(key), peak)
    return Peaks(arithmetic, bandwidth)


def _add_rest_precisions(requested: Iterable[Key]) -> list[Key]:
    """All wanted and what goes with them, each once. Raises as `write_probes`."""
    asked = list(requested)
    for backend, precision in asked:
        if precision not in PRECISIONS.get(backend, ()):
            known = ", ".join(f"{name} {p}" for name, all_of in PRECISIONS.items() for p in all_of)
            raise InputError(f"no probe shows the peak of {backend} {precision}; there are: {known}")
        if reason := explain_unsupported_backend(backend, precision):
            raise BackendError(f"the peak of {backend} {precision} cannot be shown here: {reason}")
    return list(dict.fromkeys(k for key in asked for k in (key, (key[0], get_rest_precision(*key)))))


def _make_stack_candidate(
    name: str, key: Key, folder: Path, shape: StackShape, threads: int | None
) -> Candidate:
    return _make_engine_candidate(name, key, write_stack(folder, shape, *key), threads)


def _make_engine_candidate(name: str, key: Key, paths: Sequence[Path], threads: int | None) -> Candidate:
    arguments = {"backend": key[0], "precision": key[1], "files": [str(p) for p in paths], "threads": threads}
    return Candidate(name, "benchmarks.support.probe_openers:open_engine", arguments)


def _choose_better(before: Peak | None, peak: Peak) -> Peak:
    return peak if before is None or peak.per_second > before.per_second else before
