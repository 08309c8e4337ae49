"""What changed beyond the noise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from i2i_sdk.cli.main import main
from i2i_sdk.errors import InputError
from i2i_sdk.perf.compare import find_changes, find_machine_differences, find_unmatched_rows
from i2i_sdk.perf.record import Conditions, Record, Row, make_record, write_record
from i2i_sdk.perf.timing import Timing


def make_timing(median: float, spread: float = 0.0) -> Timing:
    return Timing(10, median, median, median, median, median, spread)


def make_row(name: str, median: float, spread: float = 0.0, faster: float | None = None) -> Row:
    values = {"faster": faster} if faster else {}
    return Row("net", name, 256, 256, times={"frame": make_timing(median, spread)}, values=values)


def make_comparison_record(
    *rows: Row, marks: tuple[str, ...] = (), part: str = "engines", cpu: str = "a"
) -> Record:
    machine = {"cpu": cpu, "load_1min": len(rows)}
    return make_record(part, "t", rows, machine, Conditions(1.0, marks=marks), baseline="eager")


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (make_row("x", 10.0), make_row("x", 10.4), "same"),
        (make_row("x", 10.0), make_row("x", 12.0), "slower"),
        (make_row("x", 10.0), make_row("x", 8.0), "faster"),
        (
            make_row("x", 10.0, spread=0.15),
            make_row("x", 12.0, spread=0.1),
            "same",
        ),  # explained by the spreads
        (make_row("x", 10.0, spread=0.05), make_row("x", 12.0, spread=0.05), "slower"),
        (make_row("x", 10.0, faster=2.0), make_row("x", 12.0, faster=2.02), "same as the baseline's"),
        (make_row("x", 10.0, faster=2.0), make_row("x", 12.0, faster=1.7), "slower"),
    ],
)
def test_verdicts(before: Row, after: Row, verdict: str) -> None:
    (change,) = find_changes(make_comparison_record(before), make_comparison_record(after))
    assert change.verdict == verdict
    assert change.share == pytest.approx(after.times["frame"].median_ms / 10.0 - 1)


def test_a_marked_run_cannot_be_a_reference_but_may_be_looked_at() -> None:
    quiet, busy = (
        make_comparison_record(make_row("x", 10.0)),
        make_comparison_record(make_row("x", 10.0), marks=("busy: a lot",)),
    )
    with pytest.raises(InputError, match="cannot be a reference: busy: a lot"):
        find_changes(busy, quiet)
    assert [change.verdict for change in find_changes(quiet, busy)] == ["same"]


def test_rows_of_one_run_only() -> None:
    before, after = (
        make_comparison_record(make_row("x", 1.0), make_row("gone", 1.0)),
        make_comparison_record(make_row("x", 1.0), make_row("new", 1.0)),
    )
    assert [change.row.name for change in find_changes(before, after)] == ["x"]
    gone, new = find_unmatched_rows(before, after)
    assert [r.name for r in gone] == ["gone"] and [r.name for r in new] == ["new"]


def test_other_sizes_and_batches_are_other_rows() -> None:
    with pytest.raises(InputError, match="no time in common"):
        find_changes(
            make_comparison_record(make_row("x", 1.0)),
            make_comparison_record(replace(make_row("x", 1.0), batch=4)),
        )


def test_files_of_two_parts_are_not_compared() -> None:
    with pytest.raises(InputError, match="the first file is of engines, the second of live"):
        find_changes(
            make_comparison_record(make_row("x", 1.0)),
            make_comparison_record(make_row("x", 1.0), part="live"),
        )


def test_what_is_told_of_two_machines() -> None:
    differs = find_machine_differences(
        make_comparison_record(make_row("x", 1.0)),
        make_comparison_record(make_row("x", 1.0), make_row("y", 1.0), cpu="b"),
    )
    assert differs == {"cpu": ("a", "b")}  # and not the load


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [tmp_path / f"{name}.json" for name in ("before", "after", "busy")]
    write_record(paths[0], make_comparison_record(make_row("x", 10.0), make_row("y", 5.0)))
    write_record(paths[1], make_comparison_record(make_row("x", 20.0), make_row("z", 5.0), cpu="b"))
    write_record(paths[2], make_comparison_record(make_row("x", 10.0), marks=("busy: a lot",)))
    assert main(["bench", "--compare", str(paths[0]), str(paths[1])]) == 1
    said = capsys.readouterr().out
    assert "+100.0%" in said and "slower" in said and "1 of 1 times are slower beyond the noise" in said
    assert "differs: cpu: a -> b" in said and "timed before and not now: net y 256x256" in said
    assert main(["bench", "--compare", str(paths[0]), str(paths[0])]) == 0
    assert "0 of 2 times are slower" in capsys.readouterr().out
    assert main(["bench", "--compare", str(paths[0]), str(paths[2])]) == 2
    printed = capsys.readouterr()
    assert "NOT TO BE RELIED ON: busy: a lot" in printed.out and "nothing follows from it" in printed.err
    assert main(["bench", "--compare", str(paths[2]), str(paths[0])]) == 2
    assert "cannot be a reference" in capsys.readouterr().err


def test_a_variant_that_stopped_running_is_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dead = Row("net", "x", 256, 256, notes=("not run: it crashed",))
    before, after = (
        make_comparison_record(make_row("x", 10.0), make_row("y", 5.0)),
        make_comparison_record(dead, make_row("y", 5.0)),
    )
    assert [r.name for r in find_unmatched_rows(before, after)[0]] == ["x"]
    for path, written in (("a.json", before), ("b.json", after)):
        write_record(tmp_path / path, written)
    assert main(["bench", "--compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 1
    assert "timed before and not now: net x" in capsys.readouterr().out


def test_ratios_count_only_against_the_same_baseline_of_the_same_versions() -> None:
    """A new ONNX Runtime that is slower moves its variants and the baseline alike, and is no excuse."""
    before, after = (
        make_comparison_record(make_row("x", 10.0, faster=1.0)),
        make_comparison_record(make_row("x", 20.0, faster=1.0)),
    )
    assert find_changes(before, after)[0].verdict == "same as the baseline's"
    newer = replace(after, machine={**after.machine, "onnxruntime": "99"})
    assert find_changes(before, newer)[0].verdict == "slower"
    assert find_changes(before, replace(after, baseline="ONNX Runtime"))[0].verdict == "slower"
