"""What one of several processes tells of a run: on screen and in the journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from i2i_training.run.journal import ProgressLine, RunLogger
from i2i_training.run.run_options import RunOptions


class RunReporter:
    """Progress line and journal of the first process; of the others, nothing. A context manager."""

    def __init__(self, run: RunOptions, recipe_options: Any, resumed_at: int, is_primary: bool) -> None:
        self._opened = ExitStack()
        self._journal: RunLogger | None = None
        self._resumed_at = resumed_at
        if is_primary:
            config = {**asdict(run), **asdict(recipe_options)}
            self._journal = RunLogger(Path(run.out), run.tensorboard, run.wandb, resumed_at, config)
            self._line = ProgressLine(run.steps, resumed_at, plain_every=run.log_every)

    def __enter__(self) -> RunReporter:
        if self._journal is not None:
            self._opened.enter_context(self._journal)
            self._opened.enter_context(self._line)
            if self._resumed_at:
                self._line.print(f"going on after step {self._resumed_at} of {self._line.steps}")
        return self

    def __exit__(self, *error: Any) -> None:
        self._opened.__exit__(*error)

    def log_step(self, step: int, losses: Mapping[str, float] | None = None, lr: float = 0.0) -> None:
        """`step` is done; now and then with its losses and learning rate."""
        if self._journal is None:
            return
        self._line.advance(step, losses)
        if losses is not None:
            self._journal.log_losses(step, losses, lr=lr, rate=self._line.rate)

    def log_scores(self, step: int, scores: Mapping[str, float], warnings: Sequence[str] = ()) -> None:
        """The held-out images were scored; `warnings` say what looks wrong."""
        if self._journal is not None:
            self._journal.log_scores(step, scores)
            text = "  ".join(f"{name} {value:.4g}" for name, value in scores.items())
            self._line.print(f"step {step}: held-out {text}")
            for warning in warnings:
                self._line.print(f"warning: {warning}")

    def log_grid(self, step: int, path: Path) -> None:
        """A grid of samples was written to `path`."""
        if self._journal is not None:
            self._journal.log_grid(step, path)
