"""`i2i bench BUNDLE`, or a folder of them: how fast every variant is here; `--compare` says what changed."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from i2i_sdk.bundle.folder import Bundle
from i2i_sdk.bundle.manifest import Parity, Variant
from i2i_sdk.cli.common import Parser, add_options, format_run_command, parse_measuring, read_bundle
from i2i_sdk.cli.tables import print_table
from i2i_sdk.errors import BundleError, InputError
from i2i_sdk.perf import bench
from i2i_sdk.perf.bench import ORT_DEFAULT, BenchOptions, Progress
from i2i_sdk.perf.candidates import Candidate
from i2i_sdk.perf.compare import find_changes, find_machine_differences, find_unmatched_rows
from i2i_sdk.perf.energy import NOT_AVAILABLE, EnergyMeter, open_meters
from i2i_sdk.perf.machine import describe_machine
from i2i_sdk.perf.quiet import QuietMonitor
from i2i_sdk.perf.record import Record, Row, make_record, read_record, write_record
from i2i_sdk.perf.tables import build_tables, format_conditions
from i2i_sdk.quality.verify_bundle import verify_bundle
from i2i_sdk.selection import parse_size

log = logging.getLogger(__name__)

MIN_ROUNDS = 6


def main(argv: Sequence[str]) -> int:
    """Measure and write a file, or compare two. Raises I2IError."""
    args = _parse(argv)
    if args.compare:
        return compare_files(*args.compare)
    if args.bundle is None:
        raise InputError("say what to measure: i2i bench BUNDLE, or i2i bench --compare BEFORE AFTER")
    if args.rounds < MIN_ROUNDS:
        raise InputError(f"--rounds {args.rounds}: at least {MIN_ROUNDS} are needed for a spread")
    if not 0 <= args.seconds < float("inf"):
        raise InputError(f"--seconds {args.seconds}: 0 or more are needed")
    bundles = read_bundles(args.bundle)
    out = args.out or Path(f"{Path(args.bundle).stem}.bench.json")
    if not out.parent.is_dir():
        raise InputError(f"--out {out}: there is no folder {out.parent}")
    variants = [select_variants(bundle, args.size) for bundle in bundles]
    batches = parse_batches(args.batch, max(v.max_batch for each in variants for v in each))
    options = BenchOptions(args.rounds, args.seconds, args.threads, args.provider)
    pairs = list(zip(bundles, variants, strict=True))
    record = run_with_progress(lambda say: bench_bundles(pairs, args.frames, batches, options, say))
    print_record(record)
    write_record(out, record)
    print(f"written to {out}; later: i2i bench --compare {out} NEWER.json")
    if len(bundles) == 1:
        print(f"next: {format_run_command(args.bundle)}")
    return 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="i2i bench",
        description="Time every variant of a bundle on this device, beside plain ONNX Runtime. Each has a "
        "process of its own, and they take turns. Leave the machine alone meanwhile: a busy one is noticed, "
        "and its figures are marked.",
    )
    add = parser.add_argument
    add("--batch", default="1", metavar="N,…", help="frames a call, such as 1,4 (default 1)")
    add("--seconds", type=float, default=10, help="for each size and batch at least (default 10)")
    add_options(add, size="every size", rounds="10", provider="cpu", out="NAME.bench.json here")
    text = "two such files: what changed beyond the noise; exits with 1 where something is slower or lost"
    add("--compare", nargs=2, type=Path, metavar=("BEFORE", "AFTER"), help=text)
    return parse_measuring(parser, argv, "the quality is not measured here", nargs="?")


def run_with_progress(work: Callable[[Progress], Record]) -> Record:
    """Do it, with a line on the terminal that says what is being done."""
    from rich.console import Console

    with Console(stderr=True).status("starting") as status:
        return work(status.update)


def select_variants(bundle: Bundle, size: str | None) -> list[Variant]:
    """The variants of a size, or all. Raises InputError naming the sizes there are."""
    variants = list(bundle.manifest.variants)
    if size is None:
        return variants
    sides = parse_size(size)
    if found := [v for v in variants if (v.height, v.width) == sides]:
        return found
    sizes = ", ".join(dict.fromkeys(f"{v.height}x{v.width}" for v in variants))
    raise InputError(f"--size {size}: {bundle.path.name} has {sizes}")


def parse_batches(text: str, max_batch: int) -> list[int]:
    """ "1,4" -> [1, 4]. Raises InputError, also for more than `max_batch`, which no variant takes."""
    try:
        found = list(dict.fromkeys(int(word) for word in text.split(",")))
    except ValueError:
        found = [0]
    if not 1 <= min(found) <= max(found) <= max_batch:
        needed = f"whole numbers from 1 to {max_batch} are needed, with commas between them"
        raise InputError(f"--batch {text}: {needed}")
    return found


def read_bundles(source: str) -> list[Bundle]:
    """A bundle, or all of a folder that holds some. Raises InputError, BundleError."""
    inside = sorted(Path(source).glob("*.i2i")) if not source.endswith(".i2i") else []
    return [read_bundle(str(path)) for path in inside] or [read_bundle(source)]


def bench_bundles(
    bundles: Sequence[tuple[Bundle, Sequence[Variant]]],
    frames: Path | None,
    batch_sizes: Sequence[int],
    options: BenchOptions,
    progress: Progress,
) -> Record:
    """Measure variants, bundle by bundle, size by size and batch by batch.

    Args:
        bundles: that were read, each with those of its variants that are measured.
        frames: a folder of images or a video for the quality; None takes that of the export.
        batch_sizes: frames of a call, from 1.
        options: of the measurement.
        progress: told in a few words what is done.

    Returns:
        A record of the part "engines".

    Raises:
        BackendError: no variant of a bundle runs here.
        InputError, MediaError: the frames cannot be had.
    """
    rows: list[Row] = []
    has_parities = False
    meters = open_meters()
    try:
        with QuietMonitor() as quiet:
            for bundle, variants in bundles:
                parities = {} if frames is None else _measure_parities(bundle, frames, options, progress)
                has_parities |= bool(parities)
                found = _bench_variants(
                    bundle, variants, batch_sizes, options, parities, meters, quiet, progress
                )
                if not any("size" in row.values for row in found):
                    notes = {row.name: note for row in found for note in row.notes}
                    raise bench.make_none_runs_error(bundle, notes)
                rows += found
    finally:
        for meter in meters:
            meter.close()
    names = ", ".join(bundle.manifest.model.name for bundle, _ in bundles)
    facts = _describe_run([bundle for bundle, _ in bundles], has_parities, options, meters)
    title, measured = f"{names}: one call of each variant", quiet.conditions
    machine = describe_machine()
    return make_record("engines", title, tuple(rows), machine, measured, baseline=ORT_DEFAULT, facts=facts)


def _bench_variants(
    bundle: Bundle,
    variants: Sequence[Variant],
    batch_sizes: Sequence[int],
    options: BenchOptions,
    parities: dict[str, Parity],
    meters: Sequence[EnergyMeter],
    quiet: QuietMonitor,
    progress: Progress,
) -> list[Row]:
    """The rows of one bundle."""
    rows: list[Row] = []
    for size in dict.fromkeys((v.height, v.width) for v in variants):
        same = [v for v in variants if (v.height, v.width) == size]
        for batch in batch_sizes:
            found, comparison = bench.bench_variants(
                bundle,
                same,
                _list_baselines(bundle, same[0], batch),
                ORT_DEFAULT,
                batch=batch,
                options=options,
                parities=parities,
                meters=meters,
                check_steady=quiet.check_steady,
                progress=progress,
            )
            rows += found
            quiet.count_turns(comparison.turns)
    return rows


def _measure_parities(
    bundle: Bundle, frames: Path, options: BenchOptions, progress: Progress
) -> dict[str, Parity]:
    """By variant; nothing where the reference's file is damaged."""
    progress("comparing pictures with the reference's")
    try:
        outcomes = verify_bundle(bundle, frames, options.threads)
    except BundleError as error:
        log.warning("the quality is as at export, since there is nothing to compare with: %s", error)
        return {}
    return {name: outcome.parity for name, outcome in outcomes.items() if outcome.parity}


def _list_baselines(bundle: Bundle, variant: Variant, batch: int) -> list[Candidate]:
    """The reference of a variant's size in plain ONNX Runtime; nothing where its file is damaged."""
    try:
        return [bench.make_reference_candidate(bundle, variant, batch)]
    except BundleError as error:
        log.warning("%s is not measured: %s", ORT_DEFAULT, error)
        return []


def _describe_run(
    bundles: Sequence[Bundle], has_parities: bool, options: BenchOptions, meters: Sequence[EnergyMeter]
) -> dict[str, str | int]:
    return {
        "bundle": ", ".join(bundle.path.name for bundle in bundles),
        "checkpoint": ", ".join(bundle.manifest.model.source_sha256 for bundle in bundles),
        "threads": bench.format_threads(options.threads),
        "provider": options.provider or "cpu",
        "rounds": options.rounds,
        "quality": "measured here" if has_parities else "as at export",
        "energy": ", ".join(meter.name for meter in meters) or NOT_AVAILABLE,
    }


def print_record(record: Record) -> None:
    """The tables, what they were measured on and with, and whether the machine was quiet."""
    print(f"{record.title}, on {record.machine.get('cpu', 'an unknown processor')}")
    for table in build_tables(record):
        print_table(table.title, table.headings, table.rows)
        for note in table.notes:
            print(f"  {note}")
    if record.baseline:
        print(f"times faster: than {record.baseline}, round by round")
    facts = {**record.facts, **record.machine}
    print("; ".join(f"{name}: {value}" for name, value in facts.items() if name != "checks"))
    print_conditions(record)


def print_conditions(record: Record) -> None:
    """Was the machine quiet?"""
    print(f"conditions: {format_conditions(record.conditions)}")
    for mark in record.conditions.marks:
        print(f"NOT TO BE RELIED ON: {mark}")
    if record.is_trusted:
        print("the machine was quiet: these figures can be a reference")


def _format_shape(row: Row) -> str:
    parts = [f"{row.height}x{row.width}" if row.height else ""]
    parts.append(f"batch {row.batch}" if row.batch > 1 else "")
    parts.append(f"{row.streams} streams" if row.streams > 1 else "")
    return " ".join(filter(None, parts))


def compare_files(before: Path, after: Path) -> int:
    """Print what changed; 1 where something became slower. Raises InputError."""
    old, new = read_record(before), read_record(after)
    found = find_changes(old, new)
    rows = [
        [
            f"{change.row.subject} {change.row.name}",
            _format_shape(change.row),
            change.quantity,
            f"{change.before_ms:.2f}",
            f"{change.after_ms:.2f}",
            f"{change.share:+.1%}",
            f"{change.noise:.0%}",
            *("-" if r is None else f"{r:.2f}" for r in (change.faster_before, change.faster_after)),
            change.verdict,
        ]
        for change in found
    ]
    headings = ("", "size", "time", "before ms", "after ms", "change", "noise", "faster", "faster now", "")
    print_table(f"{before.name} ({old.created}) and {after.name} ({new.created})", headings, rows)
    for name, (was, now) in find_machine_differences(old, new).items():
        print(f"differs: {name}: {was} -> {now}")
    lost, came = find_unmatched_rows(old, new)
    for text, some in (("timed before and not now", lost), ("timed now and not before", came)):
        if some:
            print(f"{text}: {', '.join(f'{row.subject} {row.name} {_format_shape(row)}' for row in some)}")
    print_conditions(new)
    slower = [change for change in found if change.verdict == "slower"]
    print(f"{len(slower)} of {len(found)} times are slower beyond the noise")
    if not new.is_trusted:
        raise InputError("nothing follows from it: the second run is marked; measure again")
    return 1 if slower or lost else 0
