"""Which images come next and how they are cut: all the randomness of the data, drawn from one generator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

TOP, LEFT, FLIP, JITTER, NOISE = 0, 1, 2, slice(3, 6), 6  # columns of the draws
DRAWS = 7


@dataclass(frozen=True)
class Deck:
    """Numbers of images in a random order, dealt from `position` on."""

    order: Tensor  # int32 [images]
    position: int

    def deal(self, count: int, generator: torch.Generator) -> tuple[list[int], Deck]:
        """The next `count` numbers: every image once before any twice; an empty deck is shuffled anew."""
        deck, dealt = self, []
        while len(dealt) < count:
            if deck.position == len(deck.order):
                order = torch.randperm(len(deck.order), generator=generator, dtype=torch.int32)
                deck = Deck(order, 0)
            end = min(len(deck.order), deck.position + count - len(dealt))
            dealt += deck.order[deck.position : end].tolist()
            deck = Deck(deck.order, end)
        return dealt, deck


@dataclass(frozen=True)
class Plan:
    """A batch of N: the numbers of its images, and float64 [N, DRAWS] in 0..1 for each of them."""

    inputs: list[int]  # empty where there is no input domain
    targets: list[int]
    input_draws: Tensor
    target_draws: Tensor


class Planner:
    """Endless plans for `inputs` and `targets` images; where `paired`, both get the same numbers, draws."""

    def __init__(self, inputs: int, targets: int, paired: bool, seed: int) -> None:
        self._paired = paired
        self._generator = torch.Generator().manual_seed(seed)
        # Decks that are used up: the first plan shuffles them.
        self._inputs = Deck(torch.zeros(inputs, dtype=torch.int32), inputs)
        self._targets = Deck(torch.zeros(targets, dtype=torch.int32), targets)

    def next(self, batch: int) -> Plan:
        targets, self._targets = self._targets.deal(batch, self._generator)
        target_draws = self._draws(batch)
        if self._paired:
            input_draws = target_draws.clone()
            # The same noise on both would let G and D read the target's off the input.
            input_draws[:, NOISE] = 1 - target_draws[:, NOISE]
            return Plan(targets, targets, input_draws, target_draws)
        if not len(self._inputs.order):
            return Plan([], targets, target_draws[:0], target_draws)
        inputs, self._inputs = self._inputs.deal(batch, self._generator)
        return Plan(inputs, targets, self._draws(batch), target_draws)

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
        self._inputs = Deck(state["inputs"], state["inputs_position"])
        self._targets = Deck(state["targets"], state["targets_position"])

    def _draws(self, batch: int) -> Tensor:
        return torch.rand(batch, DRAWS, dtype=torch.float64, generator=self._generator)
