"""Overviews: the whole image that a crop was cut from, shrunken."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from data_folders import make_noise, write_image
from torch import Tensor

from i2i_training.data import Batch, DataOptions, TrainingData
from i2i_training.data.augment import shrink

SIDES = [(40, 48), (56, 32), (43, 65), (32, 32)]
STRIDE = 8


def make_smooth(height: int, width: int, seed: int) -> np.ndarray:
    return cv2.resize(make_noise(5, 6, seed), (width, height))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs of four different sizes; the targets are the negatives."""
    root = tmp_path_factory.mktemp("pairs")
    for split in ("train", "val"):
        for n, sides in enumerate(SIDES):
            image = make_smooth(*sides, seed=n)
            write_image(root / "A" / split / f"{n}.png", image)
            write_image(root / "B" / split / f"{n}.png", 255 - image)
    return root


def open_overviews(root: Path, batch: int = 4, stride: int = STRIDE, **changes: object) -> TrainingData:
    options = DataOptions(**{"data": str(root), "load_size": None, "crop_size": 16, "noise": 0.0, **changes})
    return TrainingData(options, "paired", batch, 0, overview_stride=stride)


def to_levels(images: Tensor) -> np.ndarray:
    """uint8 levels [H, W, C] of one image."""
    return ((images + 1) * 127.5).round().permute(1, 2, 0).numpy().astype(np.int64)


def average(image: np.ndarray) -> np.ndarray:
    """Means of 8x8 pixels, what is left over dropped."""
    height, width = (side // STRIDE for side in image.shape[:2])
    cut = image[: height * STRIDE, : width * STRIDE].astype(float)
    return cut.reshape(height, STRIDE, width, STRIDE, 3).mean((1, 3))


def test_shrunken_pixels_are_means() -> None:
    for sides in SIDES:
        image = make_noise(*sides)
        found = shrink(image, STRIDE)
        assert found.dtype == np.uint8 and found.shape == (sides[0] // 8, sides[1] // 8, 3)
        assert np.abs(found - average(image)).max() <= 0.51


@pytest.mark.parametrize("cache_gb", [4.0, 0.0])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_an_overview_is_of_the_whole_image(pairs: Path, cache_gb: float, flip: bool, direction: str) -> None:
    """Mirrored where its crop is, and each of its own size."""
    data = open_overviews(pairs, flip=flip, cache_gb=cache_gb, direction=direction)
    images = [make_smooth(*sides, seed=n) for n, sides in enumerate(SIDES)]
    if direction == "BtoA":
        images = [255 - image for image in images]
    mirrored = set[bool]()
    for _ in range(8):
        batch = data.next("cpu")
        assert batch.a is not None and batch.overviews is not None and len(batch.overviews) == 4
        seen: list[int] = []
        for a, overview in zip(batch.a, batch.overviews, strict=True):
            crop, small = to_levels(a), to_levels(overview)
            number = next(n for n, s in enumerate(SIDES) if small.shape[:2] == (s[0] // 8, s[1] // 8))
            is_mirrored = not is_inside(crop, images[number])
            assert is_inside(crop[:, ::-1] if is_mirrored else crop, images[number])
            whole = average(images[number])
            assert np.abs(small - (whole[:, ::-1] if is_mirrored else whole)).max() <= 0.51
            seen.append(number)
            mirrored.add(is_mirrored)
        assert sorted(seen) == [0, 1, 2, 3]
    data.close()
    assert mirrored == ({True, False} if flip else {False})


def is_inside(crop: np.ndarray, image: np.ndarray) -> bool:
    windows = np.lib.stride_tricks.sliding_window_view(image, crop.shape)[:, :, 0]
    return bool((windows == crop).all((2, 3, 4)).any())


def test_without_a_stride_there_are_none_and_nothing_else_changes(pairs: Path) -> None:
    with_them, without = open_overviews(pairs), open_overviews(pairs, stride=0)
    for _ in range(3):
        one, other = with_them.next("cpu"), without.next("cpu")
        assert other.overviews is None and one.overviews is not None
        assert one.a is not None and other.a is not None
        assert torch.equal(one.a, other.a) and torch.equal(one.b, other.b)


def is_same(one: Batch, other: Batch) -> bool:
    assert one.a is not None and other.a is not None and one.overviews and other.overviews
    pairs = [(one.a, other.a), (one.b, other.b), *zip(one.overviews, other.overviews, strict=True)]
    return all(torch.equal(x, y) for x, y in pairs)


@pytest.mark.parametrize("cache_gb", [4.0, 0.0])
def test_overviews_resume_exactly(pairs: Path, cache_gb: float) -> None:
    data = open_overviews(pairs, 3, cache_gb=cache_gb, jitter=0.3, noise=0.5)
    for _ in range(3):
        data.next("cpu")
    state = data.state_dict()
    expected = [data.next("cpu") for _ in range(4)]
    data.close()
    other = open_overviews(pairs, 3, jitter=0.3, noise=0.5)
    other.next("cpu")
    other.load_state_dict(state)
    assert all(is_same(batch, other.next("cpu")) for batch in expected)


def test_overviews_change_with_the_colors_of_their_crops(pairs: Path) -> None:
    """Brightness and contrast of 0.4 show in both."""
    plain, jittered = (open_overviews(pairs, 4, jitter=jitter).next("cpu") for jitter in (0.0, 0.4))
    assert plain.a is not None and jittered.a is not None and plain.overviews and jittered.overviews
    before, after = ([float(o.mean()) for o in batch.overviews] for batch in (plain, jittered))
    shifts = np.subtract(after, before)
    crops = (jittered.a - plain.a).mean((1, 2, 3)).numpy()
    assert np.abs(shifts).max() > 0.05
    assert (np.sign(shifts) == np.sign(crops)).mean() >= 0.75


def test_processes_have_the_overviews_of_their_own_images(pairs: Path) -> None:
    options = DataOptions(data=str(pairs), load_size=None, crop_size=16)
    alone = TrainingData(options, "paired", 4, 2, overview_stride=STRIDE)
    shares = [TrainingData(options, "paired", 4, 2, rank, 2, overview_stride=STRIDE) for rank in range(2)]
    for _ in range(3):
        whole, parts = alone.next("cpu"), [share.next("cpu") for share in shares]
        together = [overview for part in parts for overview in part.overviews or ()]
        assert whole.overviews is not None
        assert all(torch.equal(x, y) for x, y in zip(whole.overviews, together, strict=True))


def test_the_overview_of_a_label_map_keeps_its_colors(pairs: Path) -> None:
    """B holds label maps, and is the input."""
    plain = open_overviews(pairs, direction="BtoA", labels="B").next("cpu")
    jittered = open_overviews(pairs, direction="BtoA", labels="B", jitter=0.5).next("cpu")
    assert plain.a is not None and jittered.a is not None and plain.overviews and jittered.overviews
    assert torch.equal(plain.a, jittered.a)
    assert all(torch.equal(x, y) for x, y in zip(plain.overviews, jittered.overviews, strict=True))
