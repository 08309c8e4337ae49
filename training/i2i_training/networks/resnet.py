"""ResNet generator of CycleGAN: https://arxiv.org/abs/1703.10593, section 7.1."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from i2i_training.networks.layers import (
    ResidualBlock,
    build_norm_layer,
    build_padding_layers,
    build_upsample_layers,
    has_bias,
)
from i2i_training.networks.spec import ResnetConfig


class ResnetGenerator(nn.Module):
    """float32 [N, C_in, H, W] in -1..1 -> float32 [N, C_out, H, W] in -1..1; H, W multiples of 4."""

    def __init__(self, config: ResnetConfig) -> None:
        super().__init__()
        w = config.width
        blocks = [build_resnet_block(4 * w, config) for _ in range(config.blocks)]
        self.model = nn.Sequential(
            *build_encoder_layers(config.in_channels, (w, 2 * w, 4 * w), config.norm),
            *blocks,
            *build_decoder_layers((4 * w, 2 * w, w), config.out_channels, config.norm, config.upsample),
        )

    def forward(self, x: Tensor, layers: Sequence[int] = (), picture: bool = True) -> Any:
        """The picture; with `layers` also what those layers of `model` give, or that alone.

        Args:
            x: float32 [N, C_in, H, W] in -1..1.
            layers: rising numbers, see `patch_features.select_feature_layers`.
            picture: whether what comes after the last of them runs, too.

        Returns:
            float32 [N, C_out, H, W] in -1..1; with `layers` (picture, features), one [N, C, h, w] for each
            number; without `picture` the features.
        """
        if not layers:
            return self.model(x)
        features: list[Tensor] = []
        for number in range(len(self.model) if picture else layers[-1] + 1):
            x = self.model[number](x)
            if number in layers:
                features.append(x.clone())  # the ReLU that follows may work in place
        return (x, features) if picture else features


def build_resnet_block(channels: int, config: ResnetConfig) -> ResidualBlock:
    """x + conv(relu(conv(x))), both 3x3, normalized; nothing after the sum."""

    def build_conv() -> list[nn.Module]:
        padding, zeros = build_padding_layers(config.padding, 1)
        conv = nn.Conv2d(channels, channels, 3, padding=zeros, bias=has_bias(config.norm))
        return [*padding, conv, build_norm_layer(config.norm, channels)]

    slot = [nn.Dropout(0.5)] if config.dropout else []
    return ResidualBlock(*build_conv(), nn.ReLU(True), *slot, *build_conv())


def build_encoder_layers(in_channels: int, widths: Sequence[int], norm: str) -> list[nn.Module]:
    """A 7x7 convolution and two strided 3x3 ones.

    Args:
        in_channels: of the input.
        widths: channels after each of the three.
        norm: after each of them.

    Returns:
        [N, in_channels, H, W] -> [N, widths[-1], H/4, W/4].
    """
    bias = has_bias(norm)
    layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(in_channels, widths[0], 7, bias=bias)]
    layers += [build_norm_layer(norm, widths[0]), nn.ReLU(True)]
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=bias)]
        layers += [build_norm_layer(norm, after), nn.ReLU(True)]
    return layers


def build_decoder_layers(
    widths: Sequence[int], out_channels: int, norm: str, upsample: str
) -> list[nn.Module]:
    """Two doublings and a 7x7 convolution with tanh.

    Args:
        widths: channels before the first doubling, and after each.
        out_channels: of the output.
        norm: after each doubling.
        upsample: as in `build_upsample_layers`.

    Returns:
        [N, widths[0], H, W] -> [N, out_channels, 4 H, 4 W] in -1..1.
    """
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += build_upsample_layers(upsample, before, after, has_bias(norm))
        layers += [build_norm_layer(norm, after), nn.ReLU(True)]
    return [*layers, nn.ReflectionPad2d(3), nn.Conv2d(widths[-1], out_channels, 7), nn.Tanh()]
