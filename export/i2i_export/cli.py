"""`i2i export CKPT --to ort,openvino …`, and the launchers in `export/`."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from i2i_export.int8.builder import CALIBRATION_ADVICE
from i2i_export.int8.calibrate import RANGE_METHODS
from i2i_export.options import ExportOptions, can_calibrate
from i2i_export.pipeline import DEFAULT_TARGETS, ExportResult, export
from i2i_export.targets import TARGETS, TargetRequest, parse_targets
from i2i_sdk.backends import explain_unsupported_variant
from i2i_sdk.bundle.manifest import Variant
from i2i_sdk.cli.common import (
    UPSTREAM_GROUP,
    UPSTREAM_OPTIONS,
    Parser,
    add_options,
    format_decibels,
    format_megabytes,
)
from i2i_sdk.cli.tables import print_table
from i2i_sdk.device import read_peak_memory
from i2i_sdk.quality.floors import DEFAULT_MIN_PSNR, choose_floor

WORST_LAYERS = 6  # that are shown of a sensitivity sweep
MIN_SECONDS = 0.1  # of a step whose time is shown


def main(argv: Sequence[str]) -> int:
    """Export, print the table of variants and what to run next. Raises I2IError."""
    parser = _build_parser("i2i export")
    parser.add_argument(
        "--to",
        default=DEFAULT_TARGETS,
        help=f"NAME[:PRECISION],… of {', '.join(TARGETS)}; or all; default {DEFAULT_TARGETS}",
    )
    args = parser.parse_args(argv)
    return _export(args, args.to)


def launch(argv: Sequence[str]) -> int:
    """The launchers' entry: the target first, its precision as an option. Raises I2IError."""
    target, *rest = argv
    parser = _build_parser(f"python {sys.argv[0]}")
    parser.add_argument("--precision", choices=TARGETS[target].precisions, help="default: all that run here")
    args = parser.parse_args(rest)
    return _export(args, f"{target}:{args.precision}" if args.precision else target)


def _build_parser(prog: str) -> argparse.ArgumentParser:
    parser = Parser(
        prog=prog, description="Make a bundle: every variant is run on real frames and compared with PyTorch."
    )
    add = parser.add_argument
    add("checkpoint", type=Path, help=".safetensors, upstream .pth, or the folder of a run")
    frames = f"scikit-image's photos, and no INT8. INT8 needs {CALIBRATION_ADVICE}"
    name, size = "the checkpoint's name, NAME.i2i", "the training size, else 256"
    add_options(
        parser.add_argument, out=name, size=size, frames=frames, min_psnr="the precision's floor", force=""
    )
    add = parser.add_argument_group("int8").add_argument
    calibrated = "folder of images or video for the ranges; default: what the comparison leaves of --frames"
    add("--calibration", type=Path, help=calibrated)
    add("--ranges", choices=tuple(RANGE_METHODS), help="how they are found; default: what suits the engine")
    add = parser.add_argument_group("TensorRT").add_argument
    flavors = ("auto", "tensorrt", "rtx")
    add("--flavor", choices=flavors, default="auto", help="which TensorRT; default: what is installed")
    add(
        "--compute-capability",
        dest="compute_capabilities",
        type=lambda text: tuple(text.split(",")),
        default=(),
        help="of an RTX engine, for example 75,86,89,120; default: all that the builder offers",
    )
    add_options(parser.add_argument_group(UPSTREAM_GROUP).add_argument, **UPSTREAM_OPTIONS)
    parser.add_argument("--name", help="of the model; default: the bundle's")
    return parser


def _export(args: argparse.Namespace, to: str) -> int:
    options = ExportOptions(**{f.name: getattr(args, f.name) for f in dataclasses.fields(ExportOptions)})
    targets = parse_targets(to, options)
    steps = StepReporter()
    with steps.status, contextlib.closing(steps):
        exported = export(args.checkpoint, targets, args.out, options, steps)
    _print_variants(exported)
    for reason in (*exported.skipped, *_explain_skipped_int8(targets, options)):
        print(f"left out {reason}")
    peak = read_peak_memory()
    memory = f", peak memory {peak / 1e9:.1f} GB" if peak is not None else ""
    print(f"took {time.perf_counter() - steps.began:.0f} s{memory}\nwrote {exported.bundle.path}")
    if any(explain_unsupported_variant(variant) is None for variant in exported.bundle.manifest.variants):
        bundle = shlex.quote(str(exported.bundle.path))
        print(f"next: i2i run {bundle} video.mp4 -o out.mp4")
        print(f"      i2i live {bundle}\n      i2i serve {bundle}")
    else:
        print("next: copy it to a device that runs it, see docs/export.md")
    return 0


class StepReporter:
    """Says on stderr what an export does, and how long what was slow took: its `progress`.

    A terminal shows the running step in a line that changes; a file or a pipe gets a line when a step begins.
    """

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.status = self.console.status("")
        self.step = ""
        self.began = self.since = time.perf_counter()

    def __call__(self, text: str) -> None:
        self.status.update(Text(text))  # as text: a file's name is no markup
        step = text.partition(",")[0]
        if step == self.step:
            return
        self.close()
        self.step, self.since = step, time.perf_counter()
        if not self.console.is_terminal:
            self.console.print(Text(f"{step} …"), soft_wrap=True)

    def close(self) -> None:
        """End the last step."""
        seconds = time.perf_counter() - self.since
        if self.step and seconds >= MIN_SECONDS:
            self.console.print(Text(f"{self.step}: {seconds:.1f} s"), soft_wrap=True)


def _explain_skipped_int8(targets: Sequence[TargetRequest], options: ExportOptions) -> list[str]:
    """A line where INT8 was not even tried."""
    possible = any("int8" in TARGETS[wanted.target].precisions for wanted in targets)
    if not possible or can_calibrate(options) or any(wanted.precision == "int8" for wanted in targets):
        return []
    return [f"int8: it needs {CALIBRATION_ADVICE}"]


def _print_variants(result: ExportResult) -> None:
    """One row per variant that was exported now."""
    rows: list[list[str]] = []
    for v, timing in ((c.variant, c.timing) for c in result.variants):
        ssim = f"{v.parity.ssim:.4f}" if v.parity and v.parity.ssim is not None else "-"
        times = (f"{timing.min_ms:.1f}", f"{timing.median_ms:.1f}") if timing else ("-", "-")
        rows.append([v.name, format_megabytes(v), format_decibels(v), ssim, *times, v.verified])
    headings = ("variant", "size MB", "PSNR dB", "SSIM", "min ms", "median ms", "verified")
    print_table(f"{result.bundle.manifest.model.name}: variants measured here", headings, rows)
    for v in (c.variant for c in result.variants):
        if v.sensitivity:
            _print_sensitivity(v)
        if v.parity and v.parity.psnr < DEFAULT_MIN_PSNR:
            print(
                f"{v.name}: below the {DEFAULT_MIN_PSNR:.0f} dB that Translator asks for by default; "
                f"min_psnr={choose_floor(v.precision, None):.0f} or precision={v.precision!r} takes it"
            )


def _print_sensitivity(variant: Variant) -> None:
    """The layers that bear INT8 worst, and those that went back; all are in the manifest.

    What goes back is the noise of a layer for each of its multiplications, so a small layer goes before a
    large one with as many decibels.
    """
    worst = list(variant.sensitivity)[:WORST_LAYERS]
    shown = [name for name in variant.sensitivity if name in worst or name in variant.precision_kept]
    rows = [[n, f"{variant.sensitivity[n]:.1f}", variant.precision_kept.get(n, "int8")] for n in shown]
    if more := len(variant.sensitivity) - len(shown):
        rows.append([f"and {more} more", f"to {max(variant.sensitivity.values()):.1f}", "int8"])
    title = f"{variant.name}: {variant.macs_in_precision:.0%} of the multiplications in INT8"
    print_table(title, ("layer", "dB with it alone in INT8", "computes in"), rows)
