"""Students beside their teacher: which rows there are, and what each says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import students
from benchmarks.reporting import publish
from i2i_sdk.perf.record import read_record
from i2i_sdk.perf.tables import build_tables
from tests.sdk.known_bundles import write_known_bundle

GATES = {"energy": [0.9, 0.7, 1.1, 1.0, 0.8], "correlation": {"0": 0.5, "4": 0.85}, "accepted": 0.75}
EFFECT = {"energy_least": 0.7, "energy_most": 1.1, "correlation": 0.85, "accepted": 0.75}


@pytest.fixture(autouse=True)
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(publish, "OUT", tmp_path / "bench")
    return tmp_path


def write_bundles(folder: Path) -> tuple[str, str]:
    for name in ("teacher", "small"):
        write_known_bundle(folder / f"{name}.i2i", "invert", engines=[("ort", "fp32"), ("openvino", "fp32")])
    return str(folder / "teacher.i2i"), str(folder / "small.i2i")


def test_students_stand_beside_the_fastest_of_their_teacher(out: Path) -> None:
    teacher, student = write_bundles(out)
    (out / "run").mkdir()
    (out / "run" / "gates.json").write_text(json.dumps(GATES))
    assert students.main([teacher, f"{student}={out / 'run'}", "--rounds", "6"]) == 0
    record = read_record(out / "bench" / "students_teacher.json")
    first, *others = record.rows
    assert first.name in ("teacher, ort-fp32", "teacher, openvino-fp32") and first.name == record.baseline
    assert first.values["faster"] == 1 and "correlation" not in first.values
    assert [row.name for row in others] == ["small, ort-fp32", "small, openvino-fp32"]
    for row in others:
        assert row.subject == "teacher" and row.values["faster"] > 0 and row.values["size"] > 0
        assert row.values.items() >= EFFECT.items()
    (table,) = build_tables(record)
    assert "75 %" in " ".join(table.rows[1])


@pytest.mark.parametrize("text", [None, "{", json.dumps(GATES | {"correlation": {"0": 1}})])
def test_a_run_that_was_not_judged_is_refused(
    text: str | None, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher, student = write_bundles(out)
    if text is not None:
        (out / "gates.json").write_text(text)
    assert students.main([teacher, f"{student}={out}"]) == 2
    assert "no gates of a student" in capsys.readouterr().err


def test_bundles_must_have_one_size(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    teacher, _ = write_bundles(out)
    write_known_bundle(out / "other.i2i", "invert", size=(32, 32), engines=[("ort", "fp32")])
    assert students.main([teacher, str(out / "other.i2i")]) == 2
    assert "export all at one --size" in capsys.readouterr().err
