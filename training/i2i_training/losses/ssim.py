"""Structural similarity (Wang et al. 2004, https://doi.org/10.1109/TIP.2003.819861), to train against."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2  # of values in 0..1


def compute_ssim_loss(images: Tensor, targets: Tensor) -> Tensor:
    """1 - SSIM, the mean over windows of 11x11 pixels with Gaussian weights.

    float [N, C, H, W] in -1..1 each, at least 11x11 -> a scalar, 0 for equal pictures, at most 2.
    """
    # Means of both signs would make a picture like its negative.
    images, targets = images.float() / 2 + 0.5, targets.float() / 2 + 0.5
    channels = images.shape[1]
    line = torch.arange(WINDOW, device=images.device, dtype=images.dtype) - WINDOW // 2
    line = torch.exp(-(line**2) / (2 * SIGMA**2))
    line = (line / line.sum()).expand(5 * channels, 1, 1, WINDOW)
    stacked = torch.cat([images, targets, images**2, targets**2, images * targets], 1)
    blurred = F.conv2d(stacked, line, groups=5 * channels)
    blurred = F.conv2d(blurred, line.transpose(2, 3), groups=5 * channels)
    mean_x, mean_y, square_x, square_y, product = blurred.chunk(5, 1)
    variances = square_x - mean_x**2 + square_y - mean_y**2
    covariance = product - mean_x * mean_y
    similarity = (2 * mean_x * mean_y + C1) * (2 * covariance + C2)
    similarity = similarity / ((mean_x**2 + mean_y**2 + C1) * (variances + C2))
    return 1 - similarity.mean()
