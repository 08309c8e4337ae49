"""pix2pix (Isola et al. 2017, https://arxiv.org/abs/1611.07004): paired translation.

    G* = arg min_G max_D  L_cGAN(G, D) + lambda_l1 * L_L1(G)                          (equation 4)
    L_cGAN = E[log D(x, y)] + E[log(1 - D(x, G(x, z)))]                               (equation 1)
    L_L1   = E[|y - G(x, z)|_1]                                                       (equation 3)

The noise z is dropout inside the generator. The discriminator sees input and output together.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import Tensor

from i2i_training.data import Batch
from i2i_training.networks import ResnetConfig, UnetConfig, build_generator, initialize_weights
from i2i_training.recipes.base import Recipe
from i2i_training.recipes.parts import DiscriminatorOptions, GanOptions, GeneratorName, TestNormMode


@dataclass(frozen=True)
class Pix2pixOptions(GanOptions):
    generator: GeneratorName = "unet"  # which generator is built
    unet: UnetConfig = field(default_factory=UnetConfig)
    resnet: ResnetConfig = field(default_factory=lambda: ResnetConfig(norm="batch", dropout=True))
    # how BatchNorm runs at test time; running_stats folds away in export
    norm_mode: TestNormMode = "batch_stats"
    discriminator: DiscriminatorOptions = field(default_factory=lambda: DiscriminatorOptions(norm="batch"))
    lambda_gan: float = 1.0  # weight of the GAN loss
    lambda_l1: float = 100.0  # weight of the L1 distance to the target


PRESETS = {
    # The usual research settings, at the sizes they are known for.
    "unet256": {},
    "unet128": {"unet.downs": 7, "load_size": 143, "crop_size": 128},
    # Small enough for a CPU.
    "small": {
        "unet.downs": 7,
        "unet.width": 32,
        "discriminator.width": 32,
        "load_size": 143,
        "crop_size": 128,
        "precision": "bf16-mixed",
    },
    "resnet9": {"generator": "resnet", "resnet.norm": "instance", "discriminator.norm": "instance"},
    # For real time: BatchNorm folds away in export, resize + convolution leaves no checkerboard.
    "edge": {
        "generator": "resnet",
        "resnet.width": 16,
        "resnet.blocks": 6,
        "resnet.upsample": "nearest",
        "resnet.dropout": False,
        "norm_mode": "running_stats",
        "gan_mode": "lsgan",
        "batch": 4,
        "optim.lr": 1e-3,
    },
}


class Pix2pix(Recipe):
    """G: x -> y, and a discriminator of pairs (x, y)."""

    name = "pix2pix"
    data = "paired"

    def __init__(self, options: Pix2pixOptions, seed: int = 0) -> None:
        self.config = getattr(options, options.generator)
        channels = self.config.in_channels + self.config.out_channels
        networks = {
            "G": initialize_weights(build_generator(self.config), options.init),
            "D": options.discriminator.build(channels, options.init),
        }
        super().__init__(options, networks, seed)

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Update D, then G, on x = batch.a and y = batch.b."""
        assert batch.a is not None
        x, y = batch.a, batch.b
        fake = self.run["G"](x)
        loss_d = self.update_discriminator("D", (x, y), (x, fake))
        with self.freeze("D"):
            loss_gan = self.objective.generator(self.run["D"](x, fake))
            loss_l1 = F.l1_loss(fake, y)
            self.update(self.options.lambda_gan * loss_gan + self.options.lambda_l1 * loss_l1, "G")
        return {"D": loss_d, "G_gan": loss_gan.detach(), "G_l1": loss_l1.detach()}
