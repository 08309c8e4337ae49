"""Whether an edit is as strong, and at the same places, as the teacher's."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from i2i_training.data.image_tensors import Image
from i2i_training.metrics.effect import OCTAVES, compare_edits

GRAY = np.full((128, 160, 3), 128, np.uint8)


def make_texture(seed: int = 0, amplitude: float = 30.0) -> NDArray[np.float64]:
    """Noise of every size of detail, mean 0: float64 [128, 160, 3]."""
    random, height, width = np.random.default_rng(seed), *GRAY.shape[:2]
    layers = [
        cv2.resize(random.normal(0, 1, (height // step, width // step, 3)), (width, height))
        for step in (1, 2, 4, 8, 16, 32)
    ]
    texture = sum(layer - layer.mean((0, 1)) for layer in layers)
    return texture / texture.std() * amplitude


def edit(photo: Image, change: NDArray[np.float64] | float | list[float]) -> Image:
    return np.clip(np.rint(photo + np.asarray(change)), 0, 255).astype(np.uint8)


def test_the_same_edit_is_perfect() -> None:
    target = edit(GRAY, make_texture())
    scores = compare_edits([GRAY], [target], [target])
    assert scores.energy == (1.0,) * OCTAVES
    assert scores.correlation == {0: 1.0, 4: 1.0, 16: 1.0}
    assert scores.color_shift == scores.spread_shift == 0


@pytest.mark.parametrize("factor", [0.5, 2.0, -1.0])
def test_energy_grows_with_the_square_of_the_edit(factor: float) -> None:
    texture = make_texture(amplitude=18)
    scores = compare_edits([GRAY], [edit(GRAY, factor * texture)], [edit(GRAY, texture)])
    assert scores.energy == pytest.approx((factor**2,) * OCTAVES, rel=0.03)
    assert list(scores.correlation.values()) == pytest.approx([np.sign(factor)] * 3, abs=0.01)


def test_a_blurred_edit_has_lost_the_fine_octaves() -> None:
    texture = make_texture()
    blurred = cv2.GaussianBlur(texture, (0, 0), 3.0)
    energy = compare_edits([GRAY], [edit(GRAY, blurred)], [edit(GRAY, texture)]).energy
    assert energy[0] < 0.01 and energy[1] < 0.15 and energy[4] > 0.8
    assert list(energy) == sorted(energy)


def test_doing_nothing_has_no_energy_and_no_correlation() -> None:
    scores = compare_edits([GRAY], [GRAY], [edit(GRAY, make_texture())])
    assert scores.energy == (0.0,) * OCTAVES
    assert set(scores.correlation.values()) == {0.0}


def test_octaves_in_which_the_teacher_does_nothing() -> None:
    assert compare_edits([GRAY], [GRAY], [GRAY]).energy == (1.0,) * OCTAVES
    random = np.random.default_rng(0)
    unseen = [edit(GRAY, (random.random(GRAY.shape) < 0.05) * 1.0) for _ in range(2)]
    assert compare_edits([GRAY], unseen[:1], unseen[1:]).energy == (1.0,) * OCTAVES
    added = compare_edits([GRAY], [edit(GRAY, make_texture())], [GRAY])
    assert min(added.energy) > 1.25 and set(added.correlation.values()) == {0.0}


def test_fine_texture_need_not_be_at_the_same_place() -> None:
    """It covers the left half; within it, it is other noise."""
    random, half = np.random.default_rng(0), np.zeros(GRAY.shape)
    half[:, :80] = 1
    strokes = [half * np.abs(random.normal(0, 40, GRAY.shape)) for _ in range(2)]
    scores = compare_edits([GRAY], *([edit(GRAY, stroke)] for stroke in strokes))
    assert scores.correlation[0] < 0.6 < 0.97 < scores.correlation[16]
    assert scores.correlation[0] < scores.correlation[4] < scores.correlation[16]
    moved = [edit(GRAY, make_texture(seed=5)), edit(GRAY, np.roll(make_texture(seed=5), 64, axis=1))]
    assert compare_edits([GRAY], moved[:1], moved[1:]).correlation[16] < 0.5  # coarse edits must be


def test_a_cast_does_not_raise_the_correlation() -> None:
    one, other = make_texture(1), make_texture(2)
    plain = compare_edits([GRAY], [edit(GRAY, one)], [edit(GRAY, other)])
    casts = ([edit(GRAY, np.add(texture, [40, -40, 20]))] for texture in (one, other))
    cast = compare_edits([GRAY], *casts)
    assert abs(cast.correlation[0] - plain.correlation[0]) < 0.03
    assert abs(cast.correlation[0]) < 0.3
    assert set(compare_edits([GRAY], [edit(GRAY, 20)], [edit(GRAY, one)]).correlation.values()) == {0.0}


def test_edits_that_are_the_same_everywhere_agree() -> None:
    even = compare_edits([GRAY], [edit(GRAY, 20)], [edit(GRAY, 50)])
    assert set(even.correlation.values()) == {1.0}


@pytest.mark.parametrize(
    ("change", "color", "spread"),
    [
        (lambda texture: np.add(texture, [6, 0, -12]), 6.0, 0.0),
        (lambda texture: 1.5 * texture, 0.0, 10.0),
    ],
)
def test_shifts_are_gray_levels(change: Callable, color: float, spread: float) -> None:
    texture = make_texture(amplitude=20)
    scores = compare_edits([GRAY], [edit(GRAY, change(texture))], [edit(GRAY, texture)])
    assert scores.color_shift == pytest.approx(color, abs=0.1)
    assert scores.spread_shift == pytest.approx(spread, abs=0.2)


def test_color_shifts_of_pictures_do_not_cancel() -> None:
    outputs = [edit(GRAY, 8), edit(GRAY, -8)]
    assert compare_edits([GRAY, GRAY], outputs, [GRAY, GRAY]).color_shift == 8


def test_pixels_count_the_same_whatever_their_picture() -> None:
    """A large picture and its four quarters say the same of edits that are the same everywhere."""
    board = (np.indices((128, 128)).sum(0) % 2 * 2.0 - 1)[..., None] * np.ones(3)
    large, small = np.full((128, 128, 3), 128, np.uint8), np.full((64, 64, 3), 128, np.uint8)
    inputs, factors, sides = [large, small], [20, 5], [128, 64]
    outputs = [edit(x, f * board[:n, :n]) for x, f, n in zip(inputs, factors, sides, strict=True)]
    targets = [edit(x, 10 * board[:n, :n]) for x, n in zip(inputs, sides, strict=True)]
    energy = compare_edits(inputs, outputs, targets).energy
    assert energy[0] == pytest.approx((4 * 4 + 0.25) / 5, rel=1e-3)


def test_every_photo_needs_both_pictures() -> None:
    with pytest.raises(ValueError, match="zip"):
        compare_edits([GRAY, GRAY], [GRAY], [GRAY])
