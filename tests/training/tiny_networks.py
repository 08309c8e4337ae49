"""Small generators with weights that matter, of every architecture."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from i2i_training import networks

CONFIGS: list[networks.GeneratorConfig] = [
    networks.ResnetConfig(width=2, blocks=2),
    networks.ResnetConfig(1, 2, width=3, blocks=1, norm="batch", dropout=True),
    networks.ResnetConfig(2, 1, width=1, blocks=3, norm="none", padding="zero"),
    networks.ResnetConfig(width=2, blocks=1, norm="batch", padding="zero", upsample="nearest", dropout=True),
    networks.MobileResnetConfig(down=(2, 3, 5), inner=(4, 1, 7), up=(6, 2)),
    networks.MobileResnetConfig(
        1, 2, down=(3, 1, 2), inner=(2,), up=(1, 4), padding="zero", upsample="nearest"
    ),
    networks.MobileResnetConfig(down=(2, 2, 2), inner=(3, 2), up=(2, 2), norm="batch", dropout=False),
    networks.UnetConfig(width=1, downs=5),
    networks.UnetConfig(1, 4, width=2, downs=6, norm="instance"),
    networks.UnetConfig(2, 1, width=1, downs=7, norm="none"),
]


def randomize_statistics(module: nn.Module) -> nn.Module:
    """Weights large enough to matter, and running statistics that are not 0 and 1."""
    networks.initialize_weights(module, gain=0.3)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean, 0.0, 0.3)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0.0, 0.2)
            layer.num_batches_tracked.fill_(7)
    return module


def make_tiny_network(config: networks.GeneratorConfig, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return randomize_statistics(networks.build_generator(config))


def make_spec(config: networks.GeneratorConfig, **history: object) -> networks.GeneratorSpec:
    """As a recipe writes it: BatchNorm on batch statistics."""
    mode = "batch_stats" if config.norm == "batch" else "none"
    return networks.GeneratorSpec(config, **{"norm_mode": mode, **history})


def make_picture(config: networks.GeneratorConfig, batch: int = 2, seed: int = 1) -> Tensor:
    """float32 [N, C, H, W] in -1..1, sides that the network takes."""
    side = max(16, config.multiple_of)
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, config.in_channels, side, 2 * side, generator=generator) * 2 - 1


def has_same_weights(a: nn.Module, b: nn.Module) -> bool:
    """Same names, types and bits, on whatever device."""
    x, y = a.state_dict(), b.state_dict()
    same_types = [(k, v.dtype) for k, v in x.items()] == [(k, v.dtype) for k, v in y.items()]
    return same_types and all(torch.equal(x[k].cpu(), y[k].cpu()) for k in x)


def assert_same(a: Any, b: Any, where: str = "state") -> int:
    """Every number, bit for bit; returns how many tensors there were."""
    assert type(a) is type(b), where
    if isinstance(a, dict):
        assert list(a) == list(b), where
        return sum(assert_same(a[key], b[key], f"{where}.{key}") for key in a)
    if isinstance(a, list | tuple):
        assert len(a) == len(b), where
        return sum(assert_same(x, y, f"{where}[{i}]") for i, (x, y) in enumerate(zip(a, b, strict=True)))
    if isinstance(a, Tensor):
        torch.testing.assert_close(a.cpu(), b.cpu(), rtol=0, atol=0, equal_nan=True, msg=where)
        return 1
    assert a == b, where
    return 0
