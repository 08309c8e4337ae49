"""What the candidates of tests do, in their own processes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def open_writing(path: str, word: str) -> Callable[[], object]:
    """Each call adds a word to a file, so that the order can be seen."""

    def call() -> None:
        with Path(path).open("a") as file:
            file.write(f"{word}\n")

    return call


def open_holding(megabytes: int) -> Callable[[], object]:
    """Memory that is there before the first call, all of it touched."""
    block = bytearray(b"x" * megabytes * 10**6)
    return lambda: block[0]


def open_failing(stage: str) -> Callable[[], object]:
    """At opening, in a call, or the whole process."""
    print("noise that is no answer")
    if stage == "opening":
        raise RuntimeError("there is no engine")

    def call() -> None:
        if stage == "call":
            raise RuntimeError("out of memory")
        if stage == "process":
            os._exit(7)

    return call


def open_tiring(max_calls: int) -> Callable[[], object]:
    """Works so many times."""
    left = [max_calls]

    def call() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("tired")

    return call


def open_reporting(times: list[float]) -> Callable[[], list[float]]:
    return lambda: times
