"""`i2i tune BUNDLE`: latency and quality of every variant that runs here, and what is worth choosing."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from i2i_sdk.bundle.folder import Bundle
from i2i_sdk.cli.common import (
    Parser,
    add_options,
    format_decibels,
    format_run_command,
    parse_measuring,
    read_bundle,
)
from i2i_sdk.cli.tables import print_table
from i2i_sdk.errors import BundleError, InputError
from i2i_sdk.perf.bench import BenchOptions, collect_candidates, make_none_runs_error
from i2i_sdk.perf.candidates import compare
from i2i_sdk.perf.machine import describe_machine
from i2i_sdk.perf.pareto import Point, find_dominator
from i2i_sdk.perf.plots import check_plot, draw_pareto, save_figure
from i2i_sdk.perf.timing import Timing
from i2i_sdk.quality.verify_bundle import verify_bundle
from i2i_sdk.selection import TunedLatency, save_latencies


@dataclass(frozen=True)
class TuningResult:
    """What was measured, by variant name; of the variants that could not be run the reasons."""

    timings: Mapping[str, Timing]
    psnr: Mapping[str, float]  # dB
    reasons: Mapping[str, str]
    psnr_source: str  # how psnr was found


def main(argv: Sequence[str]) -> int:
    """Measure, print a table, draw, keep the figures. Raises I2IError."""
    args = _parse(argv)
    if args.rounds < 3:
        raise InputError(f"--rounds {args.rounds}: at least 3 are needed for a median that means something")
    bundle = read_bundle(args.bundle)
    plot = None if args.plot is None else Path(args.plot or f"{bundle.path.stem}.front.png")
    if plot is not None:
        check_plot(plot)
    tuned = tune_bundle(bundle, args.frames, args.rounds, args.threads)
    groups = _group_points(bundle, tuned)
    facts = describe_machine()
    machine = f"{facts['cpu']}, {facts['cores']} cores, load {facts.get('load_1min', 'unknown')}"
    _print_table(bundle, tuned, groups, machine)
    if plot is not None:
        p95 = {name: timing.p95_ms for name, timing in tuned.timings.items()}
        save_figure(draw_pareto(groups, p95, bundle.manifest.model.name, note=machine), plot)
        print(f"drawn in {plot}")
    if damaged := [v.name for v in bundle.manifest.variants if bundle.explain_damage(v)]:
        # The whole bundle would take nothing else than what was measured of the damaged one.
        print(f"not remembered, since {', '.join(damaged)} could not be measured: its files are damaged")
    elif args.threads is None:
        psnr, timings = tuned.psnr, tuned.timings.items()
        latencies = {name: TunedLatency(t.median_ms, t.p95_ms, psnr[name]) for name, t in timings}
        print(f"remembered in {save_latencies(bundle, latencies)}")
    else:
        print("not remembered: with --threads the order may be another than without")
    print(f"next: {format_run_command(args.bundle)}")
    return 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="i2i tune",
        description="Measure latency and quality of every variant here; Translator then takes the fastest "
        "that is good enough. Leave the machine alone meanwhile.",
    )
    add_options(parser.add_argument, rounds="10")
    plot = "draw the front of latency and quality, default NAME.front.png here; behind the bundle"
    parser.add_argument("--plot", nargs="?", const="", metavar="FILE.png", help=plot)
    return parse_measuring(parser, argv, "scikit-image's photos")


def tune_bundle(bundle: Bundle, frames: Path | None, rounds: int, threads: int | None) -> TuningResult:
    """Measure every variant that runs here: the quality, and the time of one frame.

    Quality is PSNR against the bundle's reference, as `i2i verify` finds it; with a damaged reference, or
    without frames and without scikit-image's, it is what was found at export.

    Args:
        bundle: that was read.
        frames: a folder of images or a video for the quality, or None.
        rounds: turns of each variant.
        threads: of the engines; None: their own choice.

    Returns:
        Times, quality, and why others did not run.

    Raises:
        BackendError: no variant runs here.
        InputError, MediaError: the frames cannot be had.
    """
    parities = {v.name: v.parity for v in bundle.manifest.variants}
    refused, said = {}, "as at export; --frames DIR measures it here"
    try:
        if frames is not None or importlib.util.find_spec("skimage") is not None:
            found = verify_bundle(bundle, frames, threads)
            parities = {name: outcome.parity for name, outcome in found.items()}
            refused = {name: outcome.reason for name, outcome in found.items() if outcome.parity is None}
            counts = {p.frames: p.frames_from for p in parities.values() if p}
            said = "; ".join(f"against the reference, {n} frames ({source})" for n, source in counts.items())
    except BundleError as error:
        said = f"as at export, since there is nothing to compare with: {error}"
    timings, not_timed = measure_timings(bundle, set(refused), rounds, threads)
    reasons = refused | not_timed
    if not timings:
        raise make_none_runs_error(bundle, reasons)
    psnr = {name: p.psnr if (p := parities[name]) else 0.0 for name in timings}
    return TuningResult(timings, psnr, reasons, said)


def measure_timings(
    bundle: Bundle, excluded: Collection[str], rounds: int, threads: int | None
) -> tuple[dict[str, Timing], dict[str, str]]:
    """One frame of every variant but the `excluded`, by name, and why others were not timed.

    Variants of one size take turns, each in a process of its own.

    Args:
        bundle: that was read.
        excluded: names of variants that are left out.
        rounds: turns of each variant.
        threads: of the engines; None: their own choice.

    Returns:
        Statistics by the variant's name, and reasons by name.
    """
    timings: dict[str, Timing] = {}
    reasons: dict[str, str] = {}
    variants = [v for v in bundle.manifest.variants if v.name not in excluded]
    for size in dict.fromkeys((v.height, v.width) for v in variants):
        same = [v for v in variants if (v.height, v.width) == size]
        candidates, refused = collect_candidates(bundle, same, 1, BenchOptions(threads=threads))
        comparison = compare(candidates, rounds)
        reasons |= refused | comparison.reasons
        timings |= {name: found.timing for name, found in comparison.timings.items()}
    return timings, reasons


def _group_points(bundle: Bundle, tuned: TuningResult) -> list[list[Point]]:
    """What may be compared with one another: the variants of each size."""
    groups: dict[tuple[int, int], list[Point]] = {}
    for v in bundle.manifest.variants:
        if v.name in tuned.timings:
            point = Point(v.name, tuned.timings[v.name].median_ms, tuned.psnr[v.name])
            groups.setdefault((v.height, v.width), []).append(point)
    return list(groups.values())


def _print_table(
    bundle: Bundle, tuned: TuningResult, groups: Sequence[Sequence[Point]], machine: str
) -> None:
    """Fastest first, then what could not be run."""
    rows: list[list[str]] = []
    pairs = [(point, same_size) for same_size in groups for point in same_size]
    for point, group in sorted(pairs, key=lambda pair: pair[0].ms):
        t, better = tuned.timings[point.name], find_dominator(point, group)
        times = (f"{ms:.2f}" for ms in (t.min_ms, t.median_ms, t.p95_ms))
        verdict = f"dominated by {better.name}" if better else "on the front"
        rows.append([point.name, f"{point.psnr:.1f}", *times, f"{1000 / t.median_ms:.0f}", verdict])
    for v in bundle.manifest.variants:
        if v.name in tuned.reasons:
            rows.append([v.name, format_decibels(v), "-", "-", "-", "-", "not run"])
    headings = ("variant", "PSNR dB", "min ms", "median ms", "p95 ms", "frames/s", "latency and quality")
    print_table(f"{bundle.manifest.model.name} on {machine}", headings, rows)
    for name, reason in tuned.reasons.items():
        print(f"{name} not run: {reason}")
    print(f"PSNR: {tuned.psnr_source}")
