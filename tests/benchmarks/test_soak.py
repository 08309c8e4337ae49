"""What the soak run concludes from what it saw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.soak import (
    DROP_COUNT,
    SoakObservations,
    check_promises,
    compute_growth,
    make_row,
    plan_faults,
    sample_memory,
)
from i2i_sdk.live import SourceStats, StreamStats

MEMORY = [(float(second), 200.0) for second in range(100)]


def make_observations(**changes: Any) -> SoakObservations:
    """Everything went wrong as planned, and nothing was lost."""
    source: dict[str, Any] = {"captured": 900, "dropped": 2, "undecodable": 3, "reconnects": 2}
    source |= {name: changes.pop(name) for name in list(changes) if name in source}
    stats = SourceStats("camera", fps=30.0, width=640, height=480, **source)
    return SoakObservations(
        **{
            "memory": MEMORY,
            "events": Counter(lost=2, reconnected=2),
            "presented": 890,
            "vanished": 5,
            "camera": {"sent": 903, "cut": 2, "damage": 2, "break": 1},
            "stats": StreamStats(30.0, 10.0, 20.0, 30.0, 890, 0, 30.0, (stats,)),
            "recorded": 890,
            "recorded_s": 30.0,
            **changes,
        }
    )


def make_resources(threads: int = 3, files: int = 10) -> Any:
    return SimpleNamespace(threads=["main"] + ["more"] * (threads - 3), native=threads, files=files)


def test_all_holds() -> None:
    assert all(check_promises(make_observations(), make_resources(), make_resources()).values())


@pytest.mark.parametrize(
    ("bad", "about"),
    [
        (
            lambda: check_promises(
                make_observations(memory=[(s, 200.0 + s) for s, _ in MEMORY]),
                make_resources(),
                make_resources(),
            ),
            "memory",
        ),
        (
            lambda: check_promises(make_observations(), make_resources(), make_resources(files=11)),
            "open files",
        ),
        (
            lambda: check_promises(make_observations(reconnects=1), make_resources(), make_resources()),
            "1 reconnects",
        ),
        (
            lambda: check_promises(
                make_observations(events=Counter(lost=1, reconnected=2)), make_resources(), make_resources()
            ),
            "1 times told",
        ),
        (
            lambda: check_promises(make_observations(undecodable=0), make_resources(), make_resources()),
            "damaged pictures",
        ),
        (
            lambda: check_promises(make_observations(captured=800), make_resources(), make_resources()),
            "captured",
        ),
        (
            lambda: check_promises(make_observations(recorded=889), make_resources(), make_resources()),
            "recorded",
        ),
    ],
)
def test_one_thing_that_went_wrong_is_told(bad: Callable[[], dict[str, bool]], about: str) -> None:
    failed = [promise for promise, kept in bad().items() if not kept]
    assert len(failed) == 1 and about in failed[0]


def test_threads_that_are_left_are_told() -> None:
    failed = [
        promise
        for promise, kept in check_promises(
            make_observations(), make_resources(), make_resources(threads=4)
        ).items()
        if not kept
    ]
    assert failed == ["Python threads left: {'more'}", "threads in all 4, before 3"]


def test_growth_counts_from_after_the_warm_up() -> None:
    memory = [(float(second), 100.0 if second < 20 else 200.0) for second in range(90)]
    assert compute_growth(memory) == 0
    assert compute_growth([*memory, *((90.0 + second, 210.0) for second in range(10))]) == pytest.approx(0.05)


def test_the_plan_cuts_twenty_times_and_in_order() -> None:
    faults = plan_faults(600.0)
    assert faults == sorted(faults) and sum(command == "drop" for _, command in faults) == DROP_COUNT
    assert plan_faults(4.0) == []


def test_the_row_and_the_short_list_of_memory() -> None:
    values = make_row(make_observations(), 30.0).values
    assert (values["losses"], values["reconnects"], values["rss_growth"]) == (2, 2, 0)
    assert values["fps"] == pytest.approx(890 / 30)
    assert sample_memory(MEMORY)[:2] == [("0", 200.0), ("8", 200.0)] and sample_memory([]) == []
