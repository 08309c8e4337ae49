"""`python -m benchmarks`: which parts run, and what the report is made of."""

from __future__ import annotations

import importlib
import subprocess
from pathlib import Path

import pytest
from known_records import make_live_record

from benchmarks import __main__ as suite
from i2i_sdk.perf.record import write_record


def test_every_part_is_a_program() -> None:
    assert set(suite.SHORT) <= set(suite.FULL)
    for part in suite.FULL:
        assert callable(importlib.import_module(f"benchmarks.{part}").main)


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, ...]]:
    """The programs that would have been run; soak fails."""
    calls: list[tuple[str, ...]] = []

    def record_call(words: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        calls.append(tuple(words[2:]))
        return subprocess.CompletedProcess(words, int("benchmarks.soak" in words))

    monkeypatch.setattr(subprocess, "run", record_call)
    monkeypatch.setattr(suite, "OUT", tmp_path)
    return calls


def test_the_short_set(called: list[tuple[str, ...]]) -> None:
    assert suite.run_parts((), full=False) == []
    assert called == [(f"benchmarks.{part}", *options) for part, options in suite.SHORT.items()]


def test_parts_by_name_and_at_length(called: list[tuple[str, ...]]) -> None:
    assert suite.run_parts(("cold", "soak"), full=False) == ["soak"]
    assert suite.run_parts(("engines",), full=True) == []
    assert called == [
        ("benchmarks.cold", *suite.SHORT["cold"]),
        ("benchmarks.soak",),
        ("benchmarks.engines", "--full"),
    ]


def test_a_part_that_fails_is_told(called: list[tuple[str, ...]], capsys: pytest.CaptureFixture[str]) -> None:
    assert suite.main(["soak"]) == 1
    assert "failed, or did not hold: python -m benchmarks.soak" in capsys.readouterr().out


def test_the_report_of_what_is_there(
    called: list[tuple[str, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_record(tmp_path / "live.json", make_live_record())
    (tmp_path / "older.json").write_text('{"title": "before there was a schema"}')
    assert suite.main(["--report"]) == 0
    assert called == []
    assert "left out: " in capsys.readouterr().out
    assert "</html>" in (tmp_path / "report.html").read_text()


def test_unknown_parts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        suite.main(["engine"])
    assert "there is no part 'engine'; there are: engines, overhead" in capsys.readouterr().err
