"""What several commands share."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from i2i_sdk.backends.ort.providers import PROVIDERS
from i2i_sdk.bundle.folder import Bundle
from i2i_sdk.bundle.manifest import Variant
from i2i_sdk.loading import find_source
from i2i_sdk.quality.floors import DEFAULT_MIN_PSNR
from i2i_sdk.translator import Translator


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """--backend, --precision, --size, --fit, --threads: as the arguments of Translator."""
    parser.add_argument("--backend", help="ort, openvino … instead of the fastest that runs here")
    parser.add_argument("--precision", help="fp32, bf16, int8 …")
    parser.add_argument("--size", help="of the engine, N or HxW, where the bundle has several")
    parser.add_argument("--fit", help="resize, letterbox, crop, pad or tile; default: as the bundle says")
    parser.add_argument("--threads", type=int, help="of the engine; default: its own choice")


def add_choice_options(parser: argparse.ArgumentParser) -> None:
    """--min-psnr, --max-ms, --provider, --allow-fallback: as the arguments of Translator."""
    parser.add_argument(
        "--min-psnr",
        type=float,
        default=DEFAULT_MIN_PSNR,
        metavar="DB",
        help=f"take no variant below this (default {DEFAULT_MIN_PSNR:.0f})",
    )
    parser.add_argument(
        "--max-ms", type=float, metavar="MS", help="take the best variant this fast; after i2i tune"
    )
    parser.add_argument("--provider", help=f"of ONNX Runtime: {', '.join(PROVIDERS)}")
    parser.add_argument(
        "--allow-fallback", action="store_true", help="let the CPU run what the provider cannot"
    )


def open_translator(source: str, args: argparse.Namespace, **external: Any) -> Translator:
    """A Translator as the options of this file ask for it; foreign: for ONNX files. Raises I2IError."""
    return Translator(
        source,
        backend=args.backend,
        precision=args.precision,
        size=args.size,
        fit=args.fit,
        threads=args.threads,
        min_psnr=args.min_psnr,
        max_ms=args.max_ms,
        provider=args.provider,
        allow_fallback=args.allow_fallback,
        **external,
    )


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
