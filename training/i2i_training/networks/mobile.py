"""ResNet generator with separable blocks and a width per layer: https://arxiv.org/abs/2003.08936."""

from __future__ import annotations

from torch import Tensor, nn

from i2i_training.networks.layers import ResidualBlock, build_norm_layer, build_padding_layers, has_bias
from i2i_training.networks.resnet import build_decoder_layers, build_encoder_layers
from i2i_training.networks.spec import MobileResnetConfig


class MobileResnetGenerator(nn.Module):
    """float32 [N, C_in, H, W] in -1..1 -> float32 [N, C_out, H, W] in -1..1; H, W multiples of 4."""

    def __init__(self, config: MobileResnetConfig) -> None:
        super().__init__()
        deepest = config.down[-1]
        self.model = nn.Sequential(
            *build_encoder_layers(config.in_channels, config.down, config.norm),
            *(_build_block(deepest, inner, config) for inner in config.inner),
            *build_decoder_layers((deepest, *config.up), config.out_channels, config.norm, config.upsample),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class SeparableConv2d(nn.Module):
    """Depthwise 3x3, norm, pointwise 1x1.

    Args:
        in_channels: of the maps.
        out_channels: of the result.
        padding: zeros around the maps, in pixels.
        norm: as in `build_norm_layer`.
    """

    def __init__(self, in_channels: int, out_channels: int, padding: int, norm: str) -> None:
        super().__init__()
        bias = has_bias(norm)
        self.conv = nn.Sequential(
            nn.Conv2d(in_channels, in_channels, 3, padding=padding, groups=in_channels, bias=bias),
            build_norm_layer(norm, in_channels),
            nn.Conv2d(in_channels, out_channels, 1, bias=bias),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


def _build_block(channels: int, inner: int, config: MobileResnetConfig) -> ResidualBlock:
    """x + two separable convolutions, `channels -> inner -> channels`."""

    def build_conv(before: int, after: int) -> list[nn.Module]:
        padding, zeros = build_padding_layers(config.padding, 1)
        conv = SeparableConv2d(before, after, zeros, config.norm)
        return [*padding, conv, build_norm_layer(config.norm, after)]

    slot = [nn.Dropout(0.5)] if config.dropout else []
    return ResidualBlock(*build_conv(channels, inner), nn.ReLU(True), *slot, *build_conv(inner, channels))
