"""U-Net generator of pix2pix: https://arxiv.org/abs/1611.07004, section 6.1.1."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from i2i_training.networks.layers import build_norm_layer, has_bias
from i2i_training.networks.spec import UnetConfig


class UnetGenerator(nn.Module):
    """float32 [N, C_in, H, W] in -1..1 -> float32 [N, C_out, H, W] in -1..1; H, W multiples of 2**downs."""

    def __init__(self, config: UnetConfig) -> None:
        super().__init__()
        w = config.width
        block = SkipBlock(_build_innermost(config, 8 * w))
        for _ in range(config.downs - 5):
            dropout = [nn.Dropout(0.5)] if config.dropout else []
            block = SkipBlock(_build_middle(config, 8 * w, 8 * w, block) + dropout)
        for outer in (4 * w, 2 * w, w):
            block = SkipBlock(_build_middle(config, outer, 2 * outer, block))
        # The top of the U has no skip connection.
        down = nn.Conv2d(config.in_channels, w, 4, stride=2, padding=1, bias=has_bias(config.norm))
        up = nn.ConvTranspose2d(2 * w, config.out_channels, 4, stride=2, padding=1)
        top = nn.Sequential(down, block, nn.ReLU(True), up, nn.Tanh())
        self.model = nn.Sequential(OrderedDict(model=top))  # upstream's keys begin with model.model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class SkipBlock(nn.Module):
    """One level of the U: what comes back from below is concatenated to the activated input.

    Upstream's first LeakyReLU works in place, so what its skip connection carries is leaky_relu(x), not
    x. Here it is written out. (The ReLU that follows every concatenation makes both the same picture.)
    """

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        activation, *rest = self.model
        skip = below = activation(x)
        for layer in rest:
            below = layer(below)
        return torch.cat([skip, below], 1)


def _build_middle(config: UnetConfig, outer: int, inner: int, submodule: nn.Module) -> list[nn.Module]:
    """`outer` channels down to `inner`, and twice `inner` back up to `outer`."""
    bias = has_bias(config.norm)
    return [
        nn.LeakyReLU(0.2),
        nn.Conv2d(outer, inner, 4, stride=2, padding=1, bias=bias),
        build_norm_layer(config.norm, inner),
        submodule,
        nn.ReLU(True),
        nn.ConvTranspose2d(2 * inner, outer, 4, stride=2, padding=1, bias=bias),
        build_norm_layer(config.norm, outer),
    ]


def _build_innermost(config: UnetConfig, channels: int) -> list[nn.Module]:
    """The bottom: no norm after the last down, so that 1x1 maps keep their values."""
    bias = has_bias(config.norm)
    return [
        nn.LeakyReLU(0.2),
        nn.Conv2d(channels, channels, 4, stride=2, padding=1, bias=bias),
        nn.ReLU(True),
        nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1, bias=bias),
        build_norm_layer(config.norm, channels),
    ]
