"""UNIT (Liu, Breuel, Kautz 2017, https://arxiv.org/abs/1703.00848): a latent space shared by two domains.

    L_VAE = l1 * KL(q(z|x) || N(0, I)) - l2 * E[log p_G(x|z)]                         (equation 2)
    L_GAN = l0 * (E[log D(x)] + E[log(1 - D(G(z)))])                                  (equation 3)
    L_CC  = l3 * KL(q_A(z|a)) + l3 * KL(q_B(z|a->b)) - l4 * E[log p_GA(a|z_B)]        (equation 4)

Encoders give means only, with unit variance, so KL(N(mu, I) || N(0, I)) = |mu|^2 / 2, here per element of
the latent map; p_G is a Laplacian, whose -log is the L1 distance up to a constant. l0 = 10,
l1 = l3 = 0.1, l2 = l4 = 100 (section 4).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import Tensor

from i2i_training.data import Batch
from i2i_training.networks import INITS, UnitConfig, UnitNetworks, initialise
from i2i_training.objectives import GAN_OBJECTIVES
from i2i_training.options import option
from i2i_training.recipes.base import Generator, Networks, Recipe
from i2i_training.recipes.parts import (
    DiscriminatorOptions,
    OptimOptions,
    check_common,
    check_weights,
    norm_mode_of,
)


@dataclass(frozen=True)
class UnitOptions:
    network: UnitConfig = field(default_factory=UnitConfig)
    discriminator: DiscriminatorOptions = field(default_factory=lambda: DiscriminatorOptions(layers=4))
    init: str = option("kaiming", "how weights start", choices=tuple(INITS))
    gan_mode: str = option("vanilla", "the GAN's objective", choices=tuple(GAN_OBJECTIVES))
    lambda_gan: float = option(10.0, "weight of the GAN loss (l0)")
    lambda_kl: float = option(0.1, "weight of both KL terms (l1, l3)")
    lambda_rec: float = option(100.0, "weight of reconstruction within a domain (l2)")
    lambda_cycle: float = option(100.0, "weight of reconstruction after a cycle (l4)")
    optim: OptimOptions = field(default_factory=lambda: OptimOptions(lr=1e-4))

    def __post_init__(self) -> None:
        check_common(self.init, self.gan_mode)
        check_weights(
            lambda_gan=self.lambda_gan,
            lambda_kl=self.lambda_kl,
            lambda_rec=self.lambda_rec,
            lambda_cycle=self.lambda_cycle,
        )


PRESETS = {
    "256": {},
    # Small enough for a CPU.
    "small": {
        "network.width": 32,
        "discriminator.width": 32,
        "load_size": 256,
        "crop_size": 128,
        "steps": 8000,
        "precision": "bf16-mixed",
    },
}


class Unit(Recipe):
    """Two encoders and two generators as one network, because they share layers; two discriminators."""

    name = "unit"
    data = "unpaired"
    trains_both_directions = True

    def __init__(self, options: UnitOptions, seed: int = 0) -> None:
        self.config = options.network
        d, init = options.discriminator, options.init
        networks = {
            "G": initialise(UnitNetworks(self.config), init),
            "D_A": d.build(self.config.in_channels, init),  # judges images of A, as in the paper
            "D_B": d.build(self.config.out_channels, init),
        }
        super().__init__(options, networks, seed)

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Update D_A and D_B, then all encoders and generators."""
        assert batch.a is not None
        a, b, o = batch.a, batch.b, self.options
        x = self.run["G"](a, b)
        losses: dict[str, Tensor] = {}
        for name, real, fake in (("D_A", a, x.ba), ("D_B", b, x.ab)):
            losses[name] = o.lambda_gan * self.discriminator_loss(name, (real,), (fake.detach(),))
            self.update(losses[name], name)

        self.freeze(True, "D_A", "D_B")
        losses["gan_A"] = self.objective.generator(self.run["D_A"](x.ba))
        losses["gan_B"] = self.objective.generator(self.run["D_B"](x.ab))
        losses["rec"] = F.l1_loss(x.aa, a) + F.l1_loss(x.bb, b)
        losses["cycle"] = F.l1_loss(x.aba, a) + F.l1_loss(x.bab, b)
        # Equation 2 holds KL of z|a and z|b, equation 4 the same again and those of the translations.
        losses["kl"] = 2 * (kl(x.mean_a) + kl(x.mean_b)) + kl(x.mean_ab) + kl(x.mean_ba)
        loss = (
            o.lambda_gan * (losses["gan_A"] + losses["gan_B"])
            + o.lambda_rec * losses["rec"]
            + o.lambda_cycle * losses["cycle"]
            + o.lambda_kl * losses["kl"]
        )
        self.update(loss, "G")
        self.freeze(False, "D_A", "D_B")
        return {name: value.detach() for name, value in losses.items()}

    def generators(self, networks: Networks) -> list[Generator]:
        both = networks["G"]
        assert isinstance(both, UnitNetworks)
        mode = norm_mode_of(self.config, "batch_stats")
        return [
            Generator("_A", "AtoB", self.config, mode, both.translator("AtoB")),
            Generator("_B", "BtoA", both.config_of("BtoA"), mode, both.translator("BtoA")),
        ]


def kl(mean: Tensor) -> Tensor:
    """KL(N(mean, I) || N(0, I)) per element."""
    return 0.5 * mean.square().mean()
