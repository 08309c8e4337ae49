"""Promises decide the exit code of a part."""

from __future__ import annotations

import pytest

from benchmarks.live import promises
from benchmarks.promises import told
from i2i_sdk.measure import statistics
from i2i_sdk.measure.record import Row


@pytest.mark.parametrize(("second", "code"), [(True, 0), (False, 1)])
def test_one_that_does_not_hold_is_an_error(
    second: bool, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told({"first": True, "second": second}) == code
    assert capsys.readouterr().out.splitlines() == [
        "holds: first",
        f"{'holds' if second else 'DOES NOT HOLD'}: second",
    ]


@pytest.mark.parametrize(
    ("added", "glass", "held"),
    [(1.0, 120.0, [True, True]), (5.5, 120.0, [False, True]), (1.0, 251.0, [True, False])],
)
def test_what_the_loop_promises(added: float, glass: float, held: list[bool]) -> None:
    identity = Row("identity", "ort-fp32", times={"added": statistics([added] * 20)})
    slow = Row("slow", "ort-fp32", times={"glass": statistics([glass] * 20)})
    assert list(promises(identity, slow).values()) == held
