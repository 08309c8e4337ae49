"""Which images come next and how they are cut: all the randomness of the data, drawn from one generator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

TOP, LEFT, FLIP, JITTER, NOISE = 0, 1, 2, slice(3, 6), 6  # columns of the draws
DRAW_COLUMNS = 7


@dataclass(frozen=True)
class Permutation:
    """Numbers of images in a random order, dealt from `position` on."""

    order: Tensor  # int32 [images]
    position: int

    def next(self, count: int, generator: torch.Generator) -> tuple[list[int], Permutation]:
        """The next `count` numbers: every image once before any twice; an empty deck is shuffled anew."""
        deck, dealt = self, []
        while len(dealt) < count:
            if deck.position == len(deck.order):
                order = torch.randperm(len(deck.order), generator=generator, dtype=torch.int32)
                deck = Permutation(order, 0)
            end = min(len(deck.order), deck.position + count - len(dealt))
            dealt += deck.order[deck.position : end].tolist()
            deck = Permutation(deck.order, end)
        return dealt, deck


@dataclass(frozen=True)
class BatchPlan:
    """A batch of N: the numbers of its images, and float64 [N, DRAWS] in 0..1 for each of them."""

    inputs: list[int]  # empty where there is no input domain
    targets: list[int]
    input_draws: Tensor
    target_draws: Tensor


class BatchPlanner:
    """Endless plans.

    Args:
        inputs: images to translate, 0 for a single domain.
        targets: images of the domain that is translated into.
        is_paired: whether both draw the same numbers.
        seed: of all draws.
    """

    def __init__(self, inputs: int, targets: int, is_paired: bool, seed: int) -> None:
        self._paired = is_paired
        self._generator = torch.Generator().manual_seed(seed)
        # Decks that are used up: the first plan shuffles them.
        self._inputs = Permutation(torch.zeros(inputs, dtype=torch.int32), inputs)
        self._targets = Permutation(torch.zeros(targets, dtype=torch.int32), targets)

    def next(self, batch: int) -> BatchPlan:
        targets, self._targets = self._targets.next(batch, self._generator)
        target_draws = self._draw(batch)
        if self._paired:
            input_draws = target_draws.clone()
            # The same noise on both would let G and D read the target's off the input.
            input_draws[:, NOISE] = 1 - target_draws[:, NOISE]
            return BatchPlan(targets, targets, input_draws, target_draws)
        if not len(self._inputs.order):
            return BatchPlan([], targets, target_draws[:0], target_draws)
        inputs, self._inputs = self._inputs.next(batch, self._generator)
        return BatchPlan(inputs, targets, self._draw(batch), target_draws)

    def state_dict(self) -> dict[str, Any]:
        """Tensors and whole numbers."""
        return {
            "generator": self._generator.get_state(),
            "inputs": self._inputs.order,
            "inputs_position": self._inputs.position,
            "targets": self._targets.order,
            "targets_position": self._targets.position,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._generator.set_state(state["generator"])
        self._inputs = Permutation(state["inputs"], state["inputs_position"])
        self._targets = Permutation(state["targets"], state["targets_position"])

    def _draw(self, batch: int) -> Tensor:
        return torch.rand(batch, DRAW_COLUMNS, dtype=torch.float64, generator=self._generator)
