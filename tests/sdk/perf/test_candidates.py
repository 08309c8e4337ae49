"""Candidates in processes of their own. No test here asserts a time."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

from i2i_sdk.errors import BackendError
from i2i_sdk.perf.candidates import Candidate, Worker, compare
from i2i_sdk.perf.energy import EnergyMeter
from i2i_sdk.perf.timing import MAX_WARM_UP_CALLS, MIN_CALLS


def make_candidate(name: str, function: str, reports_times: bool = False, **arguments: object) -> Candidate:
    return Candidate(name, f"candidate_openers:{function}", arguments, reports_times)


def test_they_take_turns(tmp_path: Path) -> None:
    file = tmp_path / "order"
    looks: list[int] = []

    def check_steady() -> bool:
        looks.append(len(file.read_text().split()))
        return True

    candidates = [make_candidate(name, "open_writing", path=str(file), word=name) for name in "ab"]
    comparison = compare(candidates, 2, check_steady=check_steady)
    names = file.read_text().split()
    turns = [name for i, name in enumerate(names) if i == 0 or names[i - 1] != name]
    assert turns == ["a", "b"] * 3  # warming up, then two rounds
    assert len(looks) == 1 + 2 * 2 and looks[0] == sum(m.warm_up.calls for m in comparison.timings.values())
    for measured in comparison.timings.values():
        assert len(measured.rounds) == 2 == len(measured.medians)
        assert all(len(times) >= MIN_CALLS for times in measured.rounds)
        assert all(math.isfinite(ms) and ms >= 0 for ms in measured.times)
        assert measured.energy is None


def test_what_cannot_be_opened_is_left_out_with_its_reason() -> None:
    bad = make_candidate("bad", "open_failing", stage="opening")
    comparison = compare([bad, make_candidate("good", "open_holding", megabytes=1)], 1)
    assert list(comparison.timings) == ["good"]
    assert comparison.reasons == {"bad": "bad: RuntimeError: there is no engine"}


def test_failures_are_told() -> None:
    for stage, reason in (("call", "out of memory"), ("process", "x: its process ended with 7")):
        assert reason in compare([make_candidate("x", "open_failing", stage=stage)], 1).reasons["x"]
    with Worker(make_candidate("x", "open_holding", megabytes=1)) as worker:
        worker.get_ready()
        worker._process.kill()
        with pytest.raises(BackendError, match="its process ended with"):
            worker.run_turn()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory of Linux")
def test_memory_is_each_candidate_s_own() -> None:
    ballast = bytearray(b"x" * 300 * 10**6)  # a child of a large process begins at its size by getrusage
    found = compare([make_candidate(str(mb), "open_holding", megabytes=mb) for mb in (1, 120)], 1).timings
    small, large = found["1"].memory, found["120"].memory
    assert small is not None and large is not None
    assert small < 150 * 10**6 < len(ballast) and large - small > 100 * 10**6


def test_tools_report_their_own_times() -> None:
    tool = make_candidate("tool", "open_reporting", reports_times=True, times=[3.0, 1.0, 2.0])
    found = compare([tool], 2).timings["tool"]
    assert found.rounds == ((3.0, 1.0, 2.0),) * 2 and found.medians == (2.0, 2.0)
    assert found.warm_up.calls == 0


def test_one_that_fails_in_its_turn_stops_no_other() -> None:
    tired = make_candidate("tired", "open_tiring", max_calls=MAX_WARM_UP_CALLS + 3)
    found = compare([tired, make_candidate("good", "open_holding", megabytes=1)], 9)
    assert list(found.timings) == ["good"] and len(found.timings["good"].rounds) == 9
    assert found.reasons == {"tired": "tired: RuntimeError: tired"}


class Battery(EnergyMeter):
    """A meter that counts one joule each time it is read."""

    name = "battery"
    count = 0.0

    def read_joules(self) -> float:
        self.count += 1
        return self.count


def test_energy_is_of_one_call() -> None:
    tool = make_candidate("tool", "open_reporting", reports_times=True, times=[1.0, 1.0, 1.0])
    found = compare([tool], 3, meters=[Battery()])
    assert found.timings["tool"].energy == pytest.approx(1 / 4)  # three calls, and the one before them
