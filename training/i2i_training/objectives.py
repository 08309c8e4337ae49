"""GAN objectives on raw discriminator scores, as functions."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def vanilla(scores: Tensor, real: bool) -> Tensor:
    """Cross entropy (Goodfellow et al. 2014, equation 1, non-saturating): -log sigmoid(s) for real."""
    return F.binary_cross_entropy_with_logits(scores, torch.full_like(scores, float(real)))


def lsgan(scores: Tensor, real: bool) -> Tensor:
    """Least squares (Mao et al. 2017, equation 2 with a=0, b=c=1): (s - label)^2."""
    return F.mse_loss(scores, torch.full_like(scores, float(real)))


GAN_OBJECTIVES: dict[str, Callable[[Tensor, bool], Tensor]] = {"vanilla": vanilla, "lsgan": lsgan}
