"""The networks; ResNets, U-Nets and patch discriminators keep the state-dict keys of the upstream repository.

Their files therefore travel both ways. `spec.py` holds the frozen options of each architecture,
`build_generator` turns options into a module.
"""

from __future__ import annotations

from torch import nn

from i2i_training.networks.dcgan import DcganDiscriminator, DcganGenerator
from i2i_training.networks.discriminators import PatchDiscriminator
from i2i_training.networks.encoder_decoder import EncoderDecoderGenerator
from i2i_training.networks.init import INITS, Init, initialize_weights
from i2i_training.networks.macs import count_macs, count_parameters
from i2i_training.networks.mobile import MobileResnetGenerator
from i2i_training.networks.patch_features import PatchSampler, count_feature_channels, select_feature_layers
from i2i_training.networks.resnet import ResnetGenerator
from i2i_training.networks.spec import (
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
from i2i_training.networks.unit import UnitNetworks, UnitOutputs, UnitTranslator

__all__ = [
    "INITS",
    "DcganConfig",
    "DcganDiscriminator",
    "DcganGenerator",
    "EncoderDecoderConfig",
    "EncoderDecoderGenerator",
    "GeneratorConfig",
    "GeneratorSpec",
    "Init",
    "MobileResnetConfig",
    "MobileResnetGenerator",
    "PatchDiscriminator",
    "PatchSampler",
    "ResnetConfig",
    "ResnetGenerator",
    "UnetConfig",
    "UnetGenerator",
    "UnitConfig",
    "UnitNetworks",
    "UnitOutputs",
    "UnitTranslator",
    "build_generator",
    "count_feature_channels",
    "count_macs",
    "count_parameters",
    "initialize_weights",
    "select_feature_layers",
]


def build_generator(config: GeneratorConfig) -> nn.Module:
    """A generator with fresh weights: float32 [N, C_in, H, W] in -1..1 -> [N, C_out, H, W] in -1..1.

    H and W must be multiples of `config.multiple_of`. A sampler takes [N, latent] instead, from N(0, 1).
    """
    match config:
        case ResnetConfig():
            return ResnetGenerator(config)
        case MobileResnetConfig():
            return MobileResnetGenerator(config)
        case UnetConfig():
            return UnetGenerator(config)
        case UnitConfig():
            return UnitTranslator(config)
        case EncoderDecoderConfig():
            return EncoderDecoderGenerator(config)
        case DcganConfig():
            return DcganGenerator(config)
