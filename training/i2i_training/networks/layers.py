"""The small choices that every generator shares: normalization, padding, upsampling."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class InstanceNorm(nn.InstanceNorm2d):
    """InstanceNorm without weights, whose statistics are float32 at least.

    On bfloat16 PyTorch keeps the mean in bfloat16 as well: where it is 5 standard deviations from zero
    that makes 7 times the rounding error. On a CPU it was the slower one too (5.3 against 2.5 ms once).
    """

    def forward(self, input: Tensor) -> Tensor:
        exact = input.to(torch.promote_types(input.dtype, torch.float32))
        return super().forward(exact).to(input.dtype)


NORMS = {"instance": InstanceNorm, "batch": nn.BatchNorm2d, "none": nn.Identity}


class ResidualBlock(nn.Module):
    """x + what `layers` make of it."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


def build_norm_layer(kind: str, channels: int) -> nn.Module:
    """The layer after a convolution; Identity keeps the index in a Sequential, as upstream does."""
    return NORMS[kind](channels)


def has_bias(norm: str) -> bool:
    """Upstream's rule: only InstanceNorm nets have biases in the convolutions before the norm."""
    return norm == "instance"


def build_padding_layers(kind: str, pixels: int) -> tuple[list[nn.Module], int]:
    """The padding module before a convolution, and the zeros that the convolution adds itself."""
    if kind == "zero":
        return [], pixels
    return [nn.ReflectionPad2d(pixels) if kind == "reflect" else nn.ReplicationPad2d(pixels)], 0


def build_upsample_layers(kind: str, in_channels: int, out_channels: int, bias: bool) -> list[nn.Module]:
    """Double height and width.

    Args:
        kind: "transpose" is a transposed convolution; "nearest" and "bilinear" resize before a convolution,
            which leaves no checkerboard.
        in_channels: of the maps.
        out_channels: of the doubled ones.
        bias: whether the convolution has one.

    Returns:
        [N, in_channels, H, W] -> [N, out_channels, 2 H, 2 W].
    """
    if kind == "transpose":
        return [nn.ConvTranspose2d(in_channels, out_channels, 3, 2, padding=1, output_padding=1, bias=bias)]
    resize = nn.Upsample(scale_factor=2.0, mode=kind, align_corners=None if kind == "nearest" else False)
    return [resize, nn.ReflectionPad2d(1), nn.Conv2d(in_channels, out_channels, 3, bias=bias)]
