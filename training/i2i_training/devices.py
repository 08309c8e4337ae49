"""Where a run computes: Lightning Fabric decides, we only choose its arguments."""

from __future__ import annotations

import os

import torch
from lightning.fabric import Fabric
from lightning.fabric.strategies.ddp import DDPStrategy

from i2i_sdk.errors import TrainingError


def launched(precision: str) -> Fabric:
    """A launched Fabric: one process, or as many as `fabric run` or `torchrun` started, over machines too.

    Raises TrainingError for a precision that does not exist or cannot run here.
    """
    if precision.startswith("16") and not torch.accelerator.is_available():
        raise TrainingError(f"precision {precision} needs a GPU; here: 32-true, bf16-mixed")
    local, world = (int(os.environ.get(name, "1")) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    # `fabric run` says itself how many devices there are, and refuses to hear it twice.
    places = {} if "LT_CLI_USED" in os.environ else {"devices": local, "num_nodes": world // local}
    try:
        fabric = Fabric(
            accelerator="auto",
            # A GAN's step runs a network several times before going back; buffers that change in between
            # would be an error.
            strategy=DDPStrategy(broadcast_buffers=False) if world > 1 else "auto",
            precision=precision,  # pyright: ignore[reportArgumentType]
            **places,  # pyright: ignore[reportArgumentType]
        )
    except ValueError as error:
        raise TrainingError(f"precision is {precision!r}: {error}") from error
    fabric.launch()
    return fabric


def agreed(fabric: Fabric, reason: str) -> str:
    """The first process's reason to stop, so that all stop after the same step."""
    return reason if fabric.world_size == 1 else str(fabric.broadcast(reason))
