"""The engine contract as a PyTorch module: uint8 images in (a sampler: noise), uint8 images out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from i2i_export.rewrites import ready_for_export
from i2i_training.networks import GeneratorSpec


class Uint8Translator(nn.Module):
    """uint8 [N, H, W, C_in] RGB -> uint8 [N, H, W, C_out] RGB around a -1..1 generator.

    x/127.5 - 1 before, clip(round(y*127.5 + 127.5)) after, halves rounded to even.
    """

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, images: Tensor) -> Tensor:
        x = images.permute(0, 3, 1, 2).float() / 127.5 - 1.0
        return _to_pixels(self.generator(x))


class Uint8Sampler(nn.Module):
    """float32 [N, z] from N(0, 1) -> uint8 [N, H, W, C_out] RGB around a -1..1 sampler."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, latents: Tensor) -> Tensor:
        return _to_pixels(self.generator(latents))


def _to_pixels(values: Tensor) -> Tensor:
    """float32 [N, C, H, W] in -1..1 -> uint8 [N, H, W, C]."""
    return (values * 127.5 + 127.5).permute(0, 2, 3, 1).round().clamp(0, 255).byte()


def deployed(generator: nn.Module, spec: GeneratorSpec) -> Uint8Translator | Uint8Sampler:
    """The exportable form of a loaded generator, which itself stays as it is."""
    wrapper = Uint8Sampler if spec.kind == "sampler" else Uint8Translator
    return wrapper(ready_for_export(generator, spec.norm_mode)).eval()


def example_input(spec: GeneratorSpec, height: int, width: int, batch: int) -> Tensor:
    """Zeros that `deployed` takes: uint8 [batch, height, width, C], or a sampler's float32 [batch, z]."""
    if spec.kind == "sampler":
        return torch.zeros(batch, spec.config.in_channels)
    return torch.zeros(batch, height, width, spec.config.in_channels, dtype=torch.uint8)
