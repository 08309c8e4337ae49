"""How close two pictures are: the only PSNR and SSIM in the project."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from i2i_sdk.errors import InputError

Image = NDArray[np.uint8]

IDENTICAL_DB = 120.0  # stored instead of an infinite PSNR, which JSON cannot hold


def psnr(a: Image, b: Image) -> float:
    """Peak signal-to-noise ratio in dB of two uint8 images [H, W] or [H, W, C]; 120 when identical.

    Example:
        >>> gray = np.full((8, 8, 3), 100, np.uint8)
        >>> round(psnr(gray, gray + 1), 2)
        48.13
    """
    _check_pair(a, b)
    error = float(np.mean(np.square(a.astype(np.float64) - b.astype(np.float64))))
    return IDENTICAL_DB if error == 0 else min(IDENTICAL_DB, float(10 * np.log10(255.0**2 / error)))


def ssim(a: Image, b: Image) -> float:
    """Structural similarity, -1..1, of two uint8 images [H, W] or [H, W, C], at least 11x11 pixels.

    Gaussian window of 11 pixels with sigma 1.5, range 255, mean over channels (Wang et al. 2004,
    equation 13). Equals scikit-image's `structural_similarity(gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False, data_range=255)`.
    """
    _check_pair(a, b)
    if min(a.shape[:2]) < 11:
        raise InputError(f"SSIM needs at least 11x11 pixels; got {a.shape[1]}x{a.shape[0]}")
    x, y = a.astype(np.float64), b.astype(np.float64)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_x, mean_y = _compute_window_mean(x), _compute_window_mean(y)
    var_x = _compute_window_mean(x * x) - mean_x**2
    var_y = _compute_window_mean(y * y) - mean_y**2
    cov = _compute_window_mean(x * y) - mean_x * mean_y
    similarity = ((2 * mean_x * mean_y + c1) * (2 * cov + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    )
    return float(np.mean(similarity[5:-5, 5:-5]))  # windows that lie inside the image


def max_abs(a: Image, b: Image) -> int:
    """Largest difference of a single value, 0..255."""
    _check_pair(a, b)
    return int(np.max(np.abs(a.astype(np.int16) - b.astype(np.int16))))


def _compute_window_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(cv2.GaussianBlur(values, (11, 11), 1.5), np.float64)


def _check_pair(a: Image, b: Image) -> None:
    if a.shape != b.shape or a.dtype != np.uint8 or b.dtype != np.uint8 or not a.size:
        found = f"{a.dtype} {a.shape} and {b.dtype} {b.shape}"
        raise InputError(f"two uint8 images of one shape are needed; got {found}")
