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
from i2i_training.networks import Init, UnitConfig, UnitNetworks, initialize_weights
from i2i_training.networks.spec import reverse_config
from i2i_training.recipes.base import Networks, Recipe, TrainedGenerator
from i2i_training.recipes.parts import SMALL, DiscriminatorOptions, GanOptions, OptimOptions


@dataclass(frozen=True)
class UnitOptions(GanOptions):
    network: UnitConfig = field(default_factory=UnitConfig)
    discriminator: DiscriminatorOptions = field(default_factory=lambda: DiscriminatorOptions(layers=4))
    init: Init = "kaiming"  # how weights start
    lambda_gan: float = 10.0  # weight of the GAN loss (l0)
    lambda_kl: float = 0.1  # weight of both KL terms (l1, l3)
    lambda_rec: float = 100.0  # weight of reconstruction within a domain (l2)
    lambda_cycle: float = 100.0  # weight of reconstruction after a cycle (l4)
    optim: OptimOptions = field(default_factory=lambda: OptimOptions(lr=1e-4))


PRESETS = {"256": {}, "small": {**SMALL, "network.width": 32, "steps": 8000}}


class Unit(Recipe):
    """Two encoders and two generators as one network, because they share layers; two discriminators."""

    name = "unit"
    data = "unpaired"
    trains_both_directions = True

    def __init__(self, options: UnitOptions, seed: int = 0) -> None:
        self.config = options.network
        d, init = options.discriminator, options.init
        networks = {
            "G": initialize_weights(UnitNetworks(self.config), init),
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
            losses[name] = self.update_discriminator(name, (real,), (fake,), weight=o.lambda_gan)

        with self.freeze("D_A", "D_B"):
            losses["gan_A"] = self.objective.generator(self.run["D_A"](x.ba))
            losses["gan_B"] = self.objective.generator(self.run["D_B"](x.ab))
            losses["rec"] = F.l1_loss(x.aa, a) + F.l1_loss(x.bb, b)
            losses["cycle"] = F.l1_loss(x.aba, a) + F.l1_loss(x.bab, b)
            # Equation 2 holds KL of z|a and z|b, equation 4 the same again and those of the translations.
            kl_a, kl_b, kl_ab, kl_ba = map(compute_kl_divergence, (x.mean_a, x.mean_b, x.mean_ab, x.mean_ba))
            losses["kl"] = 2 * (kl_a + kl_b) + kl_ab + kl_ba
            loss = o.lambda_gan * (losses["gan_A"] + losses["gan_B"])
            loss = loss + o.lambda_rec * losses["rec"] + o.lambda_cycle * losses["cycle"]
            self.update(loss + o.lambda_kl * losses["kl"], "G")
        return {name: value.detach() for name, value in losses.items()}

    def list_generators(self, networks: Networks) -> list[TrainedGenerator]:
        both = networks["G"]
        assert isinstance(both, UnitNetworks)
        mode = self.resolve_norm_mode()
        return [
            TrainedGenerator("_A", "AtoB", self.config, mode, both.get_translator("AtoB")),
            TrainedGenerator("_B", "BtoA", reverse_config(self.config), mode, both.get_translator("BtoA")),
        ]


def compute_kl_divergence(mean: Tensor) -> Tensor:
    """KL(N(mean, I) || N(0, I)) per element."""
    return 0.5 * mean.square().mean()
