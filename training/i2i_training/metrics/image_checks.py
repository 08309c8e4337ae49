"""What every metric asks of its images, checked in one place."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from i2i_sdk.errors import InputError

Image = NDArray[np.uint8]  # [H, W, 3] RGB or [H, W, 1] gray


def check_images(images: Sequence[Image], name: str, min_count: int = 1) -> None:
    """At least `least` uint8 images [H, W, 1 or 3], none of them empty; InputError says which is not."""
    if len(images) < min_count:
        raise InputError(f"{name}: {len(images)} images; at least {min_count} needed")
    for i, image in enumerate(images):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3) or not image.size:
            raise InputError(
                f"{name}[{i}] is {image.dtype} {image.shape}; allowed: uint8 [H, W, 3] RGB or [H, W, 1] gray"
            )


def check_counts(a: Sequence[Image], b: Sequence[Image], a_name: str, b_name: str) -> None:
    """Both sets are usable and the i-th of one belongs to the i-th of the other."""
    check_images(a, a_name)
    check_images(b, b_name)
    if len(a) != len(b):
        raise InputError(f"{len(a)} {a_name} for {len(b)} {b_name}; each needs its own, in the same order")


def check_pairs(a: Sequence[Image], b: Sequence[Image], a_name: str, b_name: str) -> None:
    """As `check_counts`, and the images of each pair have one shape."""
    check_counts(a, b, a_name, b_name)
    for i, (x, y) in enumerate(zip(a, b, strict=True)):
        if x.shape != y.shape:
            raise InputError(f"{a_name}[{i}] is {x.shape}, {b_name}[{i}] {y.shape}; resize one to the other")


def to_rgb(image: Image) -> Image:
    """uint8 [H, W, 1 or 3] -> uint8 [H, W, 3]; gray becomes three equal channels."""
    return image if image.shape[2] == 3 else np.repeat(image, 3, axis=2)


def to_luma(image: Image) -> NDArray[np.float32]:
    """uint8 [H, W, 1 or 3] -> float32 [H, W], 0..255 (ITU-R BT.601)."""
    return np.asarray(cv2.cvtColor(to_rgb(image), cv2.COLOR_RGB2GRAY), np.float32)
