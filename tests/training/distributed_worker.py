"""One of several processes of a run; started by test_distributed.py."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tiny_runs import TINY, UNET, make_run, make_seeded_recipe
from torch import Tensor

from i2i_training.data import Batch
from i2i_training.loop import run_training
from i2i_training.recipes import Recipe

# Nothing is drawn that differs between processes, and every image is normalized alone.
DETERMINISTIC_OPTIONS: dict[str, Any] = {
    "cyclegan": replace(
        TINY["cyclegan"], resnet=replace(TINY["cyclegan"].resnet, dropout=False), pool_size=0
    ),
    "pix2pix": replace(
        TINY["pix2pix"],
        generator="unet",
        unet=replace(UNET, norm="instance", dropout=False),
        discriminator=replace(TINY["pix2pix"].discriminator, norm="instance"),
    ),
    "encdec": replace(TINY["encdec"], gan_mode="lsgan"),
}


def step_in_double(recipe: Recipe) -> Recipe:
    """Fabric hands tensors of the default type from one network to the next."""
    step = recipe.step

    def double_step(batch: Batch) -> dict[str, Tensor]:
        torch.set_default_dtype(torch.float64)
        losses = step(batch)
        torch.set_default_dtype(torch.float32)
        return losses

    recipe.step = double_step
    return recipe


def main(argv: list[str]) -> int:
    """Train in float64: recipe, data, folder, changes of the run. Leaves weights and gradients in the cwd."""
    name, data, out, changes = argv
    recipe = step_in_double(make_seeded_recipe(name, DETERMINISTIC_OPTIONS.get(name)))
    run = make_run(Path(data), Path(out), precision="64-true", **json.loads(changes))
    outcome = run_training(recipe, run)
    networks = {name: network.state_dict() for name, network in recipe.networks.items()}
    gradients = {
        f"{name}.{key}": p.grad
        for name, network in recipe.networks.items()
        for key, p in network.named_parameters()
    }
    rank = os.environ.get("RANK", "0")
    found = {"networks": networks, "gradients": gradients, "steps": outcome.steps, "by": outcome.stop_reason}
    torch.save(found, f"process{rank}.pt")
    return 0 if outcome.is_finished else 130
