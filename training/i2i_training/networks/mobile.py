"""ResNet generator with separable blocks and a width per layer: https://arxiv.org/abs/2003.08936."""

from __future__ import annotations

from torch import Tensor, nn

from i2i_training.networks.layers import has_bias, norm_layer, padding_layers
from i2i_training.networks.resnet import decoder_layers, encoder_layers
from i2i_training.networks.spec import MobileResnetConfig


class MobileResnetGenerator(nn.Module):
    """float32 [N, C_in, H, W] in -1..1 -> float32 [N, C_out, H, W] in -1..1; H, W multiples of 4."""

    def __init__(self, config: MobileResnetConfig) -> None:
        super().__init__()
        deepest = config.down[-1]
        self.model = nn.Sequential(
            *encoder_layers(config.in_channels, config.down, config.norm),
            *(MobileResnetBlock(deepest, inner, config) for inner in config.inner),
            *decoder_layers((deepest, *config.up), config.out_channels, config.norm, config.upsample),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class SeparableConv2d(nn.Module):
    """Depthwise 3x3, norm, pointwise 1x1."""

    def __init__(self, in_channels: int, out_channels: int, padding: int, norm: str) -> None:
        super().__init__()
        bias = has_bias(norm)
        self.conv = nn.Sequential(
            nn.Conv2d(in_channels, in_channels, 3, padding=padding, groups=in_channels, bias=bias),
            norm_layer(norm, in_channels),
            nn.Conv2d(in_channels, out_channels, 1, bias=bias),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class MobileResnetBlock(nn.Module):
    """x + two separable convolutions, `channels -> inner -> channels`."""

    def __init__(self, channels: int, inner: int, config: MobileResnetConfig) -> None:
        super().__init__()

        def conv(before: int, after: int) -> list[nn.Module]:
            zeros = 1 if config.padding == "zero" else 0
            return [
                *padding_layers(config.padding, 1),
                SeparableConv2d(before, after, zeros, config.norm),
                norm_layer(config.norm, after),
            ]

        slot = [nn.Dropout(0.5)] if config.dropout else []
        self.conv_block = nn.Sequential(*conv(channels, inner), nn.ReLU(True), *slot, *conv(inner, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)
