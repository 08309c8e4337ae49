"""Small trained-looking generators, saved once per session."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from i2i_training.checkpoint import save_generator
from i2i_training.networks import (
    GeneratorConfig,
    GeneratorSpec,
    MobileResnetConfig,
    ResnetConfig,
    UnetConfig,
    build_generator,
    initialise,
)

SMALL: dict[str, GeneratorConfig] = {
    "resnet": ResnetConfig(width=8, blocks=2),
    "resnet_batch": ResnetConfig(width=8, blocks=2, norm="batch", upsample="bilinear"),
    "resnet_none": ResnetConfig(width=8, blocks=2, norm="none", padding="zero", upsample="nearest"),
    "resnet_gray": ResnetConfig(width=8, blocks=1, in_channels=1, out_channels=3, padding="replicate"),
    "mobile": MobileResnetConfig(down=(8, 12, 16), inner=(8, 20), up=(12, 8), norm="batch"),
    "unet": UnetConfig(width=8, downs=5),
    "unet_instance": UnetConfig(width=8, downs=6, norm="instance"),
}


def make_generator(config: GeneratorConfig) -> torch.nn.Module:
    """Weights with structure: kaiming, and BatchNorm statistics that are far from 0 and 1."""
    torch.manual_seed(0)
    module = initialise(build_generator(config), "kaiming")
    for name, value in module.state_dict().items():
        if name.endswith("running_mean"):
            value.normal_(0.0, 0.5)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 2.0)
        elif value.dim() == 1 and value.is_floating_point():
            value.add_(0.1 * torch.randn_like(value))
    return module


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One .safetensors per small network; BatchNorm ones on running statistics."""
    folder = tmp_path_factory.mktemp("checkpoints")
    paths: dict[str, Path] = {}
    for name, config in SMALL.items():
        spec = GeneratorSpec(config, norm_mode="running_stats" if config.norm == "batch" else "none", steps=1)
        paths[name] = save_generator(
            folder / f"{name}.safetensors", make_generator(config), replace(spec, size=64)
        )
    return paths
