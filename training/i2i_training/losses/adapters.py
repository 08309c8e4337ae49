"""What the teacher thinks on the way: its feature maps, said again by the student's.

Li et al. 2020, "GAN Compression" (https://arxiv.org/abs/2003.08936), equation 3: a learned 1x1 convolution
brings the student's channels to the teacher's. It is needed in training only.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from i2i_training.losses.perceptual import compute_feature_loss


class FeatureAdapters(nn.Module):
    """Compares some of the student's maps with the teacher's.

    Args:
        channels: of the student's maps.
        teacher_channels: of each of the teacher's maps.
    """

    def __init__(self, channels: int, teacher_channels: Sequence[int]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(channels, after, 1) for after in teacher_channels)

    def forward(self, features: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
        """The student's maps, and the teacher's, which are brought to their size -> a scalar.

        float [N, C, h, w] each. Where the student has more of them, they are taken evenly, the last included.
        """
        count = len(self.convs)
        chosen = [features[(number + 1) * len(features) // count - 1] for number in range(count)]
        ours = [conv(maps) for conv, maps in zip(self.convs, chosen, strict=True)]
        theirs = [F.adaptive_avg_pool2d(maps, ours[0].shape[2:]) for maps in targets]
        return compute_feature_loss(ours, theirs)


def count_channels(maps: Sequence[Tensor]) -> tuple[int, ...]:
    """Of each [N, C, h, w]."""
    return tuple(each.shape[1] for each in maps)
