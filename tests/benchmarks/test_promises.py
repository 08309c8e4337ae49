"""Promises decide the exit code of a part."""

from __future__ import annotations

import pytest

from benchmarks.live import check_promises
from benchmarks.reporting.publish import report_promises
from i2i_sdk.perf.record import Row
from i2i_sdk.perf.timing import compute_statistics


@pytest.mark.parametrize(("second", "code"), [(True, 0), (False, 1)])
def test_one_that_does_not_hold_is_an_error(
    second: bool, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report_promises({"first": True, "second": second}) == code
    assert capsys.readouterr().out.splitlines() == [
        "holds: first",
        f"{'holds' if second else 'DOES NOT HOLD'}: second",
    ]


@pytest.mark.parametrize(
    ("added", "glass", "held"),
    [(1.0, 120.0, [True, True]), (5.5, 120.0, [False, True]), (1.0, 251.0, [True, False])],
)
def test_what_the_loop_promises(added: float, glass: float, held: list[bool]) -> None:
    identity = Row("identity", "ort-fp32", times={"added": compute_statistics([added] * 20)})
    slow = Row("slow", "ort-fp32", times={"glass": compute_statistics([glass] * 20)})
    assert list(check_promises(identity, slow).values()) == held
