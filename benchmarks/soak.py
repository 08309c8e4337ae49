"""Ten minutes of everything that goes wrong with a camera, while the loop translates, records and serves.

The camera is cut off twenty times and sends damaged JPEGs in between; viewers of the served stream vanish
in the middle of a picture. Exits with 1 unless every loss was survived, counted and left nothing behind.
"""

from __future__ import annotations

import argparse
import gc
import random
import socket
import struct
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import av
import numpy as np
import psutil

from benchmarks.loopback import Loopback
from benchmarks.promises import told
from benchmarks.report import publish
from i2i_sdk import Translator
from i2i_sdk.live import Event, MjpegServerSink, NullSink, Result, Stream, StreamStats, VideoSink
from i2i_sdk.measure import machine
from i2i_sdk.measure.quiet import Quiet
from i2i_sdk.measure.record import Row, make_record
from i2i_sdk.tables import print_table

SIZE, FPS = (640, 480), 30.0
DROPS = 20
SAMPLE_S = 1.0
WARMUP = 0.2  # of the time, in which memory may grow: pools, caches, the encoder's look-ahead
GROWTH = 0.05  # that memory may grow by afterwards
LEAST_FPS = 0.9  # of what the camera sent whole must have been captured


@dataclass
class Seen:
    """What was observed from outside."""

    memory: list[tuple[float, float]] = field(default_factory=list)  # seconds, MiB
    events: Counter[str] = field(default_factory=Counter)
    presented: int = 0
    vanished: int = 0
    camera: dict[str, int] = field(default_factory=dict)
    stats: StreamStats | None = None
    recorded: int = 0
    recorded_s: float = 0.0


class Left:
    """Threads and open files of this process."""

    def __init__(self) -> None:
        gc.collect()
        process = psutil.Process()
        self.threads = sorted(thread.name for thread in threading.enumerate())
        self.native, self.files = process.num_threads(), process.num_fds()

    def __str__(self) -> str:
        return f"{len(self.threads)} Python threads, {self.native} in all, {self.files} open files"


class Counting(NullSink):
    """How many results were shown."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self._seen = seen

    def take(self, result: Result) -> None:
        """Count."""
        self._seen.presented += 1


def main(argv: Sequence[str]) -> int:
    """Run; 0 if everything held."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder, Quiet() as quiet:
        seen, before, after = measured(Path(folder), args.minutes * 60)
    held = judged(seen, before, after)
    show(seen, before, after)
    assert seen.stats is not None
    facts = {
        "minutes": args.minutes,
        "viewers_vanished": seen.vanished,
        "camera": seen.camera,
        "stats": asdict(seen.stats),
        "memory_mib": dict(some(seen.memory)),
        "checks": held,
    }
    title = f"soak: {args.minutes:g} minutes at {FPS:.0f} fps, {SIZE[0]}x{SIZE[1]}"
    rows = (row(seen, args.minutes * 60),)
    publish(make_record("soak", title, rows, machine(), quiet.conditions, facts=facts))
    return told(held)


def measured(folder: Path, seconds: float) -> tuple[Seen, Left, Left]:
    """What was seen, and what this process held before and after."""
    recording = folder / "soak.mp4"
    with Translator("sketch", size=256) as translate, Loopback(SIZE, fps=FPS) as camera:
        soaked(translate, camera, 4.0, folder / "warm-up.mp4")  # what libraries start once, and keep
        already, before = camera.say("counts"), Left()
        seen = soaked(translate, camera, seconds, recording)
        after = Left()
    seen.camera = {name: count - already[name] for name, count in seen.camera.items()}
    with av.open(str(recording)) as video:
        times = [packet.pts for packet in video.demux(video=0) if packet.pts is not None]
        base = video.streams.video[0].time_base
        assert base is not None
        seen.recorded, seen.recorded_s = len(times), float((max(times) - min(times)) * base)
    return seen, before, after


def soaked(translate: Translator, camera: Loopback, seconds: float, recording: Path) -> Seen:
    """Translate for so long while things go wrong; the first few seconds are without mischief."""
    seen = Seen()
    server = MjpegServerSink(port=0)
    sinks = [VideoSink(recording), server, Counting(seen)]
    stream = translate.stream(camera.urls, sinks=sinks, on_event=lambda event: _note(seen, event))
    over = threading.Event()
    helpers = [
        threading.Thread(target=mischief, args=(camera, stream, seen, seconds, over), name="mischief"),
        threading.Thread(target=vanishing, args=(server, seen, over), name="vanishing"),
    ]
    for helper in helpers:
        helper.start()
    try:
        seen.stats = stream.run()
    finally:
        over.set()
        for helper in helpers:
            helper.join()
    seen.camera = camera.say("counts")
    return seen


def plan(seconds: float) -> list[tuple[float, str]]:
    """When to tell the camera what: losses at equal distances, damage of each kind between them."""
    gap = seconds / (DROPS + 1)
    told: list[tuple[float, str]] = []
    for number in range(DROPS if seconds > 30 else 0):
        told.append(((number + 1) * gap, "drop"))
        told.append(((number + 0.7) * gap, ("damage 2", "break 1")[number % 2]))
        if number % 4 == 1:
            told.append(((number + 0.85) * gap, "flip 3"))
        if number % 8 == 3:
            told.append(((number + 0.2) * gap, "stall 1.5"))
    return sorted(told)


def mischief(camera: Loopback, stream: Stream, seen: Seen, seconds: float, over: threading.Event) -> None:
    """Do as planned, look at the memory every second, and end the stream."""
    began, told, process = time.perf_counter(), plan(seconds), psutil.Process()
    while (now := time.perf_counter() - began) < seconds and not over.is_set():
        while told and told[0][0] <= now:
            camera.say(told.pop(0)[1])
        seen.memory.append((now, process.memory_info().rss / 2**20))
        over.wait(min(SAMPLE_S, told[0][0] - now if told else SAMPLE_S))
    stream.close()


def vanishing(server: MjpegServerSink, seen: Seen, over: threading.Event) -> None:
    """Viewers that take some pictures, or none, and are gone without a word."""
    chance = random.Random(0)
    while not over.wait(chance.uniform(0.2, 1.0)):
        with suppress(OSError), socket.create_connection((server.host, server.port), timeout=1) as viewer:
            viewer.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: soak\r\n\r\n")
            end = time.perf_counter() + chance.uniform(0.0, 2.0)
            while time.perf_counter() < end and chance.random() > 0.02:
                viewer.recv(20_000)
            # Closing with a linger time of 0 resets the connection, as a crash does.
            viewer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            seen.vanished += 1


def judged(seen: Seen, before: Left, after: Left) -> dict[str, bool]:
    """Every promise with whether it held."""
    assert seen.stats is not None
    source, camera = seen.stats.sources[0], seen.camera
    damaged = camera["damage"] + camera["break"]
    # When several pictures wait, only the newest is looked at, so that some damage may go by unseen.
    unseen = min(damaged, seen.stats.dropped)
    growth = grown(seen.memory)
    return {
        f"memory after the warm-up grew by {growth:+.1%}; at most {GROWTH:.0%}": growth <= GROWTH,
        f"Python threads left: {set(after.threads) - set(before.threads) or 'none'}": after.threads
        == before.threads,
        f"threads in all {after.native}, before {before.native}": after.native <= before.native,
        f"open files {after.files}, before {before.files}": after.files <= before.files,
        f"{source.reconnects} reconnects, {seen.events['lost']} times told; {camera['cut']} losses": (
            source.reconnects == camera["cut"] == seen.events["lost"] == seen.events["reconnected"]
        ),
        f"{source.undecodable} damaged pictures counted; {damaged} sent": (
            damaged - unseen <= source.undecodable <= damaged
        ),
        f"{source.captured} captured of {camera['sent']} sent whole": (
            source.captured >= LEAST_FPS * camera["sent"]
        ),
        f"{seen.recorded} pictures recorded of {seen.presented} shown, {seen.recorded_s:.1f} s": (
            seen.recorded == seen.presented
        ),
    }


def grown(memory: Sequence[tuple[float, float]]) -> float:
    """By what share memory grew: the last tenth of the time against the first tenth after the warm-up."""
    values = np.array([mib for _, mib in memory])
    values = values[int(WARMUP * len(values)) :]
    tenth = max(1, len(values) // 10)
    return float(np.median(values[-tenth:]) / np.median(values[:tenth]) - 1)


def row(seen: Seen, seconds: float) -> Row:
    """As a row of a record."""
    assert seen.stats is not None
    values = {
        "fps": seen.presented / seconds,
        "dropped": seen.stats.dropped,
        "rss_growth": grown(seen.memory),
        "losses": seen.camera["cut"],
        "reconnects": seen.stats.reconnects,
    }
    return Row("sketch 256x256", "everything that goes wrong", SIZE[1], SIZE[0], values=values)


def some(memory: Sequence[tuple[float, float]]) -> list[tuple[str, float]]:
    """About twelve of its (second, MiB), for people."""
    return [(f"{at:.0f}", round(mib, 1)) for at, mib in memory[:: max(1, len(memory) // 12)]]


def show(seen: Seen, before: Left, after: Left) -> None:
    """Print what was seen."""
    assert seen.stats is not None
    print_table("", ["second", "memory MiB"], [[at, f"{mib:.1f}"] for at, mib in some(seen.memory)])
    print(seen.stats.line())
    print(f"{seen.vanished} viewers vanished; before: {before}; after: {after}")


def _note(seen: Seen, event: Event) -> None:
    seen.events[event.kind] += 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
