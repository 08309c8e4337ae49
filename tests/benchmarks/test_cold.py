"""Fresh processes and what becomes of their figures."""

from __future__ import annotations

import sys

import pytest

from benchmarks.cold import STAGES, make_row, measure_start
from benchmarks.support.places import list_runnable_variants
from i2i_sdk.bundle.manifest import Variant


@pytest.fixture
def ort() -> Variant:
    return next(v for v in list_runnable_variants("sketch", 256) if v.backend == "ort")


def test_a_start_tells_every_stage_and_its_memory(ort: Variant) -> None:
    start = measure_start(ort)
    assert set(start) == {*STAGES, "memory"}
    assert all((start[stage] or 0) > 0 for stage in STAGES)
    if sys.platform == "linux":
        assert start["memory"] is not None and start["memory"] > 20e6, "Python and an engine need more"


def test_a_row_has_the_medians_of_all_starts(ort: Variant) -> None:
    starts = [{"import": 1.0 * n, "load": 10.0 * n, "first": 100.0 * n, "memory": 1e6 * n} for n in (3, 1, 2)]
    row = make_row(ort, starts)
    assert (row.name, row.height, row.width) == ("ort-fp32", 256, 256)
    medians = {stage: timing.median_ms for stage, timing in row.times.items()}
    assert medians == {"import": 2.0, "load": 20.0, "first": 200.0}
    assert row.values == {"memory": 2e6}


def test_memory_is_left_out_where_the_system_does_not_tell(ort: Variant) -> None:
    assert make_row(ort, [{"import": 1.0, "load": 1.0, "first": 1.0, "memory": None}]).values == {}
