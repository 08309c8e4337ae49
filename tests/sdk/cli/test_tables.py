"""Tables: complete in a file, within the width of a terminal."""

from __future__ import annotations

import re

import pytest

from i2i_sdk.cli.tables import print_table

ROW = [f"cell{i:02}-" + "x" * 20 for i in range(20)]


def test_nothing_is_lost_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("title", ["heading"] * 20, [ROW, ["short"] * 20])
    title, headings, row, short = capsys.readouterr().out.splitlines()
    assert (title, headings.split(), row.split()) == ("title", ["heading"] * 20, ROW)
    assert short.split() == ["short"] * 20


def test_a_terminal_keeps_its_width(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
    monkeypatch.setenv("COLUMNS", "80")
    print_table("", ["heading"] * 20, [ROW])
    printed = re.sub(r"\x1b\[\d+m", "", capsys.readouterr().out)
    assert 60 < max(map(len, printed.splitlines())) <= 80


def test_names_of_strangers_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("[b]t", ["h"], [["[red]name"]])
    assert capsys.readouterr().out.split() == ["[b]t", "h", "[red]name"]
