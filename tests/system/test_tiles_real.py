"""fit="tile" on real pictures with real generators: no seams, and more detail than fit="resize"."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from i2i_sdk import Translator
from i2i_sdk.imaging import tiles

Image = np.ndarray[Any, Any]

HEIGHT, WIDTH, SIDE = 720, 1280, 256
PHOTOS = ("000000000025", "000000000034", "000000000049", "000000000073", "000000000142", "000000000283")


@pytest.fixture(scope="module")
def frames(shared_data: Path) -> list[Image]:
    """Photos enlarged to 1280x720, and a frame of a clip of that size."""
    pictures = [_resize_to_cover(cv2.imread(str(shared_data / "photos" / f"{name}.jpg"))) for name in PHOTOS]
    capture = cv2.VideoCapture(str(shared_data / "clips" / "bigbuckbunny.mp4"))
    capture.set(cv2.CAP_PROP_POS_FRAMES, 60)
    return [*pictures, capture.read()[1]]


def _resize_to_cover(photo: Image) -> Image:
    scale = max(HEIGHT / photo.shape[0], WIDTH / photo.shape[1])
    size = (round(photo.shape[1] * scale), round(photo.shape[0] * scale))
    return cv2.resize(photo, size, interpolation=cv2.INTER_CUBIC)[:HEIGHT, :WIDTH]


def find_borders(length: int) -> list[int]:
    """Where one tile gives way to the next."""
    return [(before + SIDE + after) // 2 for before, after in pairwise(tiles.plan_axis(length, SIDE).starts)]


def measure_seam(picture: Image, reach: int) -> float:
    """Mean gradient across the tile borders over the mean elsewhere; 1 is without seams.

    A gradient is the difference of the means of `reach` pixels on both sides.
    """
    inside, across = [], []
    for turned in (picture, picture.transpose(1, 0, 2)):
        total = np.cumsum(np.insert(turned, 0, 0, axis=0), axis=0, dtype=np.float64)
        gradients = np.abs(total[2 * reach :] - 2 * total[reach:-reach] + total[: -2 * reach])
        lines = gradients.mean(axis=(1, 2)) * turned.shape[1]
        at_border = np.isin(np.arange(len(lines)) + reach, find_borders(len(turned)))
        inside.append((lines[~at_border].sum(), (~at_border).sum() * turned.shape[1]))
        across.append((lines[at_border].sum(), at_border.sum() * turned.shape[1]))
    return float(np.divide(*np.sum(across, axis=0)) / np.divide(*np.sum(inside, axis=0)))


def join_naively(pictures: list[Image]) -> Image:
    """The naive tiling: the same translated tiles, each cut off where the next one takes over."""
    result, tile = np.empty((HEIGHT, WIDTH, 3), np.uint8), iter(pictures)
    rows, columns = [0, *find_borders(HEIGHT), HEIGHT], [0, *find_borders(WIDTH), WIDTH]
    for top, (y, y_end) in zip(tiles.plan_axis(HEIGHT, SIDE).starts, pairwise(rows), strict=True):
        for left, (x, x_end) in zip(tiles.plan_axis(WIDTH, SIDE).starts, pairwise(columns), strict=True):
            result[y:y_end, x:x_end] = next(tile)[y - top : y_end - top, x - left : x_end - left]
    return result


@dataclass(frozen=True)
class FrameTranslations:
    """One frame, translated in each way."""

    frame: Image
    tiled: Image
    uncorrected: Image
    naive: Image
    resized: Image


def generate_translations(translate: Translator, frames: list[Image]) -> Iterator[FrameTranslations]:
    """Every tile is translated once; the ways differ in what is made of them."""
    for frame in frames:
        rgb = np.ascontiguousarray(frame[..., ::-1])
        corrected, uncorrected = (tiles.Tiling(rgb, SIDE, SIDE, correct=correct) for correct in (True, False))
        whole, *made = (translate.engine.run(x[None].copy())[0] for x in corrected.iterate_pictures())
        yield FrameTranslations(
            frame=rgb,
            tiled=corrected.join(iter([whole, *made])),
            uncorrected=uncorrected.join(iter(made)),
            naive=join_naively(made),
            resized=cv2.resize(whole, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR),
        )


def compute_mean_seam(translated: list[FrameTranslations], name: str, reach: int) -> float:
    """Over all frames: what is in one of them at a border says nothing about borders."""
    return float(np.mean([measure_seam(getattr(each, name), reach) for each in translated]))


def test_no_seams_with_instance_norm(horse2zebra: Path, frames: list[Image]) -> None:
    """Each tile is divided by what the norm measures in it."""
    with Translator(horse2zebra, backend="ort", precision="fp32", fit="tile") as translate:
        made = list(generate_translations(translate, frames))
        through_translator = translate(frames[-1])
    assert (through_translator[..., ::-1] == made[-1].tiled).all()
    assert compute_mean_seam(made, "tiled", 1) <= 1.1 and compute_mean_seam(made, "tiled", 32) <= 1.1
    assert compute_mean_seam(made, "naive", 1) > 2  # so the measure sees seams,
    assert compute_mean_seam(made, "uncorrected", 32) > 1.2  # and the smooth steps that feathers leave

    # Colors are the whole frame's, and there is more detail than in a picture enlarged from 256 pixels.
    assert np.mean([_measure_difference(each.tiled, each.resized) for each in made]) < 3
    assert np.mean([_measure_difference(each.uncorrected, each.resized) for each in made]) > 9
    assert np.mean([_measure_detail(each.tiled) / _measure_detail(each.resized) for each in made]) > 4


def test_no_seams_with_batch_norm(frames: list[Image]) -> None:
    """What was folded into the convolutions is the same for every tile, so nothing needs correction."""
    with Translator("sketch", size=SIDE, backend="ort", precision="fp32", fit="tile") as translate:
        made = list(generate_translations(translate, frames))
        through_translator = translate(frames[-1])
    assert (through_translator[..., ::-1] == made[-1].uncorrected).all()
    assert all(compute_mean_seam(made, "uncorrected", reach) <= 1.1 for reach in (1, 32))
    assert np.mean([_measure_detail(each.uncorrected) / _measure_detail(each.resized) for each in made]) > 4


def _measure_difference(picture: Image, other: Image) -> float:
    """Mean difference of brightness and color over regions of some 100 pixels, in gray levels."""
    return float(np.abs(cv2.blur(cv2.subtract(picture, other, dtype=cv2.CV_32F), (97, 97))).mean())


def _measure_detail(picture: Image) -> float:
    """Energy in the finest octave."""
    floats = picture.astype(np.float32)
    return float(np.square(floats - cv2.GaussianBlur(floats, (0, 0), 1)).mean())
