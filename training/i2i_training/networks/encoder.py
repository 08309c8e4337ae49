"""A trained generator, looked into: the frozen network that sees for the losses of a student."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from i2i_training.networks.layers import ResidualBlock


class FrozenEncoder(nn.Module):
    """Feature maps of a generator whose layers follow one another, such as a ResNet. It learns nothing.

    Args:
        generator: has its layers in `model`, an nn.Sequential.
        layers: rising numbers of those whose outputs are wanted.

    Raises ValueError for a generator of another kind.
    """

    def __init__(self, generator: nn.Module, layers: Sequence[int]) -> None:
        super().__init__()
        model = getattr(generator, "model", None)
        if not isinstance(model, nn.Sequential) or not 0 < max(layers) < len(model):
            raise ValueError("its layers do not follow one another; a ResNet's do")
        self.layers = nn.Sequential(*list(model)[: max(layers) + 1])
        self.wanted = tuple(layers)
        self.requires_grad_(False)
        self.training = self.layers.training = False

    def train(self, mode: bool = True) -> FrozenEncoder:
        """It stays in the mode that its generator had, in which its pictures are made."""
        return self

    def forward(self, images: Tensor) -> list[Tensor]:
        """float [N, C, H, W] in -1..1 -> one [N, c, h, w] for each layer."""
        features: list[Tensor] = []
        for number, layer in enumerate(self.layers):
            images = layer(images)
            if number in self.wanted:
                features.append(images.clone())  # the next layer may work in place
        return features


def find_residual_blocks(generator: nn.Module) -> list[int]:
    """The numbers of the residual blocks in a generator's `model`; none where it has no such layers."""
    model = getattr(generator, "model", None)
    if not isinstance(model, nn.Sequential):
        return []
    return [number for number, layer in enumerate(model) if isinstance(layer, ResidualBlock)]
