"""CycleGAN (Zhu et al. 2017, https://arxiv.org/abs/1703.10593): two domains, no pairs, both directions.

    L = L_GAN(G_A, D_A) + L_GAN(G_B, D_B) + lambda_cycle * L_cyc + identity           (equation 3)
    L_cyc = E[|G_B(G_A(a)) - a|_1] + E[|G_A(G_B(b)) - b|_1]                           (equation 2)
    L_identity = E[|G_A(b) - b|_1] + E[|G_B(a) - a|_1]                                (section 5.2)

G_A: A -> B, G_B: B -> A; D_A judges images of B, D_B those of A (upstream's names). The discriminators
see a pool of the last 50 fakes (section 4). The identity loss weighs lambda_cycle * lambda_identity.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from i2i_sdk.errors import TrainingError
from i2i_training.data import Batch
from i2i_training.losses.gan import GanMode
from i2i_training.networks import ResnetConfig, UnetConfig, build_generator, initialize_weights
from i2i_training.networks.spec import reverse_config
from i2i_training.options import check_value
from i2i_training.recipes import parts
from i2i_training.recipes.base import Networks, Recipe, TrainedGenerator


@dataclass(frozen=True)
class CycleGANOptions(parts.GanOptions):
    generator: parts.GeneratorName = "resnet"  # which generator is built, twice
    resnet: ResnetConfig = field(default_factory=ResnetConfig)
    unet: UnetConfig = field(default_factory=lambda: UnetConfig(norm="instance", dropout=False))
    norm_mode: parts.TestNormMode = "batch_stats"  # how BatchNorm runs at test time
    discriminator: parts.DiscriminatorOptions = field(default_factory=parts.DiscriminatorOptions)
    gan_mode: GanMode = "lsgan"  # the GAN's objective
    lambda_cycle: float = 10.0  # weight of the cycle loss, of A and of B (lambda_A, lambda_B upstream)
    lambda_identity: float = 0.5  # weight of the identity loss, as a share of lambda_cycle
    pool_size: int = 50  # older fakes kept for each discriminator; 0 keeps none

    def __post_init__(self) -> None:
        super().__post_init__()
        check_value("pool_size", self.pool_size, self.pool_size >= 0, "0 or more images")


PRESETS = {
    "resnet9_256": {},  # the paper's, for images of 256 pixels and more
    "resnet6_128": {"resnet.blocks": 6, "load_size": 143, "crop_size": 128},  # the paper's, for 128
    "small": {**parts.SMALL, "resnet.blocks": 6, "resnet.width": 32, "steps": 8000},
}


class CycleGAN(Recipe):
    """Two generators and two discriminators."""

    name = "cyclegan"
    data = "unpaired"
    trains_both_directions = True

    def __init__(self, options: CycleGANOptions, seed: int = 0) -> None:
        self.config = getattr(options, options.generator)
        if self.config.in_channels != self.config.out_channels and options.lambda_identity:
            raise TrainingError(
                f"{self.config.in_channels} and {self.config.out_channels} channels: an image of B is no "
                f"input of G_A, so the identity loss needs --lambda-identity 0"
            )
        parts.reject_mixed_statistics(self.config, options.norm_mode)
        self.backward_config = reverse_config(self.config)
        d, init = options.discriminator, options.init
        networks = {
            "G_A": initialize_weights(build_generator(self.config), init),
            "G_B": initialize_weights(build_generator(self.backward_config), init),
            "D_A": d.build(self.config.out_channels, init),
            "D_B": d.build(self.config.in_channels, init),
        }
        super().__init__(options, networks, seed, options.pool_size)

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Update G_A and G_B together, then D_A and D_B, as upstream does."""
        assert batch.a is not None
        o, a, b = self.options, batch.a, batch.b
        fake_b, same_b = self._translate("G_A", a, b)
        fake_a, same_a = self._translate("G_B", b, a)

        with self.freeze("D_A", "D_B"):
            gan_a = self.objective.generator(self.run["D_A"](fake_b))
            gan_b = self.objective.generator(self.run["D_B"](fake_a))
            cycle_a = F.l1_loss(self.run["G_B"](fake_b), a)
            cycle_b = F.l1_loss(self.run["G_A"](fake_a), b)
            identity = torch.zeros_like(cycle_a)
            if same_a is not None and same_b is not None:
                identity = F.l1_loss(same_b, b) + F.l1_loss(same_a, a)
            loss_g = gan_a + gan_b + o.lambda_cycle * (cycle_a + cycle_b + o.lambda_identity * identity)
            self.update(loss_g, "G_A", "G_B")

        losses = {"G_A": gan_a, "G_B": gan_b, "cycle_A": cycle_a, "cycle_B": cycle_b, "identity": identity}
        for name, real, fake in (("D_A", b, fake_b), ("D_B", a, fake_a)):
            older = self.pools[name].swap(fake.detach())
            losses[name] = self.update_discriminator(name, (real,), (older,))
        return {name: loss.detach() for name, loss in losses.items()}

    def list_generators(self, networks: Networks) -> list[TrainedGenerator]:
        mode = self.resolve_norm_mode()
        return [
            TrainedGenerator("_A", "AtoB", self.config, mode, networks["G_A"]),
            TrainedGenerator("_B", "BtoA", self.backward_config, mode, networks["G_B"]),
        ]

    def _translate(self, name: str, x: Tensor, same: Tensor) -> tuple[Tensor, Tensor | None]:
        """The translation of `x`, and that of an image that already is in the target domain.

        Both go through the network as one batch, which is faster; BatchNorm would mix their statistics.
        """
        if not self.options.lambda_identity:
            return self.run[name](x), None
        if self.config.norm == "batch":
            return self.run[name](x), self.run[name](same)
        fake, identity = self.run[name](torch.cat([x, same])).chunk(2)
        return fake, identity
