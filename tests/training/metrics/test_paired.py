"""Scores with known truth, and the palettes behind the per-class ones."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage import data
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

import i2i_training.metrics as metrics
from i2i_sdk.errors import TrainingError
from i2i_sdk.quality.metrics import psnr, ssim
from i2i_training.metrics import compute_paired_scores, find_dominant_colors, parse_palette
from i2i_training.metrics.palette import find_nearest_color

Image = NDArray[np.uint8]

PALETTE = parse_palette("#000000,#ff0000,#00ff00,#0000ff,#ffffff")


def _make_labels(seed: int, classes: int = 4) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, classes, (2, 24, 20))


def _draw_labels(labels: NDArray[np.int64]) -> list[Image]:
    """Label maps in PALETTE's colors, with noise that never reaches half the way to another color."""
    noise = np.random.default_rng(9).integers(-40, 41, (*labels.shape, 3))
    return list(np.clip(PALETTE[labels].astype(int) + noise, 0, 255).astype(np.uint8))


def test_l1_psnr_ssim_are_means_over_images() -> None:
    photos = [data.astronaut()[:64, :80], data.coffee()[:48, :48], data.camera()[:40, :60, None]]
    shifted = [p.astype(int) + step for p, step in zip(photos, (3, 9, -7), strict=True)]
    others = [np.clip(values, 0, 255).astype(np.uint8) for values in shifted]
    measures = {"l1": lambda o, p: np.mean(np.abs(o.astype(float) - p)), "psnr": psnr, "ssim": ssim}
    expected = {name: np.mean(list(map(measure, others, photos))) for name, measure in measures.items()}
    assert compute_paired_scores(others, photos) == pytest.approx(expected)


def test_class_scores_equal_torchmetrics() -> None:
    """Class 4 (white) occurs nowhere and must not lower the mean."""
    targets, outputs = _make_labels(0), np.where(_make_labels(1) == 0, _make_labels(2), _make_labels(0))
    scores = compute_paired_scores(_draw_labels(outputs), _draw_labels(targets), PALETTE)
    truth, guess = torch.from_numpy(targets), torch.from_numpy(outputs)
    accuracy = MulticlassAccuracy(len(PALETTE), average="micro")(guess, truth)
    jaccard = MulticlassJaccardIndex(len(PALETTE))(guess, truth)
    assert scores["pixel_accuracy"] == pytest.approx(float(accuracy), abs=1e-6)
    assert scores["miou"] == pytest.approx(float(jaccard), abs=1e-6)
    assert 0.3 < scores["miou"] < scores["pixel_accuracy"] < 1


def test_nearest_color_is_brute_force() -> None:
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (301, 299, 3), dtype=np.uint8)
    palette = random.integers(0, 256, (256, 3), dtype=np.uint8)
    rows = image[::50].astype(np.int64)
    expected = np.square(rows[:, :, None] - palette.astype(np.int64)).sum(axis=-1).argmin(axis=-1)
    found = find_nearest_color(image, palette)
    assert found.dtype == np.uint8 and found.shape == (301, 299)
    assert np.array_equal(found[::50], expected)
    gray = find_nearest_color(np.array([[[0], [100], [255]]], np.uint8), parse_palette("#ffffff,#000000"))
    assert gray.tolist() == [[1, 1, 0]]


def test_dominant_colors_of_a_drawing() -> None:
    """Three drawn colors, one of 0.5 % and a blurred border: the three come back, commonest first."""
    drawing = np.full((200, 200, 3), (230, 228, 220), np.uint8)
    drawing[:, 120:] = (176, 208, 255)
    drawing[150:] = (250, 250, 252)
    drawing[:14, :14] = (255, 0, 0)
    drawing[:, 119] = (203, 218, 238)
    noise = np.random.default_rng(0).integers(-5, 6, drawing.shape)
    noisy = np.clip(drawing.astype(int) + noise, 0, 255).astype(np.uint8)
    found = find_dominant_colors([noisy])
    assert np.abs(found.astype(int) - [(230, 228, 220), (176, 208, 255), (250, 250, 252)]).max() <= 2
    assert np.array_equal(found, find_dominant_colors([noisy]))
    assert len(find_dominant_colors([noisy], max_colors=2)) == 2
    assert find_dominant_colors([noisy], min_share=0.002).shape == (4, 3)


def test_dominant_colors_of_real_targets(shared_data: Path) -> None:
    """CamVid's published label colors come back from JPEGs; maps give land, water, park and roads."""
    camvid = _read_right_halves(shared_data / "camvid_ab512/train", 6)
    sky, building, road, tree = (128, 128, 128), (128, 0, 0), (128, 64, 128), (128, 128, 0)
    car, void, sidewalk = (64, 0, 128), (0, 0, 0), (60, 40, 222)
    _assert_each_found(find_dominant_colors(camvid), [sky, building, road, tree, car, void, sidewalk])
    maps = _read_right_halves(shared_data / "maps_ab512/train", 8)
    land, water, park, white = (232, 229, 222), (177, 208, 254), (203, 223, 173), (254, 254, 252)
    palette = find_dominant_colors(maps)
    _assert_each_found(palette, [land, water, park, white])
    assert len(palette) <= 8
    scores = compute_paired_scores(maps[:5], maps[:5], palette)
    assert scores["pixel_accuracy"] == scores["miou"] == 1.0 and scores["l1"] == 0.0


def _read_right_halves(folder: Path, step: int) -> list[Image]:
    images = [np.asarray(cv2.imread(str(path))) for path in sorted(folder.glob("*.jpg"))[::step]]
    return [np.asarray(image[:, image.shape[1] // 2 :, ::-1], np.uint8) for image in images]


def _assert_each_found(palette: NDArray[np.uint8], colors: list[tuple[int, int, int]]) -> None:
    for color in colors:
        assert np.abs(palette.astype(int) - color).max(axis=1).min() <= 6, (color, palette.tolist())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "#rrggbb"),
        ("red", "'red'"),
        ("#ff0000,#00ff0", "'#00ff0'"),
        ("#ff0000,", "''"),
        ("#ff00zz", "'#ff00zz'"),
        ("#ff0000,#FF0000", "twice: #FF0000, #ff0000"),
        (",".join(f"#{i:06x}" for i in range(257)), "257"),
    ],
)
def test_bad_palettes_are_named(text: str, says: str) -> None:
    with pytest.raises(TrainingError, match=says):
        parse_palette(text)


def test_pictures_without_areas_have_no_palette() -> None:
    speckled = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    with pytest.raises(TrainingError, match="no color covers 1%"):
        find_dominant_colors([speckled])


def test_directions_cover_every_figure() -> None:
    image = data.astronaut()[:32, :32]
    edits = metrics.compute_effect_scores([image], [image], [image])
    figures = {*compute_paired_scores([image], [image], PALETTE), *edits, "swd", "fid", "kid"}
    assert {name for name, score in metrics.SCORES.items() if score.better} == figures
    worse = compute_paired_scores([255 - image], [image], PALETTE)
    for name, best in compute_paired_scores([image], [image], PALETTE).items():
        assert (best - worse[name]) * metrics.SCORES[name].better > 0, name
