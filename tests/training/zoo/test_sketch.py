"""Pencil drawings, bad cameras, and the pairs that the sketch model is trained on."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from i2i_sdk.errors import TrainingError
from i2i_training.checkpoint import load_generator
from i2i_training.zoo.pencil import degrade, draw_pencil
from i2i_training.zoo.train_sketch import HELD_OUT_EVERY, main, make_pairs, resize_short_side

Image = NDArray[np.uint8]


def to_bgr(photo: Image) -> Image:
    return np.ascontiguousarray(photo[:, :, ::-1])


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen small photos: quarters of scikit-image's."""
    folder = tmp_path_factory.mktemp("photos")
    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        photo = to_bgr(getattr(data, name)())
        height, width = (side // 2 for side in photo.shape[:2])
        for n in range(4):
            quarter = photo[n // 2 * height :, n % 2 * width :][:height, :width]
            cv2.imwrite(str(folder / f"{name}{n}.png"), cv2.resize(quarter, (150, 100)))
    return folder


@pytest.fixture(scope="module")
def pairs_folder(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "deep" / "pairs"
    make_pairs(photos, out)
    return out


def read_halves(folder: Path) -> dict[str, tuple[Image, Image]]:
    """Left and right, BGR, of every side-by-side image by its name."""
    images = {path.stem: cv2.imread(str(path)) for path in folder.iterdir()}
    return {name: tuple(np.hsplit(image, 2)) for name, image in images.items()}


# ---------------------------------------------------------------- drawings


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_drawings_of_photos_are_gray_lines_on_paper(name: str) -> None:
    photo = to_bgr(getattr(data, name)())
    before = photo.copy()
    drawing = draw_pencil(photo)
    assert drawing.shape == photo.shape and drawing.dtype == np.uint8
    assert (drawing == drawing[:, :, :1]).all()
    assert np.mean(drawing > 160) > 0.5  # mostly paper
    assert drawing.min() < 60  # and strokes
    assert np.array_equal(photo, before)


@pytest.mark.parametrize("level", [60, 130, 255])
def test_flat_areas_get_no_lines(level: int) -> None:
    drawing = draw_pencil(np.full((64, 96, 3), level, np.uint8))
    assert np.ptp(drawing) == 0
    assert drawing.min() == 255 if level == 255 else drawing.min() > 200


def test_edges_become_strokes_on_their_dark_side() -> None:
    photo = np.full((80, 120, 3), 190, np.uint8)
    photo[:, :60] = 90
    row = draw_pencil(photo)[40, :, 0].astype(int)
    stroke = int(row.argmin())
    assert 54 <= stroke < 60
    assert row[stroke] < min(row[10], row[110]) - 80
    assert abs(row[62:].min() - row[110]) < 15  # nothing on the bright side


def test_lines_do_not_care_how_bright_the_photo_is() -> None:
    photo = to_bgr(data.astronaut())
    lines = draw_pencil(photo)[:, :, 0] < 128
    darker = draw_pencil((photo * 0.6).astype(np.uint8))[:, :, 0] < 128
    assert lines.mean() > 0.02
    assert (lines & darker).sum() / (lines | darker).sum() > 0.7


# ---------------------------------------------------------------- bad cameras


def test_a_good_camera_changes_nothing() -> None:
    photo = to_bgr(data.coffee())
    assert np.array_equal(degrade(photo, np.random.default_rng(0), is_dark=False, is_noisy=False), photo)


def test_darkness_leaves_15_to_50_percent_of_the_light() -> None:
    white = np.full((8, 8, 3), 255, np.uint8)
    random = np.random.default_rng(0)
    shares = [degrade(white, random, is_dark=True, is_noisy=False).mean() / 255 for _ in range(300)]
    assert 0.14 < min(shares) < 0.2
    assert 0.45 < max(shares) < 0.51


def test_noise_has_4_to_14_levels_and_no_bias() -> None:
    gray = np.full((64, 64, 3), 128, np.uint8)
    random = np.random.default_rng(0)
    noisy = [degrade(gray, random, is_dark=False, is_noisy=True).astype(float) for _ in range(100)]
    assert 3.8 < min(n.std() for n in noisy) < 5.5
    assert 12.5 < max(n.std() for n in noisy) < 14.5
    assert np.mean(noisy) == pytest.approx(128, abs=0.2)


# ---------------------------------------------------------------- pairs


def test_every_photo_is_seen_clean_dark_noisy_and_both(photos: Path, pairs_folder: Path) -> None:
    train, val = ({p.stem for p in (pairs_folder / split).iterdir()} for split in ("train", "val"))
    count = len(list(photos.iterdir()))
    assert (len(train) + len(val), len(val)) == (4 * count, 4 * count // HELD_OUT_EVERY)
    kinds = {"clean", "dark", "noisy", "both"}
    stems = {p.stem for p in photos.iterdir()}
    assert train | val == {f"{stem}_{kind}" for stem in stems for kind in kinds}
    trained_on, held_out = ({name.rsplit("_", 1)[0] for name in names} for names in (train, val))
    assert not trained_on & held_out  # no photo is in both


def test_targets_are_drawings_of_the_clean_photo(photos: Path, pairs_folder: Path) -> None:
    pairs = read_halves(pairs_folder / "train")
    photo = resize_short_side(cv2.imread(str(photos / "coffee1.png")), 288)
    clean, drawing = pairs["coffee1_clean"]
    assert np.array_equal(clean, photo) and np.array_equal(drawing, draw_pencil(photo))
    for kind in ("dark", "noisy", "both"):
        seen, target = pairs[f"coffee1_{kind}"]
        assert np.array_equal(target, drawing) and not np.array_equal(seen, clean)
    assert pairs["coffee1_dark"][0].mean() < 0.55 * clean.mean()
    assert pairs["coffee1_both"][0].mean() < 0.6 * clean.mean()
    assert abs(pairs["coffee1_noisy"][0].mean() - clean.mean()) < 2


def test_pairs_are_the_same_every_time(photos: Path, pairs_folder: Path, tmp_path: Path) -> None:
    make_pairs(photos, again := tmp_path / "again")
    files = sorted(p.relative_to(pairs_folder) for p in pairs_folder.rglob("*.png"))
    assert files and all((pairs_folder / f).read_bytes() == (again / f).read_bytes() for f in files)


def test_too_few_photos_are_refused_with_the_number_needed(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(TrainingError, match=f"1 photos; at least {2 * HELD_OUT_EVERY}"):
        make_pairs(tmp_path, tmp_path / "pairs")
    assert not (tmp_path / "pairs").exists()


def test_an_unreadable_photo_is_named_and_no_half_data_set_stays(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for path in photos.iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "zebra.jpg").write_text("no image")
    with pytest.raises(TrainingError, match=r"zebra\.jpg: cannot be read"):
        make_pairs(folder, tmp_path / "out" / "pairs")
    assert not list((tmp_path / "out").iterdir())  # a later run would train on what is there


def test_the_command_makes_pairs_and_trains_the_zoos_network(
    photos: Path, pairs_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sketch"
    out.mkdir()
    (out / "pairs").symlink_to(pairs_folder)
    small = "--steps 1 --crop_size 32 --batch 1 --precision 32-true --eval_images 1"
    narrow = "--resnet.width 2 --discriminator.width 2"
    assert main([str(photos), "--out", str(out), *small.split(), *narrow.split()]) == 0
    assert "next: i2i export" in capsys.readouterr().out
    _, spec = load_generator(out / "latest_net_G.safetensors")
    assert (spec.norm_mode, spec.license) == ("running_stats", "Apache-2.0")
    assert (spec.config.norm, spec.config.upsample, spec.config.width) == ("batch", "nearest", 2)
    assert photos.name in spec.trained_on


def test_pairs_of_other_photos_are_refused(photos: Path, pairs_folder: Path, tmp_path: Path) -> None:
    """Otherwise the checkpoint would name photos that it never saw."""
    shutil.copytree(pairs_folder, tmp_path / "run" / "pairs")
    others = Path(shutil.copytree(photos, tmp_path / "others"))
    one = next(others.iterdir())
    one.rename(others / f"another{one.suffix}")
    with pytest.raises(TrainingError, match="was made from other photos"):
        main([str(others), "--out", str(tmp_path / "run")])
