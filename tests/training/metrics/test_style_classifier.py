"""The small judge: it learns what the teacher's pictures have, and falls for no copies."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import torch

from i2i_training.data.image_tensors import Image
from i2i_training.metrics import style_classifier
from i2i_training.metrics.style_classifier import (
    BLURS,
    MIN_ACCURACY,
    PictureSet,
    Verdict,
    _compute_share_accepted,
    _cut,
    judge_student,
    make_look_alikes,
)

SIDES = (160, 168)
STEPS = 24


def make_photo(seed: int) -> Image:
    """Soft spots of color."""
    random = np.random.default_rng(seed)
    return cv2.resize(random.integers(40, 216, (8, 8, 3), np.uint8), SIDES[::-1])


def draw_stripes(photo: Image) -> Image:
    """The teacher: every sixth pair of columns becomes dark."""
    picture = photo.copy()
    for offset in (0, 1, 2):
        picture[:, offset::6] //= 3
    return picture


def make_set(first: int, count: int = 6) -> PictureSet:
    photos = [make_photo(first + n) for n in range(count)]
    teacher = [draw_stripes(photo) for photo in photos]
    means = [cv2.blur(picture, (6, 6)) for picture in teacher]  # a student that was trained for the mean
    return PictureSet(photos, teacher, {"regression": means})


@pytest.fixture(scope="module")
def sets() -> tuple[PictureSet, PictureSet]:
    return make_set(0), make_set(100, 3)


@pytest.fixture(scope="module")
def verdict(sets: tuple[PictureSet, PictureSet]) -> Verdict:
    """On a student that copies the photos."""
    return judge_student(*sets, sets[1].photos, STEPS)


def test_the_judge_is_right_and_accepts_no_copies(verdict: Verdict) -> None:
    assert verdict.accuracy >= 0.95
    assert verdict.accepted == 0
    kinds = ["teacher", "photo", "photo in the teacher's colors", "blurred teacher", "regression"]
    assert list(verdict.by_kind) == kinds
    others = [share for kind, share in verdict.by_kind.items() if kind != "teacher"]
    assert verdict.accuracy == pytest.approx((verdict.by_kind["teacher"] + sum(others) / 4) / 2)


def test_a_perfect_student_is_accepted_and_chance_is_the_seeds(
    sets: tuple[PictureSet, PictureSet], verdict: Verdict
) -> None:
    torch.manual_seed(123)
    np.random.seed(123)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    perfect = judge_student(*sets, sets[1].teacher, STEPS)
    assert torch.equal(torch.get_rng_state(), before)  # the global state is nobody's
    assert np.random.get_state()[1].tolist() == numpy_before
    assert perfect.accepted == 1.0
    assert perfect.by_kind == verdict.by_kind and perfect.accuracy == verdict.accuracy


def test_a_judge_that_is_not_right_learns_longer(
    sets: tuple[PictureSet, PictureSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []

    def note(*arguments: Any) -> None:
        steps.append(arguments[3])
        train(*arguments)

    train = style_classifier._train
    monkeypatch.setattr(style_classifier, "_train", note)
    found = judge_student(*sets, sets[1].photos, STEPS // 4)
    assert steps == [STEPS // 4, STEPS] and found.accuracy >= MIN_ACCURACY
    judge_student(*sets, sets[1].photos, STEPS)
    assert steps[2:] == [STEPS]


def test_look_alikes_have_the_content_and_not_the_effect(sets: tuple[PictureSet, PictureSet]) -> None:
    pictures = sets[0]
    kinds = make_look_alikes(pictures)
    assert kinds["photo"] is pictures.photos and kinds["regression"] is pictures.others["regression"]
    for n, image in enumerate(kinds["photo in the teacher's colors"]):
        photo, target = pictures.photos[n], pictures.teacher[n]
        assert image.dtype == np.uint8 and image.shape == photo.shape
        assert np.abs(image.mean((0, 1)) - target.mean((0, 1))).max() < 5  # but for what is cut off at 0
        # No stripes: the photo's own edges, scaled.
        assert np.corrcoef(image.ravel(), photo.ravel())[0, 1] > 0.8
    for n, image in enumerate(kinds["blurred teacher"]):
        blurred = cv2.GaussianBlur(pictures.teacher[n], (0, 0), BLURS[n % 3])
        assert np.array_equal(image, blurred)


def test_a_flat_photo_has_a_look_alike() -> None:
    flat = np.full((20, 20, 3), 90, np.uint8)
    image = make_look_alikes(PictureSet([flat], [flat // 2], {}))["photo in the teacher's colors"][0]
    assert np.array_equal(image, flat // 2)


def test_small_pictures_are_repeated() -> None:
    """Crops of a row of numbers: all that there is, mirrored at its end."""
    row = np.tile(np.arange(50, dtype=np.uint8)[None, :, None], (200, 1, 3))
    crops = [_cut(row, np.random.default_rng(seed)) for seed in range(12)]
    assert all(crop.shape == (128, 128, 3) for crop in crops)
    line = [*range(50), *range(49, -1, -1), *range(28)]
    found = [crop[0, :, 0].tolist() for crop in crops]
    assert all(each in (line, line[::-1]) for each in found)
    assert line in found and line[::-1] in found


def test_the_mean_score_of_a_pictures_crops_decides() -> None:
    class Brightness(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((1, 2, 3))[:, None]

    images = [np.full((130, 130, 3), level, np.uint8) for level in (10, 100, 150, 250, 200)]
    assert _compute_share_accepted(Brightness(), images) == pytest.approx(0.6)
