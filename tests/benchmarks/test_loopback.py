"""Several cameras obey together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import pytest

from benchmarks.support.loopback import CameraServer, answer_command, encode_jpegs


@pytest.fixture
def cameras() -> Iterator[list[CameraServer]]:
    pictures = encode_jpegs([np.zeros((32, 32, 3), np.uint8)])
    with ExitStack() as stack:
        yield [stack.enter_context(CameraServer([pictures])) for _ in range(2)]


def test_the_counts_of_all_together(cameras: list[CameraServer]) -> None:
    cameras[0].adjust_count("sent", 3)
    cameras[1].adjust_count("sent", 4)
    counts = dict.fromkeys(("cut", "damage", "break", "flip", "clients"), 0)
    assert answer_command(cameras, "counts") == {"sent": 7, **counts}


@pytest.mark.parametrize("command", ["dance", "damage many"])
def test_what_is_wrong_with_a_command(cameras: list[CameraServer], command: str) -> None:
    assert command.split()[-1] in answer_command(cameras, command)["error"]
