"""The slots between two stages: what is dropped, what waits, and how it ends."""

from __future__ import annotations

import threading
import time

import pytest

from i2i_sdk.live.slot import LatestSlot


def test_the_newest_of_a_live_source_wins() -> None:
    box: LatestSlot[str] = LatestSlot([False])
    for item in "abc":
        assert box.put(0, item)
    assert box.take(1) == [(0, "c")]
    assert box.dropped == [2]


def test_a_file_waits_until_its_slot_is_free() -> None:
    box: LatestSlot[int] = LatestSlot([True])
    received: list[int] = []

    def produce() -> None:
        for item in range(5):
            box.put(0, item)
        box.end(0)

    producer = threading.Thread(target=produce)
    producer.start()
    while items := box.take(1):
        received += [item for _, item in items]
    producer.join(5)
    assert received == [0, 1, 2, 3, 4]
    assert box.dropped == [0]


def test_one_item_of_each_source_those_that_wait_longest_first() -> None:
    box: LatestSlot[str] = LatestSlot([False, False, False])
    box.put(2, "old")
    box.put(0, "b")
    box.put(1, "c")
    box.put(2, "new")  # keeps its place in the queue
    assert box.take(2) == [(2, "new"), (0, "b")]
    assert box.take(2) == [(1, "c")]


def test_what_waits_is_taken_before_the_end_and_before_an_error() -> None:
    box: LatestSlot[str] = LatestSlot([False, False])
    box.put(0, "last")
    box.end(0)
    box.fail(ValueError("broken"))
    box.fail(KeyError("later"))
    assert box.take(1) == [(0, "last")]
    for _ in range(2):  # whoever comes later learns it too
        with pytest.raises(ValueError, match="broken"):
            box.take(1)


def test_it_is_finished_when_every_source_has_ended_and_nothing_waits() -> None:
    box: LatestSlot[str] = LatestSlot([True, False])
    box.put(1, "x")
    box.end(0)
    assert not box.is_finished
    box.end(1)
    assert not box.is_finished
    assert box.take(9) == [(1, "x")]
    assert box.is_finished
    assert box.take(9) == []


def test_taking_gives_up_after_its_time() -> None:
    box: LatestSlot[str] = LatestSlot([False])
    start = time.perf_counter()
    assert box.take(1, timeout_s=0.05) == []
    assert time.perf_counter() - start >= 0.05
    assert not box.is_finished


def test_closing_wakes_a_producer_that_waits() -> None:
    box: LatestSlot[str] = LatestSlot([True])
    box.put(0, "first")
    answers: list[bool] = []
    producer = threading.Thread(target=lambda: answers.append(box.put(0, "second")))
    producer.start()
    box.close()
    producer.join(5)
    assert answers == [False]
    assert box.take(1) == []
    assert box.is_finished
