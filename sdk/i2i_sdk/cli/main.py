"""The command `i2i`: an explicit list of commands, each imported when it is called."""

from __future__ import annotations

import errno
import importlib
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from i2i_sdk import __version__
from i2i_sdk.errors import I2IError, InputError, redact_credentials

# command -> (module:function, what it does). Functions take the remaining arguments, return the exit code.
COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("i2i_sdk.cli.run:main", "translate an image, a folder or a video with a bundle"),
    "live": ("i2i_sdk.cli.live:main", "translate a camera, a stream or a video: window, file, page"),
    "serve": ("i2i_sdk.cli.serve:main", "a page and an API that translate live video and pictures"),
    "info": ("i2i_sdk.cli.info:main", "what a bundle or a checkpoint is: network, variants, quality"),
    "tune": ("i2i_sdk.cli.tune:main", "measure a bundle's variants here and remember the fastest"),
    "bench": ("i2i_sdk.cli.bench:main", "time a bundle's variants here; compare two such runs"),
    "verify": ("i2i_sdk.cli.verify:main", "compare a bundle's variants with its reference, here"),
    "bundle": ("i2i_sdk.cli.bundle:main", "remove variants from a bundle: i2i bundle trim"),
    "zoo": ("i2i_sdk.cli.zoo:main", "the bundles that come with i2i-sdk"),
    "doctor": ("i2i_sdk.cli.doctor:main", "engines, CPU, display, cameras: what a bug report needs"),
    "export": ("i2i_export.cli:main", "make a bundle from a checkpoint, every variant checked"),
    "convert": ("i2i_training.cli.convert:main", "generators between .safetensors and upstream's .pth"),
    "train": ("i2i_training.cli.train:main", "train a generator"),
    "distill": ("i2i_training.cli.distill:main", "teach a small network what another one does"),
    "sample": ("i2i_training.cli.sample:main", "a grid of images that a trained DCGAN makes of noise"),
}

# `i2i info FILE` for files that need another package to be read.
INSPECTORS: dict[str, str] = dict.fromkeys(
    (".pth", ".pt", ".safetensors", ".ckpt", ".tar", ".bin"), "i2i_training.cli.info:main"
)

FIRST_STEPS = """first steps:
  i2i run sketch photo.jpg -o drawing.png
  i2i export latest_net_G.pth --frames photos/ -o mine.i2i
  i2i run mine.i2i video.mp4 -o translated.mp4"""

# What to install when a command's package or module needs something that is not there.
EXTRAS = {"i2i_export": "export", "i2i_training": "train", "i2i_sdk.cli.serve": "web"}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `i2i`. Returns the exit code: 0 done, 1 found something wrong, 2 could not do it."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        print(format_usage())
        return 0
    if argv[0] in ("-V", "--version"):
        print(f"i2i-sdk {__version__}")
        return 0
    if argv[0] not in COMMANDS:
        print(f"i2i: {argv[0]!r} is not a command; the commands are: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    return run(COMMANDS[argv[0]][0], argv[1:])


def replace_underscores(argv: Sequence[str]) -> list[str]:
    """`--norm_mode x` is `--norm-mode x`; values stay as they are."""
    options = [(word, *word.partition("=")) for word in argv]
    return [
        name.replace("_", "-") + sign + value if word.startswith("--") else word
        for word, name, sign, value in options
    ]


def run(target: str, argv: Sequence[str]) -> int:
    """Import "module:function", call it, and turn expected errors into one line and an exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        if target not in (COMMANDS["live"][0], COMMANDS["run"][0]):  # they know what to do with an address
            refuse_addresses(argv)
        return load(target)(replace_underscores(argv))
    except BrokenPipeError:  # `i2i info x.i2i | head`: nobody reads any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (I2IError, OSError) as error:  # OSError: a full disk, a folder that may not be written
        is_full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        hint = ": the disk is full; free some space, or write to another disk" if is_full else ""
        print(f"error: {hide_credentials(str(error), argv)}{hint}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        extra = next((extra for package, extra in EXTRAS.items() if target.startswith(package)), None)
        if extra is None or (error.name or "").startswith("i2i_"):
            raise
        print(f"error: this command needs {error.name}: pip install 'i2i-sdk[{extra}]'", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def refuse_addresses(values: Sequence[str]) -> None:
    """Raise InputError for an address with a name and password where a file is expected."""
    for value in values:
        if re.search(r"(?:^|=)[A-Za-z][\w+.-]*:/", value) and (shown := redact_credentials(value)) != value:
            advice = "i2i live BUNDLE --source ADDRESS translates live video"
            raise InputError(f"{shown} is an address; here a file or folder is needed. {advice}")


def hide_credentials(text: str, argv: Sequence[str]) -> str:
    """`text` without the passwords that stand in the arguments."""
    for word in argv:
        value = word.partition("=")[2] if word.startswith("--") and "=" in word else word
        if (shown := redact_credentials(value)) != value:
            text = text.replace(value, shown).replace(str(Path(value)), shown)
    return text


def load(target: str) -> Callable[[Sequence[str]], int]:
    """Import the function that "module:function" names."""
    module, name = target.split(":")
    return getattr(importlib.import_module(module), name)


def format_usage() -> str:
    """The commands, one line each."""
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items())
    return f"usage: i2i COMMAND …        i2i COMMAND --help says more\n\n{commands}\n\n{FIRST_STEPS}"
