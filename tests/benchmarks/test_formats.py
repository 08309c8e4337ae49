"""How figures are written."""

from __future__ import annotations

import pytest

from benchmarks.reporting.formats import (
    format_number,
    format_ratio,
    format_share,
    format_spread,
    format_value,
)
from i2i_sdk.perf.record import VALUES, Row


@pytest.mark.parametrize(
    ("value", "written"),
    [
        *[(0, "0.000"), (0.12345, "0.123"), (0.9999, "1.00"), (9.876, "9.88"), (9.996, "10.0")],
        *[(99.97, "100"), (304.2, "304"), (12345.6, "12346"), (-9.876, "-9.88")],
    ],
)
def test_three_digits_count(value: float, written: str) -> None:
    assert format_number(value) == written


@pytest.mark.parametrize(
    ("value", "written"), [(0, "0 %"), (0.0312, "3.1 %"), (0.883, "88 %"), (1.04, "104 %"), (-0.02, "-2.0 %")]
)
def test_shares_are_percents(value: float, written: str) -> None:
    assert format_share(value) == written


@pytest.mark.parametrize(("value", "written"), [(0.889, "0.89"), (4.312, "4.31"), (12.34, "12.3")])
def test_gains_have_a_sign(value: float, written: str) -> None:
    assert format_ratio(value) == f"{written}\N{MULTIPLICATION SIGN}"


@pytest.mark.parametrize(
    ("name", "value", "written"),
    [
        *[("memory", 346e6, "346"), ("bandwidth", 31e9, "31.0"), ("peak", 458e9, "458")],
        *[("macs", 49.6e9, "49.6"), ("psnr", 53.12, "53.1"), ("psnr", 120.0, "identical")],
        *[("of_peak", 0.884, "88 %"), ("energy", 1.234, "1.23")],
    ],
)
def test_values_are_in_readable_units(name: str, value: float, written: str) -> None:
    assert format_value(name, Row("m", "v", values={name: value})) == written


@pytest.mark.parametrize("name", VALUES)
def test_every_quantity_can_be_written_or_be_missing(name: str) -> None:
    assert any(digit in format_value(name, Row("m", "v", values={name: 0.5})) for digit in "0123456789")
    assert format_value(name, Row("m", "v")) == "\N{EN DASH}"


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.0, "0 %"), (0.004, "0.4 %"), (0.0096, "1 %"), (0.034, "3 %"), (0.18, "18 %"), (25.9, "> 100 %")],
)
def test_uncertainty_has_the_digits_that_count(value: float, written: str) -> None:
    assert format_spread(value) == written
