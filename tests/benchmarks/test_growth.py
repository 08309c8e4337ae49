"""Fits of times that follow known laws."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.reporting.power_laws import fit_growth, select_superlinear
from i2i_sdk.perf.record import Row
from i2i_sdk.perf.timing import compute_statistics


def make_row(ms: float, side: int = 256, *, time: str = "frame", name: str = "ort", **more: int) -> Row:
    return Row("model", name, side, side, times={time: compute_statistics([ms])}, **more)


def make_size_rows(law: Callable[[int], float]) -> list[Row]:
    return [make_row(law(side * side), side) for side in (128, 256, 512)]


@pytest.mark.parametrize("exponent", [0.5, 1.0, 1.3, 2.0])
def test_the_exponent_of_a_power_law_is_found(exponent: float) -> None:
    (fit,) = fit_growth(make_size_rows(lambda pixels: 3e-4 * pixels**exponent))
    assert (fit.subject, fit.name, fit.quantity, fit.group) == ("model", "ort", "pixels", (1, 1))
    assert fit.exponent == pytest.approx(exponent)
    assert fit.excess == pytest.approx(2 ** (exponent - 1) - 1)
    assert [amount for amount, _ in fit.points] == [128**2, 256**2, 512**2]


def test_rows_are_grouped_by_what_varies_alone() -> None:
    rows = [
        *make_size_rows(lambda pixels: pixels),
        *(make_row(4.2 * side**2, side, batch=4) for side in (128, 256)),
        *(make_row(10 * streams, streams=streams, time="round") for streams in (1, 2, 4)),
        *(make_row(side, side, name="other") for side in (128, 256)),  # two sizes are too few
        make_row(7, 256, name="other", time="translate"),
    ]
    found = {(fit.name, fit.quantity, fit.group): fit for fit in fit_growth(rows)}
    assert set(found) == {
        ("ort", "pixels", (1, 1)),
        ("ort", "batch", (128, 128)),
        ("ort", "batch", (256, 256)),
        ("ort", "streams", (256, 256, 1)),
    }
    assert found["ort", "batch", (128, 128)].excess == pytest.approx(1.05**0.5 - 1)
    assert found["ort", "streams", (256, 256, 1)].exponent == pytest.approx(1)


def test_sizes_of_another_aspect_are_another_fit() -> None:
    wide = [Row("model", "ort", h, 4 * h, times={"frame": compute_statistics([h])}) for h in (64, 128, 256)]
    found = fit_growth([*make_size_rows(lambda pixels: pixels), *wide])
    assert {(fit.group, round(fit.exponent, 6)) for fit in found} == {((1, 1), 1.0), ((1, 4), 0.5)}


def test_five_percent_a_doubling_is_where_the_list_begins() -> None:
    assert select_superlinear(fit_growth(make_size_rows(lambda pixels: pixels))) == ()
    for growth, listed in ((2.09, False), (2.11, True)):
        rows = [make_row(growth**i, batch=2**i) for i in range(4)]
        assert bool(select_superlinear(fit_growth(rows))) == listed
    # from 1 to 4 are two doublings: 8 % in all is 4 % each
    assert select_superlinear(fit_growth([make_row(1), make_row(4 * 1.08, batch=4)])) == ()
    assert len(select_superlinear(fit_growth([make_row(1), make_row(4 * 1.12, batch=4)]))) == 1


def test_a_jump_between_two_neighbors_is_listed_where_the_whole_is_linear() -> None:
    (fit,) = found = fit_growth([make_row(t, batch=b) for b, t in ((1, 1), (2, 1.4), (4, 4.2), (8, 8))])
    assert fit.excess < 0.05
    assert fit.worst == (2, 4, pytest.approx(0.5))
    assert select_superlinear(found) == found
