"""Upstream's networks, written down again from its `networks.py`, to compare ours with.

Nothing here imports this project: its layers in their order, in-place activations included.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def make_norm(kind: str, channels: int) -> nn.Module:
    return {"instance": nn.InstanceNorm2d, "batch": nn.BatchNorm2d, "none": nn.Identity}[kind](channels)


class UpstreamBlock(nn.Module):
    def __init__(self, channels: int, norm: str, padding: str, dropout: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for first in (True, False):
            pad = {"reflect": [nn.ReflectionPad2d(1)], "replicate": [nn.ReplicationPad2d(1)], "zero": []}
            layers += pad[padding]
            zeros = 1 if padding == "zero" else 0
            layers += [nn.Conv2d(channels, channels, 3, padding=zeros, bias=norm == "instance")]
            layers += [make_norm(norm, channels)]
            if first:
                layers += [nn.ReLU(True)] + ([nn.Dropout(0.5)] if dropout else [])
        self.conv_block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class UpstreamResnet(nn.Module):
    """ResnetGenerator(input_nc, output_nc, ngf, …, n_blocks, padding_type)."""

    def __init__(
        self, channels: tuple[int, int], ngf: int, norm: str, blocks: int, padding: str, dropout: bool
    ) -> None:
        super().__init__()
        bias = norm == "instance"
        net: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(channels[0], ngf, 7, bias=bias)]
        net += [make_norm(norm, ngf), nn.ReLU(True)]
        for n in (ngf, 2 * ngf):
            net += [nn.Conv2d(n, 2 * n, 3, 2, 1, bias=bias), make_norm(norm, 2 * n), nn.ReLU(True)]
        net += [UpstreamBlock(4 * ngf, norm, padding, dropout) for _ in range(blocks)]
        for n in (4 * ngf, 2 * ngf):
            up = nn.ConvTranspose2d(n, n // 2, 3, 2, padding=1, output_padding=1, bias=bias)
            net += [up, make_norm(norm, n // 2), nn.ReLU(True)]
        net += [nn.ReflectionPad2d(3), nn.Conv2d(ngf, channels[1], 7), nn.Tanh()]
        self.model = nn.Sequential(*net)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class UpstreamUnetBlock(nn.Module):
    """UnetSkipConnectionBlock: its LeakyReLU works in place on the x that is concatenated."""

    def __init__(
        self,
        outer: int,
        inner: int,
        norm: str,
        inside: nn.Module | None,
        dropout: bool = False,
        top: int | None = None,  # input channels of the outermost block
    ) -> None:
        super().__init__()
        self.outermost = top is not None
        bias = norm == "instance"
        down = nn.Conv2d(top or outer, inner, 4, 2, 1, bias=bias)
        up_in = inner if inside is None else 2 * inner
        up = nn.ConvTranspose2d(up_in, outer, 4, 2, 1, bias=bias or self.outermost)
        if self.outermost:
            layers = [down, inside, nn.ReLU(True), up, nn.Tanh()]
        elif inside is None:
            layers = [nn.LeakyReLU(0.2, True), down, nn.ReLU(True), up, make_norm(norm, outer)]
        else:
            layers = [nn.LeakyReLU(0.2, True), down, make_norm(norm, inner), inside]
            layers += [nn.ReLU(True), up, make_norm(norm, outer)] + ([nn.Dropout(0.5)] if dropout else [])
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x) if self.outermost else torch.cat([x, self.model(x)], 1)


class UpstreamUnet(nn.Module):
    """UnetGenerator(input_nc, output_nc, num_downs, ngf, …)."""

    def __init__(self, channels: tuple[int, int], ngf: int, norm: str, downs: int, dropout: bool) -> None:
        super().__init__()
        block = UpstreamUnetBlock(8 * ngf, 8 * ngf, norm, None)
        for _ in range(downs - 5):
            block = UpstreamUnetBlock(8 * ngf, 8 * ngf, norm, block, dropout)
        for outer in (4 * ngf, 2 * ngf, ngf):
            block = UpstreamUnetBlock(outer, 2 * outer, norm, block)
        self.model = UpstreamUnetBlock(channels[1], ngf, norm, block, top=channels[0])

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)
