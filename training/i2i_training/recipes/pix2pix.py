"""pix2pix (Isola et al. 2017, https://arxiv.org/abs/1611.07004): paired translation.

    G* = arg min_G max_D  L_cGAN(G, D) + lambda_l1 * L_L1(G)                          (equation 4)
    L_cGAN = E[log D(x, y)] + E[log(1 - D(x, G(x, z)))]                               (equation 1)
    L_L1   = E[|y - G(x, z)|_1]                                                       (equation 3)

The noise z is dropout inside the generator. The discriminator sees input and output together.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from i2i_sdk.errors import TrainingError
from i2i_training.networks import (
    INITS,
    GeneratorSpec,
    PatchDiscriminator,
    ResnetConfig,
    UnetConfig,
    build_generator,
    initialise,
)
from i2i_training.networks.spec import NORMS
from i2i_training.objectives import GAN_OBJECTIVES

GENERATORS = ("unet", "resnet")
TEST_NORM_MODES = ("batch_stats", "running_stats")


def _check(name: str, value: str, allowed: Collection[str]) -> None:
    if value not in allowed:
        raise TrainingError(f"{name} is {value!r}; allowed: {', '.join(allowed)}")


@dataclass(frozen=True)
class DiscriminatorOptions:
    width: int = 64
    layers: int = 3  # 3 judges 70x70 patches
    norm: str = "batch"

    def __post_init__(self) -> None:
        _check("discriminator.norm", self.norm, NORMS)
        for name, value in (("width", self.width), ("layers", self.layers)):
            if value < 1:
                raise TrainingError(f"discriminator.{name} is {value}; at least 1")

    @property
    def smallest(self) -> int:
        """Pixels that an image's sides need, so that the last convolution has something to judge."""
        return 3 * 2**self.layers


@dataclass(frozen=True)
class OptimOptions:
    lr: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999

    def __post_init__(self) -> None:
        if not self.lr > 0:
            raise TrainingError(f"optim.lr is {self.lr}; it must be positive")
        for name, value in (("beta1", self.beta1), ("beta2", self.beta2)):
            if not 0 <= value < 1:
                raise TrainingError(f"optim.{name} is {value}; allowed: 0 up to, not including, 1")


@dataclass(frozen=True)
class Pix2pixOptions:
    # networks
    generator: str = "unet"  # which of the next two is built
    unet: UnetConfig = field(default_factory=UnetConfig)
    resnet: ResnetConfig = field(default_factory=lambda: ResnetConfig(norm="batch", dropout=True))
    norm_mode: str = "batch_stats"  # how BatchNorm runs at test time; running_stats folds away in export
    discriminator: DiscriminatorOptions = field(default_factory=DiscriminatorOptions)
    init: str = "normal"
    # objective
    gan_mode: str = "vanilla"
    lambda_gan: float = 1.0
    lambda_l1: float = 100.0
    optim: OptimOptions = field(default_factory=OptimOptions)

    def __post_init__(self) -> None:
        _check("generator", self.generator, GENERATORS)
        _check("norm_mode", self.norm_mode, TEST_NORM_MODES)
        _check("init", self.init, INITS)
        _check("gan_mode", self.gan_mode, GAN_OBJECTIVES)


class Pix2pix:
    """Generator, discriminator and their optimisers; `step` is one update of both."""

    name = "pix2pix"

    def __init__(self, options: Pix2pixOptions) -> None:
        self.options = options
        self.config = options.unet if options.generator == "unet" else options.resnet
        channels = self.config.in_channels + self.config.out_channels
        d = options.discriminator
        self.generator: nn.Module = initialise(build_generator(self.config), options.init)
        self.discriminator: nn.Module = initialise(
            PatchDiscriminator(channels, d.width, d.layers, d.norm), options.init
        )
        o = options.optim
        self.optimizers = {
            name: torch.optim.Adam(net.parameters(), lr=o.lr, betas=(o.beta1, o.beta2))
            for name, net in (("G", self.generator), ("D", self.discriminator))
        }
        self.objective = GAN_OBJECTIVES[options.gan_mode]

    def setup(self, fabric: Fabric) -> None:
        """Hand networks and optimisers to Fabric, which moves them and sets precision and processes."""
        self.fabric = fabric
        self.generator, self.optimizers["G"] = fabric.setup(self.generator, self.optimizers["G"])
        self.discriminator, self.optimizers["D"] = fabric.setup(self.discriminator, self.optimizers["D"])

    def step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Update D, then G, on float32 [N, C, H, W] in -1..1; returns the losses, detached."""
        self.generator.train()
        fake = self.generator(x)

        loss_d = 0.5 * (
            self.objective(self.discriminator(x, y), True)
            + self.objective(self.discriminator(x, fake.detach()), False)
        )
        self._update("D", loss_d)

        self.discriminator.requires_grad_(False)
        loss_gan = self.objective(self.discriminator(x, fake), True)
        loss_l1 = torch.nn.functional.l1_loss(fake.float(), y)
        self._update("G", self.options.lambda_gan * loss_gan + self.options.lambda_l1 * loss_l1)
        self.discriminator.requires_grad_(True)
        return {"D": loss_d.detach(), "G_gan": loss_gan.detach(), "G_l1": loss_l1.detach()}

    def scale_learning_rate(self, factor: float) -> None:
        """Set all learning rates to `factor` times the option's."""
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = self.options.optim.lr * factor

    def spec(self, **history: object) -> GeneratorSpec:
        """The generator's spec; `history` fills the fields about its training."""
        mode = self.options.norm_mode if self.config.norm == "batch" else "none"
        return GeneratorSpec(self.config, norm_mode=mode, recipe=self.name, **history)  # pyright: ignore[reportArgumentType]

    def _update(self, name: str, loss: Tensor) -> None:
        self.optimizers[name].zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        self.optimizers[name].step()
