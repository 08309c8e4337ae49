"""The networks, with the state-dict keys of the upstream CycleGAN and pix2pix repository.

Files therefore travel both ways. `spec.py` holds the frozen options of each architecture,
`build_generator` turns options into a module.
"""

from __future__ import annotations

from torch import nn

from i2i_training.networks.discriminators import PatchDiscriminator, PixelDiscriminator
from i2i_training.networks.init import INITS, initialise
from i2i_training.networks.macs import count_macs, count_parameters
from i2i_training.networks.mobile import MobileResnetGenerator
from i2i_training.networks.resnet import ResnetGenerator
from i2i_training.networks.spec import (
    GeneratorConfig,
    GeneratorSpec,
    MobileResnetConfig,
    ResnetConfig,
    UnetConfig,
)
from i2i_training.networks.unet import UnetGenerator

__all__ = [
    "INITS",
    "GeneratorConfig",
    "GeneratorSpec",
    "MobileResnetConfig",
    "MobileResnetGenerator",
    "PatchDiscriminator",
    "PixelDiscriminator",
    "ResnetConfig",
    "ResnetGenerator",
    "UnetConfig",
    "UnetGenerator",
    "build_generator",
    "count_macs",
    "count_parameters",
    "initialise",
]


def build_generator(config: GeneratorConfig) -> nn.Module:
    """A generator with fresh weights: float32 [N, C_in, H, W] in -1..1 -> [N, C_out, H, W] in -1..1.

    H and W must be multiples of `config.multiple_of`.
    """
    match config:
        case ResnetConfig():
            return ResnetGenerator(config)
        case MobileResnetConfig():
            return MobileResnetGenerator(config)
        case UnetConfig():
            return UnetGenerator(config)
