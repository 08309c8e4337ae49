"""Pairs of images for training: read once, kept in memory, cropped and flipped per batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from i2i_sdk.errors import TrainingError
from i2i_sdk.sources import IMAGE_SUFFIXES
from i2i_training.networks.spec import DIRECTIONS

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Pair:
    """uint8 [H, W, 3] RGB images of one size; `a` is translated into `b`."""

    name: str
    a: Image
    b: Image


def read_pairs(root: Path, split: str, direction: str, load_size: int | None) -> list[Pair]:
    """All pairs of `root/split`: side-by-side images (A left, B right), as upstream's aligned data sets.

    Args:
        root: the data set's folder.
        split: "train", "val" or "test".
        direction: "AtoB" or "BtoA".
        load_size: sides in pixels that both images are stretched to; None keeps their size.

    Raises TrainingError naming every file that cannot be read or split.
    """
    if direction not in DIRECTIONS:
        raise TrainingError(f"direction is {direction!r}; allowed: {', '.join(DIRECTIONS)}")
    folder = root / split
    paths = sorted(p for p in folder.glob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise TrainingError(
            f"{folder}: no images; expected side-by-side AB images ({', '.join(IMAGE_SUFFIXES)})"
        )
    pairs: list[Pair] = []
    bad: list[str] = []
    for path in paths:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            bad.append(f"{path.name}: cannot be read as an image")
        elif image.shape[1] % 2:
            bad.append(f"{path.name}: {image.shape[1]} pixels wide, so it has no two halves")
        else:
            pairs.append(_split(path.stem, np.asarray(image, np.uint8), direction, load_size))
    if bad:
        raise TrainingError(
            f"{folder}: {len(bad)} of {len(paths)} files cannot be used:\n  " + "\n  ".join(bad)
        )
    return pairs


def batches(
    pairs: list[Pair], batch: int, crop_size: int, flip: bool, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches (a, b): uint8 [N, 3, crop, crop] RGB, the same random crop and flip for both.

    Every pair is seen once before any is seen twice. All randomness comes from `generator`.
    """
    small = [p.name for p in pairs if min(p.a.shape[:2]) < crop_size]
    if small:
        raise TrainingError(f"crop_size {crop_size} is larger than {len(small)} images, first {small[0]}")
    queue: list[int] = []
    while True:
        while len(queue) < batch:
            queue += torch.randperm(len(pairs), generator=generator).tolist()
        chosen, queue = queue[:batch], queue[batch:]
        crops = [_crop(pairs[i], crop_size, flip, generator) for i in chosen]
        yield to_tensor([a for a, _ in crops]), to_tensor([b for _, b in crops])


def to_tensor(images: list[Image]) -> Tensor:
    """uint8 images [H, W, C] of one size -> uint8 tensor [N, C, H, W]."""
    return torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).copy())


def normalised(images: Tensor) -> Tensor:
    """uint8 0..255 -> float32 -1..1."""
    return images.float() / 127.5 - 1.0


def to_images(tensor: Tensor) -> list[Image]:
    """float [N, C, H, W] in -1..1 -> N uint8 images [H, W, C]."""
    values = (tensor.detach().float().cpu() * 127.5 + 127.5).round().clamp(0, 255).byte()
    return list(values.permute(0, 2, 3, 1).numpy())


def _split(name: str, image: Image, direction: str, load_size: int | None) -> Pair:
    rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    half = rgb.shape[1] // 2
    a, b = rgb[:, :half], rgb[:, half:]
    if load_size is not None:
        a, b = (cv2.resize(x, (load_size, load_size), interpolation=cv2.INTER_AREA) for x in (a, b))
    a, b = np.ascontiguousarray(a, np.uint8), np.ascontiguousarray(b, np.uint8)
    return Pair(name, a, b) if direction == "AtoB" else Pair(name, b, a)


def _crop(pair: Pair, size: int, flip: bool, generator: torch.Generator) -> tuple[Image, Image]:
    height, width = pair.a.shape[:2]
    top = int(torch.randint(height - size + 1, (), generator=generator))
    left = int(torch.randint(width - size + 1, (), generator=generator))
    a, b = (x[top : top + size, left : left + size] for x in (pair.a, pair.b))
    if flip and bool(torch.randint(2, (), generator=generator)):
        a, b = a[:, ::-1], b[:, ::-1]
    return a, b
