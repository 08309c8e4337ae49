"""Upstream's networks, written down again from its `networks.py`, to compare ours with.

Nothing here imports this project. `*_keys` are the rules of its state-dict keys, in file order; the modules
are its forward passes with its layer order, in-place activations included.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def list_conv_keys(name: str, bias: bool) -> list[str]:
    return [f"{name}.weight"] + ([f"{name}.bias"] if bias else [])


def list_conv_norm_keys(conv: str, norm_slot: str, norm: str) -> list[str]:
    """Only InstanceNorm nets have a bias before the norm; only BatchNorm has numbers of its own."""
    norm_keys = [f"{norm_slot}.{k}" for k in BATCH_NORM] if norm == "batch" else []
    return list_conv_keys(conv, norm == "instance") + norm_keys


def find_block_convs(padding: str, dropout: bool) -> tuple[int, int]:
    """Where a residual block's two convolutions are: [pad] conv norm relu [dropout] [pad] conv norm."""
    first, second = (0, 3) if padding == "zero" else (1, 5)
    return first, second + dropout


def list_resnet_keys(
    blocks: int, norm: str, padding: str = "reflect", dropout: bool = False, resize: bool = False
) -> list[str]:
    """pad conv norm relu, twice conv norm relu, blocks from 10, twice up norm relu, pad conv tanh.

    An "up" is one layer (transposed convolution), or three when resizing: upsample, pad, convolution.
    """
    keys = [k for i in (1, 4, 7) for k in list_conv_norm_keys(f"model.{i}", f"model.{i + 1}", norm)]
    for block in range(10, 10 + blocks):
        for i in find_block_convs(padding, dropout):
            slot = f"model.{block}.conv_block"
            keys += list_conv_norm_keys(f"{slot}.{i}", f"{slot}.{i + 1}", norm)
    for i in (2, 7) if resize else (0, 3):
        keys += list_conv_norm_keys(f"model.{10 + blocks + i}", f"model.{11 + blocks + i}", norm)
    return keys + list_conv_keys(f"model.{10 + blocks + (11 if resize else 7)}", True)


def list_mobile_keys(blocks: int, padding: str = "reflect", dropout: bool = True) -> list[str]:
    """GAN Compression: as the ResNet, each block convolution being .conv.0 (depthwise), .conv.2 (1x1)."""
    keys: list[str] = []
    for key in list_resnet_keys(blocks, "instance", padding, dropout):
        if ".conv_block." not in key:
            keys.append(key)
        elif key.endswith(".weight"):
            conv = key.removesuffix(".weight")
            keys += list_conv_keys(f"{conv}.conv.0", True) + list_conv_keys(f"{conv}.conv.2", True)
    return keys


def list_unet_keys(downs: int, norm: str) -> list[str]:
    """Each level inside the one above, at index 1 of the outermost and index 3 of the others.

    outermost: conv [inside] relu up tanh; between: leaky conv norm [inside] relu up norm (dropout);
    innermost: leaky conv relu up norm.
    """

    def list_level_keys(prefix: str, left: int) -> list[str]:
        if left == 1:
            up = list_conv_norm_keys(f"{prefix}.3", f"{prefix}.4", norm)
            return list_conv_keys(f"{prefix}.1", norm == "instance") + up
        return [
            *list_conv_norm_keys(f"{prefix}.1", f"{prefix}.2", norm),
            *list_level_keys(f"{prefix}.3.model", left - 1),
            *list_conv_norm_keys(f"{prefix}.5", f"{prefix}.6", norm),
        ]

    return [
        *list_conv_keys("model.model.0", norm == "instance"),
        *list_level_keys("model.model.1.model", downs - 1),
        *list_conv_keys("model.model.3", True),
    ]


def list_patch_keys(layers: int, norm: str) -> list[str]:
    """conv leaky, then `layers` times conv norm leaky from index 2, then conv."""
    keys = list_conv_keys("model.0", True)
    for i in range(2, 2 + 3 * layers, 3):
        keys += list_conv_norm_keys(f"model.{i}", f"model.{i + 1}", norm)
    return keys + list_conv_keys(f"model.{2 + 3 * layers}", True)


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
