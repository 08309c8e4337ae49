"""Data sets of a few small images, written to a temporary folder."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def write_image(path: Path, image: Image) -> None:
    """uint8 [H, W, 3] RGB as an image file, or any [H, W, C] as .npy."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, image)
    else:
        assert cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def make_noise(height: int, width: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def make_located_image(number: int, height: int = 40, width: int = 48) -> Image:
    """Says at every pixel where it is and which image it is of."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.full_like(rows, number)], axis=2).astype(np.uint8)


def write_pairs(folder: Path, count: int, height: int = 46, width: int = 48) -> None:
    """Side-by-side images: the right half is 255 - the left one."""
    for number in range(count):
        a = make_located_image(number, height, width)
        write_image(folder / f"image{number}.png", np.hstack([a, 255 - a]))
