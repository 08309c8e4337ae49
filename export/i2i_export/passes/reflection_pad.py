"""ReflectionPad -> slices and concatenation, for engines that lack it (CoreML with flexible shapes)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from i2i_export.passes.replace import replace_layers


class SlicedReflectionPad2d(nn.Module):
    """float32 [N, C, H, W] -> [N, C, top + H + bottom, left + W + right], borders mirrored; exact."""

    def __init__(self, padding: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.padding = padding  # left, right, top, bottom, as PyTorch counts them

    def forward(self, x: Tensor) -> Tensor:
        left, right, top, bottom = self.padding
        return mirror(mirror(x, -1, left, right), -2, top, bottom)


def mirror(x: Tensor, axis: int, before: int, after: int) -> Tensor:
    """Mirror an image at both ends of an axis; the outermost line itself is not repeated.

    Args:
        x: float32 [N, C, H, W].
        axis: that becomes longer.
        before: lines more at its beginning, fewer than it has.
        after: lines more at its end, likewise.

    Returns:
        The longer image.
    """
    size = x.shape[axis]
    head = [x.narrow(axis, i, 1) for i in range(before, 0, -1)]
    tail = [x.narrow(axis, size - 2 - i, 1) for i in range(after)]
    return torch.cat([*head, x, *tail], axis)


def replace_reflection_pad(module: nn.Module) -> int:
    """Replace every ReflectionPad2d in place; returns how many."""
    return replace_layers(module, nn.ReflectionPad2d, lambda pad: SlicedReflectionPad2d(pad.padding))
