"""One image: from its file to uint8, to tensors, and back."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from i2i_sdk.errors import MediaError
from i2i_sdk.imaging.geometry import swap_red_and_blue
from i2i_sdk.media.images import IMAGE_SUFFIXES, decode_image

SUFFIXES = (*IMAGE_SUFFIXES, ".npy")

Image = NDArray[np.uint8]


def decode(path: Path) -> Image:
    """uint8 [H, W, 3] RGB of an image file, uint8 [H, W, C] of a .npy file.

    Gray becomes RGB, alpha is dropped, 16 bits are reduced to the high byte, EXIF orientation is applied.
    Raises ValueError with the reason, which does not name the file.
    """
    return _decode_array(path) if path.suffix.lower() == ".npy" else _decode_image(path)


def _decode_image(path: Path) -> Image:
    try:
        encoded = np.fromfile(path, np.uint8)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror or error}") from error
    try:
        image = decode_image(encoded, "it")[:, :, :3]
    except MediaError as error:
        raise ValueError(f"cannot be read: {error}") from error
    return swap_red_and_blue(image)


def _decode_array(path: Path) -> Image:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"cannot be read as an array: {error}") from error
    array = array[:, :, None] if array.ndim == 2 else array
    if array.dtype != np.uint8 or array.ndim != 3 or 0 in array.shape:
        raise ValueError(f"holds {array.dtype} {list(array.shape)}; needed: uint8 [height, width, channels]")
    return array


def convert_channels(image: Image, channels: int) -> Image:
    """The image with so many channels: RGB becomes gray for 1. Raises ValueError for any other change."""
    found = image.shape[2]
    if found == channels:
        return image
    if (found, channels) == (3, 1):
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)[:, :, None]
    raise ValueError(f"has {found} channels, not {channels}")


def to_rgb(image: Image) -> Image:
    """uint8 [H, W, 1 or 3] -> uint8 [H, W, 3]; gray becomes three equal channels."""
    return image if image.shape[2] == 3 else np.repeat(image, 3, axis=2)


def resize_image(image: Image, height: int, width: int, is_label_map: bool) -> Image:
    """Resize without regard to the aspect.

    Args:
        image: uint8 [H, W, C].
        height: pixels.
        width: pixels.
        is_label_map: whether no new colors may come up.

    Returns:
        uint8 [height, width, C].
    """
    if image.shape[:2] == (height, width):
        return image
    if is_label_map:
        how = cv2.INTER_NEAREST_EXACT
    else:  # an area's mean on the way down, upstream's bicubic on the way up
        how = cv2.INTER_AREA if height * width < image.shape[0] * image.shape[1] else cv2.INTER_CUBIC
    planes = [  # OpenCV takes areas of at most 4 channels at once
        cv2.resize(image[:, :, i : i + 4], (width, height), interpolation=how).reshape(height, width, -1)
        for i in range(0, image.shape[2], 4)
    ]
    return np.asarray(np.concatenate(planes, axis=2), np.uint8)


def to_tensor(images: list[Image]) -> Tensor:
    """uint8 images [H, W, C] of one size -> uint8 tensor [N, C, H, W]."""
    return torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).copy())


def normalize_images(images: Tensor) -> Tensor:
    """uint8 0..255 -> float32 -1..1."""
    return images.float() / 127.5 - 1.0


def to_images(tensor: Tensor) -> list[Image]:
    """float [N, C, H, W] in -1..1 -> N uint8 images [H, W, C]."""
    values = (tensor.detach().float().cpu() * 127.5 + 127.5).round().clamp(0, 255).byte()
    return list(values.permute(0, 2, 3, 1).numpy())
