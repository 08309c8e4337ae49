"""What the soak run concludes from what it saw."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

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
    seen: dict[str, Any] = {"memory": MEMORY, "events": Counter(lost=2, reconnected=2)}
    seen |= {"vanished": 5, "camera": {"sent": 903, "cut": 2, "damage": 2, "break": 1}}
    seen |= {"stats": StreamStats(30.0, 10.0, 20.0, 30.0, 890, 0, 30.0, (stats,))}
    return SoakObservations(**{**seen, "recorded": 890, "recorded_s": 30.0, **changes})


def list_broken(threads: int = 3, files: int = 10, **changes: Any) -> list[str]:
    """The promises that do not hold with so many threads and files afterwards."""
    before = SimpleNamespace(threads=["main"], native=3, files=10)
    after = SimpleNamespace(threads=["main"] + ["more"] * (threads - 3), native=threads, files=files)
    promises = check_promises(make_observations(**changes), cast(Any, before), cast(Any, after))
    return [promise for promise, kept in promises.items() if not kept]


def test_all_holds_unless_threads_are_left() -> None:
    assert list_broken() == []
    assert list_broken(threads=4) == ["Python threads left: {'more'}", "threads in all 4, before 3"]


@pytest.mark.parametrize(
    ("changes", "about"),
    [
        ({"memory": [(second, 200.0 + second) for second, _ in MEMORY]}, "memory"),
        ({"files": 11}, "open files"),
        ({"reconnects": 1}, "1 reconnects"),
        ({"events": Counter(lost=1, reconnected=2)}, "1 times told"),
        ({"undecodable": 0}, "damaged pictures"),
        ({"captured": 800}, "captured"),
        ({"recorded": 889}, "recorded"),
    ],
)
def test_one_thing_that_went_wrong_is_told(changes: dict[str, Any], about: str) -> None:
    (broken,) = list_broken(**changes)
    assert about in broken


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
