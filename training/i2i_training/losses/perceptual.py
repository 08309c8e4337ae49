"""Features and their correlations: what a frozen network sees in a picture, not its pixels.

Johnson et al. 2016, "Perceptual Losses for Real-Time Style Transfer" (https://arxiv.org/abs/1603.08155).
They take a VGG; here it is the encoder of a trained generator: the teacher's own, or another one's. Both
distances are shares of the target's own size, so that their weights do not depend on which.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

EPS = 1e-6


def compute_feature_loss(features: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """The L1 distance of feature maps relative to the target's mean size, the mean over layers.

    float [N, C, h, w] of each layer -> a scalar.
    """
    return torch.stack([_compute_share(f, t) for f, t in zip(features, targets, strict=True)]).mean()


def compute_gram_loss(features: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """The same of their Gram matrices, which keep how often features go together, and not where.

    float [N, C, h, w] of each layer -> a scalar.
    """
    grams = [[compute_gram_matrix(f) for f in layers] for layers in (features, targets)]
    return compute_feature_loss(*grams)


def compute_gram_matrix(features: Tensor) -> Tensor:
    """float [N, C, h, w] -> float32 [N, C, C], means over all places of products of two channels."""
    flat = features.float().flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[2]


def _compute_share(values: Tensor, targets: Tensor) -> Tensor:
    targets = targets.detach().float()
    return (values.float() - targets).abs().mean() / (targets.abs().mean() + EPS)
