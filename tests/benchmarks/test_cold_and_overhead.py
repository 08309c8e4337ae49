"""Cold starts, and what `translate` adds to an engine: what is compared, and known numbers."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest

from benchmarks import cold
from benchmarks.cold import STAGES, measure_start
from benchmarks.overhead import SIZES, format_name, make_candidates, make_rows
from benchmarks.support.places import list_runnable_variants
from i2i_sdk.bundle.manifest import Variant
from i2i_sdk.perf.candidates import CandidateTimings
from i2i_sdk.perf.timing import WarmUp


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
    row = cold.make_row(ort, starts)
    assert (row.name, row.height, row.width) == ("ort-fp32", 256, 256)
    medians = {stage: timing.median_ms for stage, timing in row.times.items()}
    assert medians == {"import": 2.0, "load": 20.0, "first": 200.0}
    assert row.values == {"memory": 2e6}


def test_memory_is_left_out_where_the_system_does_not_tell(ort: Variant) -> None:
    assert cold.make_row(ort, [{"import": 1.0, "load": 1.0, "first": 1.0, "memory": None}]).values == {}


def test_candidates_are_the_engine_and_a_translator_for_each_size_of_frame(ort: Variant) -> None:
    candidates = make_candidates(ort)
    assert len({candidate.name for candidate in candidates}) == 1 + len(SIZES)
    shapes: list[tuple[int, ...]] = []
    for candidate in candidates:
        module, function = candidate.opener.split(":")
        call = getattr(importlib.import_module(module), function)(**candidate.arguments)
        shapes.append(np.shape(call()))
    assert shapes == [(1, 256, 256, 3), *((*size, 3) for size in SIZES)]


def make_timings(*rounds: tuple[float, ...]) -> CandidateTimings:
    return CandidateTimings(rounds, WarmUp(8, True), None, None)


def test_the_difference_is_taken_round_by_round(ort: Variant) -> None:
    """The machine becomes ten times slower after the first round; the differences do not mix rounds."""
    results = {
        format_name(ort): make_timings((10.0, 10.0, 10.0), (100.0, 100.0), (100.0,)),
        format_name(ort, SIZES[0]): make_timings((12.0, 12.0, 99.0), (103.0, 103.0), (104.0,)),
    }
    engine, translator = make_rows(ort, results)
    assert (engine.height, engine.width, set(engine.times)) == (256, 256, {"frame"})
    assert (translator.height, translator.width) == SIZES[0]
    extra = translator.times["extra"]
    assert (extra.runs, extra.min_ms, extra.median_ms) == (3, 2.0, 3.0)
    assert translator.times["translate"].median_ms == 103.0  # of the three rounds


def test_without_the_bare_engine_there_is_nothing_to_compare_with(ort: Variant) -> None:
    assert make_rows(ort, {format_name(ort, SIZES[0]): make_timings((12.0,))}) == []
