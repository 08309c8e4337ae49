"""Everything that a run must remember to go on exactly where it stopped: `state.pt`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric

from i2i_sdk.errors import CheckpointError
from i2i_sdk.files import write_atomically
from i2i_training.data import TrainingData
from i2i_training.recipes.base import Recipe
from i2i_training.run.ema import WeightAverages
from i2i_training.run.schedules import LearningRateSchedule

STATE = "state.pt"
VERSION = 1


@dataclass
class RunState:
    """A run in progress; `step` is the last one done."""

    recipe: Recipe
    data: TrainingData
    learning_rate: LearningRateSchedule
    averages: WeightAverages
    step: int = 0
    saved_step: int = 0  # the last step whose checkpoint is whole
    best: dict[str, Any] = field(default_factory=dict)  # {"step": …, "score": …, "by": …}, best checkpoint's


def save_state(path: Path, run_state: RunState) -> None:
    """Write `state.pt` atomically: a process that is killed meanwhile leaves the one before."""
    state = {
        "version": VERSION,
        "recipe_name": run_state.recipe.name,
        "step": run_state.step,
        "best": run_state.best,
        "recipe": run_state.recipe.state_dict(),
        "data": run_state.data.state_dict(),
        "rate": run_state.learning_rate.state_dict(),
        "averages": run_state.averages.state_dict(),
        "random": _get_random_state(),
    }
    with write_atomically(path, durable=True) as temporary:
        torch.save(state, temporary)


def load_state(path: Path, run_state: RunState, fabric: Fabric) -> None:
    """Continue `run_state` from `path`, which holds tensors and numbers only: nothing in it is executed.

    The first process of a run goes on bit for bit on the CPU; further ones draw new noise, and their image
    pools, which are not in the file, begin empty.

    Args:
        path: of the file.
        run_state: of a fresh run with the same options.
        fabric: which process this is.

    Raises:
        CheckpointError: for a missing, truncated or foreign file.
        TrainingError: for other images.
    """
    state = _read(path)
    if (state.get("version"), state.get("recipe_name")) != (VERSION, run_state.recipe.name):
        raise CheckpointError(
            f"{path}: state of version {state.get('version')} of {state.get('recipe_name')}; this run is "
            f"version {VERSION} of {run_state.recipe.name}"
        )
    try:
        run_state.recipe.load_state_dict(state["recipe"], fabric.device)
        run_state.data.load_state_dict(state["data"])
        run_state.learning_rate.load_state_dict(state["rate"])
        run_state.averages.load_state_dict(state["averages"])
        run_state.step, run_state.saved_step, run_state.best = state["step"], state["step"], state["best"]
        _set_random_state(state["random"])
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(line.strip() for line in str(error).splitlines()[:2])  # torch lists every tensor
        raise CheckpointError(
            f"{path}: does not fit the options of this run: leave out what changes its networks or averages, "
            f"so that they are those of its config.toml ({reason.rstrip('.')})"
        ) from error
    if fabric.global_rank:
        run_state.recipe.restart_pools(fabric.global_rank)
        torch.manual_seed(run_state.step * 1000 + fabric.global_rank)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; only a run that saved its state can be resumed")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for damaged files
        raise CheckpointError(f"{path}: truncated, damaged or no state of a run: {error}") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: no state of a run: it holds a {type(state).__name__}")
    return state


def _get_random_state() -> dict[str, Any]:
    """Of this process, which has one GPU at most: another machine may have fewer."""
    state: dict[str, Any] = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
