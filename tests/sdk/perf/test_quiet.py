"""A busy, stolen, hot or slow processor is noticed. Nothing here asserts a time of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from i2i_sdk.perf.quiet import (
    QuietMonitor,
    Usage,
    compute_shares,
    compute_slowdown,
    count_throttlings,
    list_marks,
    read_usage,
    time_slowest_core,
)
from i2i_sdk.perf.record import Conditions
from i2i_sdk.perf.timing import Turns


def test_shares_are_what_is_not_our_own() -> None:
    before = Usage(total=1000, busy=200, stolen=10, own=50, throttled=3)
    after = Usage(total=2000, busy=710, stolen=60, own=550, throttled=5)
    assert compute_shares(before, after) == pytest.approx((0.01, 0.05, 2))
    assert compute_shares(before, replace(after, throttled=None))[2] is None
    assert compute_shares(None, after) == compute_shares(before, before) == (None, None, None)


@pytest.mark.parametrize(
    ("changes", "mark"),
    [
        ({}, None),
        ({"others": 0.041}, "busy: other processes took 0.08 of 2 cores"),
        ({"stolen": 0.05}, "shared: the hypervisor gave 5% of the processor time"),
        ({"throttled": 2}, "throttled: the processor was too hot 2 times"),
        ({"slowdown": 0.2}, "unsteady clock: a fixed calculation became up to 20% slower"),
        ({"disturbed": 0.15, "repeated": 2.0}, "disturbed: the machine was slow around 15% of the turns"),
        ({"disturbed": 0.1, "repeated": 2.0}, None),
        # Without Linux the load before decides; the load afterwards is our own.
        ({"others": None, "load_before": 0.4, "load_after": 3.0}, None),
        ({"others": None, "load_before": 0.9}, "busy: the load was 0.90 on 2 cores before it began"),
        ({"others": None}, "unknown: this system does not tell whether it was busy"),
    ],
)
def test_each_disturbance_is_marked(changes: dict[str, Any], mark: str | None) -> None:
    quiet = Conditions(5.0, others=0.01, stolen=0.0, throttled=0, slowdown=0.01)
    marks = list_marks(replace(quiet, **changes), cores=2)
    assert [found.startswith(mark or "") for found in marks] == ([True] if mark else [])


def test_one_busy_core_of_many_is_enough() -> None:
    busy = Conditions(5.0, others=0.016)
    assert list_marks(busy, cores=64) and not list_marks(busy, cores=2)


def test_disturbed_turns_are_counted() -> None:
    quiet = QuietMonitor()
    quiet.count_turns(Turns({"a": [[1.0]] * 10, "b": [[1.0]] * 10}, {"a": 3, "b": 0}, 3))
    with quiet:
        pass
    assert (quiet.conditions.disturbed, quiet.conditions.repeated) == pytest.approx((0.15, 0.15))
    assert any(mark.startswith("disturbed: ") for mark in quiet.conditions.marks)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores can be chosen on Linux")
def test_looking_leaves_the_process_on_all_its_cores() -> None:
    before = os.sched_getaffinity(0)
    assert time_slowest_core() > 0 and os.sched_getaffinity(0) == before


def test_a_look_tells_whether_the_machine_is_as_fast_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([4.0, 4.1, 4.0, 4.3, 5.0, 4.0])
    monkeypatch.setattr("i2i_sdk.perf.quiet.time_slowest_core", lambda: next(times))
    quiet = QuietMonitor()
    assert [quiet.check_steady() for _ in range(6)] == [True, True, True, True, False, True]


def test_slowdown_is_between_thirds_of_the_time() -> None:
    for times, slowdown in (
        ([4.0] * 9, 0.0),
        ([4.0], 0.0),
        ([4.0, 4.0, 9.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0], 0.0),  # one interruption is none
        ([4.0, 4.0, 4.0, 4.4, 4.4, 4.4, 5.0, 5.0, 5.0], 0.25),
        ([4.0, 4.0, 4.0, 4.0, 9.0, 4.0, 4.0, 9.0, 4.0, 4.0, 4.0, 4.0], 0.0),  # it comes and goes
        ([5.0, 4.0, 4.0], 0.0),  # too few to tell
        ([5.0, 5.0, 9.0, 4.0, 4.0, 4.0], 0.25),
    ):
        assert compute_slowdown(times) == pytest.approx(slowdown)


def test_readings_come_from_the_files_of_linux(tmp_path: Path) -> None:
    proc, sys_folder = tmp_path / "proc", tmp_path / "sys"
    proc.mkdir()
    (proc / "stat").write_text("cpu  100 5 40 800 20 1 4 30 0 0\ncpu0 1 2 3\n")
    usage = read_usage(proc, sys_folder)
    assert usage is not None and usage == Usage(1000, 150, 30, usage.own, None)
    for core, count in ((0, 4), (1, 2)):
        folder = sys_folder / f"devices/system/cpu/cpu{core}/thermal_throttle"
        folder.mkdir(parents=True)
        (folder / "core_throttle_count").write_text(f"{count}\n")
    assert count_throttlings(sys_folder) == 6
    assert read_usage(tmp_path / "nowhere", sys_folder) is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is of Linux")
def test_a_busy_loop_beside_is_not_taken_for_our_own() -> None:
    """It runs in a session of its own, started by a shell that ended: no descendant of this process."""
    script = f"{sys.executable} -c 'while True: pass' > /dev/null 2>&1 & echo $!"
    before = read_usage()
    number = int(subprocess.check_output(script, shell=True, start_new_session=True))
    try:
        with QuietMonitor() as quiet:
            use_processor(60)
    finally:
        os.kill(number, 9)
    assert before is not None
    others, cores = quiet.conditions.others, os.cpu_count() or 1
    assert others is not None and others > 0.3 / cores
    assert any(mark.startswith("busy: ") for mark in quiet.conditions.marks)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is of Linux")
def test_our_own_work_is_counted_as_own() -> None:
    before = read_usage()
    subprocess.run([sys.executable, "-c", "for _ in range(10**7): pass"], check=True)
    use_processor(20)
    after = read_usage()
    assert before is not None and after is not None
    assert 20 <= after.own - before.own <= after.busy - before.busy + 2


def use_processor(ticks: int) -> None:
    """Processor time of this process, in hundredths of a second."""
    end = sum(os.times()[:2]) + ticks / 100
    while sum(os.times()[:2]) < end:
        pass


def test_a_failure_inside_is_not_replaced() -> None:
    with pytest.raises(ZeroDivisionError), QuietMonitor():
        _ = 1 / 0
