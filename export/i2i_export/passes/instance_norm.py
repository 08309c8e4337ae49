"""InstanceNorm -> means, for engines that lack it or keep its statistics in half precision."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from i2i_export.passes.replace import replace_layers


class ReducedInstanceNorm(nn.Module):
    """float [N, C, H, W] -> the same shape and type: (x - mean) / sqrt(variance + eps) * gain + bias.

    The variance is that of all H x W values (not Bessel's), and all of it is computed in float32 at least.
    """

    def __init__(self, norm: nn.InstanceNorm2d) -> None:
        super().__init__()
        self.eps = norm.eps
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, x: Tensor) -> Tensor:
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        centerd = exact - exact.mean((2, 3), keepdim=True)
        variance = (centerd * centerd).mean((2, 3), keepdim=True)
        y = centerd * torch.rsqrt(variance + self.eps)
        if self.weight is not None:
            y = y * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)
        return y.to(x.dtype)


def replace_instance_norm(module: nn.Module) -> int:
    """Replace in place every InstanceNorm2d that computes its own statistics; returns how many."""

    def build(norm: nn.InstanceNorm2d) -> nn.Module | None:
        return None if norm.track_running_stats else ReducedInstanceNorm(norm)

    return replace_layers(module, nn.InstanceNorm2d, build)
