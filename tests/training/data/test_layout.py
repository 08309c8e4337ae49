"""Layouts of data sets, what is held out, bad files, and label maps on the wrong side."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from data_folders import make_located_image, make_noise, write_image, write_pairs

from i2i_sdk.errors import TrainingError
from i2i_training.data import DataOptions, HeldOutSet, TrainingData, read_held_out
from i2i_training.data.labels import score_label_likeness
from i2i_training.data.layout import Split, find_layout, select_evenly

OPTIONS = DataOptions(load_size=None, crop_size=8)


def make_options(root: Path, **changes: object) -> DataOptions:
    return replace(OPTIONS, data=str(root), **changes)


def load_held_out(root: Path, kind: str, max_images: int | None = None, **changes: object) -> HeldOutSet:
    return read_held_out(make_options(root, **changes), kind, 1, 1, max_images)


def assert_refused(root: Path, *parts: str, kind: str = "paired", **changes: object) -> str:
    """With an error that says these parts."""
    with pytest.raises(TrainingError) as caught:
        TrainingData(make_options(root, **changes), kind, 1, 0).close()
    message = str(caught.value)
    for part in parts:
        assert part in message
    return message


def list_names(split: Split) -> tuple[list[str], list[str]]:
    a, b = ([s.path.name for s in sources] for sources in (split.inputs, split.targets))
    return a, b


def fill_folder(folder: Path, *stems: str, suffix: str = ".png") -> None:
    for stem in stems:
        write_image(folder / f"{stem}{suffix}", make_noise(8, 8))


# ---------------------------------------------------------------- layouts


def test_left_half_is_a_and_colors_are_rgb(tmp_path: Path) -> None:
    left, right = np.full((20, 15, 3), (200, 100, 0), np.uint8), make_noise(20, 15)
    for split in ("train", "val"):
        write_image(tmp_path / split / "one.png", np.hstack([left, right]))
    found = load_held_out(tmp_path, "paired", layout="side-by-side")
    assert len(found.inputs) == 1 and found.references is found.targets
    assert np.array_equal(found.inputs[0], left) and np.array_equal(found.targets[0], right)
    back = load_held_out(tmp_path, "paired", direction="BtoA", layout="side-by-side")
    assert np.array_equal(back.inputs[0], right) and np.array_equal(back.references[0], left)


@pytest.mark.parametrize("held", ["val", "test"])
def test_separate_folders_have_their_own_held_out_images(held: str, tmp_path: Path) -> None:
    for folder, stems in (("trainA", "ab"), ("trainB", "cde"), (f"{held}A", "f"), (f"{held}B", "gh")):
        fill_folder(tmp_path / folder, *stems)
    layout = find_layout(tmp_path, "unpaired", "AtoB")
    assert list_names(layout.train) == (["a.png", "b.png"], ["c.png", "d.png", "e.png"])
    assert list_names(layout.held_out) == (["f.png"], ["g.png", "h.png"])
    assert not layout.is_divided
    back = find_layout(tmp_path, "unpaired", "BtoA")
    assert list_names(back.train) == (["c.png", "d.png", "e.png"], ["a.png", "b.png"])
    found = load_held_out(tmp_path, "unpaired")
    assert (len(found.inputs), found.targets, len(found.references)) == (1, None, 2)


def test_examples_come_from_training_where_there_are_no_others(tmp_path: Path) -> None:
    for folder, stems in (("trainA", "ab"), ("trainB", "cde"), ("testA", "f")):
        fill_folder(tmp_path / folder, *stems)
    found = load_held_out(tmp_path, "unpaired")
    assert (len(found.inputs), len(found.references)) == (1, 3)
    back = find_layout(tmp_path, "unpaired", "BtoA")  # whose inputs have none: every eighth is held out
    assert list_names(back.held_out) == (["c.png"], ["f.png"])
    assert list_names(back.train) == (["d.png", "e.png"], ["a.png", "b.png"])
    assert back.is_divided


@pytest.mark.parametrize("suffixes", [("", ""), ("_A", "_B")])
def test_equal_names_in_separate_folders_are_pairs(suffixes: tuple[str, str], tmp_path: Path) -> None:
    for split, stems in (("train", "ba"), ("test", "dc")):
        for domain, suffix, kind in zip("AB", suffixes, (".png", ".jpg"), strict=True):
            fill_folder(tmp_path / f"{split}{domain}", *(s + suffix for s in stems), suffix=kind)
    names = list_names(find_layout(tmp_path, "paired", "AtoB").train)
    for found, suffix in zip(names, suffixes, strict=True):
        assert [Path(name).stem.removesuffix(suffix) for name in found] == ["a", "b"]
    assert load_held_out(tmp_path, "paired").targets is not None
    assert load_held_out(tmp_path, "unpaired").targets is None  # such names may as well be numbers


def test_pairs_are_asked_for_where_names_never_match(tmp_path: Path) -> None:
    fill_folder(tmp_path / "trainA", "horse1", "horse2")
    fill_folder(tmp_path / "trainB", "zebra1")
    assert_refused(tmp_path, "no image of", "horse1.png, zebra1.png", "cyclegan")


@pytest.mark.parametrize("held", ["val", "test"])
def test_paired_folders_with_splits(held: str, tmp_path: Path) -> None:
    for domain in "AB":
        fill_folder(tmp_path / domain / "train", "x", "y")
        fill_folder(tmp_path / domain / held, "z")
    for kind in ("paired", "unpaired"):
        layout = find_layout(tmp_path, kind, "AtoB")
        assert list_names(layout.train) == (["x.png", "y.png"],) * 2
        assert list_names(layout.held_out) == (["z.png"],) * 2
        assert layout.held_out.is_paired


def test_flat_layouts_give_up_every_eighth_image(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stems = [f"{n:02}" for n in range(18)]
    for domain in "AB":
        fill_folder(tmp_path / "folders" / domain, *stems)
    for stem in stems:
        write_image(tmp_path / "beside" / f"{stem}.png", make_noise(8, 16))
    for root in (tmp_path / "folders", tmp_path / "beside"):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            TrainingData(make_options(root), "paired", 1, 0).close()
            TrainingData(make_options(root), "paired", 2, 0, rank=1, world=2).close()  # says nothing
        assert [r.getMessage() for r in caplog.records if "every 8th is held out" in r.getMessage()]
        assert len(caplog.records) == 1
        for kind in ("paired", "unpaired"):
            layout = find_layout(root, kind, "AtoB")
            assert list_names(layout.held_out) == (["00.png", "08.png", "16.png"],) * 2
            rest = [f"{n:02}.png" for n in range(18) if n % 8]
            assert list_names(layout.train) == (rest, rest)


def test_folders_without_pairs_suit_unpaired_recipes(tmp_path: Path) -> None:
    fill_folder(tmp_path / "A", "x", "y", "z")
    fill_folder(tmp_path / "B", "x", "y", "p", "q")
    layout = find_layout(tmp_path, "unpaired", "AtoB")
    assert (len(layout.train.inputs), len(layout.train.targets)) == (2, 3)
    assert not layout.held_out.is_paired
    assert_refused(tmp_path, "3 of 5 files")  # z, p and q; the pair of x is held out


@pytest.mark.parametrize("folder", ["trainB", "B/train", "train", "B", "."])
def test_a_single_domain(folder: str, tmp_path: Path) -> None:
    fill_folder(tmp_path / folder, "a", "b")
    data = TrainingData(make_options(tmp_path), "single", 2, 0)
    batch = data.next("cpu")
    assert batch.a is None and batch.b.shape == (2, 3, 8, 8)
    found = load_held_out(tmp_path, "single")
    assert (found.inputs, found.targets, len(found.references)) == ([], None, 2)
    assert "2 images" in data.description


@pytest.mark.parametrize(("train", "held"), [("trainA", "testA"), ("A/train", "A/val"), ("train", "test")])
def test_the_single_domain_follows_the_direction(train: str, held: str, tmp_path: Path) -> None:
    fill_folder(tmp_path / train, "a", "b")
    fill_folder(tmp_path / held, "c")
    layout = find_layout(tmp_path, "single", "BtoA")
    assert list_names(layout.held_out) == ([], ["c.png"])


@pytest.mark.parametrize("kind", ["paired", "unpaired", "single"])
def test_an_unknown_layout_says_what_is_there_and_what_could_be(kind: str, tmp_path: Path) -> None:
    fill_folder(tmp_path / "photos", "a", "b")
    (tmp_path / "README.txt").touch()
    assert_refused(tmp_path, "README.txt, photos/ (2 images)", "trainB/", "train/", kind=kind)
    assert_refused(tmp_path / "missing", "there is no data set folder", kind=kind)


@pytest.mark.parametrize("kind", ["paired", "unpaired", "single"])
def test_a_data_set_one_level_down_is_named(kind: str, tmp_path: Path) -> None:
    fill_folder(tmp_path / "maps" / "trainA", "a", "b")
    fill_folder(tmp_path / "maps" / "trainB", "a", "b")
    assert_refused(tmp_path, f"Did you mean {tmp_path / 'maps'}?", kind=kind)


def test_one_image_is_not_enough(tmp_path: Path) -> None:
    write_pairs(tmp_path / "one", 1, 8, 8)
    folder = tmp_path / "one"
    assert_refused(folder, f"the folder {folder} holds one image; at least 2 are needed")


@pytest.mark.parametrize("folder", ["train", "trainB", "B/train", "val"])
def test_empty_folders_are_said(folder: str, tmp_path: Path) -> None:
    for good in {"train": [], "trainB": ["trainA"], "B/train": ["A/train"], "val": ["train"]}[folder]:
        write_image(tmp_path / good / "x.png", make_noise(8, 16))
    (tmp_path / folder).mkdir(parents=True)
    assert_refused(tmp_path, f"{tmp_path / folder}: no images")
    (tmp_path / folder / "movie.mp4").touch()
    assert_refused(tmp_path, "movie.mp4", ".png")


# ---------------------------------------------------------------- bad files


def write_bad_pairs(folder: Path) -> None:
    write_pairs(folder, 3, 8, 8)
    write_image(folder / "odd.png", make_noise(8, 15))
    write_image(folder / "small.png", make_noise(7, 32))
    write_image(folder / "channels.npy", np.zeros((8, 16, 4), np.uint8))
    (folder / "text.jpg").write_text("no image")
    (folder / ".hidden.png").write_text("of no concern")


@pytest.mark.parametrize("kind", ["paired", "unpaired"])
def test_all_bad_files_are_listed_at_once(kind: str, tmp_path: Path) -> None:
    write_bad_pairs(tmp_path / "train")
    write_pairs(tmp_path / "val", 1, 8, 8)
    message = assert_refused(
        tmp_path,
        *("4 of 7 files", "--skip-bad", "odd.png: is 15 pixels wide", "text.jpg: cannot be read"),
        *("small.png: is 16x7 pixels; at least 8x8", "channels.npy: has 4 channels, not 3, which --channels"),
        kind=kind,
        layout="side-by-side",
    )
    assert "image0" not in message and message.count("\n") == 5


@pytest.mark.parametrize("kind", ["paired", "unpaired"])
def test_bad_files_can_be_gone_without(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_bad_pairs(tmp_path / "train")
    write_bad_pairs(tmp_path / "val")
    options = make_options(tmp_path, layout="side-by-side")
    with caplog.at_level(logging.WARNING):
        data = TrainingData(replace(options, skip_bad=True), kind, 1, 0)
    assert data.description.startswith("3 ")
    assert "4 of 7 files" in caplog.text and "odd.png" in caplog.text
    with pytest.raises(TrainingError, match="4 of 7 files"):
        read_held_out(options, kind, 1, 8)
    found = read_held_out(replace(options, skip_bad=True), kind, 1, 8)
    assert len(found.inputs) == len(found.targets) == 3


@pytest.mark.parametrize("kind", ["paired", "unpaired"])
def test_junk_is_passed_over_and_unreadable_files_are_named(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As everywhere; what can be read and does not fit is still an error."""
    for name in ("trainA", "trainB", "testA", "testB"):
        fill_folder(tmp_path / name, "a", "b", "c", "d")
        for junk in ("._a.png", "Thumbs.db", ".hidden.jpg"):
            (tmp_path / name / junk).write_bytes(b"\0\5\x16\7")
    (tmp_path / "trainA" / "b.png").write_bytes(b"")
    (tmp_path / "trainB" / "c.png").write_text("<html>")
    (tmp_path / "trainA" / "d.png").unlink()
    (tmp_path / "trainA" / "d.png").mkdir()
    with caplog.at_level(logging.WARNING):
        data = TrainingData(make_options(tmp_path), kind, 1, 0)
    assert data.description.startswith("1 pairs" if kind == "paired" else "2 + 3 images")
    assert "3 of 8 files cannot be used" in caplog.text and "._a.png" not in caplog.text
    assert all(str(Path(name)) in caplog.text for name in ("trainA/b.png", "trainB/c.png", "trainA/d.png"))
    write_image(tmp_path / "trainA" / "a.png", make_noise(7, 8))
    assert_refused(tmp_path, "4 of 8 files cannot be used", "a.png: is 8x7 pixels", "--skip-bad", kind=kind)


def test_unpaired_and_unequal_files_are_listed(tmp_path: Path) -> None:
    fill_folder(tmp_path / "trainA", "a", "b", "c", "big")
    fill_folder(tmp_path / "trainB", "a", "b", "d", "big")
    fill_folder(tmp_path / "trainB", "b", suffix=".jpg")
    write_image(tmp_path / "trainB" / "big.png", make_noise(10, 12))
    fill_folder(tmp_path / "testA", "t")
    fill_folder(tmp_path / "testB", "t")
    assert_refused(
        tmp_path,
        *(f"{Path('trainA', 'c.png')}: no partner", f"{Path('trainB', 'd.png')}: no partner"),
        f"{Path('trainB', 'b.jpg')}: another file has the same name",
        *("big.png: is 8x8 pixels, but its partner", "12x10"),
    )
    data = TrainingData(make_options(tmp_path, skip_bad=True), "paired", 1, 0)
    assert data.description.startswith("2 pairs")
    TrainingData(make_options(tmp_path), "unpaired", 1, 0).close()


def test_nothing_left_is_an_error_even_when_skipping(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "text.jpg").write_text("no image")
    write_pairs(tmp_path / "val", 1)
    assert_refused(tmp_path, "no image is left", skip_bad=True)


@pytest.mark.parametrize(
    ("changes", "text"), [({"load_size": 7}, "try --load-size 8"), ({"data": ""}, "--data DIR")]
)
def test_options_that_do_not_work(changes: dict[str, object], text: str, tmp_path: Path) -> None:
    write_pairs(tmp_path, 2)
    bad = replace(make_options(tmp_path), **changes)
    for read in (lambda: TrainingData(bad, "paired", 1, 0), lambda: read_held_out(bad, "paired", 1, 1)):
        with pytest.raises(TrainingError, match=text):
            read()


# ---------------------------------------------------------------- held-out images


def test_held_out_images_are_whole_and_suit_the_network(tmp_path: Path) -> None:
    write_pairs(tmp_path / "train", 2)
    write_pairs(tmp_path / "val", 9)
    found = read_held_out(make_options(tmp_path), "paired", 16, 8, 3)
    assert np.array_equal(found.inputs, [make_located_image(n)[:32, :48] for n in (0, 3, 6)])
    assert np.array_equal(found.targets, 255 - np.stack(found.inputs))
    stretched = read_held_out(make_options(tmp_path, load_size=39), "paired", 16, 8)
    assert stretched.inputs[0].shape == (32, 32, 3)
    assert stretched.inputs[0][:, :, 0].max() == 45  # the last row is still there
    for load_size in (None, 63):
        with pytest.raises(TrainingError, match="64"):
            read_held_out(make_options(tmp_path, load_size=load_size), "paired", 64, 8)
    with pytest.raises(TrainingError, match="at least 48x48"):  # 46 rows would leave 24 of 30
        read_held_out(make_options(tmp_path), "paired", 24, 30)


# ---------------------------------------------------------------- label maps


@pytest.mark.parametrize("channels", [1, 3, 16])
def test_areas_of_few_colors_are_like_label_maps(channels: int) -> None:
    areas = np.zeros((64, 64, channels), np.uint8)
    areas[20:, 30:] = 180
    grain = np.random.default_rng(0).integers(0, 256, areas.shape, np.uint8)
    many = np.arange(64 * 64, dtype=np.int64).reshape(64, 64, 1) // 8 % 256  # flat along rows only
    assert score_label_likeness(areas) > 0.9
    assert score_label_likeness(grain) < 0.05
    assert score_label_likeness(np.repeat(many, channels, axis=2).astype(np.uint8)) < 0.5
    assert score_label_likeness(areas[:1]) == 0


# ---------------------------------------------------------------- real data


def link_some(folder: Path, out: Path, max_files: int = 50) -> None:
    """Links to some of the real images, so that not all are decoded."""
    out.mkdir(parents=True)
    for path in select_evenly(sorted(folder.iterdir()), max_files):
        (out / path.name).symlink_to(path)


@pytest.mark.parametrize("name", ["maps_ab512/train", "camvid_ab512/train", "facades_ab512"])
def test_label_maps_on_the_other_side_are_recognized(name: str, shared_data: Path, tmp_path: Path) -> None:
    link_some(shared_data / name, tmp_path / "train")
    link_some(shared_data / name, tmp_path / "val", 1)
    TrainingData(make_options(tmp_path, labels="B"), "paired", 1, 0).close()
    for direction, back in (("AtoB", "BtoA"), ("BtoA", "AtoB")):
        parts = "Is the direction swapped", "--labels B", f"--direction {back}"
        assert_refused(tmp_path, *parts, kind="unpaired", labels="A", direction=direction)


def test_photos_and_paintings_are_not_taken_for_label_maps(shared_data: Path, tmp_path: Path) -> None:
    for folder in ("trainA", "trainB"):
        link_some(shared_data / "monet2photo" / folder, tmp_path / folder)
    link_some(shared_data / "monet2photo" / "testA", tmp_path / "testA", 7)
    for labels in ("A", "B"):
        TrainingData(make_options(tmp_path, labels=labels), "unpaired", 1, 0).close()
    found = read_held_out(make_options(tmp_path), "unpaired", 4, 16, 5)
    assert (len(found.inputs), len(found.references), found.targets) == (5, 5, None)


def test_real_pairs_are_photo_and_label(shared_data: Path) -> None:
    found = load_held_out(shared_data / "camvid_ab512", "unpaired", max_images=1)
    assert found.inputs[0].shape == found.targets[0].shape == (256, 256, 3)

    def measure_building_share(image: np.ndarray) -> float:
        """Share of pixels in CamVid's color of buildings, red 128."""
        return float(np.mean(np.abs(image.astype(int) - (128, 0, 0)).max(axis=2) < 16))

    assert measure_building_share(found.inputs[0]) < 0.01
    assert measure_building_share(found.targets[0]) > 0.05
