"""What one of several processes tells of a run: on screen and in the journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from i2i_training.journal import Journal, ProgressLine
from i2i_training.run_options import RunOptions


class Watch:
    """Progress line and journal of the first process; of the others, nothing. A context manager."""

    def __init__(self, run: RunOptions, recipe_options: Any, resumed_at: int, speaks: bool) -> None:
        self._opened = ExitStack()
        self._journal: Journal | None = None
        self._resumed_at = resumed_at
        if speaks:
            config = {**asdict(run), **asdict(recipe_options)}
            self._journal = Journal(Path(run.out), run.tensorboard, run.wandb, resumed_at, config)
            self._line = ProgressLine(run.steps, resumed_at, plain_every=run.log_every)

    def __enter__(self) -> Watch:
        if self._journal is not None:
            self._opened.enter_context(self._journal)
            self._opened.enter_context(self._line)
            if self._resumed_at:
                self._line.say(f"going on after step {self._resumed_at} of {self._line.steps}")
        return self

    def __exit__(self, *error: Any) -> None:
        self._opened.__exit__(*error)

    def step(self, step: int, losses: Mapping[str, float] | None = None, lr: float = 0.0) -> None:
        """`step` is done; now and then with its losses and learning rate."""
        if self._journal is None:
            return
        self._line.advance(step, losses)
        if losses is not None:
            self._journal.losses(step, losses, lr=lr, rate=self._line.rate)

    def scores(self, step: int, scores: Mapping[str, float], warnings: Sequence[str] = ()) -> None:
        """The held-out images were scored; `warnings` say what looks wrong."""
        if self._journal is not None:
            self._journal.scores(step, scores)
            text = "  ".join(f"{name} {value:.4g}" for name, value in scores.items())
            self._line.say(f"step {step}: held-out {text}")
            for warning in warnings:
                self._line.say(f"warning: {warning}")

    def grid(self, step: int, path: Path) -> None:
        """A grid of samples was written to `path`."""
        if self._journal is not None:
            self._journal.grid(step, path)
