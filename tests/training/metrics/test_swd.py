"""Sliced Wasserstein distance: the 1-D distance is SciPy's, and the figure moves with what it names."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance
from skimage import data

from i2i_training.metrics import compute_sliced_wasserstein
from i2i_training.metrics.swd import _compute_wasserstein_1d

Image = NDArray[np.uint8]


def _cut_crops(photo: Image, size: int = 64, step: int = 80) -> list[Image]:
    height, width = photo.shape[:2]
    places = [(y, x) for y in range(0, height - size, step) for x in range(0, width - size, step)]
    return [np.ascontiguousarray(photo[y : y + size, x : x + size]) for y, x in places]


@pytest.mark.parametrize(("n", "m"), [(50, 50), (50, 100), (37, 90), (1, 8)])
def test_one_dimension_is_scipys(n: int, m: int) -> None:
    random = np.random.default_rng(n)
    a = np.sort(random.normal(0, 1, (3, n)).astype(np.float32))
    b = np.sort(random.normal(0.5, 2, (3, m)).astype(np.float32))
    expected = [wasserstein_distance(x, y) for x, y in zip(a, b, strict=True)]
    assert _compute_wasserstein_1d(a, b) == pytest.approx(expected, rel=1e-5)


def test_levels_are_named_and_the_scale_of_a_change_is_seen() -> None:
    """Blur takes the finest level only; a photo of other structure differs at every level."""
    photos = _cut_crops(data.astronaut())
    blurred = [np.asarray(cv2.GaussianBlur(p, (0, 0), 1.0), np.uint8) for p in photos]
    blur = compute_sliced_wasserstein(blurred, photos)
    other = compute_sliced_wasserstein(_cut_crops(data.immunohistochemistry()), photos)
    assert list(blur) == ["64", "32", "16", "mean"]
    assert blur["mean"] == pytest.approx((blur["64"] + blur["32"] + blur["16"]) / 3)
    assert blur["64"] > 4 * blur["16"]
    assert all(other[level] > 1.5 * blur[level] for level in ("32", "16"))
    assert list(compute_sliced_wasserstein([photos[0][:40]], [photos[1][:40]])) == ["40x64", "20x32", "mean"]


def test_a_distance_by_hand() -> None:
    """Flat images leave one number each: -1, 1 against -s, 0, s with s^2 = 3/2 after normalization.

    Quantile by quantile they differ by s - 1 (two thirds of the mass) and 1 (a third). A direction d
    scales that by |sum(d)|, whose mean over the sphere is sqrt(2 / pi) in many dimensions.
    """
    black, gray, white = (np.full((16, 16, 3), level, np.uint8) for level in (0, 100, 200))
    expected = 1e3 * (2 / 3 * (np.sqrt(1.5) - 1) + 1 / 3) * np.sqrt(2 / np.pi)
    scores = compute_sliced_wasserstein([black, white], [black, gray, white], 4, directions=20_000)
    assert scores == {"16": pytest.approx(expected, rel=0.02), "mean": scores["16"]}


def test_same_sets_symmetry_and_seed() -> None:
    photos, others = _cut_crops(data.astronaut())[:20], _cut_crops(data.coffee())[:13]
    assert compute_sliced_wasserstein(photos, photos) == {"64": 0.0, "32": 0.0, "16": 0.0, "mean": 0.0}
    there = compute_sliced_wasserstein(photos, others)
    assert there == compute_sliced_wasserstein(photos, others)
    assert there == pytest.approx(compute_sliced_wasserstein(others, photos), rel=1e-4)
    again = compute_sliced_wasserstein(photos, others, seed=1)
    assert again != there and again["mean"] == pytest.approx(there["mean"], rel=0.2)


def test_tint_and_contrast_are_normalized_away() -> None:
    """As in the paper; colors are `color_shift`'s."""
    photos = [p // 2 + 60 for p in _cut_crops(data.astronaut())]
    paler = [(p // 2 + np.array([40, 20, 60])).astype(np.uint8) for p in photos]
    scores = compute_sliced_wasserstein(paler, photos)
    assert scores["mean"] < 0.1 * compute_sliced_wasserstein(_cut_crops(data.coffee()), photos)["mean"]


def test_flat_and_gray_images_work() -> None:
    flat, gray = np.full((32, 32, 3), 9, np.uint8), data.camera()[:32, :32, None]
    assert np.isfinite(compute_sliced_wasserstein([flat], [data.coffee()[:32, :32]])["mean"])
    assert compute_sliced_wasserstein([gray], [gray])["mean"] == 0.0


def test_monets_are_nearer_to_monets_than_photos_are(shared_data: Path) -> None:
    def read_images(folder: str, start: int, stop: int) -> list[Image]:
        paths = sorted((shared_data / "monet2photo" / folder).glob("*.jpg"))[start:stop]
        return [np.asarray(cv2.imread(str(path)), np.uint8)[..., ::-1] for path in paths]

    monets = read_images("trainB", 0, 40)
    among, photos = (
        compute_sliced_wasserstein(x, monets, 64, 128)
        for x in (read_images("trainB", 40, 80), read_images("testA", 0, 40))
    )
    assert list(among) == ["256", "128", "64", "32", "16", "mean"]
    assert photos["256"] > 1.5 * among["256"] and photos["mean"] > among["mean"]
