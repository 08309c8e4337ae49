"""How fast a bundle's variants are on this device, for `i2i bench`, `i2i tune` and the benchmarks."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# onnxruntime ships no type information.

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from i2i_sdk.backends import explain_unsupported_variant, open_variant
from i2i_sdk.backends.base import EngineOptions
from i2i_sdk.bundle.folder import Bundle
from i2i_sdk.bundle.manifest import Parity, Variant
from i2i_sdk.errors import BackendError
from i2i_sdk.perf.candidates import Candidate, CandidateTimings, Comparison, compare
from i2i_sdk.perf.energy import EnergyMeter
from i2i_sdk.perf.record import Row
from i2i_sdk.perf.timing import compute_median_ratio, pause

ORT_DEFAULT = "ONNX Runtime, default options"

Progress = Callable[[str], object]
Call = Callable[[], object]


@dataclass(frozen=True)
class BenchOptions:
    """How a bundle is measured."""

    rounds: int = 10  # turns of each variant at least
    seconds: float = 10.0  # that all of them together take at least
    threads: int | None = None  # of the engines; None: their own choice
    provider: str | None = None  # of ONNX Runtime; None: the CPU


def collect_candidates(
    bundle: Bundle, variants: Sequence[Variant], batch: int, options: BenchOptions
) -> tuple[list[Candidate], dict[str, str]]:
    """The variants that run here at this batch size, and why others do not.

    Args:
        bundle: that has the variants.
        variants: some of it.
        batch: frames of a call, from 1.
        options: of the engines.

    Returns:
        A candidate for each variant that runs, and the others' reasons by name.
    """
    found: list[Candidate] = []
    reasons: dict[str, str] = {}
    for variant in variants:
        reason = explain_unsupported_variant(variant, _choose_provider(variant, options))
        if reason is None and batch > variant.max_batch:
            reason = f"takes {variant.max_batch} frames at most"
        if reason:
            reasons[variant.name] = reason
            continue
        arguments: dict[str, Any] = {"path": str(bundle.path), "name": variant.name, "batch": batch}
        arguments |= {"threads": options.threads, "provider": _choose_provider(variant, options)}
        found.append(Candidate(variant.name, "i2i_sdk.perf.bench:open_candidate", arguments))
    return found, reasons


def make_reference_candidate(bundle: Bundle, variant: Variant, batch: int) -> Candidate:
    """The bundle's FP32 graph of a variant's size as anyone would run it: the baseline on every device.

    Args:
        bundle: that has the graph.
        variant: of that size.
        batch: frames of a call, from 1.

    Returns:
        A candidate called `ORT_DEFAULT`.
    """
    arguments = {"graph": str(bundle.reference_for(variant)), "batch": batch}
    return Candidate(ORT_DEFAULT, "i2i_sdk.perf.bench:open_reference", arguments)


def open_candidate(path: str, name: str, batch: int, threads: int | None, provider: str | None) -> Call:
    """A call of a variant on random numbers; in a candidate's process, where it is never closed.

    Args:
        path: of the bundle.
        name: of the variant.
        batch: frames of a call, from 1.
        threads: of the engine; None: its own choice.
        provider: of ONNX Runtime; None: the CPU.

    Returns:
        What runs the engine once.

    Raises:
        BackendError, BundleError: the variant does not run here, or its files were changed.
    """
    bundle = Bundle.read(Path(path))
    variant = next(v for v in bundle.manifest.variants if v.name == name)
    engine = open_variant(variant, bundle.files_of(variant), EngineOptions(threads, provider))
    shape = (batch, *(side or 1 for side in engine.input_shape[1:]))
    inputs = np.random.default_rng(0).integers(0, 256, shape).astype(engine.input_dtype)
    return lambda: engine.run(inputs)


def open_reference(graph: str, batch: int) -> Call:
    """A call of plain ONNX Runtime with nothing set."""
    import onnxruntime as ort

    session: Any = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    port = session.get_inputs()[0]
    shape = [batch, *(side if isinstance(side, int) else 1 for side in port.shape[1:])]
    dtype = "uint8" if port.type == "tensor(uint8)" else "float32"
    inputs = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    return lambda: session.run(None, {port.name: inputs})


def bench_variants(
    bundle: Bundle,
    variants: Sequence[Variant],
    others: Sequence[Candidate],
    baseline: str,
    *,
    batch: int = 1,
    options: BenchOptions | None = None,
    parities: dict[str, Parity] | None = None,
    meters: Sequence[EnergyMeter] = (),
    check_steady: Callable[[], bool] = pause,
    progress: Progress = lambda text: None,
) -> tuple[list[Row], Comparison]:
    """Measure variants of one size beside other candidates, all taking turns.

    Args:
        bundle: that has the variants.
        variants: of one size.
        others: baselines, and probes of the device.
        baseline: the name of the one that "faster" compares with.
        batch: frames of a call, from 1.
        options: of the measurement.
        parities: by variant name, where they were measured here; else those of the export are taken.
        meters: of energy.
        check_steady: as `take_turns` has it.
        progress: told in a few words what is done.

    Returns:
        A row for each variant and candidate, what does not run with its reason, and the rounds themselves.
    """
    options = options or BenchOptions()
    candidates, reasons = collect_candidates(bundle, variants, batch, options)
    how: dict[str, Any] = {"meters": meters, "check_steady": check_steady, "progress": progress}
    comparison = compare([*others, *candidates], options.rounds, seconds=options.seconds, **how)
    reasons |= comparison.reasons
    names: dict[str, Variant | None] = dict.fromkeys(candidate.name for candidate in others)
    names |= {variant.name: variant for variant in variants}
    size = variants[0].height, variants[0].width
    subject = bundle.manifest.model.name
    rows: list[Row] = []
    for name, variant in names.items():
        shown = shorten_name(variant) if variant else name
        if name in reasons:
            rows.append(Row(subject, shown, *size, batch, notes=(f"not run: {reasons[name]}",)))
            continue
        measured = comparison.timings[name]
        row = replace(make_row(subject, shown, measured), height=size[0], width=size[1], batch=batch)
        if variant:
            row.values.update(collect_facts(variant, batch, parities or {}))
        if baseline in comparison.timings:
            ratio = compute_median_ratio(comparison.timings[baseline].medians, measured.medians)
            row.values["faster"] = ratio
        rows.append(row)
    return rows, comparison


def make_row(subject: str, name: str, timings: CandidateTimings) -> Row:
    """The row of a candidate: its calls, to microseconds, what they cost, and what a reader must know.

    Args:
        subject: the model or device.
        name: of the row.
        timings: of the candidate.

    Returns:
        A row without a size.
    """
    costs = {
        "warm_up": timings.warm_up.calls or None,
        "memory": timings.memory,
        "energy": timings.energy,
        "repeated": timings.repeated or None,
    }
    return Row(
        subject,
        name,
        times={"frame": timings.timing},
        samples={"frame": tuple(round(ms, 3) for ms in timings.times)},
        values={cost: value for cost, value in costs.items() if value is not None},
        notes=collect_notes(timings),
        rounds={"frame": tuple(map(len, timings.rounds))},
    )


def collect_facts(variant: Variant, batch: int, parities: dict[str, Parity]) -> dict[str, float]:
    """What is known of a variant without timing it.

    Args:
        variant: of a bundle.
        batch: frames of a call, from 1.
        parities: by variant name, where they were measured here; else those of the export are taken.

    Returns:
        Values of a row, as `record.VALUES` names them.
    """
    values: dict[str, float] = {
        "macs": variant.macs * batch,
        "low": variant.macs_in_precision,
        "size": sum(file.bytes for file in variant.files),
    }
    if parity := parities.get(variant.name) or variant.parity:
        values |= {"psnr": parity.psnr, "frames": parity.frames}
        if parity.ssim is not None:
            values["ssim"] = parity.ssim
    return values


def collect_notes(timings: CandidateTimings) -> tuple[str, ...]:
    """What a reader must know of these figures."""
    if timings.warm_up.stable:
        return ()
    return (f"its times were not stable after {timings.warm_up.calls} calls",)


def make_none_runs_error(bundle: Bundle, reasons: Mapping[str, str]) -> BackendError:
    """What to raise where no variant can run on this device. reasons: by the variants' names."""
    listed = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
    return BackendError(f"{bundle.path}: no variant can run on this device: {listed}")


def shorten_name(variant: Variant) -> str:
    """ "openvino-bf16": the size stands beside it."""
    return variant.name.removesuffix(f"-{variant.height}x{variant.width}")


def format_threads(threads: int | None) -> str:
    """How a record says which threads the engines had."""
    return str(threads) if threads else f"the engines' own choice; this machine has {os.cpu_count()} cores"


def _choose_provider(variant: Variant, options: BenchOptions) -> str | None:
    return options.provider if variant.backend == "ort" else None
