"""The live loop with a camera: from the moment a camera sends a picture to the moment its result is shown.

A camera of its own process sends numbered photographs at 30 frames a second (`support/loopback.py`); the
sink looks up when each was sent. Everything is included: sending, receiving, JPEG, hand-overs, the engine.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.reporting.publish import publish
from benchmarks.support.glass_to_glass import format_engine_name, watch_cameras
from benchmarks.support.identity import SlowEngine, write_identity
from benchmarks.support.loopback import Loopback, Size
from i2i_sdk import Translator
from i2i_sdk.perf.quiet import QuietMonitor
from i2i_sdk.perf.record import Row

FPS = 30.0
SIZES: tuple[Size, ...] = ((640, 480), (1280, 720))
WARM_UP_S = 3.0
MAX_ADDED_MS = 5.0  # p95 that the loop may add to a decoded 720p frame
MAX_LATENCY_MS = 250.0  # p95 that must not be passed with an engine that cannot keep up
Opener = Callable[[], Translator]


def main(argv: Sequence[str]) -> int:
    """Measure; 1 if what the loop promises does not hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each run")
    parser.add_argument("--slow-seconds", type=float, default=60.0, help="of the run with the slow engine")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        identity = write_identity(Path(folder) / "identity.onnx")
        engines: tuple[tuple[str, Opener], ...] = (
            ("sketch 256x256", lambda: Translator("sketch", size=256)),  # the fastest
            ("sketch 256x256", lambda: Translator("sketch", size=256, backend="ort", precision="fp32")),
            ("identity 256x256", lambda: Translator(identity)),
        )
        rows: list[Row] = []
        with QuietMonitor() as quiet:
            for size in SIZES:
                for subject, opened in engines:
                    rows.append(measure_stream(subject, opened, size, args.seconds))
                    quiet.check_steady()
            slow = measure_stream("0.1 s engine", lambda: SlowEngine(identity), SIZES[-1], args.slow_seconds)
    held = check_promises(rows[-1], slow)
    facts = {"seconds": args.seconds, "slow_seconds": args.slow_seconds, "camera_fps": FPS, "checks": held}
    title = f"live: camera to result, {FPS:.0f} fps MJPEG over loopback"
    different = {row.key: row for row in (*rows, slow)}  # the fastest may be ONNX Runtime's
    return publish("live", title, [*different.values()], quiet.conditions, facts)


def measure_stream(subject: str, opener: Opener, size: Size, seconds: float) -> Row:
    """One stream of a camera of this size.

    Args:
        subject: how the engine is called.
        opener: of the translator.
        size: of the pictures: width, height.
        seconds: after the warm-up.

    Returns:
        A row of a record.
    """
    with Loopback(size, fps=FPS) as camera, opener() as translate:
        translate.warmup()
        run = watch_cameras(translate, camera, 1, seconds, WARM_UP_S)
        return run.to_row(subject, format_engine_name(translate), size)


def check_promises(identity: Row, slow: Row) -> Mapping[str, bool]:
    """What the loop promises for 720p frames, with whether it held."""
    added, bound = identity.times["added"].p95_ms, slow.times["glass"].p95_ms
    in_time = f"{identity.subject}: decoded to shown, p95 {added:.2f} ms; at most {MAX_ADDED_MS:.0f}"
    bounded = f"{slow.subject}: glass to glass, p95 {bound:.0f} ms; at most {MAX_LATENCY_MS:.0f}"
    return {in_time: added <= MAX_ADDED_MS, bounded: bound <= MAX_LATENCY_MS}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
