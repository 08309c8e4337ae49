"""Tables of records: how figures are written, what stands in which table, and what is said below."""

from __future__ import annotations

from dataclasses import replace

import pytest

from i2i_sdk.perf.record import VALUES, Conditions, Record, Row, make_record
from i2i_sdk.perf.tables import (
    CROSS,
    MISSING,
    PLUS_MINUS,
    Table,
    build_tables,
    format_conditions,
    format_number,
    format_share,
    format_value,
)
from i2i_sdk.perf.timing import compute_statistics


def make_row(name: str, ms: float | None = None, **changes: object) -> Row:
    times = {"frame": compute_statistics([ms])} if ms else {}
    return replace(Row("net", name, 8, 16, times=times), **changes)


def build(*rows: Row, part: str = "engines", is_brief: bool = False) -> list[Table]:
    record: Record = make_record(part, "t", rows, {}, Conditions(1.0))
    return build_tables(record, is_brief=is_brief)


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


@pytest.mark.parametrize(
    ("name", "value", "written"),
    [
        *[("memory", 346e6, "346"), ("bandwidth", 31e9, "31.0"), ("peak", 458e9, "458")],
        *[("psnr", 53.12, "53.1"), ("psnr", 120.0, "identical"), ("ssim", 0.98765, "0.9877")],
        *[
            ("of_peak", 0.884, "88 %"),
            ("energy", 1.234, "1.23"),
            ("dropped", 3.0, "3"),
            ("fps", 29.97, "30.0"),
        ],
        ("faster", 4.312, f"4.31{CROSS}"),
    ],
)
def test_values_are_in_readable_units(name: str, value: float, written: str) -> None:
    assert format_value(name, value) == written


@pytest.mark.parametrize("name", VALUES)
def test_every_quantity_can_be_written(name: str) -> None:
    assert any(digit in format_value(name, 0.5) for digit in "0123456789")


def test_variants_stand_by_size_and_batch_the_fastest_first() -> None:
    dead = make_row("dead", notes=("not run: no GPU",))
    batch = make_row("fast", 9.0, batch=4)
    first, second, other = build(
        batch, dead, make_row("slow", 2.0), make_row("fast", 1.0), Row("device", "peak")
    )
    assert [first.title, second.title, other.title] == [
        f"net, 16 {CROSS} 8",
        f"net, 16 {CROSS} 8, batch 4",
        "device",
    ]
    assert [first.is_collapsible, second.is_collapsible] == [False, True]
    assert [row[0] for row in first.rows] == ["fast", "slow", "dead"]
    assert set(first.rows[-1][1:]) == {MISSING} and first.notes == ("dead: not run: no GPU",)
    assert all(len(row) == len(table.headings) for table in (first, second) for row in table.rows)


def test_what_is_worth_choosing_stands_out() -> None:
    """Beyond 80 dB the faster one is, since no eye sees a difference."""
    qualities = {"int8": (1.0, 40.0), "poor": (1.5, 30.0), "fp32": (2.0, 90.0), "exact": (3.0, 120.0)}
    rows = [make_row(name, ms, values={"psnr": psnr}) for name, (ms, psnr) in qualities.items()]
    (table,) = build(*rows, make_row("eager", 0.5))
    assert [table.rows[index][0] for index in table.highlighted] == ["int8", "fp32"]


def test_only_quantities_that_a_row_has_are_columns() -> None:
    (table,) = build(make_row("a", 1.0, values={"energy": 2.5, "memory": 3e8}), make_row("b", 2.0))
    assert table.headings == (
        "variant",
        "median, ms",
        PLUS_MINUS,
        "memory, MB",
        "energy, J",
        "min",
        "p95",
        "p99",
    )
    assert table.rows[0][3:5] == ("300", "2.50") and table.rows[1][3:5] == (MISSING, MISSING)


def test_the_brief_table_has_median_minimum_and_p95_in_one_cell() -> None:
    times = {"frame": compute_statistics([9.0, 10.0, 11.0])}
    (table,) = build(make_row("a", times=times, values={"of_peak": 0.8, "of_limit": 0.8}), is_brief=True)
    assert table.headings == ("variant", "ms median (min, p95)", PLUS_MINUS, "of peak")
    assert table.rows == (("a", "10.0 (9.00, 10.9)", "10 %", "80 %"),)


def test_rows_of_other_parts_have_what_they_have() -> None:
    """The size that all share stands in the title, else in a column."""
    times = {name: compute_statistics([9.0, 10.0, 11.0]) for name in ("round", "capture")}
    rows = [make_row("a", times=times, streams=n, values={"fps": 30.0, "camera_cpu": 0.1}) for n in (1, 2)]
    (table,) = build(*rows, part="streams")
    assert table.title == f"net, 16 {CROSS} 8"
    assert table.headings == ("", "streams", "capture, ms", "round, ms (p95)", "results, per second")
    assert table.rows[1] == ("a", "2", "10.0", f"10.0 {PLUS_MINUS} 10 % (10.9)", "30.0")
    (table,) = build(rows[0], make_row("b", height=None), part="streams")
    assert table.title == "net" and table.headings[1] == "size" and table.rows[1][1] == MISSING


def test_a_note_of_several_rows_is_said_once() -> None:
    """That a median is uncertain stands in its column."""
    rows = [
        make_row(name, notes=("not run: no GPU", "unsteady: its median is uncertain by 9%")) for name in "ab"
    ]
    assert build(*rows, part="live")[0].notes == ("a, b: not run: no GPU",)


def test_conditions_are_told_as_far_as_they_are_known() -> None:
    assert format_conditions(Conditions(2.0)) == "2.00 s"
    text = format_conditions(Conditions(412.0, 0.11, 2.04, others=0.01, stolen=0.0, throttled=2))
    assert text == (
        "412 s, load 0.11 before and 2.04 after, 1.0 % of the processor taken by others, "
        "0 % by other virtual machines, throttled 2 times by heat"
    )
