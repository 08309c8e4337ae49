"""DCGAN (Radford et al. 2016, https://arxiv.org/abs/1511.06434): noise -> image.

    min_G max_D  E[log D(x)] + E[log(1 - D(G(z)))],  z ~ N(0, I)          (Goodfellow et al. 2014, eq. 1)

Strided convolutions down, transposed ones up, BatchNorm in both, Adam with lr 2e-4 and beta1 0.5
(section 4).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from i2i_sdk.errors import TrainingError
from i2i_training.data import Batch
from i2i_training.networks import DcganConfig, DcganDiscriminator, build_generator, initialize_weights
from i2i_training.networks.spec import Norm
from i2i_training.options import check_value
from i2i_training.recipes.base import Recipe
from i2i_training.recipes.parts import GanOptions


@dataclass(frozen=True)
class DcganOptions(GanOptions):
    network: DcganConfig = field(default_factory=DcganConfig)
    discriminator_width: int = 64  # channels after D's first convolution
    discriminator_norm: Norm = "batch"  # normalization in D; wgan-gp judges single images: instance or none
    spectral_norm: bool = False  # spectral norm in D (Miyato et al. 2018)

    def __post_init__(self) -> None:
        super().__post_init__()
        width = self.discriminator_width
        check_value("discriminator_width", width, width >= 1, "at least 1")


DEFAULTS = {"load_size": 72, "crop_size": 64, "batch": 64}  # of pictures as small as the paper's
PRESETS = {
    # Small enough for a CPU.
    "small": {
        **DEFAULTS,
        "network.width": 32,
        "discriminator_width": 32,
        "batch": 32,
        "ema": 0.999,
        "precision": "bf16-mixed",
    },
    "64": {**DEFAULTS, "ema": 0.999},
    "128": {**DEFAULTS, "network.size": 128, "load_size": 143, "crop_size": 128, "ema": 0.999},
}


class Dcgan(Recipe):
    """G: float32 [N, latent] -> images; D: images -> one score each."""

    name = "dcgan"
    data = "single"
    norm_mode = "running_stats"

    def __init__(self, options: DcganOptions, seed: int = 0) -> None:
        self.config = options.network
        discriminator = DcganDiscriminator(
            self.config.out_channels,
            options.discriminator_width,
            self.config.size,
            options.discriminator_norm,
            options.spectral_norm,
        )
        networks = {
            "G": initialize_weights(build_generator(self.config), options.init),
            "D": initialize_weights(discriminator, options.init),
        }
        super().__init__(options, networks, seed)

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Update D, then G, against the same fakes."""
        z = torch.randn(len(batch.b), self.config.latent).to(batch.b, non_blocking=True)
        fake = self.run["G"](z)
        loss_d = self.update_discriminator("D", (batch.b,), (fake,))
        with self.freeze("D"):
            loss_g = self.objective.generator(self.run["D"](fake))
            self.update(loss_g, "G")
        return {"D": loss_d, "G_gan": loss_g.detach()}

    def check_crop(self, size: int) -> None:
        if size != self.config.size:
            raise TrainingError(
                f"crop_size is {size}, but pictures of network.size {self.config.size} are made. Give "
                f"both the same size, images a little more: --load-size {round(size * 1.125)} "
                f"--crop-size {size} --network.size {size}"
            )
