"""Kept edges, and the color-shift detector: what must set it off, and what must not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from i2i_training.metrics import compute_edge_similarity, detect_color_shift

Image = NDArray[np.uint8]

WRONG: dict[str, tuple[Callable[[Image], Image], str]] = {
    "inverted": (lambda x: 255 - x, "light and dark are inverted"),
    "red and blue swapped": (lambda x: x[..., ::-1], "blue and yellow have changed places"),
    "reddish": (lambda x: _add_color(x, (50, 0, 0)), "everything has a tint"),
    "greenish": (lambda x: _add_color(x, (0, 50, 0)), "everything has a tint"),
    "bluish": (lambda x: _add_color(x, (0, 0, 50)), "everything has a tint"),
    "red filtered out": (lambda x: (x * np.array([0.5, 1, 1])).astype(np.uint8), "everything has a tint"),
}


def _add_color(image: Image, color: tuple[int, int, int]) -> Image:
    return np.clip(image.astype(int) + np.array(color), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def photos() -> list[Image]:
    """Pieces of scikit-image's photos, so that each set has a dozen images."""
    whole = [data.astronaut(), data.chelsea(), data.coffee(), data.rocket()]
    corners = [(0, 0), (90, 0), (0, 200), (90, 200)]
    return [np.ascontiguousarray(p[y : y + 200, x : x + 200]) for p in whole for y, x in corners]


def _read_images(folder: Path, count: int) -> list[Image]:
    """Quarter-size RGB images: enough for the colors of areas, and quick."""
    images = [np.asarray(cv2.imread(str(path))) for path in sorted(folder.glob("*.jpg"))[:count]]
    small = [cv2.resize(x, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA) for x in images]
    return [np.asarray(x[..., ::-1], np.uint8) for x in small]


def _to_lab(image: Image) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)


def _transfer_colors(images: list[Image], references: list[Image]) -> list[Image]:
    """Reinhard et al. 2001: mean and deviation of each Lab channel become the other set's."""
    ours, theirs = (np.concatenate([_to_lab(x).reshape(-1, 3) for x in s]) for s in (images, references))
    scale = theirs.std(axis=0) / ours.std(axis=0)
    moved = [(_to_lab(x) - ours.mean(axis=0)) * scale + theirs.mean(axis=0) for x in images]
    rgb = [cv2.cvtColor(x.astype(np.float32), cv2.COLOR_LAB2RGB) for x in moved]
    return [np.clip(np.rint(x * 255), 0, 255).astype(np.uint8) for x in rgb]


@pytest.mark.parametrize("name", WRONG)
def test_wrong_colors_are_found(photos: list[Image], name: str) -> None:
    change, says = WRONG[name]
    found = detect_color_shift([change(x) for x in photos], photos, photos)
    assert says in found and "lambda-identity" in found


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x,
        lambda x: x // 2,
        lambda x: 80 + x // 2,
        lambda x: np.asarray(cv2.GaussianBlur(x, (0, 0), 5), np.uint8),
        lambda x: np.repeat(cv2.cvtColor(x, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2),
    ],
    ids=["identity", "darker", "paler", "blurred", "gray"],
)
def test_harmless_changes_are_not(photos: list[Image], change: Callable[[Image], Image]) -> None:
    assert detect_color_shift([change(x) for x in photos], photos, photos) == ""


def test_identity_is_never_shifted_whatever_the_references(photos: list[Image]) -> None:
    red = [_add_color(x, (120, 0, 0)) for x in photos]
    assert not detect_color_shift(photos, photos, red)
    assert not detect_color_shift(red, photos, red)  # the tint that the target domain has
    assert detect_color_shift(red, photos, photos)


def test_gray_images_are_judged_by_light_alone() -> None:
    gray = [data.camera()[y : y + 200, :, None] for y in (0, 150, 300)]
    assert not detect_color_shift(gray, gray, gray)
    found = detect_color_shift([255 - x for x in gray], gray, gray)
    assert found.startswith("light and dark are inverted (-") and "changed places" not in found


@pytest.mark.parametrize("paintings", ["monet2photo/trainB", "paintings/vangogh", "paintings/ukiyoe"])
def test_photos_to_paintings(shared_data: Path, paintings: str) -> None:
    """Moved to real paintings' colors it is quiet; the same, inverted or swapped before, is found."""
    inputs = _read_images(shared_data / "monet2photo/testA", 30)
    references = _read_images(shared_data / paintings, 60)
    for outputs in (inputs, _transfer_colors(inputs, references)):
        assert not detect_color_shift(outputs, inputs, references)
    each = [_transfer_colors([x], [y])[0] for x, y in zip(inputs, references[:30], strict=True)]
    assert not detect_color_shift(each, inputs, references)
    for name in ("inverted", "red and blue swapped"):
        change, says = WRONG[name]
        moved = _transfer_colors([change(x) for x in inputs], references)  # its statistics are right
        assert says in detect_color_shift(moved, inputs, references)
    for tint in ((60, 0, 0), (0, 40, 0), (0, 0, 40)):
        assert detect_color_shift([_add_color(x, tint) for x in inputs], inputs, references)


def test_true_maps_are_no_shift(shared_data: Path) -> None:
    """The hardest true translation here: water is dark in aerial photos and light on maps."""
    pairs = _read_images(shared_data / "maps_ab512/val", 80)
    aerial, maps = [x[:, :64] for x in pairs], [x[:, 64:] for x in pairs]
    assert not detect_color_shift(maps[:40], aerial[:40], maps[40:])
    assert not detect_color_shift(aerial[:40], maps[:40], aerial[40:])
    assert detect_color_shift([255 - x for x in maps[:40]], aerial[:40], maps[40:])


def test_edges(photos: list[Image]) -> None:
    assert compute_edge_similarity(photos, photos) == pytest.approx(1)
    assert compute_edge_similarity([255 - x for x in photos], photos) > 0.99  # luma is rounded
    assert compute_edge_similarity([x // 2 + 60 for x in photos], photos) > 0.95
    blurred = compute_edge_similarity([cv2.GaussianBlur(x, (0, 0), 3) for x in photos], photos)
    shuffled = compute_edge_similarity(photos[4:] + photos[:4], photos)
    assert 0.9 > blurred > 0.3 > shuffled
    expected = _correlate_gradients(photos[0], photos[1])
    assert compute_edge_similarity([photos[0]], [photos[1]]) == pytest.approx(expected, abs=1e-6)


def _correlate_gradients(a: Image, b: Image) -> float:
    """By scipy's Sobel, which mirrors without repeating the border as OpenCV does."""
    from scipy.ndimage import sobel

    strengths = []
    for image in (a, b):
        light = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(float)
        strengths.append(np.hypot(sobel(light, 0, mode="mirror"), sobel(light, 1, mode="mirror")).ravel())
    return float(np.corrcoef(*strengths)[0, 1])


def test_images_without_edges() -> None:
    flat, photo = np.full((32, 32, 3), 9, np.uint8), data.coffee()[:32, :32]
    assert compute_edge_similarity([flat], [flat]) == 1.0
    assert compute_edge_similarity([flat], [photo]) == 0.0
    assert compute_edge_similarity([photo[..., :1]], [photo[..., :1]]) == pytest.approx(1)
