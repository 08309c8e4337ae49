"""`i2i tune BUNDLE`: measure every variant that runs here, remember the order for this device."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import numpy as np

from i2i_sdk.backends import check_threads, open_variant, why_not
from i2i_sdk.backends.base import Engine, EngineOptions
from i2i_sdk.bundle import Bundle
from i2i_sdk.commands.common import decibels, how_to_use, read_bundle
from i2i_sdk.errors import BackendError, InputError
from i2i_sdk.measure import Timing, interleaved, machine, statistics
from i2i_sdk.tables import print_table
from i2i_sdk.tuning import save_latencies


def main(argv: Sequence[str]) -> int:
    """Measure, print a table, keep the medians. Raises I2IError."""
    parser = argparse.ArgumentParser(
        prog="i2i tune", description="Measure every variant here; Translator then takes the fastest."
    )
    parser.add_argument("bundle", help="a bundle (x.i2i) or a zoo name")
    parser.add_argument("--rounds", type=int, default=50, help="measurements of each variant (default 50)")
    parser.add_argument("--threads", type=int, help="of the engines; default: their own choice")
    args = parser.parse_args(argv)
    if args.rounds < 3:
        raise InputError(f"--rounds {args.rounds}: at least 3 are needed for a median that means something")
    check_threads(args.threads)
    bundle = read_bundle(args.bundle)
    timings = measure_variants(bundle, args.rounds, args.threads)
    _print_table(bundle, timings)
    if args.threads is None:
        path = save_latencies(bundle, {name: t.median_ms for name, t in timings.items()})
        print(f"remembered in {path}")
    else:
        print("not remembered: with --threads the order may be another than without")
    print(f"next: {how_to_use(args.bundle, bundle.manifest.model.kind)}")
    return 0


def measure_variants(bundle: Bundle, rounds: int, threads: int | None) -> dict[str, Timing]:
    """Time one frame on every variant that runs here, taking turns. Raises BackendError if none does."""
    with ExitStack() as stack:
        calls: dict[str, Callable[[], object]] = {}
        for variant in bundle.manifest.variants:
            if why_not(variant) is None:
                engine = stack.enter_context(
                    open_variant(variant, bundle.files_of(variant), EngineOptions(threads))
                )
                calls[variant.name] = _call(engine)
        if not calls:
            raise BackendError(
                f"{bundle.path}: no variant can run on this device; see: i2i info {bundle.path}"
            )
        return {name: statistics(times) for name, times in interleaved(calls, rounds=rounds).items()}


def _call(engine: Engine) -> Callable[[], object]:
    shape = tuple(side or 1 for side in engine.input_shape)
    frame = np.random.default_rng(0).integers(0, 256, shape).astype(engine.input_dtype)
    return lambda: engine.run(frame)


def _print_table(bundle: Bundle, timings: dict[str, Timing]) -> None:
    rows: list[list[str]] = []
    for v in sorted(
        bundle.manifest.variants, key=lambda v: timings[v.name].median_ms if v.name in timings else 1e9
    ):
        if v.name not in timings:
            rows.append([v.name, decibels(v), "-", "-", "-", why_not(v) or ""])
            continue
        t = timings[v.name]
        times = (f"{ms:.2f}" for ms in (t.min_ms, t.median_ms, t.p95_ms))
        rows.append([v.name, decibels(v), *times, f"{1000 / t.median_ms:.0f}"])
    facts = machine()
    where = f"{facts['cpu']}, {facts['cores']} cores, load {facts.get('load_1min', 'unknown')}"
    print_table(
        f"{bundle.manifest.model.name} on {where}",
        ("variant", "PSNR dB", "min ms", "median ms", "p95 ms", "frames/s"),
        rows,
    )
