"""A busy, stolen, hot or slow processor is noticed. Nothing here asserts a time of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from i2i_sdk.perf.quiet import (
    QuietMonitor,
    Usage,
    compute_slowdown,
    count_throttlings,
    judge_conditions,
    read_load,
    read_usage,
    time_slowest_core,
)
from i2i_sdk.perf.record import Conditions
from i2i_sdk.perf.timing import Turns

BEFORE = Usage(total=1000, busy=200, stolen=10, own=50, throttled=3)


def judge(
    busy: int = 500, stolen: int = 10, throttled: int = 3, slower: float = 0.0, cores: int = 2
) -> Conditions:
    """The conditions of 1000 ticks, 500 of them our own."""
    after = Usage(2000, 200 + busy, stolen, 550, throttled)
    return judge_conditions(BEFORE, after, 5.0, (0.1, 0.2), slower, cores=cores)


def test_an_idle_machine_is_trusted() -> None:
    conditions = judge(busy=510, slower=0.01)
    assert conditions.marks == () and conditions.others == pytest.approx(0.01)
    assert (conditions.stolen, conditions.throttled, conditions.slowdown) == (0.0, 0, 0.01)
    assert (conditions.seconds, conditions.load_before, conditions.load_after) == (5.0, 0.1, 0.2)


@pytest.mark.parametrize(
    ("conditions", "mark"),
    [
        (judge(busy=541), "busy: other processes took 0.08 of 2 cores"),
        (judge(stolen=60), "shared: the hypervisor gave 5% of the processor time"),
        (judge(throttled=5), "throttled: the processor was too hot 2 times"),
        (judge(slower=0.2), "unsteady clock: a fixed calculation became up to 20% slower"),
    ],
)
def test_each_disturbance_is_marked(conditions: Conditions, mark: str) -> None:
    (only,) = conditions.marks
    assert only.startswith(mark)


def test_disturbed_turns_are_marked() -> None:
    quiet = QuietMonitor()
    quiet.count_turns(Turns({"a": [[1.0]] * 10, "b": [[1.0]] * 10}, {"a": 3, "b": 0}, 3))
    with quiet:
        pass
    assert quiet.conditions.disturbed == pytest.approx(0.15)
    assert any(m.startswith("disturbed: the machine was slower than usual") for m in quiet.conditions.marks)
    assert quiet.conditions.repeated == pytest.approx(0.15)
    after = Usage(2000, 700, 10, 550, 3)
    assert judge_conditions(BEFORE, after, 5.0, (0.1, 0.2), 0.0, 2.0, 0.1).marks == ()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores can be chosen on Linux")
def test_looking_leaves_the_process_on_all_its_cores() -> None:
    before = os.sched_getaffinity(0)
    assert time_slowest_core() > 0 and os.sched_getaffinity(0) == before


def test_a_look_tells_whether_the_machine_is_as_fast_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([4.0, 4.1, 4.0, 4.3, 5.0, 4.0])
    monkeypatch.setattr("i2i_sdk.perf.quiet.time_slowest_core", lambda: next(times))
    quiet = QuietMonitor()
    assert [quiet.check_steady() for _ in range(6)] == [True, True, True, True, False, True]


def test_without_linux_the_load_before_decides() -> None:
    # The load afterwards is our own.
    assert judge_conditions(None, None, 5.0, (0.4, 3.0), 0.0, cores=2).marks == ()
    (mark,) = judge_conditions(None, None, 5.0, (0.9, 3.0), 0.0, cores=2).marks
    assert mark == "busy: the load was 0.90 on 2 cores before it began"


def test_what_is_not_known_is_not_taken_for_quiet() -> None:
    (mark,) = judge_conditions(None, None, 5.0, (None, None), 0.0).marks
    assert mark == "unknown: this system does not tell whether it was busy"


def test_one_busy_core_of_many_is_enough() -> None:
    assert judge(busy=516, cores=64).marks and not judge(busy=516, cores=2).marks


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


def test_load_is_of_the_last_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (1.5, 2.5, 3.5), raising=False)
    assert read_load() == 1.5
    monkeypatch.delattr(os, "getloadavg")
    assert read_load() is None
