"""UNIT: two VAEs whose inner layers are shared: https://arxiv.org/abs/1703.00848, section 3 and appendix.

One latent space for both domains: an encoder per domain gives the means of q(z|x) = N(E(x), I), a
generator per domain makes a picture of z. The last blocks of the encoders and the first of the generators
are common to both. As in the authors' code only residual blocks are normalized, and the slope of
LeakyReLU is 0.01.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from i2i_training.networks import layers
from i2i_training.networks.spec import Direction, UnitConfig, reverse_config


class UnitOutputs(NamedTuple):
    """Everything that one UNIT step needs. Pictures are float32 [N, C, H, W] in -1..1.

    Means are [N, 4 x width, H/4, W/4]. A NamedTuple, because DistributedDataParallel and Fabric look into
    one.
    """

    mean_a: Tensor  # E_A(a)
    mean_b: Tensor  # E_B(b)
    aa: Tensor  # G_A(z_a), the reconstruction of a
    bb: Tensor  # G_B(z_b)
    ab: Tensor  # G_B(z_a), a translated
    ba: Tensor  # G_A(z_b)
    mean_ab: Tensor  # E_B(ab), whose KL term belongs to the cycle loss
    mean_ba: Tensor  # E_A(ba)
    aba: Tensor  # G_A(z_ab), the cycle's reconstruction of a
    bab: Tensor  # G_B(z_ba)


class UnitNetworks(nn.Module):
    """E_A, E_B, G_A and G_B in one module, as DistributedDataParallel needs; the shared blocks exist once.

    `config.in_channels` are A's, `config.out_channels` are B's.
    """

    def __init__(self, config: UnitConfig) -> None:
        super().__init__()
        back = reverse_config(config)
        in_encoders, in_decoders = (_build_blocks(config, config.shared_blocks) for _ in range(2))
        self.encoder_a, self.encoder_b = UnitEncoder(config, in_encoders), UnitEncoder(back, in_encoders)
        self.decoder_a, self.decoder_b = UnitDecoder(back, in_decoders), UnitDecoder(config, in_decoders)

    def get_translator(self, direction: Direction) -> UnitTranslator:
        """The translator of a direction; it shares all weights with this module."""
        if direction == "AtoB":
            return UnitTranslator(self.encoder_a, self.decoder_b)
        return UnitTranslator(self.encoder_b, self.decoder_a)

    def forward(self, a: Tensor, b: Tensor) -> UnitOutputs:
        """Reconstruct, translate and translate back both batches; see UnitOutputs.

        In training mode z = mean + N(0, I) (equation 3); in eval mode z is the mean.
        """
        mean_a, mean_b = self.encoder_a(a), self.encoder_b(b)
        z_a, z_b = self._sample_latent(mean_a), self._sample_latent(mean_b)
        ab, ba = self.decoder_b(z_a), self.decoder_a(z_b)
        mean_ab, mean_ba = self.encoder_b(ab), self.encoder_a(ba)
        aa, bb = self.decoder_a(z_a), self.decoder_b(z_b)
        aba = self.decoder_a(self._sample_latent(mean_ab))
        bab = self.decoder_b(self._sample_latent(mean_ba))
        return UnitOutputs(mean_a, mean_b, aa, bb, ab, ba, mean_ab, mean_ba, aba, bab)

    def _sample_latent(self, mean: Tensor) -> Tensor:
        if not self.training:
            return mean
        return mean + torch.randn(mean.shape, device=mean.device, dtype=mean.dtype)


class UnitTranslator(nn.Module):
    """G_B(E_A(x)) with z = E_A(x), the mean: float32 [N, C_in, H, W] in -1..1 -> [N, C_out, H, W] likewise.

    H and W are multiples of 4.
    """

    def __init__(self, encoder: UnitEncoder, decoder: UnitDecoder) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


def build_translator(config: UnitConfig) -> UnitTranslator:
    """A translator of one direction alone, with fresh weights."""
    encoder = UnitEncoder(config, _build_blocks(config, config.shared_blocks))
    return UnitTranslator(encoder, UnitDecoder(config, _build_blocks(config, config.shared_blocks)))


class UnitEncoder(nn.Module):
    """Float32 [N, in_channels, H, W] in -1..1 -> the mean of its latent, [N, 4 x width, H/4, W/4]."""

    def __init__(self, config: UnitConfig, shared: nn.Module) -> None:
        super().__init__()
        w = config.width
        self.own = nn.Sequential(
            *_build_conv_layers(config, config.in_channels, w, kernel=7),
            *_build_conv_layers(config, w, 2 * w, kernel=3),
            *_build_conv_layers(config, 2 * w, 4 * w, kernel=3),
            *_build_blocks(config, config.blocks - config.shared_blocks),
        )
        self.shared = shared

    def forward(self, x: Tensor) -> Tensor:
        return self.shared(self.own(x))


class UnitDecoder(nn.Module):
    """A latent, float32 [N, 4 x width, H/4, W/4] -> a picture [N, out_channels, H, W] in -1..1.

    The last transposed convolution is 1x1 with stride 1, hence a convolution.
    """

    def __init__(self, config: UnitConfig, shared: nn.Module) -> None:
        super().__init__()
        w = config.width
        self.shared = shared
        self.own = nn.Sequential(
            *_build_blocks(config, config.blocks - config.shared_blocks),
            *layers.build_upsample_layers(config.upsample, 4 * w, 2 * w, bias=True),
            nn.LeakyReLU(0.01, True),
            *layers.build_upsample_layers(config.upsample, 2 * w, w, bias=True),
            nn.LeakyReLU(0.01, True),
            nn.Conv2d(w, config.out_channels, 1),
            nn.Tanh(),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.own(self.shared(z))


def _build_block(config: UnitConfig) -> layers.ResidualBlock:
    """x + conv(leaky_relu(conv(x))), both 3x3 and normalized, at 4 x width channels."""
    channels = 4 * config.width

    def build_conv() -> list[nn.Module]:
        padding, zeros = layers.build_padding_layers(config.padding, 1)
        conv = nn.Conv2d(channels, channels, 3, padding=zeros, bias=config.norm == "none")
        return [*padding, conv, layers.build_norm_layer(config.norm, channels)]

    return layers.ResidualBlock(*build_conv(), nn.LeakyReLU(0.01, True), *build_conv())


def _build_blocks(config: UnitConfig, count: int) -> nn.Sequential:
    return nn.Sequential(*(_build_block(config) for _ in range(count)))


def _build_conv_layers(config: UnitConfig, before: int, after: int, kernel: int) -> list[nn.Module]:
    """Padding, convolution, LeakyReLU; all but the first convolution, which is 7x7, halve H and W."""
    padding, zeros = layers.build_padding_layers(config.padding, kernel // 2)
    conv = nn.Conv2d(before, after, kernel, 1 if kernel == 7 else 2, zeros)
    return [*padding, conv, nn.LeakyReLU(0.01, True)]
