"""The roofline, on peaks and times that are known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.reporting.roofline_limits import (
    Ceilings,
    Work,
    compute_arithmetic_ms,
    compute_min_ms,
    compute_min_traffic,
    compute_share_of_peak,
    compute_share_of_roofline,
    compute_traffic_ms,
    format_mark,
)

# 1 G in the low precision takes 10 ms, in the rest 20 ms; 1 MB takes 1 ms
CEILINGS = Ceilings(low=[100e9], rest=[50e9], bandwidth=[1e9])


def test_arithmetic_in_two_precisions() -> None:
    assert compute_arithmetic_ms(Work(1e9, 1.0, 0), CEILINGS) == pytest.approx([10.0])
    assert compute_arithmetic_ms(Work(1e9, 0.0, 0), CEILINGS) == pytest.approx([20.0])
    assert compute_arithmetic_ms(Work(1e9, 0.75, 0), CEILINGS) == pytest.approx([12.5])


def test_the_slower_of_arithmetic_and_traffic_is_the_limit() -> None:
    assert compute_traffic_ms(Work(0, 1.0, 15e6), CEILINGS) == pytest.approx([15.0])
    assert compute_min_ms(Work(1e9, 1.0, 15e6), CEILINGS) == pytest.approx([15.0])
    assert compute_min_ms(Work(1e9, 1.0, 5e6), CEILINGS) == pytest.approx([10.0])


def test_each_round_has_its_own_limit() -> None:
    ceilings = Ceilings(low=[100e9, 50e9, 25e9], rest=[50e9] * 3, bandwidth=[1e9] * 3)
    assert compute_min_ms(Work(1e9, 1.0, 15e6), ceilings) == pytest.approx([15.0, 20.0, 40.0])


def test_traffic_is_weights_in_their_precision_and_pictures_once() -> None:
    assert compute_min_traffic(1000, "fp32", 30, 40) == 4070
    assert compute_min_traffic(1000, "bf16", 30, 40) == compute_min_traffic(1000, "fp16", 30, 40) == 2070
    assert compute_min_traffic(1000, "int8", 30, 40) == 1070
    with pytest.raises(KeyError):
        compute_min_traffic(1000, "fp8", 30, 40)


def test_shares_are_taken_round_by_round() -> None:
    """A clock that halves in the middle halves the peak with the speed: the share stays as it is."""
    ceilings = Ceilings(low=[100e9, 100e9, 50e9, 50e9], rest=[1.0] * 4, bandwidth=[1e9] * 4)
    assert compute_share_of_peak(Work(1e9, 1.0, 0), ceilings, [12.5, 12.5, 25.0, 25.0]) == pytest.approx(0.8)


def test_a_share_is_the_median_of_the_rounds() -> None:
    assert compute_share_of_peak(Work(1e9, 1.0, 0), CEILINGS, [20.0, 40.0, 10.0]) == pytest.approx(0.5)
    assert compute_share_of_peak(Work(1e9, 1.0, 0), CEILINGS, [20.0]) == pytest.approx(0.5)


def test_the_roofline_s_share_is_never_below_the_arithmetic_s() -> None:
    assert compute_share_of_peak(Work(1e9, 1.0, 15e6), CEILINGS, [20.0]) == pytest.approx(0.5)
    assert compute_share_of_roofline(Work(1e9, 1.0, 15e6), CEILINGS, [20.0]) == pytest.approx(0.75)
    random = np.random.default_rng(0)
    for macs, low, traffic, median in random.uniform(0.1, 1, (50, 4)) * (1e9, 1, 3e7, 30):
        work = Work(macs, low, traffic)
        arithmetic = compute_share_of_peak(work, CEILINGS, [median])
        assert compute_share_of_roofline(work, CEILINGS, [median]) >= arithmetic > 0


def test_a_share_above_one_is_given_and_marked() -> None:
    share = compute_share_of_peak(Work(1e9, 1.0, 0), CEILINGS, [8.0])
    assert share == pytest.approx(1.25)
    assert format_mark("ort-int8", share, share) == (
        "ort-int8 reaches 125% of the peak arithmetic: the convolution stack does not show it"
    )
    text = format_mark("ort-int8", 0.5, 1.1)
    assert text is not None and "110% of the roofline" in text
    assert format_mark("ort-int8", 1.0, 1.0) is None


def test_what_cannot_be_is_refused() -> None:
    for work in ((-1, 0.5, 0), (1, 1.5, 0), (1, -0.1, 0), (1, 0.5, -1)):
        with pytest.raises(ValueError, match="low is from 0 to 1"):
            Work(*work)
    with pytest.raises(ValueError, match="above 0"):
        compute_share_of_peak(Work(1, 1, 0), Ceilings([0.0], [1.0], [1.0]), [1.0])
    with pytest.raises(ValueError, match="above 0"):
        compute_share_of_peak(Work(1, 1, 0), Ceilings([], [], []), [1.0])
    with pytest.raises(ValueError, match="2 rounds of peaks for 3 of calls"):
        compute_share_of_peak(Work(1, 1, 0), Ceilings([1.0, 1.0], [1.0, 1.0], [1.0, 1.0]), [1.0, 1.0, 1.0])
