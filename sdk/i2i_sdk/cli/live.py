"""`i2i live BUNDLE…`."""

from __future__ import annotations

import argparse
import os
import signal
import socket
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from i2i_sdk import live
from i2i_sdk.cli.common import Parser, add_engine_options, open_translator
from i2i_sdk.cli.main import refuse_addresses
from i2i_sdk.errors import I2IError, InputError, redact_credentials
from i2i_sdk.imaging import compose
from i2i_sdk.live.stop_signals import TERMINATE, handle_signals

DEFAULT_SOURCE = "0"
CAMERA_OPTIONS = ("width", "height", "fps", "fourcc")

Recordings = list[live.VideoSink]


def main(argv: Sequence[str]) -> int:
    """Translate live video until it ends, its window is closed, or Ctrl-C. Raises I2IError."""
    args = _make_parser().parse_args(argv)
    sources: list[str] = args.source or [DEFAULT_SOURCE]
    _check_args(args, sources)
    # It fails before models are loaded.
    window = live.WindowSink(snapshots=args.snapshots) if args.window else None
    shown = args.window or args.mjpeg is not None or args.virtual_camera
    recordings = _make_recordings(args.record, len(sources))
    with ExitStack() as opened:
        models = [opened.enter_context(open_translator(bundle, args)) for bundle in args.bundles]
        if window is not None:
            window.translators = tuple(models)
        servers = [] if args.mjpeg is None else [live.MjpegServerSink(args.mjpeg[1], args.mjpeg[0])]
        cameras = [live.VirtualCameraSink()] if args.virtual_camera else []
        session = _SessionSink(args.stop_after, servers)
        stream = models[0].stream(
            sources,
            sinks=[*([window] if window else []), *recordings, *servers, *cameras, session],
            stabilize=args.stabilize,
            blend=args.blend,
            mirror=args.window and sources == [DEFAULT_SOURCE] if args.mirror is None else args.mirror,
            reuse=args.reuse,
            view=args.view,
            overlay=shown and not recordings if args.overlay is None else args.overlay,
            camera=live.CameraOptions(args.width, args.height, args.fps, args.fourcc),
            realtime=shown,
        )
        try:
            # Whoever ends a live view has done nothing wrong, and SIGTERM must not cost the recording.
            with suppress(KeyboardInterrupt), handle_signals(TERMINATE, signal.default_int_handler):
                stream.run()
        except I2IError:
            if stream.stats.presented:
                _report(stream.stats, recordings)
            raise
        _report(stream.stats, recordings)
    return 0


def _report(stats: live.StreamStats, recordings: Recordings) -> None:
    """What became of it. A recording of a source that gave nothing has left no file."""
    print(format_summary(stats, [r.path for r in recordings if r.is_finished]))
    for note in dict.fromkeys(note for recording in recordings for note in recording.notes):
        print(f"note: {note}")


def format_summary(stats: live.StreamStats, recorded: Sequence[Path]) -> str:
    """One line about a stream that has ended."""
    if not stats.presented:
        return "no frames were received"
    frames = "1 frame" if stats.presented == 1 else f"{stats.presented} frames"
    files = f"; recorded {', '.join(map(str, recorded))}" if recorded else ""
    return f"{frames}, {stats.format_line()}{files}"


class _SessionSink(live.Sink):
    """Says where to look, and stops after so many results."""

    def __init__(self, max_results: int | None, servers: Sequence[live.MjpegServerSink]) -> None:
        super().__init__()
        self._max_results, self._servers, self._count = max_results, servers, 0

    def open(self, stream: live.Stream) -> None:
        """The other sinks are open by now, so that a port 0 has become a real one."""
        self._stream = stream
        for server in self._servers:
            host = socket.gethostname() if server.host == "0.0.0.0" else server.host
            print(f"look at http://{host}:{server.port}/", flush=True)

    def take(self, result: live.Result) -> None:
        """Count."""
        self._count += 1
        if self._count == self._max_results:
            self._stream.close()


def _make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="i2i live",
        description="Translate live video: a camera, a network stream or a file; in a window, into a file, "
        "onto a page. q in the window or Ctrl-C ends it.",
    )
    switch = argparse.BooleanOptionalAction
    text = "a bundle, a zoo name or an ONNX file; n takes the next"
    parser.add_argument("bundles", nargs="+", metavar="BUNDLE", help=text)
    parser.add_argument(
        "--source",
        action="append",
        help="a camera number (default 0), a video file, a folder of images, an http:// (MJPEG) or rtsp:// "
        "address, a GStreamer pipeline; several: repeat it",
    )
    out = parser.add_argument_group("where to")
    out.add_argument("--window", action=switch, default=True, help="show it (default)")
    out.add_argument("--record", type=Path, metavar="FILE", help="into a video: .mp4, .mkv or .mov")
    out.add_argument("--mjpeg", type=_parse_address, metavar="[HOST:]PORT", help="onto a page for browsers")
    out.add_argument("--virtual-camera", action="store_true", help="as a camera for other programs")
    out.add_argument("--snapshots", type=Path, default=".", metavar="DIR", help="for the window's key s")
    out.add_argument("--stop-after", type=int, metavar="N", help="end after N results")
    picture = parser.add_argument_group("the picture")
    picture.add_argument("--view", choices=compose.VIEWS, default="output", help="v takes the next")
    strength: dict[str, Any] = {"type": _parse_strength, "nargs": "?", "const": True, "default": False}
    text = "less flicker; below 1, usually 0.7"
    picture.add_argument("--stabilize", **strength, metavar="STRENGTH", help=text)
    picture.add_argument("--blend", type=float, default=1.0, metavar="W", help="0 is the input (default 1)")
    picture.add_argument("--mirror", action=switch, help="default: camera 0 in a window only")
    picture.add_argument("--overlay", action=switch, help="rate and latency; default: unless it is recorded")
    text = "do not translate what differs by at most T gray levels"
    picture.add_argument("--reuse", type=float, metavar="T", help=text)
    camera = parser.add_argument_group("what cameras are asked for")
    camera.add_argument("--width", type=int)
    camera.add_argument("--height", type=int)
    camera.add_argument("--fps", type=float)
    camera.add_argument("--fourcc", help="MJPG gives most USB cameras their full rate")
    add_engine_options(parser)
    return parser


def _parse_strength(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        advice = "give a number below 1, or put BUNDLE first"
        raise argparse.ArgumentTypeError(f"got {text!r}; {advice}") from None


def _parse_address(text: str) -> tuple[str, int]:
    """ "8080" or "0.0.0.0:8080" -> host and port."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"got {text!r}; give a port as 8080, or 0.0.0.0:8080")
    return host or "127.0.0.1", int(port)


def _check_args(args: argparse.Namespace, sources: Sequence[str]) -> None:
    """What does not go together. Raises InputError."""
    if args.stop_after is not None and args.stop_after < 1:
        raise InputError(f"--stop-after is {args.stop_after}; allowed: 1 or more")
    asked = [f"--{name}" for name in CAMERA_OPTIONS if getattr(args, name) is not None]
    if asked and not any(source.isdecimal() for source in sources):
        shown = ", ".join(map(redact_credentials, sources))
        raise InputError(f"{', '.join(asked)}: for camera numbers only; the source is {shown}")
    if len(sources) > 1 and (args.mjpeg is not None or args.virtual_camera):
        raise InputError(f"--mjpeg and --virtual-camera show one source; there are {len(sources)}")
    record: Path | None = args.record
    refuse_addresses([str(record)])
    if record is not None and record.exists():
        # As os.path has it: Path's own method raises for what is too long for a name, as addresses can be.
        found = [path for path in sources if os.path.exists(path)]  # noqa: PTH110
        if any(map(record.samefile, found)):
            raise InputError(f"--record {record} would replace its source; give another file")


def _make_recordings(path: Path | None, sources: int) -> Recordings:
    """out.mp4, or for several sources out_1.mp4, out_2.mp4 …"""
    if path is None:
        return []
    if sources == 1:
        return [live.VideoSink(path, source=0)]
    return [live.VideoSink(path.with_stem(f"{path.stem}_{i + 1}"), source=i) for i in range(sources)]
