"""What changed beyond the noise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from known_bundles import RunCommand

from i2i_sdk.errors import InputError
from i2i_sdk.perf.compare import find_changes, find_machine_differences, find_unmatched_rows
from i2i_sdk.perf.record import Conditions, Record, Row, make_record, write_record
from i2i_sdk.perf.timing import Timing


def make_row(name: str, median: float, spread: float = 0.0, faster: float | None = None) -> Row:
    values = {"faster": faster} if faster else {}
    timing = Timing(10, *[median] * 5, spread)
    return Row("net", name, 256, 256, times={"frame": timing}, values=values)


def time_rows(
    *rows: Row, marks: tuple[str, ...] = (), part: str = "engines", cpu: str = "a", **medians: float
) -> Record:
    """The record of `rows` and of rows whose names and medians are given."""
    rows += tuple(make_row(name, median) for name, median in medians.items())
    machine = {"cpu": cpu, "load_1min": len(rows)}
    return make_record(part, "t", rows, machine, Conditions(1.0, marks=marks), baseline="eager")


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (make_row("x", 10.0), make_row("x", 10.4), "same"),
        (make_row("x", 10.0), make_row("x", 12.0), "slower"),
        (make_row("x", 10.0), make_row("x", 8.0), "faster"),
        # Explained by the spreads.
        (make_row("x", 10.0, spread=0.15), make_row("x", 12.0, spread=0.1), "same"),
        (make_row("x", 10.0, spread=0.05), make_row("x", 12.0, spread=0.05), "slower"),
        (make_row("x", 10.0, faster=2.0), make_row("x", 12.0, faster=2.02), "same as the baseline's"),
        (make_row("x", 10.0, faster=2.0), make_row("x", 12.0, faster=1.7), "slower"),
    ],
)
def test_verdicts(before: Row, after: Row, verdict: str) -> None:
    (change,) = find_changes(time_rows(before), time_rows(after))
    assert change.verdict == verdict
    assert change.share == pytest.approx(after.times["frame"].median_ms / 10.0 - 1)


def test_a_marked_run_cannot_be_a_reference_but_may_be_looked_at() -> None:
    quiet, busy = time_rows(x=10.0), time_rows(x=10.0, marks=("busy: a lot",))
    with pytest.raises(InputError, match="cannot be a reference: busy: a lot"):
        find_changes(busy, quiet)
    assert [change.verdict for change in find_changes(quiet, busy)] == ["same"]


def test_rows_of_one_run_only() -> None:
    before, after = (time_rows(x=1.0, gone=1.0), time_rows(x=1.0, new=1.0))
    assert [change.row.name for change in find_changes(before, after)] == ["x"]
    gone, new = find_unmatched_rows(before, after)
    assert [r.name for r in gone] == ["gone"] and [r.name for r in new] == ["new"]


def test_other_sizes_and_batches_are_other_rows() -> None:
    with pytest.raises(InputError, match="no time in common"):
        find_changes(time_rows(x=1.0), time_rows(replace(make_row("x", 1.0), batch=4)))


def test_files_of_two_parts_are_not_compared() -> None:
    with pytest.raises(InputError, match="the first file is of engines, the second of live"):
        find_changes(time_rows(x=1.0), time_rows(x=1.0, part="live"))


def test_what_is_told_of_two_machines() -> None:
    differs = find_machine_differences(time_rows(x=1.0), time_rows(x=1.0, y=1.0, cpu="b"))
    assert differs == {"cpu": ("a", "b")}  # and not the load


def test_the_command(tmp_path: Path, run_command: RunCommand) -> None:
    before, after, busy = (tmp_path / f"{name}.json" for name in ("before", "after", "busy"))
    write_record(before, time_rows(x=10.0, y=5.0))
    write_record(after, time_rows(x=20.0, z=5.0, cpu="b"))
    write_record(busy, time_rows(x=10.0, marks=("busy: a lot",)))
    said = run_command("bench", "--compare", before, after, code=1).out
    assert "+100.0%" in said and "slower" in said and "1 of 1 times are slower beyond the noise" in said
    assert "differs: cpu: a -> b" in said and "timed before and not now: net y 256x256" in said
    assert "0 of 2 times are slower" in run_command("bench", "--compare", before, before).out
    printed = run_command("bench", "--compare", before, busy, code=2)
    assert "NOT TO BE RELIED ON: busy: a lot" in printed.out and "nothing follows from it" in printed.err
    assert "cannot be a reference" in run_command("bench", "--compare", busy, before, code=2).err


def test_a_variant_that_stopped_running_is_lost(tmp_path: Path, run_command: RunCommand) -> None:
    dead = Row("net", "x", 256, 256, notes=("not run: it crashed",))
    before, after = (time_rows(x=10.0, y=5.0), time_rows(dead, y=5.0))
    assert [r.name for r in find_unmatched_rows(before, after)[0]] == ["x"]
    write_record(tmp_path / "a.json", before)
    write_record(tmp_path / "b.json", after)
    said = run_command("bench", "--compare", tmp_path / "a.json", tmp_path / "b.json", code=1).out
    assert "timed before and not now: net x" in said


def test_ratios_count_only_against_the_same_baseline_of_the_same_versions() -> None:
    """A new ONNX Runtime that is slower moves its variants and the baseline alike, and is no excuse."""
    before, after = (time_rows(make_row("x", 10.0, faster=1.0)), time_rows(make_row("x", 20.0, faster=1.0)))
    assert find_changes(before, after)[0].verdict == "same as the baseline's"
    newer = replace(after, machine={**after.machine, "onnxruntime": "99"})
    assert find_changes(before, newer)[0].verdict == "slower"
    assert find_changes(before, replace(after, baseline="ONNX Runtime"))[0].verdict == "slower"
