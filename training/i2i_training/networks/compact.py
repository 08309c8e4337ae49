"""Generators made for the device: a 512x512 frame in a few milliseconds on two cores of a CPU.

What is slow there is left out: work at the picture's own resolution, transposed and depthwise
convolutions, norms that look at each frame. Pixels are folded into channels (Shi et al. 2016, "Real-Time
Single Image and Video Super-Resolution", https://arxiv.org/abs/1609.05158), and BatchNorm folds away in
export. A small branch that sees the whole frame gives gains and biases (as in Perez et al. 2018, FiLM,
https://arxiv.org/abs/1709.07871): it stands in for the InstanceNorm of larger networks, which makes colors
depend on the frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from i2i_training.networks.layers import build_norm_layer
from i2i_training.networks.spec import CompactConfig

OVERVIEW_STRIDE = 8  # pixels of the frame that one pixel of its overview is the mean of


class CompactGenerator(nn.Module):
    """float32 [N, C_in, H, W] in -1..1 -> float32 [N, C_out, H, W] in -1..1; H, W multiples of 4.

    While it trains, the output is not limited to -1..1, so that gradients pass.
    """

    def __init__(self, config: CompactConfig) -> None:
        super().__init__()
        w, half, norm = config.width, config.width // 2, config.norm
        # The first is a 3x3 convolution of 2x2 pixels folded into channels, without the folding.
        self.encode = nn.Sequential(
            *_build_conv(config.in_channels, half, norm, kernel=6, stride=2),
            *_build_conv(half, w, norm, stride=2),
        )
        self.blocks = nn.ModuleList(CompactBlock(w, norm) for _ in range(config.blocks))
        self.decode = nn.Sequential(
            *_build_conv(w, 2 * w, norm), nn.PixelShuffle(2), *_build_conv(half, half, norm)
        )
        self.last, self.unfold = nn.Conv2d(half, 4 * config.out_channels, 3, padding=1), nn.PixelShuffle(2)
        places = config.global_places
        self.places = {place * config.blocks // places: place for place in range(places)}  # block -> place
        self.branch = GlobalBranch(config.in_channels, w, places) if places else None
        same = config.in_channels == config.out_channels
        # How much of the input itself is in the picture, for each color: learned.
        self.input_gain = nn.Parameter(torch.ones(1, config.in_channels, 1, 1)) if same else None

    def forward(
        self, x: Tensor, overviews: Sequence[Tensor] | None = None, with_features: bool = False
    ) -> Any:
        """The picture.

        Args:
            x: float32 [N, C_in, H, W] in -1..1.
            overviews: what the branch looks at instead of `x`, where `x` is cut out of larger frames: of each
                frame [C_in, h, w], the means of 8x8 pixels.
            with_features: whether to return what each block gives, too.

        Returns:
            float32 [N, C_out, H, W]; with features (picture, one [N, width, H/4, W/4] for each block).
        """
        maps, features = self.encode(x), list[Tensor]()
        styles = self.branch(x if overviews is None else overviews) if self.branch is not None else []
        for number, block in enumerate(self.blocks):
            maps = block(maps, styles[self.places[number]] if number in self.places else None)
            features.append(maps)
        picture = self.unfold(self.last(self.decode(maps)))
        if self.input_gain is not None:
            picture = picture + self.input_gain * x
        if not self.training:
            picture = picture.clamp(-1, 1)
        return (picture, features) if with_features else picture


class CompactBlock(nn.Module):
    """x + conv(relu(gain * conv(x) + bias)), both 3x3; gain and bias are those of the frame, or 1 and 0.

    Args:
        channels: of the maps.
        norm: as in `build_norm_layer`.
    """

    def __init__(self, channels: int, norm: str) -> None:
        super().__init__()
        self.first, self.relu = nn.Sequential(*_build_conv(channels, channels, norm)[:-1]), nn.ReLU(True)
        self.second = nn.Sequential(*_build_conv(channels, channels, norm)[:-1])

    def forward(self, x: Tensor, style: tuple[Tensor, Tensor] | None = None) -> Tensor:
        maps = self.first(x)
        if style is not None:
            gain, bias = style
            maps = maps * gain + bias
        return x + self.second(self.relu(maps))


class GlobalBranch(nn.Module):
    """A gain and a bias per channel and place, from the frame as a whole.

    The frame is shrunken by average pooling, looked at by two strided convolutions, and averaged, so that
    its size does not matter. It begins with gains of 1 and biases of 0.

    Args:
        in_channels: of the frame.
        channels: of the maps that are changed.
        places: how many of them there are.
    """

    def __init__(self, in_channels: int, channels: int, places: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(OVERVIEW_STRIDE)
        self.look = nn.Sequential(
            nn.Conv2d(in_channels, 24, 3, stride=2, padding=1),
            nn.ReLU(True),
            nn.Conv2d(24, 48, 3, stride=2, padding=1),
            nn.ReLU(True),
        )
        self.hidden = nn.Sequential(nn.Conv2d(48, 64, 1), nn.ReLU(True))
        # Convolutions of one pixel, because every engine runs these.
        self.gains = nn.ModuleList(_build_zero_conv(64, channels) for _ in range(places))
        self.biases = nn.ModuleList(_build_zero_conv(64, channels) for _ in range(places))

    def forward(self, frames: Tensor | Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """[N, C, H, W], or of each frame its overview [C, h, w] -> for each place gain, bias [N, c, 1, 1]."""
        if isinstance(frames, Tensor):
            summary = self.look(self.pool(frames)).mean((2, 3), keepdim=True)
        else:
            summary = torch.cat([self.look(each[None]).mean((2, 3), keepdim=True) for each in frames])
        hidden = self.hidden(summary)
        return [(1 + gain(hidden), bias(hidden)) for gain, bias in zip(self.gains, self.biases, strict=True)]


def _build_zero_conv(before: int, after: int) -> nn.Conv2d:
    """A 1x1 convolution that gives zeros until it has learned something."""
    conv = nn.Conv2d(before, after, 1)
    nn.init.zeros_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


def _build_conv(before: int, after: int, norm: str, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    """A convolution with zeros around it, its norm, and ReLU."""
    padding = (kernel - 1) // 2
    conv = nn.Conv2d(before, after, kernel, stride=stride, padding=padding, bias=norm == "none")
    return [conv, build_norm_layer(norm, after), nn.ReLU(True)]
