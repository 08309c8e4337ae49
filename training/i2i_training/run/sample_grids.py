"""Sheets of pictures to look at: columns side by side under their names, or samples in a square."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from i2i_training.data.image_tensors import Image, to_rgb

GUTTER = 4  # pixels between cells
MIN_CELL_SIZE, MAX_CELL_SIZE = 128, 256  # the longer side of a cell, in pixels
BACKGROUND, TEXT_COLOR = 255, 40
FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_sample_grid(columns: Mapping[str, Sequence[Image]]) -> Image:
    """Named columns of pictures, such as input, output and target, that belong together row by row.

    Pictures are uint8 [H, W, 3] RGB or [H, W, 1] gray, 0..255, of any sizes; every column has as many.
    Returns uint8 [H, W, 3] RGB: a strip with the names, then the pictures in cells of one size, which keep
    their proportions.

    Example:
        >>> gray = np.full((256, 256, 1), 128, np.uint8)
        >>> draw_sample_grid({"input": [gray, gray], "output": [gray, gray]}).shape
        (566, 524, 3)
    """
    cell = _compute_cell_size([image for images in columns.values() for image in images])
    tall = [
        np.vstack([_draw_title(name, cell[1]), *(_fit_to_cell(i, cell) for i in images)])
        for name, images in columns.items()
    ]
    return _add_border(np.hstack(tall))


def draw_sample_sheet(images: Sequence[Image], columns: int) -> Image:
    """Pictures that came from noise, line by line.

    uint8 [H, W, 3] RGB or [H, W, 1] gray images, 0..255 -> uint8 [H, W, 3] RGB.
    """
    cell = _compute_cell_size(images)
    cells = [_fit_to_cell(image, cell) for image in images]
    cells += [np.full_like(cells[0], BACKGROUND)] * (-len(cells) % columns)
    lines = [np.hstack(cells[start : start + columns]) for start in range(0, len(cells), columns)]
    return _add_border(np.vstack(lines))


def _compute_cell_size(images: Sequence[Image]) -> tuple[int, int]:
    """(height, width) that holds the largest: whole multiples for tiny pictures, at most LARGEST."""
    height, width = (max(image.shape[axis] for image in images) for axis in (0, 1))
    scale = min(float(math.ceil(MIN_CELL_SIZE / max(height, width))), MAX_CELL_SIZE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _fit_to_cell(image: Image, cell: tuple[int, int]) -> Image:
    """Scaled into the cell's middle, with a gutter on the right and below.

    Enlarging repeats pixels, since smoothing would hide what a network really gave.
    """
    image = to_rgb(image)
    height, width = cell
    scale = min(height / image.shape[0], width / image.shape[1])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    if size != (image.shape[1], image.shape[0]):
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
        image = np.asarray(cv2.resize(image, size, interpolation=how), np.uint8)
    framed = np.full((height + GUTTER, width + GUTTER, 3), BACKGROUND, np.uint8)
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    framed[top : top + size[1], left : left + size[0]] = image
    return framed


def _draw_title(name: str, width: int) -> Image:
    """The strip above a column: its name in the middle, smaller where it would not fit.

    A sixth of a cell high, so that it can still be read when a phone shows four columns.
    """
    height = max(24, width // 6)
    strip = np.full((height, width + GUTTER, 3), BACKGROUND, np.uint8)
    (wide, _), _ = cv2.getTextSize(name, FONT, 1.0, 1)
    scale = min(height / 45, (width - GUTTER) / max(wide, 1))
    (wide, high), _ = cv2.getTextSize(name, FONT, scale, 1)
    corner = (width - wide) // 2, (height + high) // 2
    cv2.putText(strip, name, corner, FONT, scale, (TEXT_COLOR, TEXT_COLOR, TEXT_COLOR), 1, cv2.LINE_AA)
    return strip


def _add_border(sheet: Image) -> Image:
    """With a gutter on the left and above too."""
    return np.pad(sheet, ((GUTTER, 0), (GUTTER, 0), (0, 0)), constant_values=BACKGROUND)
