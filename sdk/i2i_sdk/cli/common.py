"""What several commands share."""

from __future__ import annotations

import argparse
import inspect
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from i2i_sdk.backends import check_threads
from i2i_sdk.backends.ort.providers import PROVIDERS
from i2i_sdk.backends.preference_table import AUTO_DEVICE, DEVICES
from i2i_sdk.bundle.folder import Bundle
from i2i_sdk.bundle.manifest import Variant
from i2i_sdk.errors import redact_credentials
from i2i_sdk.loading import find_source
from i2i_sdk.quality.floors import DEFAULT_MIN_PSNR
from i2i_sdk.translator import Translator

# Options that more than one command has: spelled and explained here alone.
OPTIONS: dict[str, dict[str, Any]] = {
    "direction": {"choices": ("AtoB", "BtoA"), "help": "which domain it translates to which"},
    "force": {"action": "store_true", "help": "replace what is there"},
    "frames": {"type": Path, "help": "image, folder of images or video that pictures are compared on"},
    "json": {"action": "store_true", "help": "print JSON"},
    "license": {"help": "of the weights"},
    "max_ms": {"type": float, "metavar": "MS", "help": "the best that takes at most MS ms a frame"},
    "min_psnr": {"type": float, "metavar": "DB", "help": "accept no variant below this"},
    "norm_mode": {"choices": ("batch_stats", "running_stats"), "help": "of BatchNorm at test time"},
    "out": {"type": Path, "help": "what to write"},
    "padding": {"choices": ("reflect", "replicate"), "help": "inside the blocks of a ResNet"},
    "provider": {"help": f"of ONNX Runtime: {', '.join(PROVIDERS)}"},
    "rounds": {"type": int, "default": 10, "help": "turns of each variant at least"},
    "resume": {"type": Path, "metavar": "DIR", "help": "go on with a run where it stopped"},
    "size": {"metavar": "N|HxW", "help": "size of the network's input in pixels"},
    "threads": {"type": int, "help": "CPU threads of an engine"},
    "trained_on": {"help": "what it was trained on, in a few words"},
    "upsample": {"choices": ("nearest", "bilinear"), "help": "of a ResNet that resizes"},
}

# Those that say what an upstream .pth cannot say of itself, and what is taken without them.
UPSTREAM_GROUP = "what an upstream .pth cannot say of itself"
UPSTREAM_OPTIONS = {
    "direction": "by the file's name, else AtoB",
    "norm_mode": "batch_stats, as upstream tests without --eval",
    "padding": "reflect",
    "upsample": "nearest",
    "license": "unknown",
    "trained_on": "unknown",
}


class Parser(argparse.ArgumentParser):
    """Of every command: what it says of its arguments shows no password."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the arguments, and exit."""
        super().error(redact_credentials(message))


def add_options(add: Callable[..., object], **defaults: str | None) -> None:
    """Add some of `OPTIONS` to a command.

    Args:
        add: `add_argument` of the command's parser, or of a group of its options.
        defaults: option -> what is taken without it, for its help; "" says nothing, None means that it must
            be given.
    """
    for name, default in defaults.items():
        how = OPTIONS[name]
        flags = (*(("-o",) if name == "out" else ()), f"--{name.replace('_', '-')}")
        said = f"{how['help']}; default: {default}" if default else how["help"]
        add(*flags, **how | {"help": said} | ({"required": True} if default is None else {}))


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """The arguments of Translator that choose an engine."""
    add = parser.add_argument
    devices = f"run there or say why not: {', '.join((AUTO_DEVICE, *DEVICES))} (default %(default)s)"
    add("--device", default=AUTO_DEVICE, help=devices)
    add("--backend", help="ort, openvino … instead of the fastest that runs here")
    add("--precision", help="fp32, bf16, int8 …")
    add("--fit", help="resize, letterbox, crop, pad or tile; default: as the bundle says")
    add("--allow-fallback", action="store_true", help="let the CPU run what the provider cannot")
    floor = f"{DEFAULT_MIN_PSNR:.0f}"
    add_options(
        add,
        size="the bundle's first",
        threads="its own choice",
        max_ms="no limit; i2i tune measures",
        min_psnr=floor,
        provider="by --device",
    )


def add_contract_options(parser: argparse.ArgumentParser) -> None:
    """What `Translator` must know of an ONNX file made by others; for arguments of `join_negative_values`."""
    group = parser.add_argument_group("for ONNX files made by others")
    text = "what black and white are: 0,255 or 0,1 or -1,1"
    group.add_argument("--input-range", type=_parse_range, help=text)
    group.add_argument("--output-range", type=_parse_range)
    group.add_argument("--layout", choices=("nchw", "nhwc"))
    group.add_argument("--channel-order", choices=("rgb", "bgr"))


def _parse_range(text: str) -> tuple[float, float]:
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {text!r}; give black and white as 0,255 or -1,1") from None
    return low, high


def join_negative_values(argv: Sequence[str]) -> list[str]:
    """argparse takes `-1,1` for an option; `--input-range=-1,1` it understands."""
    joined: list[str] = []
    for argument in argv:
        if joined and joined[-1] in ("--input-range", "--output-range"):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def open_translator(source: str, args: argparse.Namespace) -> Translator:
    """A Translator as the options ask for it. Raises I2IError."""
    names = set(inspect.signature(Translator).parameters) - {"source"}
    options = {name: value for name, value in vars(args).items() if name in names and value is not None}
    return Translator(source, **options)


def parse_measuring(
    parser: argparse.ArgumentParser, argv: Sequence[str], frames: str, nargs: str | None = None
) -> argparse.Namespace:
    """Parse the arguments of a command that measures a bundle.

    Args:
        parser: with the command's own options.
        argv: the arguments.
        frames: what is taken without `--frames`.
        nargs: of the bundle, as argparse has it.

    Returns:
        The options; threads is checked.

    Raises:
        InputError: for less than one thread.
    """
    parser.add_argument("bundle", nargs=nargs, help="a bundle (x.i2i) or a zoo name")
    add_options(parser.add_argument, frames=frames, threads="its own choice")
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
