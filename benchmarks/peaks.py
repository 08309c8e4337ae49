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

from benchmarks.probe_files import COPY_PASSES, write_copy, write_stack
from benchmarks.probe_openers import Shape
from benchmarks.roofline import Ceilings
from i2i_sdk.backends import missing
from i2i_sdk.errors import BackendError, InputError
from i2i_sdk.measure.candidates import Candidate

Key = tuple[str, str]  # backend and precision: ("openvino", "bf16")

PRECISIONS: dict[str, tuple[str, ...]] = {
    "ort": ("fp32", "int8"),
    "openvino": ("fp32", "bf16", "int8"),
    "ncnn": ("fp32", "fp16"),
}


@dataclass(frozen=True)
class Sizes:
    """How large the probes are: calls of tens of milliseconds on two cores, tensors larger than caches."""

    stack: Shape
    weights: Shape  # of a matrix-vector product at side 1, as in the middle of a U-Net
    copy: int  # float32 numbers


FULL = Sizes(
    stack=Shape(channels=256, layers=3, kernel=3, side=64),
    weights=Shape(channels=4096, layers=3, kernel=1, side=1),  # 201 MB
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

    def ceilings(self, backend: str, precision: str) -> Ceilings | None:
        """What limits a variant, round by round; None where a peak that it takes was not measured."""
        low = self.arithmetic.get((backend, precision))
        rest = self.arithmetic.get((backend, rest_of(backend, precision)))
        if low is None or rest is None or self.bandwidth is None:
            return None
        return Ceilings(low.rounds, rest.rounds, self.bandwidth.rounds)


def rest_of(backend: str, precision: str) -> str:
    """The float that computes those layers of a variant which are not in its precision."""
    if (backend, precision) == ("openvino", "int8"):
        openvino = importlib.import_module("i2i_sdk.backends.openvino")  # not everywhere installed
        return openvino.NAMES[openvino.floats_of("int8")]
    return "fp32"


def write_probes(
    folder: Path, wanted: Iterable[Key], *, threads: int | None = None, sizes: Sizes = FULL
) -> list[Probe]:
    """Write the networks for all (backend, precision) wanted, and for the floats that go with them.

    One probe of the arithmetic for each, one of the memory for each backend (ONNX Runtime: two), in FP32.
    Raises InputError for what has no probe, BackendError for what cannot run here, ExportError without pnnx.
    """
    keys = _with_rest(wanted)
    probes: list[Probe] = []
    for backend, precision in keys:
        name = f"peak {backend}-{precision}"
        opened = _stack_candidate(name, (backend, precision), folder, sizes.stack, threads)
        probes.append(Probe(opened, backend, precision, "arithmetic", sizes.stack.macs, 0))
    for backend in dict.fromkeys(backend for backend, _ in keys):
        key = backend, "fp32"
        read = _stack_candidate(f"bandwidth {backend} weights", key, folder, sizes.weights, threads)
        probes.append(Probe(read, *key, "memory", sizes.weights.macs, 4 * sizes.weights.weights))
        if backend == "ort":  # the others broadcast and reduce far slower than their memory
            paths = (write_copy(folder, sizes.copy),)
            copy = _engine_candidate(f"bandwidth {backend} copy", key, paths, threads)
            probes.append(Probe(copy, *key, "memory", 0, 4 * COPY_PASSES * sizes.copy))
    return probes


def peaks_of(probes: Sequence[Probe], rounds: Mapping[str, Sequence[Sequence[float]]]) -> Peaks:
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
            bandwidth = _better(bandwidth, peak)
        else:
            key = probe.backend, probe.precision
            arithmetic[key] = _better(arithmetic.get(key), peak)
    return Peaks(arithmetic, bandwidth)


def _with_rest(wanted: Iterable[Key]) -> list[Key]:
    """All wanted and what goes with them, each once. Raises as `write_probes`."""
    asked = list(wanted)
    for backend, precision in asked:
        if precision not in PRECISIONS.get(backend, ()):
            known = ", ".join(f"{name} {p}" for name, all_of in PRECISIONS.items() for p in all_of)
            raise InputError(f"no probe shows the peak of {backend} {precision}; there are: {known}")
        if reason := missing(backend, precision):
            raise BackendError(f"the peak of {backend} {precision} cannot be shown here: {reason}")
    return list(dict.fromkeys(k for key in asked for k in (key, (key[0], rest_of(*key)))))


def _stack_candidate(name: str, key: Key, folder: Path, shape: Shape, threads: int | None) -> Candidate:
    return _engine_candidate(name, key, write_stack(folder, shape, *key), threads)


def _engine_candidate(name: str, key: Key, paths: Sequence[Path], threads: int | None) -> Candidate:
    given = {"backend": key[0], "precision": key[1], "files": [str(p) for p in paths], "threads": threads}
    return Candidate(name, "benchmarks.probe_openers:open_engine", given)


def _better(before: Peak | None, peak: Peak) -> Peak:
    return peak if before is None or peak.per_second > before.per_second else before
