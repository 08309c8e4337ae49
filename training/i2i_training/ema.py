"""Moving averages of generators, which make steadier pictures than the last weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from i2i_training.recipes.base import Recipe


class Averages:
    """w_avg <- decay * w_avg + (1 - decay) * w of the recipe's generators; buffers are copied."""

    def __init__(self, recipe: Recipe, decay: float) -> None:
        self.recipe = recipe
        average = get_ema_multi_avg_fn(decay)
        names = recipe.generator_networks if decay else ()
        self.averaged = {name: AveragedModel(recipe.networks[name], multi_avg_fn=average) for name in names}

    def update(self) -> None:
        """Take in the weights of this step."""
        for name, averaged in self.averaged.items():
            averaged.update_parameters(self.recipe.networks[name])

    def networks(self) -> dict[str, nn.Module]:
        """The recipe's networks with the averages in their places; the live ones where there are none."""
        return {**self.recipe.networks, **{name: a.module for name, a in self.averaged.items()}}

    def state_dict(self) -> dict[str, Any]:
        return {name: averaged.state_dict() for name, averaged in self.averaged.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        with torch.no_grad():
            for name, averaged in self.averaged.items():
                averaged.load_state_dict(state[name])
