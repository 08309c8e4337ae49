"""Crops, mirroring and jitter."""

from __future__ import annotations

import torch
from torch import Tensor

from i2i_training.data.batch_plan import FLIP, JITTER, LEFT, NOISE, TOP
from i2i_training.data.image_tensors import Image, resize_image

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def crop(image: Image, size: int, draws: Tensor) -> Image:
    """Cut a square out of an image.

    Args:
        image: uint8 [H, W, C].
        size: pixels of a side.
        draws: float64 [DRAW_COLUMNS] in 0..1, which say the place.

    Returns:
        A view, uint8 [size, size, C].
    """
    top, left = (
        int(float(draws[column]) * (side - size + 1))
        for column, side in zip((TOP, LEFT), image.shape, strict=False)
    )
    return image[top : top + size, left : left + size]


def shrink(image: Image, stride: int) -> Image:
    """Means of `stride` x `stride` pixels; what is left over at the bottom and the right is dropped.

    uint8 [H, W, C] -> uint8 [H / stride, W / stride, C], rounded down.
    """
    height, width = (side // stride for side in image.shape[:2])
    return resize_image(image[: height * stride, : width * stride], height, width, is_label_map=False)


def flip_randomly(images: Tensor, draws: Tensor) -> Tensor:
    """[N, C, H, W] with those mirrored left to right whose draws (float64 [N, DRAWS]) say so: half."""
    chosen = (draws[:, FLIP] < 0.5).to(images.device, non_blocking=True).reshape(-1, 1, 1, 1)
    return torch.where(chosen, images.flip(3), images)


def jitter_colors(images: Tensor, draws: Tensor, strength: float) -> Tensor:
    """Change brightness, contrast and, in RGB, saturation.

    Args:
        images: float [N, C, H, W] in -1..1.
        draws: float64 [N, DRAW_COLUMNS] in 0..1.
        strength: each is multiplied by its own factor, from 1 - strength to 1 + strength, for every image.

    Returns:
        float [N, C, H, W] in -1..1.
    """
    drawn = (1 + strength * (2 * draws[:, JITTER] - 1)).to(images.dtype)
    factors = drawn.to(images.device, non_blocking=True)
    brightness, contrast, saturation = (f.reshape(-1, 1, 1, 1) for f in factors.unbind(1))
    values = (images + 1) / 2 * brightness
    gray = _to_gray(values)
    middle = gray.mean(dim=(1, 2, 3), keepdim=True)
    values = middle + contrast * (values - middle)
    if values.shape[1] == 3:
        gray = _to_gray(values)
        values = gray + saturation * (values - gray)
    return values.clamp(0, 1) * 2 - 1


def add_noise(images: Tensor, draws: Tensor, levels: float) -> Tensor:
    """Add uniform noise.

    Args:
        images: float [N, C, H, W] in -1..1.
        draws: float64 [N, DRAW_COLUMNS] in 0..1.
        levels: gray levels, of 255, that the noise reaches to both sides.

    Returns:
        float [N, C, H, W], a little beyond -1..1.

    Half a level undoes the rounding to 8 bits and cannot be seen. Without it a crop of one color, as
    drawn maps have them, has no variance at all: InstanceNorm's gradient then grows 316-fold (1 / sqrt(eps))
    in every layer. Measured on CycleGAN: norms of 1e9, which ruin Adam's averages, and in the end infinity.
    """
    seeds = (draws[:, NOISE] * 2**53).long().tolist()
    device, shape = images.device, images.shape[1:]
    own = [torch.Generator(device).manual_seed(seed) for seed in seeds]  # drawn where they are needed
    noise = torch.stack([torch.rand(shape, generator=generator, device=device) for generator in own])
    return images + (noise.to(images.dtype) - 0.5) * (2 * levels / 127.5)


def _to_gray(values: Tensor) -> Tensor:
    """Brightness [N, 1, H, W]."""
    if values.shape[1] != 3:
        return values.mean(dim=1, keepdim=True)
    red, green, blue = values.split(1, dim=1)
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
