"""Changes to a module that keep its pictures: BatchNorm as it runs at test time."""

from __future__ import annotations

import copy
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from i2i_export.passes.replace import replace_layers
from i2i_training.networks.mobile import SeparableConv2d


def prepare_for_export(module: nn.Module, norm_mode: str) -> nn.Module:
    """A copy of `module` in eval mode whose normalization an engine can run; the original stays as it is.

    "batch_stats": BatchNorm on the statistics of a batch of one is InstanceNorm with the same gain and
    bias, exactly. "running_stats": BatchNorm is folded into the convolution before it.
    """
    module = copy.deepcopy(module)
    if norm_mode == "batch_stats":
        replace_batch_norm(module)
    elif norm_mode == "running_stats":
        fold_batch_norm(module.eval())
    return module.eval()


def replace_batch_norm(module: nn.Module) -> None:
    """Replace every BatchNorm2d in place by an InstanceNorm2d with its gain, bias and epsilon."""

    def build(old: nn.BatchNorm2d) -> nn.Module:
        new = nn.InstanceNorm2d(old.num_features, old.eps, affine=True).to(old.weight)
        new.load_state_dict({"weight": old.weight, "bias": old.bias})
        return new

    replace_layers(module, nn.BatchNorm2d, build)


def fold_batch_norm(module: nn.Module) -> None:
    """Fold every BatchNorm2d (eval mode) into the convolution before it; Identity takes its slot."""
    for parent in list(module.modules()):
        if not isinstance(parent, nn.Sequential):
            continue
        for before, name in pairwise(parent._modules):
            norm = parent[int(name)]
            if not isinstance(norm, nn.BatchNorm2d):
                continue
            holder, slot = _find_last_convolution(parent, before)
            conv = holder._modules[slot]
            if not isinstance(conv, nn.Conv2d | nn.ConvTranspose2d):
                continue  # a BatchNorm after something else stays one, which engines run too
            transposed = isinstance(conv, nn.ConvTranspose2d)
            holder._modules[slot] = fuse_conv_bn_eval(conv, norm, transpose=transposed)  # pyright: ignore[reportArgumentType]
            parent._modules[name] = nn.Identity()


def _find_last_convolution(parent: nn.Sequential, name: str) -> tuple[nn.Sequential, str]:
    """Where the convolution just before a norm lives: in `parent`, or last inside a separable one."""
    layer = parent._modules[name]
    if isinstance(layer, SeparableConv2d):
        return layer.conv, list(layer.conv._modules)[-1]
    return parent, name
