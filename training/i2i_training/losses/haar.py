"""Detail, as wavelet bands: L1 pays for blur there, where it pays nothing in the mean of a picture.

Zhang et al. 2022, "Wavelet Knowledge Distillation" (https://arxiv.org/abs/2203.06321): a student lacks
high frequencies, so it is taught these, L1 on the high bands of a Haar transform.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def split_haar_bands(images: Tensor) -> tuple[Tensor, Tensor]:
    """One step of the orthonormal Haar transform.

    float [N, C, H, W], H and W even -> the low band [N, C, H/2, W/2] and the three high ones
    [N, 3, C, H/2, W/2]: columns, rows, diagonals.
    """
    n, c, h, w = images.shape
    a, b, d, e = F.pixel_unshuffle(images, 2).reshape(n, c, 4, h // 2, w // 2).unbind(2)
    bands = ((a - b + d - e) / 2, (a + b - d - e) / 2, (a - b - d + e) / 2)
    return (a + b + d + e) / 2, torch.stack(bands, 1)


def compute_haar_loss(images: Tensor, targets: Tensor, levels: int = 3) -> Tensor:
    """L1 distance of the high bands, the mean over `levels` levels.

    float [N, C, H, W] each, sides multiples of 2**levels -> a scalar.
    """
    difference = images.float() - targets.float()  # the transform is linear
    losses: list[Tensor] = []
    for _ in range(levels):
        difference, high = split_haar_bands(difference)
        losses.append(high.abs().mean())
    return torch.stack(losses).mean()
