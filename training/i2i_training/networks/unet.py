"""U-Net generator of pix2pix: https://arxiv.org/abs/1611.07004, section 6.1.1."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from i2i_training.networks.layers import build_norm_layer, has_bias
from i2i_training.networks.spec import UnetConfig


class UnetGenerator(nn.Module):
    """float32 [N, C_in, H, W] in -1..1 -> float32 [N, C_out, H, W] in -1..1; H, W multiples of 2**downs."""

    def __init__(self, config: UnetConfig) -> None:
        super().__init__()
        w, norm = config.width, config.norm
        block = build_innermost(8 * w, 8 * w, norm)
        for _ in range(config.downs - 5):
            block = build_middle(8 * w, 8 * w, norm, block, dropout=config.dropout)
        for outer, inner in ((4 * w, 8 * w), (2 * w, 4 * w), (w, 2 * w)):
            block = build_middle(outer, inner, norm, block, dropout=False)
        self.model = build_outermost(config, block)

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


class OutermostBlock(nn.Module):
    """The top of the U; it has no skip connection."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


def build_outermost(config: UnetConfig, submodule: nn.Module) -> OutermostBlock:
    """Input channels down to `width`, and 2 x `width` back up to the output's."""
    w = config.width
    down = nn.Conv2d(config.in_channels, w, 4, stride=2, padding=1, bias=has_bias(config.norm))
    up = nn.ConvTranspose2d(2 * w, config.out_channels, 4, stride=2, padding=1)
    return OutermostBlock([down, submodule, nn.ReLU(True), up, nn.Tanh()])


def build_middle(outer: int, inner: int, norm: str, submodule: nn.Module, dropout: bool) -> SkipBlock:
    """`outer` channels down to `inner`, and twice `inner` back up to `outer`."""
    bias = has_bias(norm)
    layers: list[nn.Module] = [
        nn.LeakyReLU(0.2),
        nn.Conv2d(outer, inner, 4, stride=2, padding=1, bias=bias),
        build_norm_layer(norm, inner),
        submodule,
        nn.ReLU(True),
        nn.ConvTranspose2d(2 * inner, outer, 4, stride=2, padding=1, bias=bias),
        build_norm_layer(norm, outer),
    ]
    return SkipBlock(layers + ([nn.Dropout(0.5)] if dropout else []))


def build_innermost(outer: int, inner: int, norm: str) -> SkipBlock:
    """The bottom: no norm after the last down, so that 1x1 maps keep their values."""
    bias = has_bias(norm)
    return SkipBlock(
        [
            nn.LeakyReLU(0.2),
            nn.Conv2d(outer, inner, 4, stride=2, padding=1, bias=bias),
            nn.ReLU(True),
            nn.ConvTranspose2d(inner, outer, 4, stride=2, padding=1, bias=bias),
            build_norm_layer(norm, outer),
        ]
    )
