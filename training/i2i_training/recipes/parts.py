"""Options that several recipes share, and what they build."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import nn

from i2i_sdk.errors import TrainingError
from i2i_training.losses.gan import GanMode
from i2i_training.networks import GeneratorConfig, Init, PatchDiscriminator, initialize_weights
from i2i_training.networks.spec import Norm, NormMode, check_choices
from i2i_training.options import check_value

GeneratorName = Literal["unet", "resnet"]
TestNormMode = Literal["batch_stats", "running_stats"]
# The preset "small" of methods that translate without pairs: small enough for a CPU.
SMALL = {"discriminator.width": 32, "load_size": 256, "crop_size": 128, "precision": "bf16-mixed"}


@dataclass(frozen=True)
class DiscriminatorOptions:
    """A PatchGAN."""

    width: int = 64  # channels after the first convolution (ndf upstream)
    layers: int = 3  # strided convolutions; 3 judges 70x70 patches
    norm: Norm = "instance"  # normalization
    spectral_norm: bool = False  # divide each weight by its largest singular value (Miyato et al. 2018)

    def __post_init__(self) -> None:
        check_choices(self, TrainingError)
        check_value("discriminator.width", self.width, self.width >= 1, "at least 1")
        check_value("discriminator.layers", self.layers, self.layers >= 1, "at least 1")

    @property
    def min_size(self) -> int:
        """Pixels that an image's sides need, so that the last convolution has something to judge."""
        return 3 * 2**self.layers

    def build(self, in_channels: int, init: str) -> nn.Module:
        """With fresh weights; scores of float32 [N, in_channels, H, W] images in all."""
        d = PatchDiscriminator(in_channels, self.width, self.layers, self.norm, self.spectral_norm)
        return initialize_weights(d, init)


@dataclass(frozen=True)
class OptimOptions:
    """Adam (Kingma and Ba 2015)."""

    lr: float = 2e-4  # learning rate
    beta1: float = 0.5  # decay of the gradient's mean
    beta2: float = 0.999  # decay of the squared gradient's mean

    def __post_init__(self) -> None:
        check_value("optim.lr", self.lr, self.lr > 0, "it must be positive")
        for name, value in (("optim.beta1", self.beta1), ("optim.beta2", self.beta2)):
            check_value(name, value, 0 <= value < 1, "allowed: 0 up to, not including, 1")

    def build_optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        """Fused: one kernel for all parameters."""
        return torch.optim.Adam(network.parameters(), lr=self.lr, betas=(self.beta1, self.beta2), fused=True)


@dataclass(frozen=True)
class GanOptions:
    """What every method has."""

    init: Init = "normal"  # how weights start
    gan_mode: GanMode = "vanilla"  # the GAN's objective
    optim: OptimOptions = field(default_factory=OptimOptions)

    def __post_init__(self) -> None:
        check_choices(self, TrainingError)
        for name, value in vars(self).items():
            if name.startswith("lambda_"):
                check_value(name, value, value >= 0, "a loss weight is 0 or more")


def resolve_norm_mode(config: GeneratorConfig, norm_mode: TestNormMode) -> NormMode:
    """`norm_mode` where there is BatchNorm, which alone runs differently at test time."""
    return norm_mode if config.norm == "batch" else "none"


def reject_mixed_statistics(config: GeneratorConfig, norm_mode: TestNormMode) -> None:
    """Raise TrainingError where BatchNorm's running statistics would not be those of the input domain."""
    if resolve_norm_mode(config, norm_mode) == "running_stats":
        raise TrainingError(
            "norm_mode is 'running_stats', but without pairs the generator also sees images of the other "
            "domain and its own while it trains, and BatchNorm averages over all of them; take batch_stats"
        )
