"""Pairs of images: halves, directions, sizes, and crops that fit each other."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from i2i_sdk.errors import TrainingError
from i2i_training.data import Pair, batches, normalised, read_pairs, to_images, to_tensor

Image = NDArray[np.uint8]


def write(path: Path, rgb: Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))


def noise(height: int, width: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def located(number: int, height: int = 40, width: int = 48) -> Pair:
    """`a` says at every pixel where it is and which image it is of; `b` is 255 - a."""
    rows, columns = np.mgrid[:height, :width]
    a = np.stack([rows, columns, np.full_like(rows, number)], axis=2).astype(np.uint8)
    return Pair(f"image{number}", a, 255 - a)


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ---------------------------------------------------------------- reading


def test_left_half_is_a_and_colours_are_rgb(tmp_path: Path) -> None:
    left, right = noise(20, 30, 1), noise(20, 30, 2)
    left[:] = (200, 100, 0)
    write(tmp_path / "train" / "one.png", np.hstack([left, right]))
    (pair,) = read_pairs(tmp_path, "train", "AtoB", None)
    assert pair.name == "one"
    assert np.array_equal(pair.a, left)
    assert np.array_equal(pair.b, right)
    (swapped,) = read_pairs(tmp_path, "train", "BtoA", None)
    assert np.array_equal(swapped.a, right)
    assert np.array_equal(swapped.b, left)


def test_pairs_come_in_the_order_of_their_names_from_the_split_asked_for(tmp_path: Path) -> None:
    for name in ("b.png", "a.PNG", "c.bmp"):
        write(tmp_path / "train" / name, noise(8, 16))
    write(tmp_path / "val" / "z.png", noise(8, 16))
    (tmp_path / "train" / "notes.txt").write_text("not an image")
    assert [p.name for p in read_pairs(tmp_path, "train", "AtoB", None)] == ["a", "b", "c"]
    assert [p.name for p in read_pairs(tmp_path, "val", "AtoB", None)] == ["z"]


@pytest.mark.parametrize("size", [16, 50])
def test_load_size_stretches_both_halves(size: int, tmp_path: Path) -> None:
    left, right = np.full((20, 30, 3), 50, np.uint8), np.full((20, 30, 3), 210, np.uint8)
    write(tmp_path / "train" / "one.png", np.hstack([left, right]))
    (pair,) = read_pairs(tmp_path, "train", "AtoB", size)
    assert pair.a.shape == pair.b.shape == (size, size, 3)
    assert np.array_equal(pair.a, np.full_like(pair.a, 50))  # nothing of the other half leaks in
    assert np.array_equal(pair.b, np.full_like(pair.b, 210))


def test_gray_images_become_rgb(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    cv2.imwrite(str(tmp_path / "train" / "gray.png"), np.full((8, 16), 77, np.uint8))
    (pair,) = read_pairs(tmp_path, "train", "AtoB", None)
    assert np.array_equal(pair.a, np.full((8, 8, 3), 77))


def test_all_bad_files_are_listed_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "train"
    write(folder / "good.png", noise(8, 16))
    write(folder / "odd.png", noise(8, 15))
    write(folder / "odder.png", noise(8, 17))
    (folder / "text.jpg").write_text("no image")
    (folder / "empty.png").touch()
    (folder / "folder.png").mkdir()
    with pytest.raises(TrainingError) as caught:
        read_pairs(tmp_path, "train", "AtoB", None)
    message = str(caught.value)
    assert str(folder) in message
    assert "5 of 6" in message
    assert "odd.png: 15 pixels wide" in message
    assert "odder.png: 17 pixels wide" in message
    for name in ("text.jpg", "empty.png", "folder.png"):
        assert f"{name}: cannot be read" in message
    assert "good.png" not in message


def test_no_images_says_what_is_expected(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for split in ("empty", "missing"):
        with pytest.raises(TrainingError, match="side-by-side AB images") as caught:
            read_pairs(tmp_path, split, "AtoB", None)
        assert str(tmp_path / split) in str(caught.value)


def test_a_misspelt_direction_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "train" / "one.png", noise(8, 16))
    with pytest.raises(TrainingError, match="direction is 'atob'; allowed: AtoB, BtoA"):
        read_pairs(tmp_path, "train", "atob", None)


def test_real_pairs_are_photo_and_label(shared_data: Path, tmp_path: Path) -> None:
    source = sorted((shared_data / "camvid_ab512" / "train").iterdir())[0]
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / source.name).symlink_to(source)
    (pair,) = read_pairs(tmp_path, "train", "AtoB", None)
    assert pair.a.shape == pair.b.shape == (256, 256, 3)

    def buildings(image: Image) -> float:
        """Share of pixels in CamVid's colour of buildings, red 128."""
        return float(np.mean(np.abs(image.astype(int) - (128, 0, 0)).max(axis=2) < 16))

    assert buildings(pair.a) < 0.01
    assert buildings(pair.b) > 0.05


# ---------------------------------------------------------------- batches


@pytest.mark.parametrize("flip", [False, True])
def test_crop_and_flip_are_the_same_for_both(flip: bool) -> None:
    pairs = [located(n) for n in range(3)]
    flips: set[bool] = set()
    corners: set[tuple[int, int]] = set()
    for a, b in islice(batches(pairs, 2, 16, flip, random()), 60):
        assert a.dtype == b.dtype == torch.uint8
        assert a.shape == b.shape == (2, 3, 16, 16)
        assert torch.equal(b, 255 - a)
        for rows, columns, number in a:
            step = int(columns[0, 1]) - int(columns[0, 0])
            top, left = int(rows.min()), int(columns.min())
            flips.add(step == -1)
            corners.add((top, left))
            assert abs(step) == 1
            expected = torch.arange(left, left + 16).flip(0) if step < 0 else torch.arange(left, left + 16)
            assert torch.equal(columns.long(), expected.expand(16, 16))  # one solid crop
            assert torch.equal(rows.long(), torch.arange(top, top + 16)[:, None].expand(16, 16))
            assert len(number.unique()) == 1
    assert flips == ({True, False} if flip else {False})
    assert len(corners) > 50
    assert {c[0] for c in corners} >= {0, 24}  # the first and the last possible row
    assert {c[1] for c in corners} >= {0, 32}


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 7, 12])
def test_every_pair_is_seen_once_before_any_is_seen_twice(batch: int) -> None:
    pairs = [located(n) for n in range(5)]
    seen: list[int] = []
    for a, _ in islice(batches(pairs, batch, 8, True, random(3)), 30):
        assert len(a) == batch
        seen += [int(image[2, 0, 0]) for image in a]
    rounds = [seen[i : i + 5] for i in range(0, len(seen) - 4, 5)]
    assert all(sorted(r) == [0, 1, 2, 3, 4] for r in rounds)
    assert len({tuple(r) for r in rounds}) > 1  # in a new order each time


def test_all_randomness_comes_from_the_generator() -> None:
    pairs = [located(n) for n in range(4)]

    def run(seed: int) -> list[torch.Tensor]:
        torch.manual_seed(np.random.default_rng().integers(2**31))
        return [torch.cat(ab) for ab in islice(batches(pairs, 2, 8, True, random(seed)), 10)]

    first, again, other = run(1), run(1), run(2)
    assert all(torch.equal(x, y) for x, y in zip(first, again, strict=True))
    assert not all(torch.equal(x, y) for x, y in zip(first, other, strict=True))


def test_a_crop_of_the_whole_image_is_the_image() -> None:
    pair = located(0, 16, 16)
    a, b = next(batches([pair], 1, 16, False, random()))
    assert np.array_equal(a[0].permute(1, 2, 0).numpy(), pair.a)
    assert np.array_equal(b[0].permute(1, 2, 0).numpy(), pair.b)


def test_a_crop_larger_than_an_image_is_an_error_naming_it() -> None:
    pairs = [located(0, 40, 48), located(1, 30, 48), located(2, 40, 31)]
    next(batches(pairs, 1, 30, True, random()))
    with pytest.raises(TrainingError, match="crop_size 32 is larger than 2 images, first image1"):
        next(batches(pairs, 1, 32, True, random()))


def test_images_are_not_changed_by_batches() -> None:
    pair = located(0)
    a, _ = next(batches([pair], 1, 40, False, random()))
    a.zero_()
    assert np.array_equal(pair.a, located(0).a)


# ---------------------------------------------------------------- tensors


def test_every_value_survives_the_way_to_the_network_and_back() -> None:
    image = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    values = normalised(to_tensor([image, 255 - image]))
    assert values.shape == (2, 3, 16, 16)
    assert values.dtype == torch.float32
    assert (float(values.min()), float(values.max())) == (-1.0, 1.0)
    back, inverse = to_images(values)
    assert np.array_equal(back, image)
    assert np.array_equal(inverse, 255 - image)


def test_pictures_are_clipped_not_wrapped() -> None:
    (image,) = to_images(torch.tensor([-3.0, 3.0]).reshape(1, 1, 1, 2).expand(1, 3, 1, 2))
    assert image[0, :, 0].tolist() == [0, 255]
