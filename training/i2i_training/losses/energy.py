"""How strong an edit is at each size of detail, in each part of a picture, and not where its lines are.

A student cannot foresee the place of every stroke, and what L1 pays for is then a pale mean of all that are
possible. Textures look alike where the energies of their bands are alike: Heeger and Bergen 1995,
"Pyramid-Based Texture Analysis/Synthesis"; that the energies are local is from Portilla and Simoncelli 2000.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LEVELS = 4  # of the pyramid, each of half the size
WINDOW = 8  # pixels of a level that one local energy is the mean of
INVISIBLE = 0.5 / 127.5  # half a gray level


def measure_local_energies(edit: Tensor, levels: int = LEVELS) -> list[Tensor]:
    """The root mean square of each band of a Laplacian pyramid, in windows of 8x8 pixels of it.

    float [N, C, H, W], sides multiples of 2**levels -> of each level, fine to coarse, float32 [N, C, h, w].
    """
    edit, energies = edit.float(), list[Tensor]()
    for _ in range(levels):
        coarser = F.avg_pool2d(edit, 2)
        band = edit - F.interpolate(coarser, scale_factor=2, mode="bilinear")
        window = min(WINDOW, *band.shape[2:])
        energies.append((F.avg_pool2d(band.square(), window) + INVISIBLE**2).sqrt())
        edit = coarser
    return energies


def compute_energy_loss(edit: Tensor, target: Tensor, levels: int = LEVELS) -> Tensor:
    """L1 distance of local energies relative to the target's mean energy, the mean over levels.

    float [N, C, H, W] each, output - input of the student and of the teacher, sides multiples of
    2**levels -> a scalar.
    """
    pairs = zip(measure_local_energies(edit, levels), measure_local_energies(target, levels), strict=True)
    return torch.stack([(ours - theirs).abs().mean() / theirs.mean() for ours, theirs in pairs]).mean()
