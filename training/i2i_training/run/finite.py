"""Losses and weights that are no longer numbers, or beyond any use: found, named, kept out of checkpoints.

A run has diverged when a loss is above a limit that healthy ones stay far below in every single step.
Measured at the default learning rate on real images, with every recipe (hinge not for CUT, UNIT and DCGAN):
losses are scores, distances and cross-entropies of at most 35, but for a gradient penalty, whose first steps
reach 44,000. A learning rate of 100 gives 10,000 and more at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from lightning.fabric import Fabric
from torch import Tensor

MAX_LOSS = 1e4
MAX_PENALIZED_LOSS = 1e7  # with a gradient penalty


class LossTracker:
    """Remembers, on the device, at which step each loss first was not finite or above a limit, and its value.

    Looking at every step costs a few small operations; asking waits for the device, so it is done now and
    then. All processes get the same answer, and so end together.
    """

    def __init__(self, limit: float = MAX_LOSS) -> None:
        self._limit = limit
        self._names: list[str] = []
        self._steps = self._values = torch.zeros(0)

    def update(self, step: int, losses: Mapping[str, Tensor]) -> None:
        """Take in the losses (scalars, always the same names) of step 1 or later."""
        sizes = torch.stack([loss.detach().abs().double() for loss in losses.values()]).nan_to_num(
            math.inf, math.inf
        )
        if not self._names:
            self._names = list(losses)
            self._steps = self._values = torch.zeros_like(sizes)
        is_new = (sizes > self._limit) & (self._steps == 0)
        self._steps = self._steps.masked_fill(is_new, step)
        self._values = torch.where(is_new, sizes, self._values)

    def find_first(self, fabric: Fabric) -> tuple[int, dict[str, float]]:
        """The earliest such step and what broke in it, with its size; (0, {}) as long as all is well."""
        found = fabric.all_reduce(torch.stack([self._steps, self._values]), reduce_op="max")
        assert isinstance(found, Tensor)
        steps, values = found.tolist()
        first = int(min(filter(None, steps), default=0))
        broken = zip(self._names, steps, values, strict=True)
        return first, {name: value for name, step, value in broken if step and step == first}
