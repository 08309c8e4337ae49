"""What stands between two stages of the live loop: one slot per source."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class LatestSlot(Generic[T]):
    """One slot per source. Thread-safe; any number of threads may put, one takes.

    keep_all: for each source, whether every item counts. If so, `put` waits until its slot is free (a file);
    if not, a newer item takes the place of the one that waits (a camera), which counts as dropped.
    """

    def __init__(self, keep_all: Sequence[bool]) -> None:
        self._keep_all = tuple(keep_all)
        self._slots: dict[int, T] = {}  # in the order in which they were filled, so that none starves
        self._open = set(range(len(self._keep_all)))
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._closed = False
        self.dropped = [0] * len(self._keep_all)

    def put(self, source: int, item: T) -> bool:
        """Leave an item. False: nobody will take it, stop producing."""
        with self._changed:
            if self._keep_all[source]:
                self._changed.wait_for(lambda: source not in self._slots or self._closed)
            elif source in self._slots:
                self.dropped[source] += 1
            if self._closed:
                return False
            self._slots[source] = item
            self._changed.notify_all()
            return True

    def take(self, max_items: int, timeout_s: float | None = None) -> list[tuple[int, T]]:
        """Up to `max_items` items, at most one of each source, those that wait longest first.

        Waits for one; in the main thread with a timeout, since otherwise Ctrl-C could not interrupt it on
        Windows. An empty list says that the time is up or, if `is_finished`, that no more comes. Raises what
        a producer handed to `fail`, once the items before it are taken.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._slots or self._error or self.is_finished, timeout_s)
            if not self._slots and self._error is not None and not self._closed:
                raise self._error
            items = [(source, self._slots.pop(source)) for source in list(self._slots)[:max_items]]
            self._changed.notify_all()
            return items

    @property
    def is_finished(self) -> bool:
        """Nothing waits and nothing will come, not even an error."""
        with self._changed:
            return self._closed or not (self._open or self._slots or self._error)

    def end(self, source: int) -> None:
        """Source `source` will put nothing more."""
        with self._changed:
            self._open.discard(source)
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """Hand an error to whoever takes. The first one counts."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def close(self) -> None:
        """Nobody takes any more: producers that wait go on, and what waits is forgotten."""
        with self._changed:
            self._closed = True
            self._slots.clear()
            self._changed.notify_all()
