"""Patches of an encoder's feature maps, for CUT's contrastive loss: https://arxiv.org/abs/2007.15651.

Section 3.2: patches at the same place of input and output shall be alike, those of other places not.
Which layers: appendix C.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from i2i_training.networks.resnet import ResnetGenerator
from i2i_training.networks.spec import ResnetConfig


class PatchSampler(nn.Module):
    """One head H_l (linear, ReLU, linear) per feature layer, on the same random places of two lists of maps.

    All weights exist from the start, so that optimizers and DistributedDataParallel see them.

    Args:
        channels: of each layer's maps.
        patches: places taken of each map, all where it has fewer.
        width: of the vectors.
    """

    def __init__(self, channels: Sequence[int], patches: int = 256, width: int = 256) -> None:
        super().__init__()
        self.patches = patches
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(before, width), nn.ReLU(), nn.Linear(width, width)) for before in channels
        )

    def forward(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Two lists of [N, C_l, H_l, W_l] -> two lists of vectors [N, patches, width] of length 1.

        Vector p of both lists comes from the same place of a map, drawn once per layer for the whole batch.
        Vectors are float32 at least. The lists must be as long as `channels`; ValueError.
        """
        vectors: tuple[list[Tensor], list[Tensor]] = ([], [])
        for head, x, y in zip(self.heads, first, second, strict=True):
            chosen = torch.randperm(x.shape[-2] * x.shape[-1], device=x.device)[: self.patches]
            for found, maps in zip(vectors, (x, y), strict=True):
                patches = head(maps.flatten(2)[:, :, chosen].transpose(1, 2))
                exact = patches.to(torch.promote_types(patches.dtype, torch.float32))
                found.append(F.normalize(exact, dim=-1, eps=1e-7))
        return vectors


def select_feature_layers(config: ResnetConfig) -> tuple[int, ...]:
    """The layers of a ResNet generator's `model` that CUT compares.

    The picture itself (after its padding), the two strided convolutions, the first and the fifth residual
    block; with fewer blocks the last one. Upstream numbers them 0, 4, 8, 12, 16, because its network has
    two more layers, which blur before the strides.

    Example:
        >>> select_feature_layers(ResnetConfig(blocks=9))
        (0, 4, 7, 10, 14)
    """
    last = 10 + min(5, config.blocks) - 1
    return (0, 4, 7, 10, last) if last > 10 else (0, 4, 7, 10)


def count_feature_channels(config: ResnetConfig, layers: Sequence[int]) -> tuple[int, ...]:
    """Channels of the features of `ResnetGenerator(config)` at `layers`; nothing is computed."""
    with torch.device("meta"), torch.no_grad():
        image = torch.empty(1, config.in_channels, 32, 32)
        maps = ResnetGenerator(config)(image, layers, picture=False)
    return tuple(each.shape[1] for each in maps)
