"""Learning rates over a run."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from i2i_sdk.errors import TrainingError
from i2i_training.run.schedules import PLATEAU_PATIENCE, LearningRateSchedule, Schedule


def list_factors(kind: str, steps: int, start: float) -> list[float]:
    rate = LearningRateSchedule(kind, steps, start)
    return [rate.compute_factor(step) for step in range(1, steps + 1)]


def test_linear_is_flat_then_falls_to_nothing() -> None:
    found = list_factors("linear", 100, 0.5)
    assert found[:50] == [1.0] * 50
    assert found[50:] == pytest.approx([left / 51 for left in range(50, 0, -1)])


def test_cosine_is_flat_then_falls_by_half_a_wave() -> None:
    found = list_factors("cosine", 100, 0.5)
    assert found[:50] == [1.0] * 50
    assert found[50:] == pytest.approx([0.5 * (1 + math.cos(math.pi * n / 51)) for n in range(1, 51)])


def test_step_falls_to_a_tenth_after_each_share() -> None:
    found = list_factors("step", 100, 0.25)
    assert found == pytest.approx([0.1 ** (n // 25) for n in range(100)])
    assert list_factors("step", 10, 1.0) == [1.0] * 10


def test_constant_is_constant() -> None:
    assert list_factors("constant", 10, 0.5) == [1.0] * 10


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_the_ends_of_the_option(kind: str) -> None:
    assert list_factors(kind, 10, 1.0) == [1.0] * 10
    assert 0.9 < LearningRateSchedule(kind, 10, 0.0).compute_factor(1) < 1.0
    assert LearningRateSchedule(kind, 1, 0.5).compute_factor(1) > 0  # a run of one step learns something
    assert LearningRateSchedule(kind, 10, 0.5).compute_factor(11) == 0.0  # beyond the end nothing rises again
    assert LearningRateSchedule(kind, 10, 0.5).compute_factor(15) == pytest.approx(0.0)


@given(st.sampled_from(get_args(Schedule)), st.integers(1, 300), st.floats(0, 1))
def test_rates_only_fall_and_stay_above_zero(kind: str, steps: int, start: float) -> None:
    if kind == "step" and start * steps < 1:  # drops in less than a step
        with pytest.raises(TrainingError, match="less than one; try --decay-from"):
            LearningRateSchedule(kind, steps, start)
        return
    found = list_factors(kind, steps, start)
    assert all(0 < factor <= 1 for factor in found)
    assert all(later <= earlier for earlier, later in pairwise(found))


# ---------------------------------------------------------------- plateau


def test_plateau_halves_when_the_score_stops_falling() -> None:
    rate = LearningRateSchedule("plateau", 100, 0.5)
    rate.observe(1.0)
    for _ in range(PLATEAU_PATIENCE - 1):
        rate.observe(1.0)  # as good is not better
    assert rate.compute_factor(50) == 1.0
    rate.observe(2.0)
    assert rate.compute_factor(50) == 0.5
    for _ in range(PLATEAU_PATIENCE):
        rate.observe(1.5)  # better than the last, not than the best
    assert rate.compute_factor(51) == 0.25


def test_plateau_waits_anew_after_a_better_score() -> None:
    rate = LearningRateSchedule("plateau", 100, 0.5)
    for score in (3.0, 2.0, 1.0):
        rate.observe(score)
        for _ in range(PLATEAU_PATIENCE - 1):
            rate.observe(score + 1)
    assert rate.compute_factor(50) == 1.0


def test_a_score_that_is_no_number_is_no_better() -> None:
    rate = LearningRateSchedule("plateau", 100, 0.5)
    for score in (math.nan, 1.0, math.nan):
        rate.observe(score)
    assert (rate.best, rate.num_bad_evals) == (1.0, 1)


def test_plateau_goes_on_where_it_was() -> None:
    """Its state is plain numbers, infinity before the first score among them."""
    scores = [2.0, 1.0, *[1.5] * 8, 0.5, *[1.0] * 6]
    whole = LearningRateSchedule("plateau", 100, 0.5)
    for score in scores:
        whole.observe(score)
    for cut in (0, 4, 9):
        first, second = (LearningRateSchedule("plateau", 100, 0.5) for _ in range(2))
        for score in scores[:cut]:
            first.observe(score)
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        for score in scores[cut:]:
            second.observe(score)
        assert second == whole
    assert whole.drops == 2
