"""How figures are written."""

from __future__ import annotations

import made_up_records as made
import pytest

from benchmarks.formats import brief, number, overview, share, summary, times, value
from i2i_sdk.measure.record import VALUES, Row


@pytest.mark.parametrize(
    ("given", "written"),
    [
        *[(0, "0.000"), (0.12345, "0.123"), (0.9999, "1.00"), (9.876, "9.88"), (9.996, "10.0")],
        *[(99.97, "100"), (304.2, "304"), (12345.6, "12346"), (-9.876, "-9.88")],
    ],
)
def test_three_digits_count(given: float, written: str) -> None:
    assert number(given) == written


@pytest.mark.parametrize(
    ("given", "written"), [(0, "0 %"), (0.0312, "3.1 %"), (0.883, "88 %"), (1.04, "104 %"), (-0.02, "-2.0 %")]
)
def test_shares_are_percents(given: float, written: str) -> None:
    assert share(given) == written


@pytest.mark.parametrize(("given", "written"), [(0.889, "0.89"), (4.312, "4.31"), (12.34, "12.3")])
def test_gains_have_a_sign(given: float, written: str) -> None:
    assert times(given) == f"{written}\N{MULTIPLICATION SIGN}"


@pytest.mark.parametrize(
    ("name", "given", "written"),
    [
        ("memory", 346_000_000.0, "346"),
        ("bandwidth", 31e9, "31.0"),
        ("peak", 458e9, "458"),
        ("macs", 49.6e9, "49.6"),
        ("psnr", 53.12, "53.1"),
        ("psnr", 120.0, "identical"),
        ("of_peak", 0.884, "88 %"),
        ("energy", 1.234, "1.23"),
    ],
)
def test_values_are_in_readable_units(name: str, given: float, written: str) -> None:
    assert value(name, Row("m", "v", values={name: given})) == written


@pytest.mark.parametrize("name", VALUES)
def test_every_quantity_can_be_written_or_be_missing(name: str) -> None:
    assert any(digit in value(name, Row("m", "v", values={name: 0.5})) for digit in "0123456789")
    assert value(name, Row("m", "v")) == "\N{EN DASH}"


def test_variants_stand_by_size_and_batch_the_fastest_first() -> None:
    record = made.engines()
    tables = summary(record.rows, record.baseline)
    cross = "\N{MULTIPLICATION SIGN}"
    titles = [table.title for table in tables]
    assert titles[:3] == [
        f"maps_resnet9, 128 {cross} 128",
        f"maps_resnet9, 128 {cross} 128, batch 4",
        f"maps_resnet9, 256 {cross} 256",
    ]
    assert [table.aside for table in tables[:3]] == [False, True, False]
    table = tables[2]
    assert [row[0] for row in (table.rows[0], table.rows[-1])] == ["openvino-int8", "trt-fp16"]
    assert table.strong is not None and table.rows[table.strong][0] == made.BASELINE
    assert all(len(row) == len(table.headings) for table in tables for row in table.rows)
    assert "trt-fp16: not run: no NVIDIA GPU" in table.notes
    assert set(table.rows[-1][1:]) == {"\N{EN DASH}"}


def test_energy_is_a_figure_or_not_available() -> None:
    told = Row("m", "a", values={"energy": 2.5})
    (table,) = summary([told, Row("m", "b")], None)
    assert table.headings[-1] == "energy, J"
    assert {row[0]: row[-1] for row in table.rows} == {"a": "2.50", "b": "not available"}
    (table,) = summary([Row("m", "b")], None)
    assert "energy, J" not in table.headings
    assert table.notes == ("Energy: not available on this machine.",)


def test_the_brief_table_has_median_minimum_and_p95_in_one_cell() -> None:
    record = made.engines()
    timing = next(r for r in record.rows if r.name == made.BASELINE).times["frame"]
    table = brief(record.rows, record.baseline)[0]
    assert table.strong is not None
    written = f"{number(timing.median_ms)} ({number(timing.min_ms)}, {number(timing.p95_ms)})"
    assert table.rows[table.strong][1] == written


def test_other_parts_show_every_quantity_that_they_have() -> None:
    camera, streams = overview(made.live().rows)
    assert camera.title == "loopback camera"
    assert camera.headings[:3] == ("", "size", "glass, ms (p95)")
    assert camera.headings[-4:] == ("results, per second", "dropped, frames", "CPU", "camera's CPU")
    assert streams.headings == ("", "size", "streams", "round, ms (p95)")
    assert [row[2] for row in streams.rows] == ["1", "2", "4", "8"]
