"""Discriminators: a map of "real or fake" scores, one per patch (Isola et al. 2017, section 3.2.2)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from i2i_training.networks.layers import build_norm_layer, has_bias


class PatchDiscriminator(nn.Module):
    """PatchGAN. Scores are raw (no sigmoid).

    Args:
        in_channels: of all images together.
        width: channels after the first convolution.
        layers: further convolutions before the last; 3 judge 70x70 patches. Sides must be at least
            3 * 2**layers: six layers, the most that UNIT uses, take 192 pixels and more.
        norm: as in `build_norm_layer`.
        spectral_norm: divide every weight by its largest singular value (Miyato et al. 2018,
            arXiv:1802.05957); the keys of the weights change with it.

    `forward(y)` judges an image; `forward(x, y)` is the conditional one, which sees input and output
    together: build it with `in_channels` = channels of x + channels of y.
    float32 [N, C, H, W] each -> float32 [N, 1, h, w].
    """

    def __init__(
        self,
        in_channels: int = 3,
        width: int = 64,
        layers: int = 3,
        norm: str = "instance",
        spectral_norm: bool = False,
    ) -> None:
        super().__init__()
        widths = [width * min(2**n, 8) for n in range(layers + 1)]
        strides = [2] * (layers - 1) + [1]
        net = build_judge_layers(in_channels, widths, strides, norm, bias=has_bias(norm))
        self.model = nn.Sequential(*net, nn.Conv2d(widths[-1], 1, 4, stride=1, padding=1))
        if spectral_norm:
            add_spectral_norm(self)

    def forward(self, *images: Tensor) -> Tensor:
        return self.model(torch.cat(images, 1))


def build_judge_layers(
    in_channels: int, widths: Sequence[int], strides: Sequence[int], norm: str, bias: bool
) -> list[nn.Module]:
    """4x4 convolutions, each with LeakyReLU, all but the first with a norm.

    Args:
        in_channels: of the images.
        widths: channels after each convolution.
        strides: of all but the first, which has 2.
        norm: see `build_norm_layer`.
        bias: whether convolutions before a norm have one.

    Returns:
        [N, in_channels, H, W] -> [N, widths[-1], h, w].
    """
    layers = [nn.Conv2d(in_channels, widths[0], 4, stride=2, padding=1), nn.LeakyReLU(0.2, True)]
    for (before, after), stride in zip(pairwise(widths), strides, strict=True):
        layers += [nn.Conv2d(before, after, 4, stride=stride, padding=1, bias=bias)]
        layers += [build_norm_layer(norm, after), nn.LeakyReLU(0.2, True)]
    return layers


def add_spectral_norm(module: nn.Module) -> None:
    """Divide the weight of every convolution in `module` by its largest singular value, in place."""
    for layer in list(module.modules()):
        if isinstance(layer, nn.Conv2d):
            parametrizations.spectral_norm(layer)
