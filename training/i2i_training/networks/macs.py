"""The size of a network: parameters, and multiplications that are really done."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn


def count_parameters(module: nn.Module) -> int:
    """Trainable numbers in the module."""
    return sum(p.numel() for p in module.parameters())


def count_macs(module: nn.Module, *shape: int) -> int:
    """Multiply-accumulates of one input [1, *shape]: channels, height, width; or a sampler's latent.

    Transposed convolutions count at the input's resolution: papers that count them at the output's
    (for example 56.8 G for ResNet-9 at 256x256) include multiplications by inserted zeros.
    Nothing is computed: shapes flow through a copy of the module on PyTorch's meta device.
    """
    total = 0

    def add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
        positions = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
        per_position = layer.in_channels * layer.out_channels // layer.groups * math.prod(layer.kernel_size)
        total += per_position * math.prod(positions.shape[-2:])

    shadow = copy.deepcopy(module).to("meta").eval()
    for layer in shadow.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_hook(add)
    with torch.no_grad():
        shadow(torch.empty(1, *shape, device="meta"))
    return total
