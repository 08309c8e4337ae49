"""What a stream gives: a translated frame, where its time went, and how the stream is doing."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from i2i_sdk.errors import InputError
from i2i_sdk.imaging import compose

Image = NDArray[np.uint8]

LATENCY_WINDOW = 2000  # latencies that percentiles are taken over: a minute of video
RATE_WINDOW = 60  # frames that `fps` is taken over
SILENCE_S = 1.0  # without a frame, from which on `fps` falls


@dataclass(frozen=True)
class Latency:
    """Where the time of one frame went, in milliseconds; `total_ms` is their sum.

    capture_ms: from the frame's arrival to the decoded picture. wait_ms: in the slots between the stages,
    waiting for the engine and for whoever takes the result. pre_ms: to the engine's size and color order.
    engine_ms: in the engine. post_ms: back to the frame's size; steadying, blending and masking.
    """

    capture_ms: float
    wait_ms: float
    pre_ms: float
    engine_ms: float
    post_ms: float

    @property
    def total_ms(self) -> float:
        """From the frame's arrival to the moment the result was handed over."""
        return self.capture_ms + self.wait_ms + self.pre_ms + self.engine_ms + self.post_ms


@dataclass(frozen=True)
class ViewState:
    """How a result is shown. view: "output", "split", "side" or "input". position: of the split, 0..1 from
    the left. lines: text over the picture.
    """

    view: str = "output"
    position: float = 0.5
    lines: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.view not in compose.VIEWS:
            raise InputError(f"view is {self.view!r}; allowed: {', '.join(compose.VIEWS)}")
        if not 0 <= self.position <= 1:
            raise InputError(f"position is {self.position}; allowed: 0 (left) to 1 (right)")


@dataclass(frozen=True)
class Result:
    """One translated frame.

    frame, output: uint8 [H, W, 3], 0..255, BGR; frame is the input, mirrored if that was asked for. index: 0,
    1, 2 … of the frames that were captured, so a dropped frame leaves a gap. source: which of several.
    time_ms: when the frame was captured or is due, after the first one of its source. repeated: the picture
    of an earlier, nearly identical frame. name: of the file, for images of a folder.
    """

    frame: Image
    output: Image
    index: int
    source: int
    time_ms: float
    latency: Latency
    repeated: bool = False
    name: str = ""
    view_state: ViewState = field(default=ViewState(), repr=False)

    @cached_property
    def picture(self) -> Image:
        """What sinks show: the view that was asked for, with its text. uint8 [H, W, 3] or [H, 2 W, 3]."""
        state = self.view_state
        picture = compose.compose_view(state.view, self.frame, self.output, state.position)
        return compose.draw_overlay(picture, state.lines) if state.lines else picture


@dataclass(frozen=True)
class SourceStats:
    """One source of a stream. fps: at which it delivers, measured; not what it claims. dropped: frames that a
    newer one replaced. undecodable: damaged frames passed over. width, height: 0 before the first frame.
    """

    name: str
    captured: int
    dropped: int
    undecodable: int
    reconnects: int
    fps: float
    width: int
    height: int


@dataclass(frozen=True)
class StreamStats:
    """A stream so far.

    presented: results handed over. fps: of them per second, over the last 60. p50_ms, p95_ms, p99_ms: total
    latency over the last 2000. dropped, undecodable, reconnects: of all sources together. repeated: results
    that reused an earlier picture. seconds: since the first frame was presented.
    """

    fps: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    presented: int
    repeated: int
    seconds: float
    sources: tuple[SourceStats, ...]

    @property
    def dropped(self) -> int:
        """Frames that a newer one replaced."""
        return sum(source.dropped for source in self.sources)

    @property
    def undecodable(self) -> int:
        """Damaged frames that were passed over."""
        return sum(source.undecodable for source in self.sources)

    @property
    def reconnects(self) -> int:
        """How often a lost source came back."""
        return sum(source.reconnects for source in self.sources)

    def format_line(self) -> str:
        """One line for people: "29.9 fps, 21 ms (p95 24), 3 dropped"."""
        parts = [f"{self.fps:.1f} fps", f"{self.p50_ms:.0f} ms (p95 {self.p95_ms:.0f})"]
        counts = {"dropped": self.dropped, "repeated": self.repeated, "damaged": self.undecodable}
        counts["reconnected"] = self.reconnects
        return ", ".join([*parts, *(f"{count} {name}" for name, count in counts.items() if count)])


class Rate:
    """Events per second over the last `RATE_WINDOW`; it falls while none comes. One thread adds."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=RATE_WINDOW)

    def add(self, at: float | None = None) -> None:
        """An event at `at` in seconds of `time.perf_counter`; now by default."""
        self._times.append(time.perf_counter() if at is None else at)

    @property
    def per_second(self) -> float:
        """0 before the second event."""
        times = list(self._times)
        if len(times) < 2 or times[-1] <= times[0]:
            return 0.0
        now = time.perf_counter()
        silent = now - times[-1] > SILENCE_S
        return (len(times) - 1) / ((now if silent else times[-1]) - times[0])


class Recorder:
    """Counts what a stream presents. One thread adds, any may read."""

    def __init__(self) -> None:
        self._totals: deque[float] = deque(maxlen=LATENCY_WINDOW)
        self._rate = Rate()
        self._first = 0.0
        self.presented = self.repeated = 0

    def add(self, result: Result) -> None:
        """Count a result that is handed over now."""
        if not self.presented:
            self._first = time.perf_counter()
        self._rate.add()
        self._totals.append(result.latency.total_ms)
        self.presented += 1
        self.repeated += result.repeated

    def collect_stats(self, sources: Sequence[SourceStats]) -> StreamStats:
        """So far."""
        totals = list(self._totals) or [0.0]
        p50, p95, p99 = (float(np.percentile(totals, q)) for q in (50, 95, 99))
        seconds = time.perf_counter() - self._first if self.presented else 0.0
        rate = self._rate.per_second
        return StreamStats(rate, p50, p95, p99, self.presented, self.repeated, seconds, tuple(sources))
