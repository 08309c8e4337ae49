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

from benchmarks.reporting.publish import publish
from benchmarks.support.loopback import Loopback
from i2i_sdk import Translator
from i2i_sdk.live import MjpegServerSink, Stream, StreamStats, VideoSink
from i2i_sdk.perf.quiet import QuietMonitor
from i2i_sdk.perf.record import Row

SIZE, FPS = (640, 480), 30.0
DROP_COUNT = 20
SAMPLE_S = 1.0
WARMUP_SHARE = 0.2  # of the time, in which memory may grow: pools, caches, the encoder's look-ahead
MAX_GROWTH = 0.05  # that memory may grow by afterwards
MIN_FPS_SHARE = 0.9  # of what the camera sent whole must have been captured


@dataclass
class SoakObservations:
    """What was observed from outside."""

    memory: list[tuple[float, float]] = field(default_factory=list)  # seconds, MiB
    events: Counter[str] = field(default_factory=Counter)
    vanished: int = 0
    camera: dict[str, int] = field(default_factory=dict)
    stats: StreamStats | None = None
    recorded: int = 0
    recorded_s: float = 0.0


class ProcessResources:
    """Threads and open files of this process."""

    def __init__(self) -> None:
        gc.collect()
        process = psutil.Process()
        self.threads = sorted(thread.name for thread in threading.enumerate())
        self.native, self.files = process.num_threads(), process.num_fds()


def main(argv: Sequence[str]) -> int:
    """Run; 0 if everything held."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder, QuietMonitor() as quiet:
        seen, before, after = measure_soak(Path(folder), args.minutes * 60)
    held = check_promises(seen, before, after)
    assert seen.stats is not None
    facts = {
        "minutes": args.minutes,
        "viewers_vanished": seen.vanished,
        "camera": seen.camera,
        "stats": asdict(seen.stats),
        "memory_mib": dict(sample_memory(seen.memory)),
        "checks": held,
    }
    title = f"soak: {args.minutes:g} minutes at {FPS:.0f} fps, {SIZE[0]}x{SIZE[1]}"
    return publish("soak", title, [make_row(seen, args.minutes * 60)], quiet.conditions, facts)


def measure_soak(folder: Path, seconds: float) -> tuple[SoakObservations, ProcessResources, ProcessResources]:
    """What was seen, and what this process held before and after."""
    recording = folder / "soak.mp4"
    with Translator("sketch", size=256) as translate, Loopback(SIZE, fps=FPS) as camera:
        run_soak(translate, camera, 4.0, folder / "warm-up.mp4")  # what libraries start once, and keep
        already, before = camera.send_command("counts"), ProcessResources()
        seen = run_soak(translate, camera, seconds, recording)
        after = ProcessResources()
    seen.camera = {name: count - already[name] for name, count in seen.camera.items()}
    with av.open(str(recording)) as video:
        times = [packet.pts for packet in video.demux(video=0) if packet.pts is not None]
        base = video.streams.video[0].time_base
        assert base is not None
        seen.recorded, seen.recorded_s = len(times), float((max(times) - min(times)) * base)
    return seen, before, after


def run_soak(translate: Translator, camera: Loopback, seconds: float, recording: Path) -> SoakObservations:
    """Translate for so long while things go wrong; the first few seconds are without mischief.

    Args:
        translate: that is open.
        camera: that obeys commands.
        seconds: until the stream is closed.
        recording: the video file that is written.

    Returns:
        What was seen from outside.
    """
    seen = SoakObservations()
    server = MjpegServerSink(port=0)
    sinks = [VideoSink(recording), server]
    stream = translate.stream(
        camera.urls, sinks=sinks, on_event=lambda event: seen.events.update([event.kind])
    )
    over = threading.Event()
    helpers = [
        threading.Thread(target=inject_faults, args=(camera, stream, seen, seconds, over), name="mischief"),
        threading.Thread(target=simulate_vanishing_viewers, args=(server, seen, over), name="vanishing"),
    ]
    for helper in helpers:
        helper.start()
    try:
        seen.stats = stream.run()
    finally:
        over.set()
        for helper in helpers:
            helper.join()
    seen.camera = camera.send_command("counts")
    return seen


def plan_faults(seconds: float) -> list[tuple[float, str]]:
    """When to tell the camera what: losses at equal distances, damage of each kind between them."""
    gap = seconds / (DROP_COUNT + 1)
    faults: list[tuple[float, str]] = []
    for number in range(DROP_COUNT if seconds > 30 else 0):
        faults.append(((number + 1) * gap, "drop"))
        faults.append(((number + 0.7) * gap, ("damage 2", "break 1")[number % 2]))
        if number % 4 == 1:
            faults.append(((number + 0.85) * gap, "flip 3"))
        if number % 8 == 3:
            faults.append(((number + 0.2) * gap, "stall 1.5"))
    return sorted(faults)


def inject_faults(
    camera: Loopback, stream: Stream, seen: SoakObservations, seconds: float, stop_event: threading.Event
) -> None:
    """Do as planned, look at the memory every second, and end the stream.

    Args:
        camera: that obeys commands.
        stream: that is closed in the end.
        seconds: until then.
        seen: where the memory is noted.
        stop_event: ends it early.
    """
    began, faults, process = time.perf_counter(), plan_faults(seconds), psutil.Process()
    while (now := time.perf_counter() - began) < seconds and not stop_event.is_set():
        while faults and faults[0][0] <= now:
            camera.send_command(faults.pop(0)[1])
        seen.memory.append((now, process.memory_info().rss / 2**20))
        stop_event.wait(min(SAMPLE_S, faults[0][0] - now if faults else SAMPLE_S))
    stream.close()


def simulate_vanishing_viewers(
    server: MjpegServerSink, seen: SoakObservations, stop_event: threading.Event
) -> None:
    """Viewers that take some pictures, or none, and are gone without a word.

    Args:
        server: that they connect to.
        seen: where they are counted.
        stop_event: ends it.
    """
    chance = random.Random(0)
    while not stop_event.wait(chance.uniform(0.2, 1.0)):
        with suppress(OSError), socket.create_connection((server.host, server.port), timeout=1) as viewer:
            viewer.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: soak\r\n\r\n")
            end = time.perf_counter() + chance.uniform(0.0, 2.0)
            while time.perf_counter() < end and chance.random() > 0.02:
                viewer.recv(20_000)
            # Closing with a linger time of 0 resets the connection, as a crash does.
            viewer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            seen.vanished += 1


def check_promises(
    seen: SoakObservations, before: ProcessResources, after: ProcessResources
) -> dict[str, bool]:
    """Every promise with whether it held.

    Args:
        seen: in the whole time.
        before: what this process held before.
        after: what it held after.

    Returns:
        Each promise with whether it held.
    """
    assert seen.stats is not None
    source, camera, lost = seen.stats.sources[0], seen.camera, seen.events["lost"]
    damaged = camera["damage"] + camera["break"]
    # When several pictures wait, only the newest is looked at, so that some damage may go by unseen.
    unseen = min(damaged, seen.stats.dropped)
    growth, left = compute_growth(seen.memory), set(after.threads) - set(before.threads) or "none"
    recorded = f"{seen.recorded} pictures recorded of {seen.stats.presented} shown, {seen.recorded_s:.1f} s"
    reconnects = (source.reconnects, lost, seen.events["reconnected"])
    promises = [
        (f"memory after the warm-up grew by {growth:+.1%}; at most {MAX_GROWTH:.0%}", growth <= MAX_GROWTH),
        (f"Python threads left: {left}", after.threads == before.threads),
        (f"threads in all {after.native}, before {before.native}", after.native <= before.native),
        (f"open files {after.files}, before {before.files}", after.files <= before.files),
        (
            f"{source.reconnects} reconnects, {lost} times told; {camera['cut']} losses",
            set(reconnects) == {camera["cut"]},
        ),
        (
            f"{source.undecodable} damaged pictures counted; {damaged} sent",
            damaged - unseen <= source.undecodable <= damaged,
        ),
        (
            f"{source.captured} captured of {camera['sent']} sent whole",
            source.captured >= MIN_FPS_SHARE * camera["sent"],
        ),
        (recorded, seen.recorded == seen.stats.presented),
    ]
    return dict(promises)


def compute_growth(memory: Sequence[tuple[float, float]]) -> float:
    """By what share memory grew: the last tenth of the time against the first tenth after the warm-up."""
    values = np.array([mib for _, mib in memory])
    values = values[int(WARMUP_SHARE * len(values)) :]
    tenth = max(1, len(values) // 10)
    return float(np.median(values[-tenth:]) / np.median(values[:tenth]) - 1)


def make_row(seen: SoakObservations, seconds: float) -> Row:
    """As a row of a record."""
    assert seen.stats is not None
    values = {
        "fps": seen.stats.presented / seconds,
        "dropped": seen.stats.dropped,
        "rss_growth": compute_growth(seen.memory),
        "losses": seen.camera["cut"],
        "reconnects": seen.stats.reconnects,
    }
    return Row("sketch 256x256", "everything that goes wrong", SIZE[1], SIZE[0], values=values)


def sample_memory(memory: Sequence[tuple[float, float]]) -> list[tuple[str, float]]:
    """About twelve of its (second, MiB), for people."""
    return [(f"{at:.0f}", round(mib, 1)) for at, mib in memory[:: max(1, len(memory) // 12)]]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
