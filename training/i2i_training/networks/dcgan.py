"""DCGAN, noise to image: https://arxiv.org/abs/1511.06434, section 3 and figure 1."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from i2i_training.networks.discriminators import add_spectral_norm, build_judge_layers
from i2i_training.networks.layers import build_norm_layer
from i2i_training.networks.spec import DcganConfig

MIN_MAP_SIZE = 4  # height and width of the first map of the generator, and of the discriminator's last
MAX_WIDTH_FACTOR = 16  # 1024 channels at width 64, as in figure 1


class DcganGenerator(nn.Module):
    """float32 [N, latent] of N(0, 1) -> float32 [N, C, size, size] in -1..1.

    The first layer, a transposed convolution from one pixel to 4x4, is the paper's "project and reshape".
    """

    def __init__(self, config: DcganConfig) -> None:
        super().__init__()
        bias = config.norm == "none"
        widths = compute_widths(config.width, config.size)[::-1]
        layers: list[nn.Module] = [nn.ConvTranspose2d(config.latent, widths[0], MIN_MAP_SIZE, bias=bias)]
        for before, after in pairwise(widths):
            layers += [build_norm_layer(config.norm, before), nn.ReLU(True)]
            layers += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=bias)]
        layers += [build_norm_layer(config.norm, widths[-1]), nn.ReLU(True)]
        last = nn.ConvTranspose2d(widths[-1], config.out_channels, 4, stride=2, padding=1)
        self.model = nn.Sequential(*layers, last, nn.Tanh())

    def forward(self, latents: Tensor) -> Tensor:
        return self.model(latents[:, :, None, None])


class DcganDiscriminator(nn.Module):
    """float32 [N, C, size, size] in -1..1 -> one raw score per image, float32 [N, 1, 1, 1].

    No norm after the first and the last convolution (section 3).

    Args:
        in_channels: of the images.
        width: as in DcganConfig.
        size: as in DcganConfig.
        norm: as in `build_norm_layer`.
        spectral_norm: as in PatchDiscriminator.
    """

    def __init__(
        self,
        in_channels: int = 3,
        width: int = 64,
        size: int = 64,
        norm: str = "batch",
        spectral_norm: bool = False,
    ) -> None:
        super().__init__()
        widths = compute_widths(width, size)
        layers = build_judge_layers(in_channels, widths, [2] * (len(widths) - 1), norm, bias=norm == "none")
        self.model = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, MIN_MAP_SIZE))
        if spectral_norm:
            add_spectral_norm(self)

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)


def compute_widths(width: int, size: int) -> list[int]:
    """Channels of the maps of half the size, a quarter, … down to 4x4.

    Example:
        >>> compute_widths(64, 64)
        [64, 128, 256, 512]
    """
    halvings = (size // MIN_MAP_SIZE).bit_length() - 1
    return [width * min(2**n, MAX_WIDTH_FACTOR) for n in range(halvings)]
