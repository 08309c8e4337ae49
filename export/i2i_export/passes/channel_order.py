"""BGR in and out at no cost: the first and the last convolution read their channels the other way round."""

from __future__ import annotations

import torch
from torch import nn

from i2i_sdk.errors import ExportError


def convert_to_bgr(module: nn.Module) -> int:
    """Change an RGB network in place to take and give BGR; returns 2, the convolutions it changed.

    The first and the last convolution in order of definition, which is the order of every generator here,
    must be the ones that see the image. Raises ExportError for one that has not 3 channels there.
    """
    layers = [m for m in module.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    if not layers or (layers[0].in_channels, layers[-1].out_channels) != (3, 3):
        raise ExportError("only a network with 3 channels in and out can be changed from RGB to BGR")
    first, last = layers[0], layers[-1]
    with torch.no_grad():
        first.weight.copy_(first.weight.flip(_get_channel_axis(first, is_input=True)))
        last.weight.copy_(last.weight.flip(_get_channel_axis(last, is_input=False)))
        if last.bias is not None:
            last.bias.copy_(last.bias.flip(0))
    return 2


def _get_channel_axis(conv: nn.Conv2d | nn.ConvTranspose2d, is_input: bool) -> int:
    """Where a weight has its input (or output) channels: transposed ones have them the other way round."""
    return int(is_input != isinstance(conv, nn.ConvTranspose2d))
