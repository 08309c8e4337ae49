"""Moving averages of generators, which make steadier pictures than the last weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from i2i_training.recipes.base import Recipe

WARM_UP_STEPS = 10

Tensors = tuple[Tensor, ...] | list[Tensor]


class WeightAverages:
    """w_avg <- decay * w_avg + (1 - decay) * w of the recipe's generators; buffers are copied.

    They begin as the weights of the first step. At step n the decay is at most (1 + n) / (10 + n), so that
    a short run is not the average of its random beginning. Nothing here waits for the device.
    """

    def __init__(self, recipe: Recipe, decay: float) -> None:
        self.recipe = recipe
        names = [name for name in recipe.networks if name.startswith("G")] if decay else []
        self.models = {name: _make_average(recipe.networks[name], decay) for name in names}

    def update(self) -> None:
        """Take in the weights of this step."""
        for name, model in self.models.items():
            model.update_parameters(self.recipe.networks[name])

    def get_networks(self) -> dict[str, nn.Module]:
        """The recipe's networks with the averages in their places; the live ones where there are none."""
        return {**self.recipe.networks, **{name: model.module for name, model in self.models.items()}}

    def state_dict(self) -> dict[str, Any]:
        return {name: model.state_dict() for name, model in self.models.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`. Raises KeyError or RuntimeError for another's state."""
        for name, model in self.models.items():
            kept = state[name]
            if "n_averaged" not in kept:  # as runs before 0.2 wrote it
                kept = {"n_averaged": torch.tensor(state["updates"])} | {
                    f"module.{k}": v for k, v in kept.items()
                }
            model.load_state_dict(kept)


def _make_average(network: nn.Module, decay: float) -> AveragedModel:
    @torch.no_grad()
    def update(averages: Tensors, weights: Tensors, steps: Tensor | int) -> None:
        assert isinstance(steps, Tensor)
        share = 1 - ((1 + steps) / (WARM_UP_STEPS + steps)).clamp(max=decay)
        for average, weight in zip(averages, weights, strict=True):
            average.lerp_(weight, share.to(average))

    average = AveragedModel(network, multi_avg_fn=update)
    average.requires_grad_(False)
    return average
