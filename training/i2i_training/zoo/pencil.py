"""Pencil drawings of photos, made with OpenCV: the training targets of the zoo's `sketch` model.

A photo becomes lines (a dodge blend, which divides by the neighborhood and so does not care how
bright the photo is) over soft shading in a few tones, on paper white.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Light = NDArray[Any]  # float32 [H, W], 0..1; OpenCV's type hints lose the dtype


def draw_pencil(photo: Image) -> Image:
    """uint8 [H, W, 3] BGR photo -> uint8 [H, W, 3] gray drawing on white, three equal channels."""
    smooth = cv2.bilateralFilter(photo, 7, 30, 5)  # fur, leaves and sensor noise are not lines
    light = cv2.cvtColor(smooth, cv2.COLOR_BGR2GRAY).astype(np.float32) / 255.0
    drawing = 255.0 * _draw_lines(light) * _draw_shading(light)
    return np.repeat(np.clip(np.rint(drawing), 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def degrade(photo: Image, random: np.random.Generator, is_dark: bool, is_noisy: bool) -> Image:
    """The photo as a bad camera sees it.

    Args:
        photo: uint8 [H, W, 3].
        random: draws how dark and how noisy it is.
        is_dark: whether 15-50 % of the light are left.
        is_noisy: whether there is noise, of a deviation of 4-14 gray levels.

    Returns:
        uint8 [H, W, 3].
    """
    values = photo.astype(np.float32) / 255.0
    if is_dark:
        values = random.uniform(0.15, 0.5) * values ** random.uniform(1.0, 1.5)
    if is_noisy:
        values = values + random.normal(0.0, random.uniform(4, 14) / 255.0, photo.shape)
    return np.clip(np.rint(values * 255.0), 0, 255).astype(np.uint8)


def _divide_by_surroundings(light: Light, sigma: float) -> Light:
    """Light relative to the surroundings within `sigma` pixels: 1 on flat areas, however bright."""
    return (light + 0.03) / (cv2.GaussianBlur(light, (0, 0), sigma) + 0.03)


def _draw_lines(light: Light) -> Light:
    """Color dodge at two widths: paper where nothing changes, a stroke on the dark side of every edge."""
    lines = np.ones_like(light)
    for sigma, strength in ((1.5, 1.5), (4.0, 0.9)):
        darker = 1.0 - _divide_by_surroundings(light, sigma)
        lines *= np.clip(1.0 - strength * (darker - 0.015), 0.0, 1.0)
    return lines


def _draw_shading(light: Light) -> Light:
    """Soft pencil over what is darker than its wider surroundings, and a little over everything dark."""
    relative = np.clip(_divide_by_surroundings(cv2.GaussianBlur(light, (0, 0), 1.5), 16.0), 0.0, 1.0)
    tone = np.clip(cv2.GaussianBlur(light, (0, 0), 2.0) * 2.0, 0.0, 1.0)
    return (0.45 + 0.55 * relative) * (0.8 + 0.2 * tone)
