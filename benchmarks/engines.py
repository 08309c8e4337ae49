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
from i2i_sdk.perf.quiet import QuietMonitor
from i2i_sdk.perf.record import Row
from i2i_sdk.quality.verify_bundle import verify_bundle
from i2i_sdk.selection import parse_size

DEVICE = "this device"  # the subject of the peaks' rows
WINOGRAD = (
    "ncnn multiplies less often for 3x3 kernels than is counted (Winograd), here and in the models alike"
)
TOOL_PRECISIONS = ("fp32", "bf16")  # that benchmark_app makes of the reference graph
LONG_SIZES, LONG_BATCHES = "128,256,512,1024", "1,4"
Prepared = tuple[Subject, Bundle, dict[str, Parity]]  # the qualities by variant's name


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
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engines", description=__doc__)
    full_help = f"all sizes ({LONG_SIZES}) and batches, and tools"
    parser.add_argument("checkpoints", type=Path, nargs="*", help="default: the short set")
    parser.add_argument("--full", action="store_true", help=full_help)
    parser.add_argument("--sizes", default="256", help="of the checkpoints given, N or HxW, with commas")
    parser.add_argument("--batch", default="1", help="frames a call, such as 1,4")
    parser.add_argument("--frames", type=Path, help="for parity and calibration; default: the shared data's")
    parser.add_argument("--rounds", type=int, default=9, help="of turns at least")
    parser.add_argument("--seconds", type=float, default=0, help="of turns at least, for each size and batch")
    parser.add_argument("--threads", type=int, help="of the engines; default: their own choice")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--tools", action="store_true", help="engines' own tools too: slow to start")
    parser.add_argument("--name", help="of the file; default: engines")
    try:
        return measure(parser.parse_args(argv))
    except I2IError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def measure(args: argparse.Namespace) -> int:
    """As the options say; bundles are made and pictures compared before the clock runs. Raises I2IError."""
    subjects, batches = choose_subjects(args)
    prepared = [prepare(subject, args.frames or find_frames(subject)) for subject in subjects]
    provider = "cuda" if args.device == "cuda" else None
    options = BenchOptions(args.rounds, args.seconds, args.threads, provider)
    meters = open_meters()
    with tempfile.TemporaryDirectory() as folder, QuietMonitor() as quiet:
        context = BenchContext(options, args.device, args.tools or args.full, Path(folder), meters, quiet)
        probes = make_probes([v for _, bundle, _ in prepared for v in bundle.manifest.variants], context)
        rows, bandwidth = measure_device(probes, context)
        for each in prepared:
            for size in each[0].sizes:
                for batch in batches:
                    rows += measure_size(each, size, batch, probes, bandwidth, context)
    for meter in meters:
        meter.close()
    facts = {
        "rounds": args.rounds,
        "seconds": args.seconds,
        "threads": format_threads(args.threads),
        "device": args.device,
        "energy": ", ".join(meter.name for meter in meters) or NOT_AVAILABLE,
        "models": {subject.name: bundle.manifest.model.source_sha256 for subject, bundle, _ in prepared},
    }
    title = "engines: one call of each variant beside PyTorch"
    conditions = replace(quiet.conditions, marks=(*quiet.conditions.marks, *list_impossible_marks(rows)))
    return publish("engines", title, rows, conditions, facts, baseline=EAGER, name=args.name)


def choose_subjects(args: argparse.Namespace) -> tuple[list[Subject], list[int]]:
    """The models and batches of a run.

    --full: the short set's models at all sizes, exported afresh: a zoo bundle has not all of them.
    """
    sizes = tuple(parse_size(size) for size in (LONG_SIZES if args.full else args.sizes).split(","))
    if args.full:
        subjects = [replace(subject, sizes=sizes, is_zoo=False) for subject in SHORT]
    else:
        subjects = [make_subject(path, sizes) for path in args.checkpoints] or list(SHORT)
    return subjects, numbers(LONG_BATCHES if args.full else args.batch, MAX_BATCH)


def prepare(subject: Subject, frames: Path | None) -> Prepared:
    """The bundle of a subject, and its quality on real frames where there are some.

    An exported bundle was compared with PyTorch on the frames that nothing was calibrated on; the zoo's is
    compared with its reference here.
    """
    bundle = get_bundle(subject, frames)
    if not subject.is_zoo or frames is None:
        return subject, bundle, {}
    print(f"comparing pictures of {subject.name}", flush=True)
    outcomes = verify_bundle(bundle, frames, None)
    return subject, bundle, {name: found.parity for name, found in outcomes.items() if found.parity}


def measure_device(probes: Sequence[Probe], context: BenchContext) -> tuple[list[Row], Peak | None]:
    """What the device can do, by its engines: rows of their own, and the memory's bandwidth for all others.

    The bandwidth is one number, since it is not measured in the same rounds as what is compared with it.
    """
    comparison = compare(
        [probe.candidate for probe in probes],
        context.options.rounds,
        meters=context.meters,
        check_steady=context.quiet.check_steady,
        progress=lambda text: print(f"{DEVICE}: {text}", flush=True),
    )
    context.quiet.count_turns(comparison.turns)
    found = find_peaks(probes, get_rounds(comparison)).bandwidth
    bandwidth = replace(found, rounds=(found.per_second,)) if found else None
    return [make_probe_row(probe, comparison) for probe in probes], bandwidth


def measure_size(
    prepared: Prepared,
    size: Size,
    batch: int,
    probes: Sequence[Probe],
    bandwidth: Peak | None,
    context: BenchContext,
) -> list[Row]:
    """Variants of one size at one batch beside baselines, their engines' peaks in the same rounds."""
    subject, bundle, parities = prepared
    variants = [v for v in bundle.manifest.variants if (v.height, v.width) == size]
    probes = select_arithmetic_probes(probes, variants)
    others = make_torch_candidates(subject.checkpoint, size, batch, context.device, context.options.threads)
    others.append(make_reference_candidate(bundle, variants[0], batch))
    if context.use_tools:
        others += make_tool_candidates(bundle, variants, batch)
    rows, comparison = bench_variants(
        bundle,
        variants,
        [*others, *(probe.candidate for probe in probes)],
        EAGER,
        batch=batch,
        options=context.options,
        parities=parities,
        meters=context.meters,
        check_steady=context.quiet.check_steady,
        progress=lambda text: print(f"{subject.name} {size[0]}x{size[1]}: {text}", flush=True),
    )
    context.quiet.count_turns(comparison.turns)
    peaks = replace(find_peaks(probes, get_rounds(comparison)), bandwidth=bandwidth)
    of_probes = {probe.candidate.name for probe in probes}
    by_name = {shorten_name(variant): variant for variant in variants}
    return [
        add_shares(replace(row, subject=subject.name), by_name.get(row.name), bundle, peaks, comparison)
        for row in rows
        if row.name not in of_probes
    ]


def add_shares(row: Row, variant: Variant | None, bundle: Bundle, peaks: Peaks, times: Comparison) -> Row:
    """A variant's row with its shares of the peaks; a row of anything else as it is."""
    ceilings = peaks.get_ceilings(variant.backend, variant.precision) if variant else None
    if variant is None or ceilings is None or not row.times:
        return row
    manifest, pixels = bundle.manifest, row.batch * variant.height * variant.width
    moved = (pixels * channels for channels in (manifest.input.in_channels, manifest.input.out_channels))
    traffic = compute_min_traffic(manifest.model.parameters, variant.precision, *moved)
    work = Work(variant.macs * row.batch, variant.macs_in_precision, traffic)
    medians = times.timings[variant.name].medians
    assert peaks.bandwidth is not None
    shares = {
        "peak": peaks.arithmetic[variant.backend, variant.precision].per_second,
        "bandwidth": peaks.bandwidth.per_second,
        "traffic": traffic,
        "of_peak": compute_share_of_peak(work, ceilings, medians),
        "of_limit": compute_share_of_roofline(work, ceilings, medians),
    }
    return replace(row, values={**row.values, **shares})


def list_impossible_marks(rows: Sequence[Row]) -> tuple[str, ...]:
    """Marks for rows that are faster than the limit: their peaks are not what the device can do."""
    shown = [row for row in rows if "of_peak" in row.values]
    found = (format_mark(f"{r.subject} {r.name}", r.values["of_peak"], r.values["of_limit"]) for r in shown)
    return tuple(text for text in found if text)


def make_probes(variants: Sequence[Variant], context: BenchContext) -> list[Probe]:
    """The peaks that variants which run here can be compared with; none where another device computes."""
    if context.device != "cpu":
        return []
    keys = [(v.backend, v.precision) for v in variants if explain_unsupported_variant(v) is None]
    known = [key for key in dict.fromkeys(keys) if key[1] in PRECISIONS.get(key[0], ())]
    return write_probes(context.folder, known, threads=context.options.threads)


def select_arithmetic_probes(probes: Sequence[Probe], variants: Sequence[Variant]) -> list[Probe]:
    """The stacks that show what limits some variants: in their own precision, and in the float beside it."""
    keys = {(v.backend, v.precision) for v in variants}
    keys |= {(backend, get_rest_precision(backend, precision)) for backend, precision in keys}
    return [p for p in probes if p.kind == "arithmetic" and (p.backend, p.precision) in keys]


def make_tool_candidates(bundle: Bundle, variants: Sequence[Variant], batch: int) -> list[Candidate]:
    """OpenVINO's benchmark_app, for the precisions that it runs here."""
    graph, channels = bundle.reference_for(variants[0]), bundle.manifest.input.in_channels
    found = [v for v in variants if v.backend == "openvino" and v.precision in TOOL_PRECISIONS]
    return [
        make_tool_candidate(graph, (v.height, v.width), channels, batch, v.precision)
        for v in found
        if explain_unsupported_variant(v) is None
    ]


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
