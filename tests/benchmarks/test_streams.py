"""Several streams through one engine: rounds, shares, and a short real run."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.streams import (
    MIN_RESULTS,
    SIZE,
    TURN_COUNT,
    WARM_UP_ROUNDS,
    SaturatedCase,
    check_promise,
    compute_rates,
    compute_rounds,
    measure_saturated,
)
from benchmarks.support.identity import write_identity
from benchmarks.support.loopback import make_photos
from i2i_sdk import Translator
from i2i_sdk.perf.record import VALUES, Row


def test_a_round_ends_with_the_last_stream() -> None:
    first, second = [0.0, 1.0, 2.0, 3.0], [0.5, 1.25, 2.75]
    assert compute_rounds([first, second]) == [750.0, 1500.0]
    assert compute_rounds([first]) == [1000.0] * 3
    assert compute_rounds([first, second]) == compute_rounds([second, first])


def test_rates_of_all_of_a_stream_and_of_the_least_served() -> None:
    assert compute_rates([30, 10, 20], 2.0) == {"fps": 30.0, "fps_mean": 10.0, "fps_least": 5.0}
    assert compute_rates([30, 0], 3.0)["fps_least"] == 0.0


@pytest.mark.parametrize(
    ("served", "fair"), [([10, 10, 10], True), ([10, 10, 9], True), ([12, 12, 8], False)]
)
def test_a_stream_must_get_its_share(served: list[int], fair: bool) -> None:
    text, held = check_promise(Row("sketch", "ort-fp32", streams=3, values=compute_rates(served, 1.0)))
    assert held is fair
    assert "3 streams" in text and f"gets {min(served):.1f} of" in text


def test_streams_that_always_have_a_frame_ready(tmp_path: Path) -> None:
    with Translator(write_identity(tmp_path / "identity.onnx", 64, 64)) as translate:
        case = SaturatedCase(translate, make_photos(SIZE, 3), 3, seconds=0.01)
        turns = [case.run_turn(), case.run_turn()]
        row = case.to_row("identity", turns)
    times = [ms for turn in turns for ms in turn]
    shown = [[len(moments) for moments in turn.moments] for turn in case.turns]
    assert all(count >= MIN_RESULTS for counts in shown for count in counts)
    assert len(times) == sum(min(counts) - 1 - WARM_UP_ROUNDS for counts in shown)
    assert (row.name, row.streams, row.times["round"].runs) == ("ort-fp32", 3, len(times))
    fps = row.values["fps_mean"]
    assert 0 < row.values["fps_least"] <= fps * (1 + 1e-9) and fps < row.values["fps"]
    assert set(row.values) <= set(VALUES)


def test_a_row_for_each_number_of_streams_in_turns(tmp_path: Path) -> None:
    looks: list[int] = []

    def check_steady() -> bool:
        looks.append(1)
        return True

    with Translator(write_identity(tmp_path / "identity.onnx", 64, 64)) as translate:
        rows = measure_saturated("identity", translate, 0.01, check_steady)
    assert [row.streams for row in rows] == [1, 2, 4, 8]
    assert len({row.key for row in rows}) == 4 and {row.name for row in rows} == {"ort-fp32"}
    assert len(looks) == 1 + 4 * TURN_COUNT
