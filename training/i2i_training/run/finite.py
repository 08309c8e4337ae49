"""Losses and weights that are no longer numbers: found, named, and kept out of checkpoints."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from lightning.fabric import Fabric
from torch import Tensor


class NonFiniteTracker:
    """Remembers, on the device, at which step each loss first was not finite.

    Looking at every step costs a few small operations; asking waits for the device, so it is done now and
    then. All processes get the same answer, and so end together.
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._steps = torch.zeros(0)

    def update(self, step: int, losses: Mapping[str, Tensor]) -> None:
        """Take in the losses (scalars, always the same names) of step 1 or later."""
        finite = torch.stack([loss.detach().isfinite() for loss in losses.values()])
        if not self._names:
            self._names = list(losses)
            self._steps = torch.zeros_like(finite, dtype=torch.float64)
        self._steps = torch.where(finite | (self._steps > 0), self._steps, float(step))

    def find_first(self, fabric: Fabric) -> tuple[int, list[str]]:
        """The earliest such step and what broke in it; (0, []) as long as all is well."""
        steps = fabric.all_reduce(self._steps, reduce_op="max")
        assert isinstance(steps, Tensor)
        broken = {name: int(step) for name, step in zip(self._names, steps.tolist(), strict=True) if step}
        first = min(broken.values(), default=0)
        return first, [name for name, step in broken.items() if step == first]
