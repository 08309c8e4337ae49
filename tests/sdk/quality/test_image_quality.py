"""PSNR and SSIM are scikit-image's, to the sixth digit."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from known_bundles import make_noise
from numpy.typing import NDArray
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from i2i_sdk.errors import InputError
from i2i_sdk.quality.metrics import IDENTICAL_DB, max_abs, psnr, ssim

Image = NDArray[np.uint8]


def _make_pairs() -> dict[str, tuple[Image, Image]]:
    photo = np.ascontiguousarray(data.astronaut()[:96, :130])
    gray = np.ascontiguousarray(data.camera()[100:190, 100:211])
    random = make_noise(40, 51, 3)
    return {
        "blurred": (photo, np.asarray(cv2.GaussianBlur(photo, (5, 5), 1.2), np.uint8)),
        "brighter": (photo, np.clip(photo.astype(int) + 20, 0, 255).astype(np.uint8)),
        "inverted": (photo, 255 - photo),
        "unrelated": (random, make_noise(40, 51, 3, seed=1)),
        "gray": (gray, np.asarray(cv2.GaussianBlur(gray, (3, 3), 0), np.uint8)),
        "smallest": (random[:11, :11], 255 - random[:11, :11]),
        "flat": (np.full((20, 20, 3), 7, np.uint8), np.full((20, 20, 3), 9, np.uint8)),
    }


PAIRS = _make_pairs()


@pytest.mark.parametrize("name", PAIRS)
def test_equal_to_scikit_image(name: str) -> None:
    a, b = PAIRS[name]
    axis = 2 if a.ndim == 3 else None
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = structural_similarity(a, b, data_range=255, channel_axis=axis, **options)
    assert ssim(a, b) == pytest.approx(expected, abs=1e-6)
    assert psnr(a, b) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=255), abs=1e-6)
    assert max_abs(a, b) == np.abs(a.astype(int) - b.astype(int)).max()


@pytest.mark.parametrize("name", PAIRS)
def test_symmetric_and_identical(name: str) -> None:
    a, b = PAIRS[name]
    assert psnr(a, b) == psnr(b, a) and ssim(a, b) == pytest.approx(ssim(b, a), abs=1e-12)
    assert psnr(a, a) == IDENTICAL_DB == 120.0
    assert ssim(a, a) == pytest.approx(1.0, abs=1e-12)
    assert max_abs(a, a) == 0


def test_known_values() -> None:
    black, white = np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 255, np.uint8)
    assert psnr(black, white) == 0.0 and max_abs(black, white) == 255
    assert psnr(black, black + 1) == pytest.approx(20 * math.log10(255))
    one = black.copy()
    one[3, 4, 1] = 1  # the smallest difference there is stays below "identical"
    assert 70 < psnr(black, one) < IDENTICAL_DB


@pytest.mark.parametrize("measure", [psnr, ssim, max_abs])
@pytest.mark.parametrize(
    ("a", "b"),
    [
        (make_noise(20, 20, 3), make_noise(20, 21, 3)),
        (make_noise(20, 20, 3), make_noise(20, 20)),
        (make_noise(20, 20, 3), make_noise(20, 20, 3).astype(np.float32)),
        (make_noise(20, 20).astype(np.uint16), make_noise(20, 20).astype(np.uint16)),
        (np.zeros((0, 5), np.uint8), np.zeros((0, 5), np.uint8)),
    ],
)
def test_refused_with_what_was_given(measure: object, a: Image, b: Image) -> None:
    assert callable(measure)
    with pytest.raises(InputError, match=r"two uint8 images of one shape are needed; got") as caught:
        measure(a, b)
    assert f"{a.dtype} {a.shape} and {b.dtype} {b.shape}" in str(caught.value)


@pytest.mark.parametrize("shape", [(10, 40, 3), (40, 10), (1, 1, 3)])
def test_ssim_of_too_small_pictures(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=rf"at least 11x11 pixels; got {shape[1]}x{shape[0]}"):
        ssim(make_noise(*shape), make_noise(*shape))
    assert psnr(make_noise(*shape), make_noise(*shape)) == IDENTICAL_DB
