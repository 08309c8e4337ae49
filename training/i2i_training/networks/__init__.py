"""The networks; ResNets, U-Nets and patch discriminators keep the state-dict keys of the upstream repository.

Their files therefore travel both ways. `spec.py` holds the frozen options of each architecture,
`build_generator` turns options into a module.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from i2i_training.networks.compact import CompactGenerator
from i2i_training.networks.dcgan import DcganDiscriminator, DcganGenerator
from i2i_training.networks.discriminators import PatchDiscriminator
from i2i_training.networks.encoder_decoder import EncoderDecoderGenerator
from i2i_training.networks.init import Init, initialize_weights
from i2i_training.networks.macs import count_macs, count_parameters
from i2i_training.networks.mobile import MobileResnetGenerator
from i2i_training.networks.resnet import ResnetGenerator
from i2i_training.networks.spec import (
    CompactConfig,
    DcganConfig,
    EncoderDecoderConfig,
    GeneratorConfig,
    GeneratorSpec,
    MobileResnetConfig,
    ResnetConfig,
    UnetConfig,
    UnitConfig,
)
from i2i_training.networks.unet import UnetGenerator
from i2i_training.networks.unit import UnitNetworks, build_translator

__all__ = [
    "CompactConfig",
    "DcganConfig",
    "DcganDiscriminator",
    "EncoderDecoderConfig",
    "GeneratorConfig",
    "GeneratorSpec",
    "Init",
    "MobileResnetConfig",
    "PatchDiscriminator",
    "ResnetConfig",
    "UnetConfig",
    "UnitConfig",
    "UnitNetworks",
    "build_generator",
    "count_macs",
    "count_parameters",
    "initialize_weights",
]


GENERATORS: dict[type[GeneratorConfig], Callable[[Any], nn.Module]] = {
    ResnetConfig: ResnetGenerator,
    MobileResnetConfig: MobileResnetGenerator,
    UnetConfig: UnetGenerator,
    UnitConfig: build_translator,
    EncoderDecoderConfig: EncoderDecoderGenerator,
    CompactConfig: CompactGenerator,
    DcganConfig: DcganGenerator,
}


def build_generator(config: GeneratorConfig) -> nn.Module:
    """A generator with fresh weights: float32 [N, C_in, H, W] in -1..1 -> [N, C_out, H, W] in -1..1.

    H and W must be multiples of `config.multiple_of`. A sampler takes [N, latent] instead, from N(0, 1).
    """
    return GENERATORS[type(config)](config)
