"""Learning rates over a run, as factors of the option's."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from i2i_sdk.errors import TrainingError

Schedule = Literal["constant", "linear", "cosine", "step", "plateau"]
STEP_FACTOR = 0.1  # at each drop of "step"
PLATEAU_FACTOR = 0.5
PLATEAU_PATIENCE = 5  # evaluations without a better score before a drop


@dataclass
class LearningRateSchedule:
    """The factor of each step; only "plateau" remembers anything.

    Args:
        kind: "constant"; "linear" (1 until `start`, then falling to zero at the end, as CycleGAN, section
            7.2); "cosine" (the same with half a cosine, Loshchilov and Hutter 2017, equation 5); "step" (a
            tenth at each further `start`); "plateau" (half after 5 evaluations without improvement).
        steps: of the whole run.
        start: share of the steps, 0 to 1, after which the rate falls.

    Raises TrainingError for "step" with less than a step between two drops.

    Example:
        >>> rate = LearningRateSchedule("linear", steps=100, start=0.5)
        >>> rate.compute_factor(50), round(rate.compute_factor(100), 3)
        (1.0, 0.02)
    """

    kind: Schedule
    steps: int
    start: float
    best: float = field(default=math.inf, init=False)
    num_bad_evals: int = field(default=0, init=False)
    drops: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.kind == "step" and self.start * self.steps < 1:
            raise TrainingError(
                f"schedule step drops after each {self.start} of {self.steps} steps, which is less than one; "
                f"try --decay-from 0.25"
            )

    def compute_factor(self, step: int) -> float:
        """Of step 1 to `steps`."""
        start = self.start * self.steps
        left = max(0.0, (self.steps - step + 1) / (self.steps - start + 1))  # 1 at the start, ~0 at the end
        match self.kind:
            case "linear":
                return 1.0 if step <= start else left
            case "cosine":
                return 1.0 if step <= start else 0.5 * (1 + math.cos(math.pi * (1 - left)))
            case "step":
                return STEP_FACTOR ** math.floor((step - 1) / start)
            case "plateau":
                return PLATEAU_FACTOR**self.drops
            case _:
                return 1.0

    def observe(self, score: float) -> None:
        """Tell a held-out score, lower is better; "plateau" drops when it stops falling."""
        if score < self.best:
            self.best, self.num_bad_evals = score, 0
            return
        self.num_bad_evals += 1
        if self.num_bad_evals >= PLATEAU_PATIENCE:
            self.drops, self.num_bad_evals = self.drops + 1, 0

    def reset(self) -> None:
        """Scores are of another kind from now on."""
        self.best, self.num_bad_evals = math.inf, 0

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.num_bad_evals, "drops": self.drops}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.num_bad_evals, self.drops = state["best"], state["waited"], state["drops"]
