"""CUT (Park et al. 2020, https://arxiv.org/abs/2007.15651): no pairs, one direction, no way back.

    L = L_GAN(G, D) + lambda_nce * (L_NCE(G, H, X) + L_NCE(G, H, Y)) / 2              (equation 5)
    L_NCE = E[sum_l sum_s cross_entropy(v_l^s . vbar_l^r / tau, r = s)]               (equations 3, 4)

A patch of the output must resemble the patch of the input at the same place more than those elsewhere
in the same image: v are features of the output, vbar of the input, both of G's own encoder through the
heads H. The second term does the same with images of Y, which G shall leave alone. As in the authors'
code the two terms are averaged, and the input's features are targets that receive no gradient.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from i2i_sdk.errors import TrainingError
from i2i_training.data import Batch
from i2i_training.losses.gan import GanMode
from i2i_training.networks import Init, ResnetConfig, build_generator, initialize_weights
from i2i_training.networks.patch_features import PatchSampler, count_feature_channels, select_feature_layers
from i2i_training.recipes import parts
from i2i_training.recipes.base import Recipe


@dataclass(frozen=True)
class CutOptions(parts.GanOptions):
    resnet: ResnetConfig = field(default_factory=ResnetConfig)
    norm_mode: parts.TestNormMode = "batch_stats"  # how BatchNorm runs at test time
    discriminator: parts.DiscriminatorOptions = field(default_factory=parts.DiscriminatorOptions)
    init: Init = "xavier"  # how weights start
    gan_mode: GanMode = "lsgan"  # the GAN's objective
    lambda_gan: float = 1.0  # weight of the GAN loss
    lambda_nce: float = 1.0  # weight of the contrastive loss
    identity: bool = True  # compare patches of B's own images too; FastCUT leaves it out
    patches: int = 256  # places compared in each feature map
    temperature: float = 0.07  # of the contrastive loss (tau)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.patches < 2 or not self.temperature > 0:
            raise TrainingError(
                f"patches is {self.patches} and temperature {self.temperature}; needed: at least 2 patches, "
                f"a positive temperature"
            )


PRESETS = {
    "cut": {},
    "fastcut": {"identity": False, "lambda_nce": 10.0},  # without the authors' flip-equivariance
    "small": {**parts.SMALL, "resnet.blocks": 6, "resnet.width": 32, "steps": 10000},
}


class Cut(Recipe):
    """One generator, one discriminator, and the heads H on the generator's features."""

    name = "cut"
    data = "unpaired"

    def __init__(self, options: CutOptions, seed: int = 0) -> None:
        self.config = options.resnet
        if self.config.in_channels != self.config.out_channels:
            raise TrainingError(
                f"{self.config.in_channels} input and {self.config.out_channels} output channels: G's own "
                f"encoder looks at both, so they must be equal; cyclegan takes different ones"
            )
        parts.reject_mixed_statistics(self.config, options.norm_mode)
        self.layers = select_feature_layers(self.config)
        init = options.init
        heads = PatchSampler(count_feature_channels(self.config, self.layers), options.patches)
        networks = {
            "G": initialize_weights(build_generator(self.config), init),
            "D": options.discriminator.build(self.config.out_channels, init),
            "H": initialize_weights(heads, init),
        }
        super().__init__(options, networks, seed)

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Update D, then G and H."""
        assert batch.a is not None
        a, b, o = batch.a, batch.b, self.options
        sources = torch.cat([a, b]) if o.identity else a
        outputs, features = self.run["G"](sources, self.layers)
        fake = outputs[: len(a)]
        loss_d = self.update_discriminator("D", (b,), (fake,))
        with self.freeze("D"):
            loss_gan = self.objective.generator(self.run["D"](fake))
            loss_nce = self._compute_nce_loss(features, outputs)
            self.update(o.lambda_gan * loss_gan + o.lambda_nce * loss_nce, "G", "H")
        return {"D": loss_d, "G_gan": loss_gan.detach(), "nce": loss_nce.detach()}

    def _compute_nce_loss(self, features: list[Tensor], outputs: Tensor) -> Tensor:
        """L_NCE, the mean over layers, places and images; `features` of what `outputs` were made of."""
        made = self.run["G"](outputs, self.layers, picture=False)
        kept = [each.detach() for each in features]
        queries, keys = self.run["H"](made, kept)
        losses = [
            compute_patch_nce(q, k.detach(), self.options.temperature)
            for q, k in zip(queries, keys, strict=True)
        ]
        return torch.stack(losses).mean()


def compute_patch_nce(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """Cross entropy of finding each query's place among the keys of the same image (equation 3).

    Args:
        queries: float32 [N, P, C], of length 1 along C.
        keys: as `queries`.
        temperature: above 0.

    Returns:
        A scalar.
    """
    logits = queries @ keys.transpose(1, 2) / temperature
    places = torch.arange(queries.shape[1], device=queries.device).expand(len(queries), -1)
    return F.cross_entropy(logits.flatten(0, 1), places.flatten())
