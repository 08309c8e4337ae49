"""The smoother on scenes whose right answer is known."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from i2i_sdk.errors import InputError
from i2i_sdk.imaging.stabilizer import Stabilizer
from i2i_sdk.quality.metrics import psnr

Image = NDArray[np.uint8]


def load_photo(name: str, height: int = 480, width: int = 640) -> Image:
    return np.asarray(cv2.resize(getattr(data, name)(), (width, height)), np.uint8)


def make_texture(height: int, width: int, contrast: float, middle: int = 128) -> Image:
    """Colored random blobs of about 4 pixels."""
    noise = np.random.default_rng(height).standard_normal((height // 4, width // 4, 3)).astype(np.float32)
    smooth = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(middle + contrast * smooth, 0, 255).astype(np.uint8)


def add_noise(image: Image, sigma: float, seed: int) -> Image:
    noise = np.random.default_rng(seed).normal(0, sigma, image.shape)
    return np.clip(image + noise, 0, 255).round().astype(np.uint8)


def rms(a: Image, b: Image) -> float:
    return float(np.sqrt(np.mean((a.astype(np.float64) - b) ** 2)))


def measure_residual(frames: list[Image], flicker: float, steady: Stabilizer | None = None) -> float:
    """Error of the last frame over that of the raw translation, the frame with `make_flicker` added."""
    steady = steady or Stabilizer()
    raws = [add_noise(frame, flicker, 1000 + index) for index, frame in enumerate(frames)]
    results = [steady(frame, raw) for frame, raw in zip(frames, raws, strict=True)]
    frame, raw, result = (images[-1][40:-40, 40:-40] for images in (frames, raws, results))
    return rms(result, frame) / rms(raw, frame)


# What a recursive mean with weight 0.7 leaves of white noise: sqrt((1 - 0.7) / (1 + 0.7)).
IDEAL_RESIDUAL = 0.42


def test_flicker_of_a_still_scene_falls_as_the_recursion_says() -> None:
    frames = [load_photo("astronaut")] * 12
    assert measure_residual(frames, 8) == pytest.approx(IDEAL_RESIDUAL, abs=0.03)
    assert measure_residual(frames, 8, Stabilizer(0.5)) == pytest.approx(0.577, abs=0.03)


@pytest.mark.parametrize("step", [(5, 0), (0, -3), (12, 7), (2, 1)])
def test_flicker_falls_along_known_motion(step: tuple[int, int]) -> None:
    large = load_photo("coffee", 800, 1000)
    corners = [(100 + step[0] * i, 100 + step[1] * i) for i in range(10)]
    frames = [np.ascontiguousarray(large[y : y + 480, x : x + 640]) for x, y in corners]
    assert measure_residual(frames, 8) < 0.65


def test_the_motion_is_that_of_the_frames_not_of_the_output() -> None:
    """A translation that is one color everywhere must stay so wherever the frames move."""
    steady, large = Stabilizer(), load_photo("coffee", 800, 1000)
    for index in range(6):
        frame = np.ascontiguousarray(large[100:580, 100 + 6 * index : 740 + 6 * index])
        assert np.ptp(steady(frame, np.full_like(frame, 90))) == 0


def test_noise_of_a_dark_room_is_not_taken_for_change() -> None:
    dark = (load_photo("astronaut") // 8 + 20).astype(np.uint8)
    steady = Stabilizer()
    frames = [add_noise(dark, 10, index) for index in range(12)]
    raws = [add_noise(dark, 8, 1000 + index) for index in range(12)]
    results = [steady(frame, raw) for frame, raw in zip(frames, raws, strict=True)]
    assert rms(results[-1], dark) < 0.6 * rms(raws[-1], dark)


def generate_square_scene(background: Image, contrast: float, middle: int) -> Iterator[tuple[Image, int]]:
    """A textured square of 120 pixels that moves 8 a frame, and the x up to which it left 2 frames ago."""
    square = make_texture(120, 120, contrast, middle)
    for index in range(20):
        frame, left = background.copy(), 80 + 8 * index
        frame[180:300, left : left + 120] = square
        yield frame, left - 16


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("background", [40, 128, 200, "textured"])
@pytest.mark.parametrize(("contrast", "middle"), [(60, 128), (20, 138), (6, 120)])
def test_a_moving_square_leaves_nothing_behind(
    contrast: float, middle: int, background: int | str, inverted: bool
) -> None:
    gray = np.full((480, 640, 3), background if isinstance(background, int) else 0, np.uint8)
    scenery = make_texture(480, 640, 30) if background == "textured" else gray
    steady = Stabilizer()
    for index, (frame, left) in enumerate(generate_square_scene(scenery, contrast, middle)):
        result = steady(frame, 255 - frame if inverted else frame)
        clean = 255 - scenery if inverted else scenery
        if index >= 2:
            assert int(np.max(cv2.absdiff(result[:, :left], clean[:, :left]))) <= 2


def test_what_is_uncovered_is_not_smoothed() -> None:
    """The translation of what appears has nothing in common with what was there before."""
    steady, scenery = Stabilizer(), make_texture(480, 640, 30)
    for index, (frame, left) in enumerate(generate_square_scene(scenery, 60, 128)):
        raw = np.full_like(frame, 60)
        raw[180:300, left + 16 : left + 136] = 200  # the square, very different when translated
        result = steady(frame, raw)
        if index:
            uncovered = np.s_[190:290, left + 8 : left + 16]
            assert psnr(np.ascontiguousarray(result[uncovered]), np.ascontiguousarray(raw[uncovered])) >= 40


PHOTOS = ("astronaut", "coffee", "chelsea", "rocket")


@pytest.mark.parametrize(("before", "after"), list(permutations(PHOTOS, 2)))
def test_nothing_of_the_old_scene_is_seen_after_a_cut(before: str, after: str) -> None:
    steady = Stabilizer()
    for _ in range(3):
        steady(load_photo(before), np.full((480, 640, 3), 30, np.uint8))
    raw = np.full((480, 640, 3), 220, np.uint8)
    np.testing.assert_array_equal(steady(load_photo(after), raw), raw)


@pytest.mark.parametrize("change", [-60, -30, 30, 60])
def test_a_change_of_light_takes_effect_at_once(change: int) -> None:
    frame = np.clip(load_photo("coffee"), 70, 180)
    after = (frame.astype(np.int16) + change).astype(np.uint8)
    steady = Stabilizer()
    for _ in range(3):
        steady(frame, frame)
    assert psnr(steady(after, after), after) >= 40


def test_a_slow_change_of_the_translation_is_followed() -> None:
    """It arrives within a gray level, though rounding could hold it back."""
    steady, frame = Stabilizer(), load_photo("astronaut")
    steady(frame, np.full_like(frame, 100))
    results = [steady(frame, np.full_like(frame, 130)) for _ in range(20)]
    assert int(np.min(results[-1])) >= 129


def test_reset_forgets() -> None:
    steady, frame = Stabilizer(), load_photo("astronaut")
    old, new = np.full_like(frame, 30), np.full_like(frame, 220)
    steady(frame, old)
    assert np.max(steady(frame, new)) < 220
    steady.reset()
    np.testing.assert_array_equal(steady(frame, new), new)


def test_another_size_resets() -> None:
    steady = Stabilizer()
    for height, width in ((480, 640), (240, 320), (640, 480), (480, 640)):
        frame = load_photo("astronaut", height, width)
        for value in (30, 220):
            raw = np.full_like(frame, value)
            result = steady(frame, raw)
            assert np.array_equal(result, raw) == (value == 30)


def test_strength_0_changes_nothing() -> None:
    steady, frame = Stabilizer(0), load_photo("astronaut")
    for seed in range(3):
        raw = add_noise(frame, 20, seed)
        np.testing.assert_array_equal(steady(frame, raw), raw)


def test_arrays_of_the_caller_stay_the_callers() -> None:
    """Neither is written to, nor is the past changed through what was given or returned."""
    frame, raws = load_photo("astronaut"), [add_noise(load_photo("astronaut"), 8, seed) for seed in range(3)]
    expected = [result.copy() for steady in [Stabilizer()] for result in (steady(frame, r) for r in raws)]
    steady = Stabilizer()
    for raw, result in zip(raws, expected, strict=True):
        mine, seen = raw.copy(), frame.copy()
        got = steady(seen, mine)
        np.testing.assert_array_equal(got, result)
        np.testing.assert_array_equal(seen, frame)
        np.testing.assert_array_equal(mine, raw)
        got[:] = mine[:] = seen[:] = 0


@pytest.mark.parametrize(
    "size",
    [
        *((1, 1), (1, 700), (700, 1), (1, 30_000), (2, 3)),
        *((12, 192), (192, 12), (33, 17), (240, 1921), (481, 641)),
    ],
)
def test_any_size_works(size: tuple[int, int]) -> None:
    """Small and long ones too, with which OpenCV's optical flow crashes."""
    steady = Stabilizer()
    frame = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    steady(frame, np.full_like(frame, 30))
    result = steady(frame, np.full_like(frame, 130))
    assert result.shape == frame.shape and result.dtype == np.uint8
    assert np.ptp(result) <= 1 and abs(int(result.flat[0]) - 60) <= 1  # 0.7 of 30, 0.3 of 130
    assert steady(frame[::-1, ::-1], frame[:, ::-1]).shape == frame.shape  # views are taken too


COLOR = np.zeros((48, 64, 3), np.uint8)


@pytest.mark.parametrize(
    ("frame", "output", "said"),
    [
        (COLOR[:, :, 0], COLOR, r"\[H, W, 3\]"),
        (COLOR, np.zeros((48, 64, 4), np.uint8), r"\[H, W, 3\]"),
        (COLOR.astype(np.float32), COLOR, "float32"),
        (COLOR, None, "NoneType"),
        (COLOR, COLOR[:40], "one size"),
        (np.zeros((1, 40_000, 3), np.uint8), np.zeros((1, 40_000, 3), np.uint8), "at most 32766"),
    ],
)
def test_other_images_are_refused(frame: Image, output: Image, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Stabilizer()(frame, output)


@pytest.mark.parametrize("strength", [-0.1, 1, 1.5, float("nan")])
def test_other_strengths_are_refused(strength: float) -> None:
    with pytest.raises(InputError, match="allowed: 0"):
        Stabilizer(strength)
