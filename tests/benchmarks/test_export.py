"""Exports in processes of their own, small."""

from __future__ import annotations

from pathlib import Path

from benchmarks.export import copy_some, measure_export
from benchmarks.support.places import get_trained_checkpoint
from i2i_export.targets import TargetRequest


def test_images_are_taken_from_all_over_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(16):
        (folder / f"{index:02}.jpg").write_bytes(bytes([index]))
    (folder / "README.md").write_text("not an image")
    copies = sorted(copy_some(folder, 4, tmp_path / "copies").iterdir())
    numbers = [path.read_bytes()[0] for path in copies]
    assert [path.name for path in copies] == [f"{number:02}.jpg" for number in numbers]
    assert len(numbers) == 4 and numbers[0] == 0 and numbers[-1] >= 12


def test_an_export_is_timed_and_judged(tmp_path: Path) -> None:
    request, sketch = TargetRequest("ort", "fp32"), get_trained_checkpoint("sketch")
    row = measure_export(sketch, request, 32, None, tmp_path / "one.i2i")
    assert (row.subject, row.name, row.height, row.width) == ("sketch", "ort-fp32", 32, 32)
    assert row.times["export"].runs == 1
    assert row.values["psnr"] >= 50 and row.values["frames"] == 6
    assert row.values["size"] > 100_000
    assert row.notes == ()


def test_what_cannot_be_made_says_why(tmp_path: Path) -> None:
    row = measure_export(tmp_path / "lost.pth", TargetRequest("ort", "fp32"), 32, None, tmp_path / "one.i2i")
    assert row.times == {} and row.values == {}
    assert len(row.notes) == 1 and "lost.pth" in row.notes[0]
