"""The plain unsupervised translator: encoder, decoder, an adversary; no pairs, no cycle.

    L_G = lambda_gan * L_GAN(G, D) + lambda_rec * E[|G(a) - a|_1]

D judges images of B (Goodfellow et al. 2014). Reconstruction keeps the input's layout, the adversary
pulls toward B: the baseline that the other methods are measured against.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import Tensor

from i2i_sdk.errors import TrainingError
from i2i_training.data import Batch
from i2i_training.networks import EncoderDecoderConfig, Init, build_generator, initialize_weights
from i2i_training.recipes.base import Recipe
from i2i_training.recipes.parts import SMALL, DiscriminatorOptions, GanOptions, TestNormMode


@dataclass(frozen=True)
class EncoderDecoderOptions(GanOptions):
    network: EncoderDecoderConfig = field(default_factory=EncoderDecoderConfig)
    norm_mode: TestNormMode = "batch_stats"  # how BatchNorm runs at test time
    discriminator: DiscriminatorOptions = field(default_factory=DiscriminatorOptions)
    # Without norm layers N(0, 0.02) lets nothing of the input through, and training does not mend it.
    init: Init = "kaiming"  # how weights start
    lambda_gan: float = 1.0  # weight of the GAN loss
    lambda_rec: float = 10.0  # weight of the reconstruction of the input


PRESETS = {"small": SMALL}


class EncoderDecoder(Recipe):
    """G: a -> an image of B's kind, and a discriminator of B."""

    name = "encdec"
    data = "unpaired"

    def __init__(self, options: EncoderDecoderOptions, seed: int = 0) -> None:
        self.config = options.network
        if self.config.in_channels != self.config.out_channels and options.lambda_rec:
            raise TrainingError(
                f"{self.config.in_channels} input and {self.config.out_channels} output channels cannot be "
                f"compared: the reconstruction needs equal ones, or --lambda-rec 0"
            )
        networks = {
            "G": initialize_weights(build_generator(self.config), options.init),
            "D": options.discriminator.build(self.config.out_channels, options.init),
        }
        super().__init__(options, networks, seed)

    def check_crop(self, size: int) -> None:
        super().check_crop(size)
        if self.config.norm != "none" and size == self.config.multiple_of:
            raise TrainingError(
                f"crop_size is {size}: {self.config.downs} halvings leave one value, which norms make "
                f"zero; take crops of {2 * size}, fewer --network.downs or --network.norm none"
            )

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Update D, then G."""
        assert batch.a is not None
        a, b, o = batch.a, batch.b, self.options
        fake = self.run["G"](a)
        loss_d = self.update_discriminator("D", (b,), (fake,))
        with self.freeze("D"):
            loss_gan = self.objective.generator(self.run["D"](fake))
            loss_rec = F.l1_loss(fake, a) if o.lambda_rec else loss_gan.new_zeros(())
            self.update(o.lambda_gan * loss_gan + o.lambda_rec * loss_rec, "G")
        return {"D": loss_d, "G_gan": loss_gan.detach(), "rec": loss_rec.detach()}
