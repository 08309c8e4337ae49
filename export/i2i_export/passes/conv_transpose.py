"""Transposed convolutions that double the size, in forms that more engines take, and INT8 too.

A transposed convolution of stride 2 writes, for each input value x[j], its kernel around 2j: output o gets
x[j] * w[t] where o = 2j + t - padding. So the outputs of one parity, o = 2i + r, see only the taps with
t = r + padding (mod 2), at j = i + (r + padding - t) / 2: four small ordinary convolutions, one for each
parity of row and column, whose outputs interleave. The multiplications are the same, only sorted.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i_export.passes.replace import replace_layers


def is_doubling(conv: nn.ConvTranspose2d) -> bool:
    """Does it make every size exactly twice as large, with one group and square in everything?"""
    kernel, padding, extra = conv.kernel_size, conv.padding, conv.output_padding
    square = all(pair[0] == pair[1] for pair in (kernel, padding, extra))
    plain = conv.stride == (2, 2) and conv.dilation == (1, 1) and conv.groups == 1
    # The output has 2 * size - 2 - 2 * padding + kernel + output_padding values on a side.
    return square and plain and kernel[0] > 1 and kernel[0] + extra[0] == 2 + 2 * int(padding[0])


def make_kernels_even(module: nn.Module) -> int:
    """Replace in place k3 s2 p1 op1 by k4 s2 p1 op0 with a zero-padded kernel; returns how many.

    For engines without output padding (LiteRT).
    """

    def build(conv: nn.ConvTranspose2d) -> nn.Module | None:
        if not is_doubling(conv) or conv.kernel_size != (3, 3):
            return None
        new = nn.ConvTranspose2d(conv.in_channels, conv.out_channels, 4, stride=2, padding=1, bias=False)
        # Tap 3 would reach what output padding alone made room for: it is zero.
        new.weight, new.bias = nn.Parameter(F.pad(conv.weight, (0, 1, 0, 1))), conv.bias
        return new

    return replace_layers(module, nn.ConvTranspose2d, build)


def replace_transposed_convolutions(module: nn.Module) -> int:
    """Replace in place every transposed convolution that doubles the size; returns how many."""
    return replace_layers(
        module, nn.ConvTranspose2d, lambda conv: ParityConvolutions(conv) if is_doubling(conv) else None
    )


class ParityConvolutions(nn.Module):
    """float32 [N, C_in, H, W] -> [N, C_out, 2H, 2W]: a convolution per parity, then depth to space."""

    def __init__(self, conv: nn.ConvTranspose2d) -> None:
        super().__init__()
        rows = [compute_taps(conv.kernel_size[0], int(conv.padding[0]), parity) for parity in (0, 1)]
        self.pads: list[tuple[int, int, int, int]] = []
        self.parts = nn.ModuleList()
        for row in rows:
            for column in rows:
                weight = conv.weight[:, :, row.taps][:, :, :, column.taps].transpose(0, 1)
                kernel = len(row.taps), len(column.taps)
                part = nn.Conv2d(conv.in_channels, conv.out_channels, kernel, bias=False).to(weight)
                part.weight = nn.Parameter(weight.contiguous())
                part.bias = None if conv.bias is None else nn.Parameter(conv.bias.clone())
                self.parts.append(part)
                self.pads.append((*column.pads, *row.pads))

    def forward(self, x: Tensor) -> Tensor:
        parities = [part(F.pad(x, pad)) for part, pad in zip(self.parts, self.pads, strict=True)]
        # pixel_shuffle reads channel 4c + 2 * row + column.
        return F.pixel_shuffle(torch.stack(parities, 2).flatten(1, 2), 2)


class Taps(NamedTuple):
    """Along one axis, what the outputs of one parity see."""

    taps: list[int]  # of the transposed kernel, in the order of the inputs they multiply
    pads: tuple[int, int]  # zeros before and after the input


def compute_taps(kernel: int, padding: int, parity: int) -> Taps:
    """The taps of outputs 2i + parity, from the smallest input j to the largest.

    Args:
        kernel: size of the transposed kernel, in taps.
        padding: of the transposed convolution, in values.
        parity: 0 or 1.

    Returns:
        The taps, and the zeros that the input needs around it.

    Example:
        >>> compute_taps(4, 1, 0)
        Taps(taps=[3, 1], pads=(1, 0))
        >>> compute_taps(3, 1, 1)
        Taps(taps=[2, 0], pads=(0, 1))
    """
    offsets = {(parity + padding - t) // 2: t for t in range(kernel) if (parity + padding - t) % 2 == 0}
    order = sorted(offsets)
    return Taps([offsets[offset] for offset in order], (-order[0], order[-1]))
