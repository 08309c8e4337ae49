"""The zoo's sketch model draws: on photos it never saw, clean, dark and noisy."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from i2i_sdk import Bundle, Translator
from i2i_sdk.files import hash_file
from i2i_sdk.quality.metrics import ssim
from i2i_sdk.zoo import find_zoo_bundle
from i2i_training.checkpoint import load_generator
from i2i_training.zoo.pencil import degrade, draw_pencil
from i2i_training.zoo.train_sketch import HELD_OUT_EVERY, SHORT_SIDE, VARIANTS, resize_short_side

Image = NDArray[np.uint8]
CHECKPOINT = Path("models/sketch/latest_net_G.safetensors")


@pytest.fixture(scope="module")
def held_out(shared_data: Path) -> list[Image]:
    """256x256 crops of the photos that training leaves out."""
    paths = sorted((shared_data / "photos").glob("*.jpg"))[::HELD_OUT_EVERY]
    photos = [resize_short_side(cv2.imread(str(p), cv2.IMREAD_COLOR), SHORT_SIDE) for p in paths]
    return [np.ascontiguousarray(p[16:272, 16:272]) for p in photos]


@pytest.mark.parametrize("kind", VARIANTS)
def test_drawings_beat_the_gray_photo_by_far(kind: str, held_out: list[Image]) -> None:
    dark, noisy = VARIANTS[kind]
    random = np.random.default_rng(1)
    gains = []
    with Translator("sketch", backend="ort") as translate:
        for photo in held_out:
            target = draw_pencil(photo)
            seen = degrade(photo, random, dark, noisy)
            gray = cv2.cvtColor(cv2.cvtColor(seen, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
            gains.append(ssim(translate(seen), target) - ssim(np.asarray(gray, np.uint8), target))
    assert len(gains) == 16
    assert np.mean(gains) >= 0.2


def test_drawings_are_gray_strokes_on_white_paper(held_out: list[Image]) -> None:
    with Translator("sketch", backend="ort") as translate:
        drawings = [translate(photo) for photo in held_out]
    for drawing in drawings:
        assert int(np.ptp(drawing.astype(int), axis=2).max()) <= 40  # no color
    assert np.mean([np.percentile(d, 90) for d in drawings]) > 240  # paper
    assert np.mean([np.percentile(d, 2) for d in drawings]) < 110  # strokes


def test_bundle_was_made_from_the_checkpoint_in_the_repository(root: Path) -> None:
    manifest = Bundle.read(find_zoo_bundle("sketch")).manifest
    assert manifest.model.source_sha256 == hash_file(root / CHECKPOINT)
    assert manifest.model.license == "Apache-2.0"
    assert {(v.height, v.width) for v in manifest.variants} == {(128, 128), (256, 256), (512, 512)}
    assert (manifest.variants[0].height, manifest.variants[0].width) == (256, 256)  # what is taken unasked
    _, spec = load_generator(root / CHECKPOINT)
    assert spec.steps == manifest.model.steps and (spec.steps or 0) > 1000


def test_generator_is_at_most_one_megabyte(root: Path) -> None:
    assert (root / CHECKPOINT).stat().st_size <= 1_000_000
    assert (find_zoo_bundle("sketch") / "reference.onnx").stat().st_size <= 1_000_000
