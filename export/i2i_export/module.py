"""The engine contract as a PyTorch module: uint8 images in, uint8 images out."""

from __future__ import annotations

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
        y = self.generator(x) * 127.5 + 127.5
        return y.permute(0, 2, 3, 1).round().clamp(0, 255).byte()


def deployed(generator: nn.Module, spec: GeneratorSpec) -> Uint8Translator:
    """The exportable form of a loaded generator, which itself stays as it is."""
    return Uint8Translator(ready_for_export(generator, spec.norm_mode)).eval()
