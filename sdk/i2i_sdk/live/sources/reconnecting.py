"""A source that may be lost and come back: cameras and network streams."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import suppress

from i2i_sdk.errors import MediaError
from i2i_sdk.live.sources.source import Captured, Image, Source

MIN_RETRY_WAIT_S, MAX_RETRY_WAIT_S = 0.25, 5.0


class ConnectionLostError(Exception):  # never reaches a user
    """The connection is gone; its text says why."""


class LiveSource(Source):
    """Connects, gives frames until it is lost, and tries again: after 0.25 s, 0.5 s … at most 5 s.

    What cannot be reached when the stream is opened is an error, since that is mostly a wrong name. Later it
    tries for ever; each loss and return is an event. `open` connects, also once more after `release`.
    """

    live = True

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._first: float | None = None
        self._lost: float | None = None  # since when
        self._wait_s = MIN_RETRY_WAIT_S

    @abstractmethod
    def read(self) -> Iterator[Captured]:
        """Frames until closed. Raises ConnectionLostError when the source is lost."""

    def frames(self) -> Iterator[Captured]:
        """As they come, through losses and returns, until closed."""
        while not self.stopped.is_set():
            try:
                for captured in self.read():
                    # A server that only accepts is no return.
                    self._wait_s = MIN_RETRY_WAIT_S  # of the next loss
                    if self._lost is not None:
                        seconds, self._lost = time.perf_counter() - self._lost, None
                        self.reconnects += 1
                        self.tell("reconnected", f"{self.name} is back after {seconds:.1f} s")
                    yield captured
            except (ConnectionLostError, MediaError) as error:
                self.release()
                if not self.stopped.is_set():
                    state = "has never sent a frame" if self._first is None else "is lost"
                    self.tell("lost", f"{self.name} {state}: {error}")
                    self._reconnect()

    def make_captured(self, image: Image, arrived: float) -> Captured:
        """A frame that is decoded now."""
        self._first = arrived if self._first is None else self._first
        return Captured(image, (arrived - self._first) * 1000, arrived, time.perf_counter())

    def _reconnect(self) -> None:
        self._lost = self._lost or time.perf_counter()
        while not self.stopped.wait(self._wait_s):
            self._wait_s = min(2 * self._wait_s, MAX_RETRY_WAIT_S)
            with suppress(MediaError):
                self.open()
                return
