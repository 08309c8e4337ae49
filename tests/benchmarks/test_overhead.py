"""What is compared, and the difference on known numbers."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from benchmarks.overhead import SIZES, format_name, make_candidates, make_rows
from benchmarks.support.places import list_runnable_variants
from i2i_sdk.bundle.manifest import Variant
from i2i_sdk.perf.candidates import CandidateTimings
from i2i_sdk.perf.timing import WarmUp


@pytest.fixture
def ort() -> Variant:
    return next(v for v in list_runnable_variants("sketch", 256) if v.backend == "ort")


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
