"""Tables of records: what stands in them, in which order, and what is said below."""

from __future__ import annotations

import made_up_records as made
import pytest

from benchmarks.reporting.formats import format_number, format_spread
from benchmarks.reporting.record_tables import (
    NO_ENERGY_NOTE,
    SAME_SHARES_NOTE,
    build_overview,
    build_summary,
)
from i2i_sdk.perf.record import Row
from i2i_sdk.perf.timing import compute_statistics

CROSS, DASH, PLUS_MINUS = "\N{MULTIPLICATION SIGN}", "\N{EN DASH}", "\N{PLUS-MINUS SIGN}"


def test_variants_stand_by_size_and_batch_the_fastest_first() -> None:
    tables = build_summary(made.make_engines_record().rows)
    assert [table.title for table in tables[:3]] == [
        f"maps_resnet9, 128 {CROSS} 128",
        f"maps_resnet9, 128 {CROSS} 128, batch 4",
        f"maps_resnet9, 256 {CROSS} 256",
    ]
    assert [table.is_collapsible for table in tables[:3]] == [False, True, False]
    table = tables[2]
    assert [row[0] for row in (table.rows[0], table.rows[-1])] == ["openvino-int8", "trt-fp16"]
    assert all(len(row) == len(table.headings) for table in tables for row in table.rows)
    assert "trt-fp16: not run: no NVIDIA GPU" in table.notes
    assert set(table.rows[-1][1:]) == {DASH}


def test_what_is_worth_choosing_stands_out() -> None:
    table = build_summary(made.make_engines_record().rows)[2]
    chosen = [table.rows[i][0] for i in table.highlighted]
    assert chosen == ["openvino-int8", "openvino-bf16", "openvino-fp32"]


def test_what_is_true_of_every_table_is_said_once() -> None:
    tables = build_summary(made.make_engines_record().rows)
    first, *others = [NO_ENERGY_NOTE in " ".join(table.notes) for table in tables]
    assert first and not any(others)
    assert tables[0].notes[-1] == f"here and below: {NO_ENERGY_NOTE}"


@pytest.mark.parametrize(("limit", "shown"), [(0.821, False), (0.84, True)])
def test_a_share_of_the_roofline_stands_there_if_it_differs_from_that_of_the_peak(
    limit: float, shown: bool
) -> None:
    (table,) = build_summary([Row("m", "a", 8, 8, values={"of_peak": 0.82, "of_limit": limit})])
    assert ("of roofline" in table.headings) is shown
    assert (SAME_SHARES_NOTE in table.notes) is not shown


def test_turns_taken_again_are_shown_where_there_were_some() -> None:
    (with_some,) = build_summary([Row("m", "a", 8, 8, values={"repeated": 2.0})])
    (without,) = build_summary([Row("m", "a", 8, 8, values={"repeated": 0.0})])
    assert with_some.headings[-1] == "repeated, turns" and with_some.rows[0][-1] == "2"
    assert "repeated, turns" not in without.headings


def test_energy_is_a_figure_or_not_available() -> None:
    (table,) = build_summary([Row("m", "a", values={"energy": 2.5}), Row("m", "b")])
    assert table.headings[-1] == "energy, J"
    assert {row[0]: row[-1] for row in table.rows} == {"a": "2.50", "b": "not available"}
    (table,) = build_summary([Row("m", "b")])
    assert "energy, J" not in table.headings
    assert table.notes == (NO_ENERGY_NOTE,)


def test_the_brief_table_has_median_minimum_and_p95_in_one_cell() -> None:
    rows = made.make_engines_record().rows
    timing = next(r for r in rows if r.name == made.BASELINE).times["frame"]
    median, least, p95 = map(format_number, (timing.median_ms, timing.min_ms, timing.p95_ms))
    cells = next(row for row in build_summary(rows, is_brief=True)[0].rows if row[0] == made.BASELINE)
    assert cells[1:3] == (f"{median} ({least}, {p95})", format_spread(timing.spread))


def test_other_parts_show_what_a_reader_needs() -> None:
    camera = build_overview(made.make_live_record().rows)[0]
    assert camera.title == f"loopback camera, 1280 {CROSS} 720"
    assert camera.headings[:3] == ("", "glass, ms (p95)", "capture, ms")
    assert camera.headings[-3:] == ("results, per second", "dropped, frames", "CPU")
    assert [row[0] for row in camera.rows] == ["sketch, fastest", "identity"]


def test_the_only_variant_stands_in_the_title() -> None:
    streams = build_overview(made.make_live_record().rows)[1]
    assert streams.title == f"streams, 256 {CROSS} 256, openvino-bf16"
    assert streams.headings == ("streams", "round, ms (p95)")
    assert [row[0] for row in streams.rows] == ["1", "2", "4", "8"]


def test_a_median_says_what_it_is_uncertain_by() -> None:
    (table,) = build_overview([Row("m", "a", times={"load": compute_statistics([9.0, 10.0, 11.0])})])
    assert table.rows == (("a", f"10.0 {PLUS_MINUS} 10 % (10.9)"),)


def make_notes(unsteady_count: int, *, row_count: int) -> tuple[str, ...]:
    """The notes below a table of rows of which so many are unsteady."""
    rows = [
        Row("m", f"v{i}", notes=(f"unsteady: by {i + 1}% of 9.5 ms",) if i < unsteady_count else ())
        for i in range(row_count)
    ]
    return build_overview(rows)[0].notes


def test_few_notes_of_a_kind_stand_for_themselves() -> None:
    assert make_notes(3, row_count=4) == tuple(f"v{i}: unsteady: by {i + 1}% of 9.5 ms" for i in range(3))


def test_many_notes_of_a_kind_share_a_line() -> None:
    assert make_notes(4, row_count=5) == ("v0, v1, v2, v3: unsteady: by 1 to 4% of 9.5 ms",)
    assert make_notes(12, row_count=12) == ("all: unsteady: by 1 to 12% of 9.5 ms",)
