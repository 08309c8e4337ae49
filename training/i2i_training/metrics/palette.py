"""The few colors that label maps and drawn maps are made of."""

from __future__ import annotations

import re
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from i2i_sdk.errors import TrainingError
from i2i_training.data.image_tensors import Image, to_rgb

Palette = NDArray[np.uint8]  # [K, 3] RGB, 1 <= K <= 256

_MAX_FLAT_RANGE = 32  # gray levels within 3x3 pixels: JPEG noise stays below, edges and lettering above
_RADIUS = 24.0  # RGB distance: JPEG noise of one color is nearer, Google's white roads are 42 off its land
_BIN_SIZE = 4  # gray levels per histogram bin


def parse_palette(text: str) -> Palette:
    """Colors as a user writes them, "#ff0000,#00ff00" -> uint8 [K, 3] RGB.

    Raises TrainingError naming the entry that is no color, or colors given twice.

    Example:
        >>> parse_palette("#ff0000, #00ff00").tolist()
        [[255, 0, 0], [0, 255, 0]]
    """
    entries = [entry.strip() for entry in text.split(",")]
    for entry in entries:
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", entry):
            raise TrainingError(
                f"palette entry {entry!r} is no color; write #rrggbb, with commas between: #ff0000,#00ff00"
            )
    twice = sorted({entry for entry in entries if [e.lower() for e in entries].count(entry.lower()) > 1})
    if twice:
        raise TrainingError(f"palette colors given twice: {', '.join(twice)}; give each class its own")
    if len(entries) > 256:
        raise TrainingError(f"a palette of {len(entries)} colors; at most 256 are allowed")
    return np.array([list(bytes.fromhex(entry[1:])) for entry in entries], np.uint8)


def find_nearest_color(image: Image, palette: Palette) -> NDArray[np.uint8]:
    """The index of each pixel's nearest palette color (Euclidean in RGB; the first of equals).

    uint8 [H, W, 3] RGB or [H, W, 1] gray, and a palette uint8 [K, 3] RGB -> uint8 [H, W], 0..K-1.
    """
    colors = palette.astype(np.float32)
    squares = np.square(colors).sum(axis=1)
    # |p - c|^2 = |p|^2 - 2 p.c + |c|^2, where |p|^2 is the same for all c. Integers below 2^24: exact.
    rows = [np.argmin(squares - 2 * (row @ colors.T), axis=1) for row in to_rgb(image).astype(np.float32)]
    return np.stack(rows).astype(np.uint8)


def find_dominant_colors(images: Sequence[Image], max_colors: int = 12, min_share: float = 0.01) -> Palette:
    """The colors that label maps or drawn maps really use, found in JPEG-noisy pictures.

    Only flat places count (3x3 pixels within 32 gray levels), because edges, antialiasing and ringing
    mix colors that nobody drew. Their colors are gathered greedily, the commonest first, with all that
    lies within an RGB distance of 24; each becomes the mean of its surroundings. Deterministic.
    Lines thinner than 3 pixels are not flat and classes rarer than `min_share` are not found: where the true
    colors are known (CamVid's 11 classes, for example), give them instead. Photos have a result too, but
    it means nothing.

    Args:
        images: uint8 [H, W, 3] RGB targets; a few dozen are enough.
        max_colors: at most so many colors.
        min_share: share of the flat pixels that a color must cover, 0..1.

    Returns:
        uint8 [K, 3] RGB, commonest first.

    Raises:
        TrainingError: where no color covers so much.
    """
    counts, colors = _count_flat_colors(images)
    left = counts.copy()
    enough = max(1.0, min_share * float(counts.sum()))
    found: list[tuple[int, NDArray[np.float64]]] = []
    while left.sum() >= enough:
        commonest = np.argmax(left)
        center = _find_densest(colors, counts, colors[commonest])
        near = np.linalg.norm(colors - center, axis=1) < _RADIUS
        near[commonest] = True  # wherever the mean went, this one is used up
        if left[near].sum() >= enough:
            found.append((int(left[near].sum()), center))
        left[near] = 0
    if not found:
        raise TrainingError(
            f"no color covers {min_share:.0%} of the flat areas of these {len(images)} images, so they are no"
            " label maps or drawn maps; leave the palette out, or give its colors as #rrggbb,#rrggbb"
        )
    found.sort(key=lambda pixels_and_color: -pixels_and_color[0])
    return np.rint([color for _, color in found[:max_colors]]).astype(np.uint8)


def _count_flat_colors(images: Sequence[Image]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """A histogram of the flat pixels: counts int64 [M] and mean colors float64 [M, 3] of the used bins."""
    bins = 256 // _BIN_SIZE
    counts = np.zeros(bins**3, np.int64)
    sums = np.zeros((bins**3, 3))
    window = np.ones((3, 3), np.uint8)
    for image in images:
        rgb = to_rgb(image)
        spread = cv2.subtract(cv2.dilate(rgb, window), cv2.erode(rgb, window)).max(axis=2)
        pixels = rgb[spread <= _MAX_FLAT_RANGE]
        red, green, blue = (pixels // _BIN_SIZE).astype(np.int64).T
        index = (red * bins + green) * bins + blue
        counts += np.bincount(index, minlength=bins**3)
        for channel in range(3):
            sums[:, channel] += np.bincount(index, pixels[:, channel], minlength=bins**3)
    used = counts > 0
    return counts[used], sums[used] / counts[used][:, None]


def _find_densest(
    colors: NDArray[np.float64], counts: NDArray[np.int64], start: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean shift: from `start` to the mean of all pixels within half the radius, a few times."""
    center = start
    for _ in range(5):
        weights = counts * (np.linalg.norm(colors - center, axis=1) < _RADIUS / 2)
        if not weights.any():
            break
        center = weights @ colors / weights.sum()
    return center
