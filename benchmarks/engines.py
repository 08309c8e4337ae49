"""Every variant of a model beside the same network in PyTorch, engines' own tools, and the device's peaks.

    python -m benchmarks.engines                       # the full-size networks and the zoo: the short set
    python -m benchmarks.engines CKPT --sizes 128,256,512,1024 --batch 1,4
    python -m benchmarks.engines CKPT --device cuda    # PyTorch and ONNX Runtime on a GPU

Candidates take turns, each in a process of its own; ratios and shares are taken round by round.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.reporting.publish import publish
from benchmarks.reporting.roofline_limits import (
    Work,
    compute_min_traffic,
    compute_share_of_peak,
    compute_share_of_roofline,
    format_mark,
)
from benchmarks.support.baselines import EAGER, make_tool_candidate, make_torch_candidates
from benchmarks.support.peaks import (
    PRECISIONS,
    Peak,
    Peaks,
    Probe,
    find_peaks,
    get_rest_precision,
    write_probes,
)
from benchmarks.support.subjects import SHORT, Size, Subject, find_frames, get_bundle, make_subject
from i2i_sdk.backends import explain_unsupported_variant
from i2i_sdk.bundle.folder import Bundle
from i2i_sdk.bundle.manifest import MAX_BATCH, Parity, Variant
from i2i_sdk.cli.bench import parse_batches as numbers
from i2i_sdk.errors import I2IError
from i2i_sdk.loading import parse_size
from i2i_sdk.perf.bench import (
    BenchOptions,
    bench_variants,
    collect_costs,
    collect_times,
    format_threads,
    make_reference_candidate,
    shorten_name,
)
from i2i_sdk.perf.candidates import Candidate, Comparison, compare
from i2i_sdk.perf.energy import NOT_AVAILABLE, EnergyMeter, open_meters
from i2i_sdk.perf.machine import describe_machine
from i2i_sdk.perf.quiet import QuietMonitor
from i2i_sdk.perf.record import Record, Row, make_record
from i2i_sdk.quality.verification import verify_bundle

DEVICE = "this device"  # the subject of the peaks' rows
WINOGRAD = (
    "ncnn multiplies less often for 3x3 kernels than is counted (Winograd), here and in the models alike"
)
TOOL_PRECISIONS = ("fp32", "bf16")  # that benchmark_app makes of the reference graph
LONG_SIZES, LONG_BATCHES = "128,256,512,1024", "1,4"


@dataclass(frozen=True)
class BenchContext:
    """What a run measures with."""

    options: BenchOptions
    device: str  # of the baselines: cpu or cuda
    use_tools: bool  # engines' own, too
    folder: Path  # for the probes' files
    meters: Sequence[EnergyMeter]
    quiet: QuietMonitor


def main(argv: Sequence[str]) -> int:
    """Measure, print, write out/bench/engines.json."""
    args = _parse_args(argv)
    try:
        return measure(args)
    except I2IError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def measure(args: argparse.Namespace) -> int:
    """As the options say. Raises I2IError."""
    sizes = tuple(parse_size(size) for size in args.sizes.split(","))
    batches = numbers(args.batch, MAX_BATCH)
    subjects = [make_subject(path, sizes) for path in args.checkpoints] or list(SHORT)
    if args.full:
        subjects, batches = build_full_set()
    provider = "cuda" if args.device == "cuda" else None
    options = BenchOptions(args.rounds, args.seconds, args.threads, provider)
    publish(
        measure_subjects(subjects, batches, args.frames, options, args.device, args.tools or args.full),
        args.name,
    )
    return 0


def _parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engines", description=__doc__)
    parser.add_argument("checkpoints", type=Path, nargs="*", help="default: the short set")
    parser.add_argument(
        "--full", action="store_true", help=f"all sizes ({LONG_SIZES}) and batches, and tools"
    )
    parser.add_argument("--sizes", default="256", help="of the checkpoints given, N or HxW, with commas")
    parser.add_argument("--batch", default="1", help="frames a call, such as 1,4")
    parser.add_argument("--frames", type=Path, help="for parity and calibration; default: the shared data's")
    parser.add_argument("--rounds", type=int, default=9, help="of turns at least")
    parser.add_argument("--seconds", type=float, default=0, help="of turns at least, for each size and batch")
    parser.add_argument("--threads", type=int, help="of the engines; default: their own choice")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--tools", action="store_true", help="engines' own tools too: slow to start")
    parser.add_argument("--name", help="of the file; default: engines")
    return parser.parse_args(argv)


def build_full_set() -> tuple[list[Subject], list[int]]:
    """The short set's models at all sizes, exported afresh: a zoo bundle has not all of them."""
    sizes = tuple(parse_size(size) for size in LONG_SIZES.split(","))
    subjects = [replace(subject, sizes=sizes, is_zoo=False) for subject in SHORT]
    return subjects, [int(batch) for batch in LONG_BATCHES.split(",")]


def measure_subjects(
    subjects: Sequence[Subject],
    batches: Sequence[int],
    frames: Path | None,
    options: BenchOptions,
    device: str,
    tools: bool,
) -> Record:
    """Everything in one record; bundles are made and pictures compared before the clock runs."""
    prepared = [prepare(subject, frames or find_frames(subject)) for subject in subjects]
    meters = open_meters()
    with tempfile.TemporaryDirectory() as folder, QuietMonitor() as quiet:
        with_tools = BenchContext(options, device, tools, Path(folder), meters, quiet)
        probes = make_probes([v for _, bundle, _ in prepared for v in bundle.manifest.variants], with_tools)
        rows, bandwidth = measure_device(probes, with_tools)
        for subject, bundle, parities in prepared:
            for size in subject.sizes:
                for batch in batches:
                    rows += measure_size(
                        subject, bundle, parities, size, batch, probes, bandwidth, with_tools
                    )
    names = ", ".join(meter.name for meter in meters) or NOT_AVAILABLE
    for meter in meters:
        meter.close()
    facts = {
        "rounds": options.rounds,
        "seconds": options.seconds,
        "threads": format_threads(options.threads),
        "device": device,
    }
    facts |= {"energy": names, "models": {s.name: b.manifest.model.source_sha256 for s, b, _ in prepared}}
    title = "engines: one call of each variant beside PyTorch"
    conditions = replace(quiet.conditions, marks=(*quiet.conditions.marks, *list_impossible_marks(rows)))
    return make_record(
        "engines", title, tuple(rows), describe_machine(), conditions, baseline=EAGER, facts=facts
    )


def prepare(subject: Subject, frames: Path | None) -> tuple[Subject, Bundle, dict[str, Parity]]:
    """A subject, its bundle, and its quality on real frames where there are some.

    An exported bundle was compared with PyTorch on the frames that nothing was calibrated on; the zoo's is
    compared with its reference here.
    """
    bundle = get_bundle(subject, frames)
    if not subject.is_zoo or frames is None:
        return subject, bundle, {}
    print(f"comparing pictures of {subject.name}", flush=True)
    outcomes = verify_bundle(bundle, frames, None)
    return subject, bundle, {name: found.parity for name, found in outcomes.items() if found.parity}


def measure_device(probes: Sequence[Probe], tools: BenchContext) -> tuple[list[Row], Peak | None]:
    """What the device can do, by its engines: rows of their own, and the memory's bandwidth for all others.

    The bandwidth is one number, since it is not measured in the same rounds as what is compared with it.
    """
    comparison = compare_candidates([probe.candidate for probe in probes], tools)
    found = find_peaks(probes, get_rounds(comparison)).bandwidth
    bandwidth = replace(found, rounds=(found.per_second,)) if found else None
    return [make_probe_row(probe, comparison) for probe in probes], bandwidth


def measure_size(
    subject: Subject,
    bundle: Bundle,
    parities: dict[str, Parity],
    size: Size,
    batch: int,
    probes: Sequence[Probe],
    bandwidth: Peak | None,
    tools: BenchContext,
) -> list[Row]:
    """Variants of one size at one batch beside baselines, their engines' peaks in the same rounds."""
    variants = [v for v in bundle.manifest.variants if (v.height, v.width) == size]
    probes = select_arithmetic_probes(probes, variants)
    others = make_torch_candidates(subject.checkpoint, size, batch, tools.device, tools.options.threads)
    others.append(make_reference_candidate(bundle, variants[0], batch))
    if tools.use_tools:
        others += make_tool_candidates(bundle, variants, batch)
    rows, comparison = bench_variants(
        bundle,
        variants,
        [*others, *(probe.candidate for probe in probes)],
        EAGER,
        batch=batch,
        options=tools.options,
        parities=parities,
        meters=tools.meters,
        check_steady=tools.quiet.check_steady,
        progress=lambda text: print(f"{subject.name} {size[0]}x{size[1]}: {text}", flush=True),
    )
    tools.quiet.count_turns(comparison.turns)
    peaks = replace(find_peaks(probes, get_rounds(comparison)), bandwidth=bandwidth)
    of_probes = {probe.candidate.name for probe in probes}
    by_name = {shorten_name(variant): variant for variant in variants}
    return [
        add_shares(replace(row, subject=subject.name), by_name.get(row.name), bundle, peaks, comparison)
        for row in rows
        if row.name not in of_probes
    ]


def add_shares(
    row: Row, variant: Variant | None, bundle: Bundle, peaks: Peaks, comparison: Comparison
) -> Row:
    """A variant's row with its shares of the peaks; a row of anything else as it is."""
    ceilings = peaks.get_ceilings(variant.backend, variant.precision) if variant else None
    if variant is None or ceilings is None or not row.times:
        return row
    contract, pixels = bundle.manifest.input, row.batch * variant.height * variant.width
    input_bytes, output_bytes = pixels * contract.in_channels, pixels * contract.out_channels
    traffic = compute_min_traffic(
        bundle.manifest.model.parameters, variant.precision, input_bytes, output_bytes
    )
    work = Work(variant.macs * row.batch, variant.macs_in_precision, traffic)
    medians = comparison.timings[variant.name].medians
    shares = {
        "of_peak": compute_share_of_peak(work, ceilings, medians),
        "of_limit": compute_share_of_roofline(work, ceilings, medians),
    }
    peak = peaks.arithmetic[variant.backend, variant.precision].per_second
    assert peaks.bandwidth is not None
    values = {
        **row.values,
        "peak": peak,
        "bandwidth": peaks.bandwidth.per_second,
        "traffic": traffic,
        **shares,
    }
    return replace(row, values=values)


def list_impossible_marks(rows: Sequence[Row]) -> tuple[str, ...]:
    """Marks for rows that are faster than the limit: their peaks are not what the device can do."""
    shares = [(r, r.values["of_peak"], r.values["of_limit"]) for r in rows if "of_peak" in r.values]
    found = (format_mark(f"{row.subject} {row.name}", arithmetic, limit) for row, arithmetic, limit in shares)
    return tuple(text for text in found if text)


def make_probes(variants: Sequence[Variant], tools: BenchContext) -> list[Probe]:
    """The peaks that variants which run here can be compared with; none where another device computes."""
    if tools.device != "cpu":
        return []
    keys = [(v.backend, v.precision) for v in variants if explain_unsupported_variant(v) is None]
    known = [key for key in dict.fromkeys(keys) if key[1] in PRECISIONS.get(key[0], ())]
    return write_probes(tools.folder, known, threads=tools.options.threads)


def select_arithmetic_probes(probes: Sequence[Probe], variants: Sequence[Variant]) -> list[Probe]:
    """The stacks that show what limits some variants: in their own precision, and in the float beside it."""
    keys = {(v.backend, v.precision) for v in variants}
    keys |= {(backend, get_rest_precision(backend, precision)) for backend, precision in keys}
    return [
        probe for probe in probes if probe.kind == "arithmetic" and (probe.backend, probe.precision) in keys
    ]


def make_tool_candidates(bundle: Bundle, variants: Sequence[Variant], batch: int) -> list[Candidate]:
    """OpenVINO's benchmark_app, for the precisions that it runs here."""
    graph, channels = bundle.reference_for(variants[0]), bundle.manifest.input.in_channels
    found = [v for v in variants if v.backend == "openvino" and v.precision in TOOL_PRECISIONS]
    return [
        make_tool_candidate(graph, (v.height, v.width), channels, batch, v.precision)
        for v in found
        if explain_unsupported_variant(v) is None
    ]


def compare_candidates(candidates: Sequence[Candidate], tools: BenchContext) -> Comparison:
    """As a run's options say."""
    comparison = compare(
        candidates,
        tools.options.rounds,
        meters=tools.meters,
        check_steady=tools.quiet.check_steady,
        progress=lambda text: print(f"{DEVICE}: {text}", flush=True),
    )
    tools.quiet.count_turns(comparison.turns)
    return comparison


def get_rounds(comparison: Comparison) -> dict[str, tuple[tuple[float, ...], ...]]:
    return {name: found.rounds for name, found in comparison.timings.items()}


def make_probe_row(probe: Probe, comparison: Comparison) -> Row:
    """A peak as a row."""
    name = probe.candidate.name
    if name in comparison.reasons:
        return Row(DEVICE, name, notes=(f"not run: {comparison.reasons[name]}",))
    found = comparison.timings[name]
    timing = found.timing
    values = collect_costs(found)
    notes = (WINOGRAD,) if (probe.backend, probe.kind) == ("ncnn", "arithmetic") else ()
    if probe.kind == "arithmetic":
        values |= {"macs": probe.macs, "peak": probe.macs / timing.median_ms * 1000}
    else:
        values |= {"traffic": probe.bytes, "bandwidth": probe.bytes / timing.median_ms * 1000}
    return Row(DEVICE, name, times={"frame": timing}, **collect_times(found), values=values, notes=notes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
