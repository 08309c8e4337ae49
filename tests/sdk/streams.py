"""What tests of the live loop share: frames, a camera whose frames come when asked for, waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from i2i_sdk.live import Captured, Source
from i2i_sdk.live.slot import LatestSlot
from i2i_sdk.live.stream import Stream

Image = NDArray[np.uint8]
FindBundle = Callable[[str], Path]

DEADLINE_S = 10.0  # seconds within which everything here happens, however slow the machine


def list_sdk_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("i2i-")]


def make_flat_image(level: int) -> Image:
    return np.full((24, 40, 3), level, np.uint8)


def generate_frames() -> Iterator[Image]:
    while True:
        yield make_flat_image(0)


class TickingSource(Source):
    """A camera whose frames come when the test says so."""

    live = True

    def __init__(self) -> None:
        super().__init__("ticking")
        self.slot: LatestSlot[Image] = LatestSlot([True])

    def tick(self, image: Image) -> None:
        self.slot.put(0, image)

    def frames(self) -> Iterator[Captured]:
        while not self.stopped.is_set():
            for _, image in self.slot.take(1, timeout_s=0.02):
                now = time.perf_counter()
                yield Captured(image, 0.0, now, now)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.perf_counter() + DEADLINE_S
    while not condition():
        assert time.perf_counter() < deadline
        time.sleep(0.005)


def has_pending_frame(stream: Stream) -> bool:
    """Whether a captured frame is still on its way through the engine."""
    seen = stream.stats
    return seen.presented + seen.dropped + 1 < stream.sources[0].captured
