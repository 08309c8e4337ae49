"""A teacher's pictures of photos, on disk."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from data_folders import make_noise, write_image

from i2i_sdk.errors import TrainingError
from i2i_sdk.media.video_writer import VideoWriter
from i2i_training.data import DataOptions, TrainingData
from i2i_training.data.image_tensors import Image, decode
from i2i_training.distillation.pairs import VIDEO_FRAMES, PairOptions, PairSet, make_pairs
from i2i_training.distillation.teachers import Teacher

SPLITS = [(domain, split) for domain in "AB" for split in ("train", "val")]


class Inverter:
    """A teacher that counts its pictures, and may fail."""

    def __init__(self, fails_at: int = -1) -> None:
        self.count, self.fails_at = 0, fails_at

    def __call__(self, image: Image) -> Image:
        self.count += 1
        if self.count == self.fails_at:
            raise TrainingError("the teacher is ill")
        return 255 - image


def make_teacher(translate: Any = None, **known: Any) -> Teacher:
    return Teacher("inverter", translate or Inverter(), **{"fingerprint": "f", **known})


def write_photos(folder: Path, names: list[str], height: int = 40, width: int = 48) -> Path:
    for n, name in enumerate(names):
        write_image(folder / name, make_noise(height, width, seed=n))
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Ten photos."""
    return write_photos(tmp_path / "photos", [f"p{n}.png" for n in range(10)])


def make_options(*data: Path, held_out: tuple[Path, ...] = (), **changes: Any) -> PairOptions:
    paths = tuple(str(each) for each in data), tuple(str(each) for each in held_out)
    return PairOptions(*paths, **{"side": 64, "min_side": 32, **changes})


def list_names(out: Path, domain: str, split: str) -> list[str]:
    return sorted(path.name for path in (out / domain / split).iterdir())


def list_tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# ---------------------------------------------------------------- what is made


def test_every_eighth_photo_is_held_out(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "pairs"
    found = make_pairs(make_teacher(), make_options(photos), out)
    assert found == PairSet(out, train=8, held_out=2, is_mirror_safe=True)
    held = ["0_p0_png.png", "0_p8_png.png"]
    trained = [f"0_p{n}_png.png" for n in range(10) if n not in (0, 8)]
    for domain in "AB":
        assert list_names(out, domain, "val") == held and list_names(out, domain, "train") == trained
    assert sorted(path.name for path in out.iterdir()) == ["A", "B", "teacher.json"]
    for split in ("train", "val"):
        for name in list_names(out, "A", split):
            photo = decode(photos / name.removeprefix("0_").replace("_png", ""))
            assert np.array_equal(decode(out / "A" / split / name), photo)
            assert np.array_equal(decode(out / "B" / split / name), 255 - photo)


def test_photos_are_brought_to_the_students_size(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "photos", ["a.png", "b.png"], 150, 100)
    make_pairs(make_teacher(multiple_of=12), make_options(folder, side=60), tmp_path / "out")
    for domain, split in SPLITS:
        (name,) = list_names(tmp_path / "out", domain, split)
        assert decode(tmp_path / "out" / domain / split / name).shape == (72, 48, 3)


def test_folders_of_their_own_are_held_out(photos: Path, tmp_path: Path) -> None:
    """Then all others are trained on."""
    others = write_photos(tmp_path / "others", ["p0.png", "q.png"])
    options = make_options(photos, held_out=(others,))
    found = make_pairs(make_teacher(), options, tmp_path / "out")
    assert (found.train, found.held_out) == (10, 2)
    for domain in "AB":
        assert list_names(tmp_path / "out", domain, "val") == ["0_p0_png.png", "0_q_png.png"]
        assert len(list_names(tmp_path / "out", domain, "train")) == 10


def test_folders_may_use_the_same_names(photos: Path, tmp_path: Path) -> None:
    """The first of each is held out."""
    others = write_photos(tmp_path / "others", ["p0.png", "p1.png"], 48, 40)
    found = make_pairs(make_teacher(), make_options(photos, others), tmp_path / "out")
    assert (found.train, found.held_out) == (9, 3)
    assert {"0_p1_png.png", "1_p1_png.png"} < set(list_names(tmp_path / "out", "A", "train"))
    assert decode(tmp_path / "out" / "A" / "train" / "1_p1_png.png").shape == (48, 40, 3)
    assert list_names(tmp_path / "out", "B", "val") == ["0_p0_png.png", "0_p8_png.png", "1_p0_png.png"]


def test_a_folder_that_is_named_twice_counts_twice(photos: Path, tmp_path: Path) -> None:
    """The teacher makes each picture once, and the copies take no space."""
    others, translate = write_photos(tmp_path / "others", ["x.png", "y.png"]), Inverter()
    found = make_pairs(make_teacher(translate), make_options(photos, others, photos), tmp_path / "out")
    assert (found.train, found.held_out) == (2 * 8 + 1, 2 + 1)
    assert translate.count == 12 + 4  # and twice two for mirroring
    for domain in "AB":
        folder = tmp_path / "out" / domain
        assert len(list_names(tmp_path / "out", domain, "train")) == 17
        assert (folder / "train" / "0_p1_png.png").samefile(folder / "train" / "0_p1_png_1.png")
        assert len(list_names(tmp_path / "out", domain, "val")) == 3


def test_pairs_can_be_trained_on(photos: Path, tmp_path: Path) -> None:
    make_pairs(make_teacher(), make_options(photos), tmp_path / "out")
    options = DataOptions(data=str(tmp_path / "out"), load_size=None, crop_size=32, noise=0.0)
    data = TrainingData(options, "paired", 4, 0)
    batch = data.next("cpu")
    assert batch.a is not None and bool(((batch.a + batch.b).abs() < 1e-6).all())
    assert "8 pairs" in data.description


def test_mirroring_is_asked_of_the_teacher(photos: Path, tmp_path: Path) -> None:
    roll = make_teacher(lambda image: np.roll(image, 5, axis=1))
    assert not make_pairs(roll, make_options(photos), tmp_path / "out").is_mirror_safe
    assert not make_pairs(roll, make_options(photos), tmp_path / "out").is_mirror_safe  # remembered


def test_a_video_is_a_source(tmp_path: Path) -> None:
    """Some of its frames, evenly spread; the first is held out."""
    count, levels = 2 * VIDEO_FRAMES + 20, (40, 200)
    with VideoWriter(tmp_path / "v.mp4", 64, 48, 25.0, audio_from=None) as video:
        for n in range(count):
            image = np.full((48, 64, 3), levels[n * 2 // count], np.uint8)
            image[..., 0] //= 2  # blue
            video.write(image, n * 40.0)
    found = make_pairs(make_teacher(), make_options(tmp_path / "v.mp4"), tmp_path / "out")
    names = list_names(tmp_path / "out", "A", "val") + list_names(tmp_path / "out", "A", "train")
    assert len(names) == found.train + found.held_out == 74
    assert sorted(names) == [f"0_v_{n:06d}.png" for n in range(0, count, 3)]
    first, last = (
        decode(tmp_path / "out" / "A" / split / name).mean((0, 1))
        for split, name in (("val", "0_v_000000.png"), ("train", f"0_v_{count - 1:06d}.png"))
    )
    assert first == pytest.approx([40, 40, 20], abs=8) and last == pytest.approx([200, 200, 100], abs=8)


# ---------------------------------------------------------------- what is left out


def test_bad_photos_are_left_out_with_a_warning(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (photos / "p3.png").write_bytes(b"no picture")
    (photos / "notes.txt").write_text("no photo")
    with caplog.at_level(logging.WARNING):
        found = make_pairs(make_teacher(), make_options(photos), tmp_path / "out")
    assert (found.train, found.held_out) == (7, 2)
    warnings = [record.getMessage() for record in caplog.records if "p3.png" in record.getMessage()]
    assert len(warnings) == 1 and "left out" in warnings[0]
    assert not any("p3" in name for name in list_tree(tmp_path / "out"))


def test_small_photos_are_left_out(photos: Path, tmp_path: Path) -> None:
    write_photos(photos, ["p1.png", "p8.png"], 31, 48)
    write_image(photos / "p2.png", make_noise(39, 48))  # 32 after the cut: just enough
    found = make_pairs(make_teacher(), make_options(photos), tmp_path / "out")
    assert (found.train, found.held_out) == (7, 1)
    assert "0_p2_png.png" in list_names(tmp_path / "out", "A", "train")


def test_photos_must_fill_a_teachers_only_size(photos: Path, tmp_path: Path) -> None:
    write_image(photos / "p1.png", make_noise(80, 96))
    write_image(photos / "p8.png", make_noise(80, 96))
    teacher = make_teacher(size=(48, 56))
    found = make_pairs(teacher, make_options(photos), tmp_path / "out")
    assert (found.train, found.held_out) == (1, 1)
    message = (
        r"0 photos to train on and 0 held out have at least 32 .* and fill 96x100, the teacher's only size"
    )
    with pytest.raises(TrainingError, match=message):
        make_pairs(make_teacher(size=(96, 100)), make_options(photos), tmp_path / "none")


# ---------------------------------------------------------------- opening again


def test_pairs_are_kept(photos: Path, tmp_path: Path) -> None:
    first = make_pairs(make_teacher(), make_options(photos), tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    translate = Inverter()
    assert make_pairs(make_teacher(translate), make_options(photos), tmp_path / "out") == first
    assert translate.count == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == times


def test_smaller_crops_fit_into_what_is_there(photos: Path, tmp_path: Path) -> None:
    first = make_pairs(make_teacher(), make_options(photos), tmp_path / "out")
    assert make_pairs(make_teacher(), make_options(photos, min_side=24), tmp_path / "out") == first
    message = r"out holds photos from 32 pixels on; choose --crop-size 32 or less, or another --cache"
    with pytest.raises(TrainingError, match=message):
        make_pairs(make_teacher(), make_options(photos, min_side=40), tmp_path / "out")


def test_an_empty_folder_is_filled(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert make_pairs(make_teacher(), make_options(photos), tmp_path / "out").train == 8
    assert list_names(tmp_path / "out", "A", "val") == ["0_p0_png.png", "0_p8_png.png"]


def test_other_pairs_are_refused(photos: Path, tmp_path: Path) -> None:
    options, out = make_options(photos), tmp_path / "out"
    make_pairs(make_teacher(), options, out)
    before = list_tree(out)
    others = write_photos(tmp_path / "others", ["x.png", "y.png"])
    for teacher, other in (
        (make_teacher(fingerprint="g"), options),
        (replace(make_teacher(), name="other"), options),
        (make_teacher(), replace(options, side=48)),
        (make_teacher(), replace(options, multiple_of=16)),
        (make_teacher(), make_options(others)),
        (make_teacher(), make_options(photos, photos)),
        (make_teacher(), make_options(photos, held_out=(others,))),
    ):
        message = r"out holds pairs by inverter, or of other photos or sizes; choose another --cache"
        with pytest.raises(TrainingError, match=message):
            make_pairs(teacher, other, out)
    assert list_tree(out) == before


@pytest.mark.parametrize("text", [None, "{", "[]", "{}", json.dumps({"counts": {}, "is_mirror_safe": True})])
def test_a_folder_of_something_else_is_refused(text: str | None, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    if text is not None:
        (tmp_path / "out" / "teacher.json").write_text(text)
    with pytest.raises(TrainingError, match=r"out is no folder of pairs .*choose another --cache"):
        make_pairs(make_teacher(), make_options(photos), tmp_path / "out")
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"


# ---------------------------------------------------------------- failures


def interrupt(out: Path, options: PairOptions, teacher: Teacher) -> None:
    with pytest.raises(TrainingError, match="the teacher is ill"):
        make_pairs(replace(teacher, translate=Inverter(fails_at=9)), options, out)
    assert not out.exists()


def test_pictures_are_not_made_again_after_an_interruption(photos: Path, tmp_path: Path) -> None:
    options = make_options(photos, photos)
    whole = make_pairs(make_teacher(translate := Inverter()), options, tmp_path / "whole")
    interrupt(tmp_path / "out", options, make_teacher())
    before, again = list_tree(tmp_path), Inverter()
    assert make_pairs(make_teacher(again), options, tmp_path / "out") == replace(
        whole, folder=tmp_path / "out"
    )
    # Both times two photos are mirrored; the four pictures of the first call were not asked for again.
    assert (translate.count, again.count) == (14, 10)
    for path in (path for path in whole.folder.rglob("*") if path.is_file()):
        assert path.read_bytes() == (tmp_path / "out" / path.relative_to(whole.folder)).read_bytes()
    assert len(list_tree(tmp_path / "out")) == len(list_tree(whole.folder))
    assert any(".out.unfinished" in name for name in before)
    assert not any(".out.unfinished" in name for name in list_tree(tmp_path))


def test_who_interrupts_it_hears_that_nothing_is_lost(photos: Path, tmp_path: Path) -> None:
    def stop(image: Image) -> Image:
        raise KeyboardInterrupt

    lines: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        make_pairs(
            replace(make_teacher(), translate=stop), make_options(photos), tmp_path / "out", lines.append
        )
    assert "the same command goes on with it" in lines[-1]


def test_what_another_call_left_unfinished_is_not_used(photos: Path, tmp_path: Path) -> None:
    options = make_options(photos)
    for teacher, other in (
        (make_teacher(fingerprint="g"), options),
        (make_teacher(), replace(options, side=48)),
    ):
        interrupt(tmp_path / "out", options, make_teacher())
        found = make_pairs(replace(teacher, translate=lambda image: image // 2), other, tmp_path / "out")
        for path in (found.folder / "A" / "train").iterdir():
            picture = decode(found.folder / "B" / "train" / path.name)
            assert np.array_equal(picture, decode(path) // 2)
        shutil.rmtree(found.folder)


def test_progress_names_the_total_and_what_is_left_out(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", [f"p{n:02d}.png" for n in range(41)])
    write_photos(photos, ["p01.png", "p02.png"], 31, 48)
    said: list[str] = []
    make_pairs(make_teacher(), make_options(photos), tmp_path / "out", said.append)
    assert said == [
        "the teacher's pictures: 20 of 41, 0 min left",
        "the teacher's pictures: 40 of 41, 0 min left",
        "2 of 41 photos are left out: to be used, they must have 32 pixels a side",
    ]


def test_crops_must_fit_into_the_photos(photos: Path, tmp_path: Path) -> None:
    message = "crops of 72 pixels do not fit into photos of 64, shrunken to --size"
    with pytest.raises(TrainingError, match=message):
        make_pairs(make_teacher(), make_options(photos, min_side=72), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_copies_where_there_are_no_links(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links on this disk")

    monkeypatch.setattr("os.link", refuse)
    found = make_pairs(make_teacher(), make_options(photos, photos), tmp_path / "out")
    assert found.train == 16 == len(list_names(tmp_path / "out", "B", "train"))


def test_sources_that_hold_no_photos(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    one = write_photos(tmp_path / "one", ["a.png"])
    for source, message in (
        (tmp_path / "empty", r"empty: no photos in it \(.*png"),
        (tmp_path / "absent", "absent: there is no such folder of photos, and no such video"),
        (photos / "p1.png", r"p1.png: is a file and no video; give its folder"),
        (one, "one: 0 photos to train on and 1 held out have at least 32 pixels a side; photos are never"),
    ):
        before = list_tree(tmp_path)
        with pytest.raises(TrainingError, match=message):
            make_pairs(make_teacher(), make_options(source), tmp_path / "out")
        assert list_tree(tmp_path) == before


# ---------------------------------------------------------------- names that collide


def test_copies_do_not_take_the_names_of_other_photos(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "photos", ["a.png", "a_1.png", "b.png"])
    held = write_photos(tmp_path / "held", ["h.png"])
    options = make_options(folder, folder, held_out=(held,))
    found = make_pairs(make_teacher(), options, tmp_path / "out")
    assert len(list_names(tmp_path / "out", "A", "train")) == found.train == 6
    assert np.array_equal(decode(tmp_path / "out" / "A" / "train" / "0_a_png.png"), decode(folder / "a.png"))


def test_photos_that_differ_in_their_suffix_are_two(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "photos", ["a.png", "b.png"])
    assert cv2.imwrite(str(folder / "a.bmp"), make_noise(40, 48, 7))
    held = write_photos(tmp_path / "held", ["h.png"])
    found = make_pairs(make_teacher(), make_options(folder, held_out=(held,)), tmp_path / "out")
    assert len(list_names(tmp_path / "out", "A", "train")) == found.train == 3
