"""The smallest pix2pix that still learns."""

from __future__ import annotations

from i2i_training.networks import ResnetConfig
from i2i_training.recipes.pix2pix import DiscriminatorOptions, OptimOptions, Pix2pixOptions

TINY_D = DiscriminatorOptions(width=4, layers=1, norm="instance")
TINY = Pix2pixOptions(
    generator="resnet",
    resnet=ResnetConfig(width=4, blocks=1),
    discriminator=TINY_D,
    optim=OptimOptions(lr=1e-3),
)
