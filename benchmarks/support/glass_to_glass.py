"""From glass to glass: streams of loopback cameras, and how old each result is when it is shown."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import psutil

from benchmarks.support.loopback import Loopback, Size
from i2i_sdk import Translator
from i2i_sdk.live import Latency, NullSink, Result, Stream
from i2i_sdk.perf.record import Row
from i2i_sdk.perf.timing import compute_statistics


@dataclass
class StreamRun:
    """What one run showed, after its warm-up. A processor share of 1 is one core."""

    # "glass" and the stages by their names in `record.TIMES`: milliseconds of every result, in order
    times: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    served: list[int] = field(default_factory=list[int])  # results of each stream
    seconds: float = 0.0
    dropped: int = 0
    cpu: float = 0.0
    camera_cpu: float = 0.0

    def to_row(self, subject: str, name: str, size: Size) -> Row:
        """As a row of a record; `size` is the cameras'.

        Args:
            subject: the set-up.
            name: of the engine.
            size: of the cameras' pictures: width, height.

        Returns:
            A row.
        """
        width, height = size
        times = {stage: compute_statistics(times) for stage, times in self.times.items()}
        samples = {"glass": tuple(self.times["glass"])}
        values = {"fps": sum(self.served) / self.seconds, "dropped": self.dropped}
        values |= {"cpu": self.cpu, "camera_cpu": self.camera_cpu}
        return Row(subject, name, height, width, 1, len(self.served), times, samples, values)


def watch_cameras(
    translate: Translator, camera: Loopback, streams: int, seconds: float, warm_up: float
) -> StreamRun:
    """Translate the first `streams` of the cameras together, for so long after the warm-up.

    Everything is included: sending, receiving, decoding, hand-overs, the engine. Raises MediaError where a
    camera is lost for good.

    Args:
        translate: that is open.
        camera: one or several in a process.
        streams: how many of them.
        seconds: after the warm-up.
        warm_up: seconds that do not count.

    Returns:
        What was shown.
    """
    meter = AgeMeter(camera, streams, seconds, warm_up)
    translate.stream(camera.urls[:streams], sinks=[meter]).run()
    return meter.run


class AgeMeter(NullSink):
    """Takes the age of every result after a warm-up, and ends the stream in time."""

    def __init__(self, camera: Loopback, streams: int, seconds: float, warm_up: float) -> None:
        super().__init__()
        self.run = StreamRun(served=[0] * streams)
        self._camera, self._seconds, self._warm_up = camera, seconds, warm_up
        self._began: float | None = None

    def open(self, stream: Stream) -> None:
        """The stream is ended when the time is up."""
        self._stream, self._opened = stream, time.perf_counter()

    def take(self, result: Result) -> None:
        """Measure."""
        age = self._camera.compute_age_ms(result.frame, result.source)
        now = time.perf_counter()
        if now - self._opened < self._warm_up:
            return
        if self._began is None:
            self._began, self._dropped = now, self._stream.stats.dropped
            self._processes = psutil.Process(), psutil.Process(self._camera.pid)
            for process in self._processes:
                process.cpu_percent()  # since now
            return
        self.run.served[result.source] += 1
        for stage, milliseconds in {"glass": age, **to_stage_times(result.latency)}.items():
            self.run.times.setdefault(stage, []).append(milliseconds)
        if now - self._began > self._seconds:
            self.run.seconds = now - self._began
            self.run.dropped = self._stream.stats.dropped - self._dropped
            self.run.cpu, self.run.camera_cpu = (p.cpu_percent() / 100 for p in self._processes)
            self._stream.close()


def to_stage_times(latency: Latency) -> dict[str, float]:
    """Milliseconds by the names of `record.TIMES`."""
    return {
        "capture": latency.capture_ms,
        "pre": latency.pre_ms,
        "engine": latency.engine_ms,
        "post": latency.post_ms,
        "handed": latency.wait_ms,
        "added": latency.total_ms - latency.capture_ms,
    }


def format_engine_name(translate: Translator) -> str:
    """As rows name engines: "openvino-bf16"; a bare ONNX file is ONNX Runtime's."""
    if translate.variant is None:
        return f"ort-{translate.engine.precision}"
    return f"{translate.variant.backend}-{translate.variant.precision}"
