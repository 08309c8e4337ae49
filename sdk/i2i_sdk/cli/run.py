"""`i2i run BUNDLE SOURCE -o OUT`."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Sequence

from i2i_sdk.cli.common import (
    Parser,
    add_contract_options,
    add_engine_options,
    add_options,
    join_negative_values,
    open_translator,
)
from i2i_sdk.cli.main import refuse_addresses
from i2i_sdk.errors import InputError, redact_credentials
from i2i_sdk.live.stop_signals import TERMINATE, handle_signals


def main(argv: Sequence[str]) -> int:
    """Translate a file or folder and say what was made. Raises I2IError."""
    parser = Parser(prog="i2i run", description="Translate an image, a folder or a video.")
    parser.add_argument("bundle", help="a bundle (x.i2i), a zoo name, or an ONNX file")
    parser.add_argument("source", help="an image, a folder of images, or a video")
    add_options(parser.add_argument, out=None)
    parser.add_argument("--side-by-side", action="store_true", help="show the input beside the output")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    add_engine_options(parser)
    add_contract_options(parser)
    args = parser.parse_args(join_negative_values(argv))
    _check_source(args.bundle, args.source)
    refuse_addresses([str(args.out)])
    shown = {"progress": not args.quiet, "side_by_side": args.side_by_side}
    # `kill` and a closed terminal are interrupts too: what is finished is kept.
    interrupted = handle_signals(TERMINATE, signal.default_int_handler)
    with open_translator(args.bundle, args) as translate, interrupted:
        summary = translate.translate_file(args.source, args.out, **shown)
        where = translate.engine.provider
        name = f"{translate.variant.name} on {where}" if translate.variant else where
    for note in summary.notes:
        print(f"note: {note}")
    pace = "1 frame" if summary.frames == 1 else f"{summary.frames} frames, {summary.fps:.1f} per second,"
    print(f"wrote {summary.out}: {pace} in {summary.seconds:.2f} s with {name}")
    return 0


def _check_source(bundle: str, source: str) -> None:
    """Raise InputError for live video, which another command reads."""
    is_live = "://" in source or source.isdecimal() or source.startswith("/dev/video")
    if is_live and not os.path.isfile(source):  # noqa: PTH113  # Path's own raises for a long address
        shown = redact_credentials(source)
        advice = f"i2i live {shlex.quote(bundle)} --source {shlex.quote(shown)}"
        raise InputError(f"{shown} is a camera or a stream; i2i run reads files. For live video: {advice}")
