"""The live loop with a camera: from the moment a camera sends a picture to the moment its result is shown.

A camera of its own process sends numbered photographs at 30 frames a second (benchmarks/loopback.py); the
sink looks up when each was sent. Everything is included: sending, receiving, JPEG, hand-overs, the engine.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import psutil
from numpy.typing import NDArray
from onnx import TensorProto, helper

from benchmarks.loopback import Loopback, Size
from benchmarks.report import OUT
from i2i_sdk import Translator
from i2i_sdk.live import NullSink, Result, Stream
from i2i_sdk.measure import machine
from i2i_sdk.tables import print_table
from i2i_sdk.translator import Laps

FPS = 30.0
SIZES: tuple[Size, ...] = ((640, 480), (1280, 720))
WARMUP_S = 3.0
ADDED_MS = 5.0  # p95 that the loop may add to a decoded 720p frame
SLOW_S, BOUND_MS = 0.1, 250.0  # an engine that cannot keep up, and the p95 that must not be passed


@dataclass
class Run:
    """What one run measured; times in milliseconds, a CPU share of 1 is one core."""

    name: str
    glass: list[float] = field(default_factory=list)
    capture: list[float] = field(default_factory=list)
    added: list[float] = field(default_factory=list)  # from decoded to shown
    pre: list[float] = field(default_factory=list)
    engine: list[float] = field(default_factory=list)
    post: list[float] = field(default_factory=list)
    handed: list[float] = field(default_factory=list)  # between the stages: threads, and waiting in slots
    seconds: float = 0.0
    dropped: int = 0
    cpu: float = 0.0
    cpu_camera: float = 0.0

    @property
    def fps(self) -> float:
        """Results per second."""
        return len(self.glass) / self.seconds


class Meter(NullSink):
    """Takes the age of every result, after a warm-up, and ends the stream in time."""

    def __init__(self, name: str, camera: Loopback, seconds: float) -> None:
        super().__init__()
        self.run = Run(name)
        self._camera, self._seconds = camera, seconds
        self._began = self._dropped = self._cpu = self._cpu_camera = 0.0

    def open(self, stream: Stream) -> None:
        """The stream is ended when the time is up."""
        self._stream, self._opened = stream, time.perf_counter()

    def take(self, result: Result) -> None:
        """Measure."""
        age = self._camera.age_ms(result.frame)
        now = time.perf_counter()
        if now - self._opened < WARMUP_S:
            return
        if not self._began:
            self._began, self._dropped = now, self._stream.stats.dropped
            self._cpu, self._cpu_camera = cpu_seconds(os.getpid()), cpu_seconds(self._camera.pid)
            return
        run, latency = self.run, result.latency
        run.glass.append(age)
        run.capture.append(latency.capture_ms)
        run.added.append(latency.total_ms - latency.capture_ms)
        run.pre.append(latency.pre_ms)
        run.engine.append(latency.engine_ms)
        run.post.append(latency.post_ms)
        run.handed.append(latency.wait_ms)
        if now - self._began > self._seconds:
            run.seconds = now - self._began
            run.dropped = int(self._stream.stats.dropped - self._dropped)
            run.cpu = (cpu_seconds(os.getpid()) - self._cpu) / run.seconds
            run.cpu_camera = (cpu_seconds(self._camera.pid) - self._cpu_camera) / run.seconds
            self._stream.close()


class Slow(Translator):
    """An engine that takes 0.1 s, as a GPU's does: without using the processor."""

    def timed(self, images: Sequence[NDArray[np.generic]]) -> tuple[list[NDArray[np.uint8]], Laps]:
        """As the translator, later."""
        outputs, laps = super().timed(images)
        time.sleep(SLOW_S)
        laps.engine_ms += SLOW_S * 1000
        return outputs, laps


def main(argv: Sequence[str]) -> int:
    """Measure; 1 if what the loop promises does not hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each run")
    parser.add_argument("--slow-seconds", type=float, default=60.0, help="of the run with the slow engine")
    args = parser.parse_args(argv)
    print(f"load of this machine before it starts: {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        identity = write_identity(Path(folder) / "identity.onnx")
        engines: dict[str, Callable[[], Translator]] = {
            "sketch, fastest": lambda: Translator("sketch", size=256),
            "sketch, ort fp32": lambda: Translator("sketch", size=256, backend="ort", precision="fp32"),
            "identity": lambda: Translator(identity),
        }
        runs = [
            measured(name, opened, size, args.seconds) for size in SIZES for name, opened in engines.items()
        ]
        slow = measured("0.1 s engine", lambda: Slow(identity), SIZES[-1], args.slow_seconds)
    show([*runs, slow], args.seconds)
    added = float(np.percentile(runs[-1].added, 95))
    bound = float(np.percentile(slow.glass, 95))
    held = {
        f"{runs[-1].name}: decoded to shown, p95 {added:.2f} ms; at most {ADDED_MS:.0f}": added <= ADDED_MS,
        f"{slow.name}: glass to glass, p95 {bound:.0f} ms; at most {BOUND_MS:.0f}": bound <= BOUND_MS,
    }
    for promise, kept in held.items():
        print(f"{'holds' if kept else 'DOES NOT HOLD'}: {promise}")
    return 0 if all(held.values()) else 1


def measured(name: str, opened: Callable[[], Translator], size: Size, seconds: float) -> Run:
    """One stream of a camera of this size."""
    with Loopback(size, fps=FPS) as camera, opened() as translate:
        translate.warmup()
        if translate.variant is not None:
            name = f"{name} ({translate.variant.name})" if "fastest" in name else name
        meter = Meter(f"{size[0]}x{size[1]} {name}", camera, seconds)
        translate.stream(camera.url, sinks=[meter]).run()
    return meter.run


def write_identity(path: Path) -> Path:
    """An engine that does nothing, so that all the time is the loop's."""
    shape = ["n", 256, 256, 3]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "identity",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


def show(runs: Sequence[Run], seconds: float) -> None:
    """Print two tables, write out/bench/live.json."""
    title = "live: camera to result, 30 fps MJPEG over loopback"
    print_table(
        title,
        ["", "p50 ms", "p95 ms", "p99 ms", "fps", "dropped", "CPU", "camera's CPU"],
        [
            [
                run.name,
                *(f"{np.percentile(run.glass, q):.1f}" for q in (50, 95, 99)),
                f"{run.fps:.1f}",
                str(run.dropped),
                f"{run.cpu:.0%}",
                f"{run.cpu_camera:.0%}",
            ]
            for run in runs
        ],
    )
    stages = ("capture", "pre", "engine", "post", "handed", "added")
    print_table(
        "where the time goes, median / p95 ms",
        ["", "decode", "pre", "engine", "post", "hand over, wait", "decoded to shown"],
        [[run.name, *(_both(getattr(run, stage)) for stage in stages)] for run in runs],
    )
    where = machine()
    print("; ".join(f"{k} {v}" for k, v in {"seconds": seconds, **where}.items()))
    OUT.mkdir(parents=True, exist_ok=True)
    results = {
        run.name: {
            **{
                f"{stage}_ms": {f"p{q}": float(np.percentile(getattr(run, stage), q)) for q in (50, 95, 99)}
                for stage in ("glass", *stages)
            },
            "fps": run.fps,
            "dropped": run.dropped,
            "cpu": run.cpu,
            "cpu_camera": run.cpu_camera,
        }
        for run in runs
    }
    record = {"title": title, "machine": where, "facts": {"seconds": seconds}, "results": results}
    (OUT / "live.json").write_text(json.dumps(record, indent=1, default=str))


def cpu_seconds(pid: int) -> float:
    """That a process has used so far."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def _both(milliseconds: Sequence[float]) -> str:
    return f"{np.median(milliseconds):.1f} / {np.percentile(milliseconds, 95):.1f}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
