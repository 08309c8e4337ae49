"""Every variant of a model beside the same network in PyTorch, and the device's peaks.

    python -m benchmarks.engines                       # the full-size networks and the zoo: the short set
    python -m benchmarks.engines CKPT --sizes 128,256,512,1024 --batch 1,4
    python -m benchmarks.engines CKPT --device cuda    # PyTorch and ONNX Runtime on a GPU

Candidates take turns, each in a process of its own; ratios and shares are taken round by round.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.reporting.publish import publish
from benchmarks.support.baselines import EAGER, make_torch_candidates
from benchmarks.support.peaks import (
    PRECISIONS,
    Key,
    Probe,
    Work,
    compute_min_traffic,
    compute_shares,
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
    format_threads,
    make_reference_candidate,
    make_row,
    shorten_name,
)
from i2i_sdk.perf.candidates import Comparison, compare
from i2i_sdk.perf.energy import NOT_AVAILABLE, EnergyMeter, open_meters
from i2i_sdk.perf.quiet import QuietMonitor
from i2i_sdk.perf.record import Row
from i2i_sdk.quality.verify_bundle import verify_bundle
from i2i_sdk.selection import parse_size

DEVICE = "this device"  # the subject of the peaks' rows
WINOGRAD = (
    "ncnn multiplies less often for 3x3 kernels than is counted (Winograd), here and in the models alike"
)
LONG_SIZES, LONG_BATCHES = "128,256,512,1024", "1,4"
Prepared = tuple[Subject, Bundle, dict[str, Parity]]  # the qualities by variant's name


@dataclass(frozen=True)
class BenchContext:
    """What a run measures with."""

    options: BenchOptions
    device: str  # of the baselines: cpu or cuda
    folder: Path  # for the probes' files
    meters: Sequence[EnergyMeter]
    quiet: QuietMonitor


def main(argv: Sequence[str]) -> int:
    """Measure, print, write out/bench/engines.json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engines", description=__doc__)
    full_help = f"all sizes ({LONG_SIZES}) and batches"
    parser.add_argument("checkpoints", type=Path, nargs="*", help="default: the short set")
    parser.add_argument("--full", action="store_true", help=full_help)
    parser.add_argument("--sizes", default="256", help="of the checkpoints given, N or HxW, with commas")
    parser.add_argument("--batch", default="1", help="frames a call, such as 1,4")
    parser.add_argument("--frames", type=Path, help="for parity and calibration; default: the shared data's")
    parser.add_argument("--rounds", type=int, default=9, help="of turns at least")
    parser.add_argument("--seconds", type=float, default=0, help="of turns at least, for each size and batch")
    parser.add_argument("--threads", type=int, help="of the engines; default: their own choice")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
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
        context = BenchContext(options, args.device, Path(folder), meters, quiet)
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


def measure_device(probes: Sequence[Probe], context: BenchContext) -> tuple[list[Row], float]:
    """What the device can do, by its engines: rows of their own, and the memory's bandwidth in B/s.

    That is one number, since it is not measured in the same rounds as what is compared with it.
    """
    comparison = compare(
        [probe.candidate for probe in probes],
        context.options.rounds,
        meters=context.meters,
        check_steady=context.quiet.check_steady,
        progress=lambda text: print(f"{DEVICE}: {text}", flush=True),
    )
    context.quiet.count_turns(comparison.turns)
    rows = [make_probe_row(probe, comparison) for probe in probes]
    return rows, max((row.values.get("bandwidth", 0.0) for row in rows), default=0.0)


def measure_size(
    prepared: Prepared,
    size: Size,
    batch: int,
    probes: Sequence[Probe],
    bandwidth: float,
    context: BenchContext,
) -> list[Row]:
    """Variants of one size at one batch beside baselines, their engines' peaks in the same rounds.

    Args:
        prepared: the model.
        size: height and width of the frames.
        batch: frames of a call.
        probes: of which those are measured that limit the variants.
        bandwidth: of the memory, in B/s.
        context: of the run.

    Returns:
        The rows of variants and baselines.
    """
    subject, bundle, parities = prepared
    variants = [v for v in bundle.manifest.variants if (v.height, v.width) == size]
    probes = select_arithmetic_probes(probes, variants)
    others = make_torch_candidates(subject.checkpoint, size, batch, context.device, context.options.threads)
    others.append(make_reference_candidate(bundle, variants[0], batch))
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
    timed = [probe for probe in probes if probe.candidate.name in comparison.timings]
    speeds = {
        probe.key: [1000 * probe.macs / ms for ms in comparison.timings[probe.candidate.name].medians]
        for probe in timed
    }
    by_name = {shorten_name(variant): variant for variant in variants}
    of_probes = {probe.candidate.name for probe in probes}
    found: list[Row] = []
    for row in (replace(row, subject=subject.name) for row in rows if row.name not in of_probes):
        variant = by_name.get(row.name)
        if variant and row.times and bandwidth:
            row.values.update(collect_shares(row, variant, bundle, speeds, bandwidth))
        found.append(row)
    return found


def collect_shares(
    row: Row, variant: Variant, bundle: Bundle, speeds: Mapping[Key, Sequence[float]], bandwidth: float
) -> dict[str, float]:
    """What a variant reaches of the peaks, and these; nothing where a peak that it needs was not measured.

    Args:
        row: of the variant, with the calls of each round.
        variant: that the row is of.
        bundle: that has it.
        speeds: MAC/s in each round by backend and precision.
        bandwidth: of the memory, in B/s.

    Returns:
        Values of a row.
    """
    low = speeds.get((variant.backend, variant.precision))
    rest = speeds.get((variant.backend, get_rest_precision(variant.backend, variant.precision)))
    if not (low and rest):
        return {}
    manifest = bundle.manifest
    channels = manifest.input.in_channels + manifest.input.out_channels
    image_bytes = row.batch * variant.height * variant.width * channels
    traffic = compute_min_traffic(manifest.model.parameters, variant.precision, image_bytes)
    work = Work(variant.macs * row.batch, variant.macs_in_precision, traffic)
    ends = np.cumsum(row.rounds["frame"])[:-1]
    medians = [float(np.median(times)) for times in np.split(np.array(row.samples["frame"]), ends)]
    of_peak, of_limit = compute_shares(work, low, rest, bandwidth, medians)
    shares = {"peak": float(np.median(low)), "bandwidth": bandwidth, "traffic": traffic}
    return {**shares, "of_peak": of_peak, "of_limit": of_limit}


def list_impossible_marks(rows: Sequence[Row]) -> list[str]:
    """Marks for rows that are faster than the limit, which no call can be: their peaks were not shown."""
    marks: list[str] = []
    for row in rows:
        name, peak, limit = (
            f"{row.subject} {row.name}",
            row.values.get("of_peak", 0),
            row.values.get("of_limit", 0),
        )
        if peak > 1:
            text = f"{name} reaches {peak:.0%} of the peak arithmetic: the convolution stack does not show it"
            marks.append(text)
        elif limit > 1:
            reason = "its weights stay in a cache, or the probes do not show the bandwidth"
            marks.append(f"{name} reaches {limit:.0%} of the roofline: {reason}")
    return marks


def make_probes(variants: Sequence[Variant], context: BenchContext) -> list[Probe]:
    """The peaks that variants which run here can be compared with; none where another device computes."""
    if context.device != "cpu":
        return []
    keys = [(v.backend, v.precision) for v in variants if explain_unsupported_variant(v) is None]
    known = [key for key in dict.fromkeys(keys) if key[1] in PRECISIONS.get(key[0], ())]
    return write_probes(context.folder, known, context.options.threads)


def select_arithmetic_probes(probes: Sequence[Probe], variants: Sequence[Variant]) -> list[Probe]:
    """The stacks that show what limits some variants: in their own precision, and in the float beside it."""
    keys = {(v.backend, v.precision) for v in variants}
    keys |= {(backend, get_rest_precision(backend, precision)) for backend, precision in keys}
    return [probe for probe in probes if not probe.bytes and probe.key in keys]


def make_probe_row(probe: Probe, comparison: Comparison) -> Row:
    """A peak as a row."""
    name = probe.candidate.name
    if name in comparison.reasons:
        return Row(DEVICE, name, notes=(f"not run: {comparison.reasons[name]}",))
    found = comparison.timings[name]
    seconds = found.timing.median_ms / 1000
    if probe.bytes:
        values = {"traffic": probe.bytes, "bandwidth": probe.bytes / seconds}
    else:
        values = {"macs": probe.macs, "peak": probe.macs / seconds}
    notes = (WINOGRAD,) if probe.key[0] == "ncnn" and not probe.bytes else ()
    row = make_row(DEVICE, name, found)
    return replace(row, values={**row.values, **values}, notes=notes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
