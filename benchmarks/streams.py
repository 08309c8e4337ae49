"""Several streams through one engine: how time grows with their number, and whether each gets its share.

First sources that always have a frame ready, held in memory, of which every frame counts: a round is over
when every stream has shown one more. Then loopback cameras at 10 frames a second, of which the newest counts,
so that decoding does not take all of the processor; they send at different moments, from one process.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.reporting.publish import publish
from benchmarks.support.glass_to_glass import format_engine_name, watch_cameras
from benchmarks.support.identity import write_identity
from benchmarks.support.loopback import Loopback, Size, make_photos
from i2i_sdk import Translator
from i2i_sdk.live import NullSink, Result, Stream
from i2i_sdk.perf.quiet import QuietMonitor
from i2i_sdk.perf.record import Row
from i2i_sdk.perf.timing import compute_statistics, take_turns

STREAM_COUNTS = (1, 2, 4, 8)
SIZE: Size = (640, 480)
FPS = 10.0
PICTURE_COUNT = 20  # held in memory
TURN_COUNT = 6  # in which every number of streams is measured, so that a slow moment hits all alike
WARM_UP_ROUNDS = 2  # of a turn: slots are filled, memory is taken
MIN_RESULTS = 10  # of each stream in a turn, so that one result more is no unfair share
WARM_UP_S = 1.0  # of cameras
MIN_SHARE = 0.9  # of the mean rate that the least served stream must have


class ArrivalSink(NullSink):
    """Notes when results come, by stream, and ends the stream in time."""

    def __init__(self, streams: int, seconds: float) -> None:
        super().__init__()
        self.moments: list[list[float]] = [[] for _ in range(streams)]
        self.seconds = self.cpu = 0.0
        self._least_s = seconds

    def open(self, stream: Stream) -> None:
        """The time begins."""
        self._stream, self._opened = stream, time.perf_counter()
        self._process = psutil.Process()
        self._process.cpu_percent()  # since now

    def take(self, result: Result) -> None:
        """Note it."""
        now = time.perf_counter()
        self.moments[result.source].append(now)
        enough = min(map(len, self.moments)) >= MIN_RESULTS
        if enough and now - self._opened > self._least_s:
            self.seconds, self.cpu = now - self._opened, self._process.cpu_percent() / 100
            self._stream.close()


@dataclass
class SaturatedCase:
    """One engine with so many streams that always have a frame ready; it is measured in several turns."""

    translate: Translator
    pictures: Sequence[NDArray[np.uint8]]
    streams: int
    seconds: float  # of a turn
    turns: list[ArrivalSink] = field(default_factory=list[ArrivalSink])

    def run_turn(self) -> list[float]:
        """Milliseconds of its rounds."""
        sink = ArrivalSink(self.streams, self.seconds)
        self.turns.append(sink)
        self.translate.stream([cycle(self.pictures) for _ in range(self.streams)], sinks=[sink]).run()
        return compute_rounds(sink.moments)[WARM_UP_ROUNDS:]

    def to_row(self, subject: str, turns: Sequence[Sequence[float]]) -> Row:
        """As a row of a record. turns: milliseconds of their rounds."""
        width, height = SIZE
        served = [sum(len(turn.moments[stream]) for turn in self.turns) for stream in range(self.streams)]
        values = compute_rates(served, sum(turn.seconds for turn in self.turns))
        values["cpu"] = float(np.mean([turn.cpu for turn in self.turns]))
        times = {"round": compute_statistics([ms for turn in turns for ms in turn], turns)}
        name = format_engine_name(self.translate)
        return Row(subject, name, height, width, 1, self.streams, times, values=values)


def main(argv: Sequence[str]) -> int:
    """Measure; 1 if a stream gets less than its share."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streams", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each number of streams")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder, QuietMonitor() as quiet:
        identity = write_identity(Path(folder) / "identity.onnx")
        with Translator("sketch", size=256) as translate:
            rows = measure_saturated("sketch 256x256", translate, args.seconds, quiet.check_steady)
            rows += measure_cameras("sketch 256x256, cameras", translate, args.seconds, quiet.check_steady)
        with Translator(identity) as translate:
            rows += measure_saturated("identity 256x256", translate, args.seconds, quiet.check_steady)
    held = dict(check_promise(row) for row in rows if row.streams > 1)
    facts = {"seconds": args.seconds, "camera_fps": FPS, "checks": held}
    title = f"streams: several through one engine, {SIZE[0]}x{SIZE[1]}"
    return publish("streams", title, rows, quiet.conditions, facts)


def measure_saturated(
    subject: str, translate: Translator, seconds: float, check_steady: Callable[[], bool]
) -> list[Row]:
    """A row for each number of streams that always have a frame ready; they take turns.

    Args:
        subject: how the engine is called.
        translate: that is open.
        seconds: of each number of streams.
        check_steady: as `take_turns` has it.

    Returns:
        Rows of a record.
    """
    pictures = make_photos(SIZE, PICTURE_COUNT)
    translate.warmup()
    turn_s = seconds / TURN_COUNT
    cases = {str(count): SaturatedCase(translate, pictures, count, turn_s) for count in STREAM_COUNTS}
    turns = {name: case.run_turn for name, case in cases.items()}
    rounds = take_turns(turns, TURN_COUNT, check_steady=check_steady).rounds
    return [case.to_row(subject, rounds[name]) for name, case in cases.items()]


def measure_cameras(
    subject: str, translate: Translator, seconds: float, before_each: Callable[[], object]
) -> list[Row]:
    """A row for each number of cameras.

    Args:
        subject: how the engine is called.
        translate: that is open.
        seconds: of each number of streams.
        before_each: called before each.

    Returns:
        Rows of a record.
    """
    rows: list[Row] = []
    with Loopback(SIZE, fps=FPS, cameras=max(STREAM_COUNTS)) as camera:
        for count in STREAM_COUNTS:
            before_each()
            run = watch_cameras(translate, camera, count, seconds, WARM_UP_S)
            row = run.to_row(subject, format_engine_name(translate), SIZE)
            rows.append(replace(row, values={**row.values, **compute_rates(run.served, run.seconds)}))
    return rows


def compute_rounds(moments: Sequence[Sequence[float]]) -> list[float]:
    """Seconds at which each stream showed its results -> milliseconds of each round.

    Round k is from the moment that the last stream has shown its k-th result to that of its next one.
    """
    whole = min(map(len, moments))
    ends = np.max([stream[:whole] for stream in moments], axis=0)
    return [float(ms) for ms in np.diff(ends) * 1000]


def compute_rates(served: Sequence[int], seconds: float) -> dict[str, float]:
    """Results of each stream -> results a second: of all, of a stream on average, of the least served."""
    total = sum(served) / seconds
    return {"fps": total, "fps_mean": total / len(served), "fps_least": min(served) / seconds}


def check_promise(row: Row) -> tuple[str, bool]:
    """That no stream starves, with whether it held."""
    mean, least = row.values["fps_mean"], row.values["fps_least"]
    text = f"{row.subject}, {row.streams} streams: the least served gets {least:.1f} of {mean:.1f} fps"
    return f"{text}; at least {MIN_SHARE:.0%}", least >= MIN_SHARE * mean


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
