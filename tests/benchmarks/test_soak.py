"""What the soak run concludes from what it saw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.soak import DROPS, Seen, grown, judged, plan, row, some
from i2i_sdk.live import SourceStats, StreamStats

MEMORY = [(float(second), 200.0) for second in range(100)]


def seen(**changes: Any) -> Seen:
    """Everything went wrong as planned, and nothing was lost."""
    source: dict[str, Any] = {"captured": 900, "dropped": 2, "undecodable": 3, "reconnects": 2}
    source |= {name: changes.pop(name) for name in list(changes) if name in source}
    stats = SourceStats("camera", fps=30.0, width=640, height=480, **source)
    return Seen(
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


def left(threads: int = 3, files: int = 10) -> Any:
    return SimpleNamespace(threads=["main"] + ["more"] * (threads - 3), native=threads, files=files)


def test_all_holds() -> None:
    assert all(judged(seen(), left(), left()).values())


@pytest.mark.parametrize(
    ("bad", "about"),
    [
        (lambda: judged(seen(memory=[(s, 200.0 + s) for s, _ in MEMORY]), left(), left()), "memory"),
        (lambda: judged(seen(), left(), left(files=11)), "open files"),
        (lambda: judged(seen(reconnects=1), left(), left()), "1 reconnects"),
        (lambda: judged(seen(events=Counter(lost=1, reconnected=2)), left(), left()), "1 times told"),
        (lambda: judged(seen(undecodable=0), left(), left()), "damaged pictures"),
        (lambda: judged(seen(captured=800), left(), left()), "captured"),
        (lambda: judged(seen(recorded=889), left(), left()), "recorded"),
    ],
)
def test_one_thing_that_went_wrong_is_told(bad: Callable[[], dict[str, bool]], about: str) -> None:
    failed = [promise for promise, kept in bad().items() if not kept]
    assert len(failed) == 1 and about in failed[0]


def test_threads_that_are_left_are_told() -> None:
    failed = [promise for promise, kept in judged(seen(), left(), left(threads=4)).items() if not kept]
    assert failed == ["Python threads left: {'more'}", "threads in all 4, before 3"]


def test_growth_counts_from_after_the_warm_up() -> None:
    memory = [(float(second), 100.0 if second < 20 else 200.0) for second in range(90)]
    assert grown(memory) == 0
    assert grown([*memory, *((90.0 + second, 210.0) for second in range(10))]) == pytest.approx(0.05)


def test_the_plan_cuts_twenty_times_and_in_order() -> None:
    told = plan(600.0)
    assert told == sorted(told) and sum(command == "drop" for _, command in told) == DROPS
    assert plan(4.0) == []


def test_the_row_and_the_short_list_of_memory() -> None:
    values = row(seen(), 30.0).values
    assert (values["losses"], values["reconnects"], values["rss_growth"]) == (2, 2, 0)
    assert values["fps"] == pytest.approx(890 / 30)
    assert some(MEMORY)[:2] == [("0", 200.0), ("8", 200.0)] and some([]) == []
