"""Candidates in processes of their own. No test here asserts a time."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

from i2i_sdk.errors import BackendError
from i2i_sdk.measure.candidates import Candidate, Worker, compare
from i2i_sdk.measure.timing import LEAST_CALLS, MOST_WARM_UP


def candidate(name: str, function: str, reports: bool = False, **arguments: object) -> Candidate:
    return Candidate(name, f"candidate_openers:{function}", arguments, reports)


def test_they_take_turns(tmp_path: Path) -> None:
    file = tmp_path / "order"
    looks: list[int] = []

    def steady() -> bool:
        looks.append(len(file.read_text().split()))
        return True

    candidates = [candidate(name, "writing", path=str(file), word=name) for name in "ab"]
    comparison = compare(candidates, 2, steady=steady)
    names = file.read_text().split()
    turns = [name for i, name in enumerate(names) if i == 0 or names[i - 1] != name]
    assert turns == ["a", "b"] * 3  # warming up, then two rounds
    assert len(looks) == 1 + 2 * 2 and looks[0] == sum(m.warm_up.calls for m in comparison.measured.values())
    for measured in comparison.measured.values():
        assert len(measured.rounds) == 2 == len(measured.medians)
        assert all(len(times) >= LEAST_CALLS for times in measured.rounds)
        assert all(math.isfinite(ms) and ms >= 0 for ms in measured.times)
        assert measured.energy is None


def test_what_cannot_be_opened_is_left_out_with_its_reason() -> None:
    good, bad = candidate("good", "holding", megabytes=1), candidate("bad", "failing", when="opening")
    comparison = compare([bad, good], 1)
    assert list(comparison.measured) == ["good"]
    assert comparison.reasons == {"bad": "bad: RuntimeError: there is no engine"}


def test_failures_are_told() -> None:
    assert "out of memory" in compare([candidate("x", "failing", when="call")], 1).reasons["x"]
    assert compare([candidate("x", "failing", when="process")], 1).reasons == {
        "x": "x: its process ended with 7"
    }
    with Worker(candidate("x", "holding", megabytes=1)) as worker:
        worker.get_ready()
        worker._process.kill()
        with pytest.raises(BackendError, match="its process ended with"):
            worker.turn()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory of Linux")
def test_memory_is_each_candidate_s_own() -> None:
    ballast = bytearray(b"x" * 300 * 10**6)  # a child of a large process begins at its size by getrusage
    found = compare([candidate(str(mb), "holding", megabytes=mb) for mb in (1, 120)], 1).measured
    small, large = found["1"].memory, found["120"].memory
    assert small is not None and large is not None
    assert small < 150 * 10**6 < len(ballast) and large - small > 100 * 10**6


def test_tools_report_their_own_times() -> None:
    found = compare([candidate("tool", "reporting", reports=True, times=[3.0, 1.0, 2.0])], 2).measured["tool"]
    assert found.rounds == ((3.0, 1.0, 2.0),) * 2 and found.medians == (2.0, 2.0)
    assert found.warm_up.calls == 0


def test_one_that_fails_in_its_turn_stops_no_other() -> None:
    calls = MOST_WARM_UP + 3
    found = compare([candidate("tired", "tiring", calls=calls), candidate("good", "holding", megabytes=1)], 9)
    assert list(found.measured) == ["good"] and len(found.measured["good"].rounds) == 9
    assert found.reasons == {"tired": "tired: RuntimeError: tired"}


class Battery:
    """A meter that counts one joule each time it is read."""

    name = "battery"
    count = 0.0

    def joules(self) -> float:
        self.count += 1
        return self.count

    def close(self) -> None:
        """Nothing."""


def test_energy_is_of_one_call() -> None:
    times = [1.0, 1.0, 1.0]
    found = compare([candidate("tool", "reporting", reports=True, times=times)], 3, meters=[Battery()])
    assert found.measured["tool"].energy == pytest.approx(1 / 4)  # three calls, and the one before them
