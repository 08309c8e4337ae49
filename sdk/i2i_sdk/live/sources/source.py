"""Where a stream's frames come from: the common shape of sources, and those that are not live devices."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from i2i_sdk.errors import InputError, MediaError
from i2i_sdk.imaging import geometry
from i2i_sdk.live.results import Rate
from i2i_sdk.media.images import IMAGE_SUFFIXES, list_files, read_image
from i2i_sdk.media.video import VideoReader

log = logging.getLogger(__name__)

Image = NDArray[np.uint8]

POLL_INTERVAL_S = 0.03  # between two looks at whether a source is paused


@dataclass(frozen=True)
class Captured:
    """A frame as it comes from a source: uint8 [H, W, 3] BGR.

    time_ms: after the first frame of its source. arrived, ready: when it came in and when it was decoded, in
    seconds of `time.perf_counter`. name: of the file that it is, for images.
    """

    image: Image
    time_ms: float
    arrived: float
    ready: float
    name: str = ""


@dataclass(frozen=True)
class Event:
    """Something that happened to a source. kind: "lost", "reconnected", "ended"."""

    kind: str
    source: int
    name: str
    message: str


class Source(ABC):
    """One source of frames. `open` and `frames` belong to one thread at a time, `close` to any.

    name: for people. live: the newest frame counts, older ones may be dropped; else every frame counts and
    the source waits. undecodable, reconnects, skipped: counted by itself; captured, width, height, rate: by
    its stream. tell: called with an event's kind and message.
    """

    live = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.undecodable = self.reconnects = self.captured = self.skipped = 0
        self.width = self.height = 0
        self.rate = Rate()
        self.tell: Callable[[str, str], None] = lambda kind, message: None
        self.stopped = threading.Event()
        self.paused = False
        self._started: float | None = None

    def open(self) -> None:  # noqa: B027  # most sources need nothing
        """Get ready. Raises MediaError or InputError where nothing can come."""

    @abstractmethod
    def frames(self) -> Iterator[Captured]:
        """The frames, until the source ends or is closed."""

    def close(self) -> None:
        """End soon: `frames` stops, whatever it waits for. Calling it twice is allowed."""
        self.stopped.set()

    def wait_until_due(self, time_ms: float) -> float | None:
        """Wait until what is to be shown at `time_ms` is due, a pause included; the time then, as `arrived`.

        None if the source was closed meanwhile.
        """
        now = time.perf_counter()
        self._started = now - time_ms / 1000 if self._started is None else self._started
        while self.paused or now < self._started + time_ms / 1000:
            left = POLL_INTERVAL_S if self.paused else self._started + time_ms / 1000 - now
            if self.stopped.wait(min(POLL_INTERVAL_S, left)):
                return None
            before, now = now, time.perf_counter()
            self._started += now - before if self.paused else 0.0
        return now

    def release(self) -> None:  # noqa: B027  # most sources hold nothing
        """Free what `open` took. Only the thread that reads calls it, at its end; twice is allowed."""


class VideoFile(Source):
    """Every frame of a video file, in order; `realtime` plays it at its own speed and drops what comes too
    late.
    """

    def __init__(self, path: Path, *, realtime: bool = False) -> None:
        super().__init__(path.name)
        self.path, self.live = path, realtime
        self._reader: VideoReader | None = None
        self.fps: float | None = None
        self.sample_aspect = Fraction(1)

    def open(self) -> None:
        """Open the file. Raises MediaError."""
        self._reader = VideoReader(self.path)
        self.fps, self.sample_aspect = self._reader.fps, self._reader.sample_aspect

    def frames(self) -> Iterator[Captured]:
        """As decoded; times are the file's."""
        assert self._reader is not None
        while not self.stopped.is_set():
            arrived: float | None = time.perf_counter()
            frame = self._reader.read()
            self.undecodable = self._reader.undecodable
            if frame is None:
                for note in self._reader.collect_notes():
                    log.warning("%s", note)
                return
            if self.live and (arrived := self.wait_until_due(frame.time_ms)) is None:
                return
            yield Captured(frame.image, frame.time_ms, arrived, time.perf_counter())

    def release(self) -> None:
        """Close the file."""
        if self._reader is not None:
            self._reader.close()


class ImageFolder(Source):
    """The images directly in a folder, by name, one a second; transparency is left out.

    Every one counts; `realtime` shows each for its second. A file that cannot be read is passed over with a
    warning; where none can be, that is a MediaError.
    """

    fps = 1.0

    def __init__(self, path: Path, *, realtime: bool = False) -> None:
        super().__init__(path.name)
        self.path, self.realtime = path, realtime
        self.paths: list[Path] = []

    def open(self) -> None:
        """List the folder. Raises InputError if no image is in it."""
        self.paths = list_files(self.path)
        if not self.paths:
            raise InputError(f"no image in {self.path}; readable are {', '.join(IMAGE_SUFFIXES)}")

    def frames(self) -> Iterator[Captured]:
        """One a file, with its name."""
        shown = 0
        for path in self.paths:
            if self.stopped.is_set():
                return
            arrived: float | None = time.perf_counter()
            try:
                image = read_image(path)
            except MediaError as error:
                self.undecodable += 1
                log.warning("%s", error)
                continue
            time_ms = shown * 1000 / self.fps
            if self.realtime and (arrived := self.wait_until_due(time_ms)) is None:
                return
            yield Captured(image[:, :, :3], time_ms, arrived, time.perf_counter(), path.name)
            shown += 1
        if not shown:
            raise MediaError(f"none of the {len(self.paths)} image(s) in {self.path} can be read")
        if self.realtime:
            self.wait_until_due(shown * 1000 / self.fps)  # the last one is shown for as long as the others


class Frames(Source):
    """Any iterable of frames.

    A thread cannot be stopped from outside while it waits in your code: closing a stream does not wait for
    it, and the thread ends with the next frame that the iterable gives.

    Args:
        iterable: of uint8 arrays [H, W, 3], [H, W, 4] or [H, W], BGR.
        live: it is a camera of your own; the newest frame wins. Else every frame counts.
        fps: frames per second, for their times; without it, times are those of arrival.

    Raises:
        InputError: fps is not above 0 and at most 1000.
    """

    def __init__(self, iterable: Iterable[Image], *, live: bool = False, fps: float | None = None) -> None:
        super().__init__(type(iterable).__name__)
        if fps is not None and not 0 < fps <= 1000:
            raise InputError(f"fps is {fps}; allowed: more than 0, at most 1000")
        self.live, self.fps = live, fps
        self._iterable = iterable

    def frames(self) -> Iterator[Captured]:
        """As the iterable gives them."""
        first = None
        for index, item in enumerate(self._iterable):
            if self.stopped.is_set():
                return
            arrived = time.perf_counter()
            image = geometry.check_frame(item)
            first = arrived if first is None else first
            time_ms = index * 1000 / self.fps if self.fps else (arrived - first) * 1000
            # Many an iterable fills one and the same array again and again.
            yield Captured(image.copy(), time_ms, arrived, time.perf_counter())
