"""What several commands share."""

from __future__ import annotations

import argparse
import inspect
import shlex
from collections.abc import Sequence
from pathlib import Path

from i2i_sdk.backends import check_threads
from i2i_sdk.backends.ort.providers import PROVIDERS
from i2i_sdk.backends.preference_table import AUTO_DEVICE, DEVICES
from i2i_sdk.bundle.folder import Bundle
from i2i_sdk.bundle.manifest import Variant
from i2i_sdk.loading import find_source
from i2i_sdk.quality.floors import DEFAULT_MIN_PSNR
from i2i_sdk.translator import Translator


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """The arguments of Translator that choose an engine."""
    add = parser.add_argument
    devices = f"run there or say why not: {', '.join((AUTO_DEVICE, *DEVICES))} (default %(default)s)"
    add("--device", default=AUTO_DEVICE, help=devices)
    add("--backend", help="ort, openvino … instead of the fastest that runs here")
    add("--precision", help="fp32, bf16, int8 …")
    add("--size", help="of the engine, N or HxW, where the bundle has several")
    add("--fit", help="resize, letterbox, crop, pad or tile; default: as the bundle says")
    add("--threads", type=int, help="of the engine; default: its own choice")
    lowest = f"take no variant below this (default {DEFAULT_MIN_PSNR:.0f})"
    add("--min-psnr", type=float, default=DEFAULT_MIN_PSNR, metavar="DB", help=lowest)
    add("--max-ms", type=float, metavar="MS", help="take the best variant this fast; after i2i tune")
    add("--provider", help=f"of ONNX Runtime: {', '.join(PROVIDERS)}")
    add("--allow-fallback", action="store_true", help="let the CPU run what the provider cannot")


def open_translator(source: str, args: argparse.Namespace) -> Translator:
    """A Translator as the options ask for it. Raises I2IError."""
    names = set(inspect.signature(Translator).parameters) - {"source"}
    return Translator(source, **{name: value for name, value in vars(args).items() if name in names})


def parse_measuring(
    parser: argparse.ArgumentParser, argv: Sequence[str], frames: str, *, nargs: str | None = None
) -> argparse.Namespace:
    """Parse the arguments of a command that measures a bundle; it has its own options in `parser` already.

    frames: what it needs them for. nargs: of the bundle. Raises InputError.
    """
    parser.add_argument("bundle", nargs=nargs, help="a bundle (x.i2i) or a zoo name")
    parser.add_argument("--frames", type=Path, help=frames)
    parser.add_argument("--threads", type=int, help="of the engines; default: their own choice")
    args = parser.parse_args(argv)
    check_threads(args.threads)
    return args


def read_bundle(source: str) -> Bundle:
    """The bundle at a path, or of that name in the zoo. Raises InputError, BundleError."""
    return Bundle.read(find_source(source))


def format_run_command(source: str) -> str:
    """The command that translates with a bundle, for the last line of other commands."""
    return f"i2i run {shlex.quote(source)} SOURCE -o OUT"


def format_megabytes(variant: Variant) -> str:
    """Size of a variant's files, 1 MB = 10^6 bytes."""
    return f"{sum(f.bytes for f in variant.files) / 1e6:.2f}"


def format_decibels(variant: Variant) -> str:
    """PSNR of a variant, or a dash where it was not measured."""
    return f"{variant.parity.psnr:.1f}" if variant.parity else "-"
