"""What changed beyond the noise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from i2i_sdk.cli import main
from i2i_sdk.errors import InputError
from i2i_sdk.measure import Timing
from i2i_sdk.measure.comparing import changes, only_in_one, other_machine
from i2i_sdk.measure.record import Conditions, Record, Row, make_record, write_record


def timing(median: float, spread: float = 0.0) -> Timing:
    return Timing(10, median, median, median, median, median, spread)


def row(name: str, median: float, spread: float = 0.0, faster: float | None = None) -> Row:
    values = {"faster": faster} if faster else {}
    return Row("net", name, 256, 256, times={"frame": timing(median, spread)}, values=values)


def record(*rows: Row, marks: tuple[str, ...] = (), part: str = "engines", cpu: str = "a") -> Record:
    machine = {"cpu": cpu, "load_1min": len(rows)}
    return make_record(part, "t", rows, machine, Conditions(1.0, marks=marks), baseline="eager")


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (row("x", 10.0), row("x", 10.4), "same"),
        (row("x", 10.0), row("x", 12.0), "slower"),
        (row("x", 10.0), row("x", 8.0), "faster"),
        (row("x", 10.0, spread=0.15), row("x", 12.0, spread=0.1), "same"),  # explained by the spreads
        (row("x", 10.0, spread=0.05), row("x", 12.0, spread=0.05), "slower"),
        (row("x", 10.0, faster=2.0), row("x", 12.0, faster=2.02), "same as the baseline's"),
        (row("x", 10.0, faster=2.0), row("x", 12.0, faster=1.7), "slower"),
    ],
)
def test_verdicts(before: Row, after: Row, verdict: str) -> None:
    (change,) = changes(record(before), record(after))
    assert change.verdict == verdict
    assert change.share == pytest.approx(after.times["frame"].median_ms / 10.0 - 1)


def test_a_marked_run_cannot_be_a_reference_but_may_be_looked_at() -> None:
    quiet, busy = record(row("x", 10.0)), record(row("x", 10.0), marks=("busy: a lot",))
    with pytest.raises(InputError, match="cannot be a reference: busy: a lot"):
        changes(busy, quiet)
    assert [change.verdict for change in changes(quiet, busy)] == ["same"]


def test_rows_of_one_run_only() -> None:
    before, after = record(row("x", 1.0), row("gone", 1.0)), record(row("x", 1.0), row("new", 1.0))
    assert [change.row.name for change in changes(before, after)] == ["x"]
    gone, new = only_in_one(before, after)
    assert [r.name for r in gone] == ["gone"] and [r.name for r in new] == ["new"]


def test_other_sizes_and_batches_are_other_rows() -> None:
    with pytest.raises(InputError, match="no time in common"):
        changes(record(row("x", 1.0)), record(replace(row("x", 1.0), batch=4)))


def test_files_of_two_parts_are_not_compared() -> None:
    with pytest.raises(InputError, match="the first file is of engines, the second of live"):
        changes(record(row("x", 1.0)), record(row("x", 1.0), part="live"))


def test_what_is_told_of_two_machines() -> None:
    differs = other_machine(record(row("x", 1.0)), record(row("x", 1.0), row("y", 1.0), cpu="b"))
    assert differs == {"cpu": ("a", "b")}  # and not the load


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [tmp_path / f"{name}.json" for name in ("before", "after", "busy")]
    write_record(paths[0], record(row("x", 10.0), row("y", 5.0)))
    write_record(paths[1], record(row("x", 20.0), row("z", 5.0), cpu="b"))
    write_record(paths[2], record(row("x", 10.0), marks=("busy: a lot",)))
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
    before, after = record(row("x", 10.0), row("y", 5.0)), record(dead, row("y", 5.0))
    assert [r.name for r in only_in_one(before, after)[0]] == ["x"]
    for path, written in (("a.json", before), ("b.json", after)):
        write_record(tmp_path / path, written)
    assert main(["bench", "--compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 1
    assert "timed before and not now: net x" in capsys.readouterr().out


def test_ratios_count_only_against_the_same_baseline_of_the_same_versions() -> None:
    """A new ONNX Runtime that is slower moves its variants and the baseline alike, and is no excuse."""
    before, after = record(row("x", 10.0, faster=1.0)), record(row("x", 20.0, faster=1.0))
    assert changes(before, after)[0].verdict == "same as the baseline's"
    newer = replace(after, machine={**after.machine, "onnxruntime": "99"})
    assert changes(before, newer)[0].verdict == "slower"
    assert changes(before, replace(after, baseline="ONNX Runtime"))[0].verdict == "slower"
