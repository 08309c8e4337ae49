"""What tests of the live loop share: frames, a camera whose frames come when asked for, waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from known_bundles import Image

from i2i_sdk.live import Captured, Source
from i2i_sdk.live.slot import LatestSlot
from i2i_sdk.live.stream import Stream

DEADLINE_S = 30.0  # seconds within which everything here happens, however slow the machine


def list_sdk_threads() -> set[threading.Thread]:
    """The sdk's threads that run now."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("i2i-")}


@contextmanager
def assert_no_threads_left(seconds: float = 2.0) -> Iterator[None]:
    """Fails if a thread of the sdk that was started inside is still there `seconds` later."""
    before = list_sdk_threads()
    yield
    deadline = time.perf_counter() + seconds
    while not list_sdk_threads() <= before and time.perf_counter() < deadline:
        time.sleep(0.01)
    assert list_sdk_threads() <= before


def make_flat_image(level: int, height: int = 24, width: int = 40) -> Image:
    return np.full((height, width, 3), level, np.uint8)


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
    """Wait for what another thread will do."""
    deadline = time.perf_counter() + DEADLINE_S
    while not condition():
        assert time.perf_counter() < deadline, "it never happened"
        time.sleep(0.005)


def has_pending_frame(stream: Stream) -> bool:
    """Whether a captured frame is still on its way through the engine."""
    seen = stream.stats
    return seen.presented + seen.dropped + 1 < stream.sources[0].captured
