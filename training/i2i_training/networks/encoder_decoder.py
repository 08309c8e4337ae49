"""The plain encoder-decoder: the baseline that the other translators are measured against.

Strided 3x3 convolutions to a latent map and transposed ones back, without skip connections or residual
blocks: the autoencoder of Hinton and Salakhutdinov 2006 (https://doi.org/10.1126/science.1127647) with
the layers of Radford et al. 2016 (https://arxiv.org/abs/1511.06434, section 3).
"""

from __future__ import annotations

from torch import Tensor, nn

from i2i_training.networks.layers import build_norm_layer, build_upsample_layers
from i2i_training.networks.spec import EncoderDecoderConfig


class EncoderDecoderGenerator(nn.Module):
    """float32 [N, C_in, H, W] in -1..1 -> float32 [N, C_out, H, W] in -1..1; H, W multiples of 2**downs.

    `encoder` gives the latent map [N, width, H / 2**downs, W / 2**downs].
    """

    def __init__(self, config: EncoderDecoderConfig) -> None:
        super().__init__()
        w, bias = config.width, config.norm == "none"

        def add_activation(layers: list[nn.Module]) -> list[nn.Module]:
            return [*layers, build_norm_layer(config.norm, w), nn.LeakyReLU(0.2, True)]

        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for index in range(config.downs):
            before = w if index else config.in_channels
            down += add_activation([nn.Conv2d(before, w, 3, stride=2, padding=1, bias=bias)])
            if index:
                up += add_activation(build_upsample_layers("transpose", w, w, bias))
        last = build_upsample_layers("transpose", w, config.out_channels, bias=True)
        self.encoder = nn.Sequential(*down)
        self.decoder = nn.Sequential(*up, *last, nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))
