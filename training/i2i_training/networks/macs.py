"""The size of a network: parameters, and multiplications that are really done."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(module: nn.Module) -> int:
    """Trainable numbers in the module."""
    return sum(p.numel() for p in module.parameters())


def count_macs(module: nn.Module, *shape: int) -> int:
    """Multiply-accumulates of one input [1, *shape]: channels, height, width; or a sampler's latent.

    Transposed convolutions count at the input's resolution: papers that count them at the output's
    (for example 56.8 G for ResNet-9 at 256x256) include multiplications by inserted zeros.
    Nothing is computed: shapes flow through a copy of the module on PyTorch's meta device.
    """
    shadow = copy.deepcopy(module).to("meta").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        shadow(torch.empty(1, *shape, device="meta"))
    return counter.get_total_flops() // 2  # a multiplication and an addition
