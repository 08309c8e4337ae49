"""Moving averages of generators, which make steadier pictures than the last weights."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from i2i_training.recipes.base import Recipe


class WeightAverages:
    """w_avg <- decay * w_avg + (1 - decay) * w of the recipe's generators; buffers are copied.

    They begin as the weights of the first step. Nothing here waits for the device.
    """

    def __init__(self, recipe: Recipe, decay: float) -> None:
        self.recipe, self.decay, self.updates = recipe, decay, 0
        names = recipe.generator_networks if decay else ()
        self.averaged = {n: copy.deepcopy(recipe.networks[n]).requires_grad_(False) for n in names}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights of this step."""
        for name, average in self.averaged.items():
            network = self.recipe.networks[name]
            follow = get_ema_multi_avg_fn(self.decay if self.updates else 0.0)
            follow(list(average.parameters()), list(network.parameters()), self.updates)
            for kept, latest in zip(average.buffers(), network.buffers(), strict=True):
                kept.copy_(latest)
        self.updates += 1

    def get_networks(self) -> dict[str, nn.Module]:
        """The recipe's networks with the averages in their places; the live ones where there are none."""
        return {**self.recipe.networks, **self.averaged}

    def state_dict(self) -> dict[str, Any]:
        if not self.averaged:
            return {}
        return {"updates": self.updates, **{name: a.state_dict() for name, a in self.averaged.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`. Raises KeyError or RuntimeError for another's state."""
        for name, average in self.averaged.items():
            average.load_state_dict(state[name])
            self.updates = state["updates"]
