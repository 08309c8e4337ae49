"""A picture function: flat, strong colors and dark outlines, by OpenCV.

i2i distill examples/cartoon.py:draw_cartoon --student small --data photos/
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

TONES = 7  # of the brightness
SATURATION = 1.4
LINE_WINDOW, LINE_CONTRAST = 11, 6  # pixels; gray levels that a line is darker than its surroundings


def draw_cartoon(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] RGB -> the same: smooth areas in few tones, lines where the brightness changes."""
    flat = image
    for _ in range(4):
        flat = cv2.bilateralFilter(flat, 9, 30, 9)
    light, red, blue = cv2.split(cv2.cvtColor(flat, cv2.COLOR_RGB2Lab))
    step = 255 / TONES
    light = np.clip((np.floor(light / step) + 0.5) * step, 0, 255).astype(np.uint8)
    red, blue = (cv2.convertScaleAbs(c, alpha=SATURATION, beta=128 * (1 - SATURATION)) for c in (red, blue))
    flat = cv2.cvtColor(cv2.merge([cv2.medianBlur(light, 5), red, blue]), cv2.COLOR_Lab2RGB)
    gray = cv2.cvtColor(cv2.bilateralFilter(image, 9, 60, 5), cv2.COLOR_RGB2GRAY)
    method, kind = cv2.ADAPTIVE_THRESH_GAUSSIAN_C, cv2.THRESH_BINARY
    lines = cv2.adaptiveThreshold(cv2.medianBlur(gray, 5), 255, method, kind, LINE_WINDOW, LINE_CONTRAST)
    lines = cv2.GaussianBlur(lines, (3, 3), 0)
    return np.asarray(cv2.multiply(flat, cv2.merge([lines] * 3), scale=1 / 255), np.uint8)
