"""Where a run computes: Lightning Fabric decides, we only choose its arguments."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Mapping
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.strategies.ddp import DDPStrategy
from torch.nn.parallel import DistributedDataParallel

from i2i_sdk.errors import TrainingError

STOP_REASONS = ("", "minutes", "SIGINT", "SIGTERM")  # why a run may stop early; a later one tells more
STOP_CHECK_EVERY = 10  # steps
# A GAN's step runs a network several times before going back; buffers that change in between would be an
# error. PyTorch 2.13 has another name for it.
_PARAMETERS = inspect.signature(DistributedDataParallel).parameters
SYNC_BUFFERS_OPTION = "forward_sync_buffers" if "forward_sync_buffers" in _PARAMETERS else "broadcast_buffers"


def launch_fabric(precision: str) -> Fabric:
    """A launched Fabric: one process, or as many as `fabric run` or `torchrun` started, over machines too.

    Raises TrainingError for a precision that cannot run here.
    """
    if precision.startswith("16") and not torch.accelerator.is_available():
        raise TrainingError(f"precision {precision} needs a GPU; here: 32-true, bf16-mixed")
    for name in ("lightning.fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)  # no lists of devices, no tips
    unsynced: dict[str, Any] = {SYNC_BUFFERS_OPTION: False}
    by_fabric_run = "LT_CLI_USED" in os.environ  # then it has said where, and launched
    local, world = (int(os.environ.get(name, "1")) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    places = {} if by_fabric_run else {"devices": local, "num_nodes": world // local}
    fabric = Fabric(
        accelerator="auto",
        strategy=DDPStrategy(**unsynced) if world > 1 else "auto",
        precision=precision,  # pyright: ignore[reportArgumentType]
        **places,  # pyright: ignore[reportArgumentType]
    )
    if not by_fabric_run:
        fabric.launch()
    return fabric


def reduce_stop_reason(fabric: Fabric, step: int, reason: str) -> str:
    """Agree between processes, so that all stop after the same step.

    Args:
        fabric: of the run.
        step: the last one done. GPUs are asked every STOP_CHECK_EVERY steps only, because each answer waits
            for them.
        reason: of STOP_REASONS, that this process has to stop.

    Returns:
        The reason that any of them has.
    """
    if fabric.world_size == 1:
        return reason
    if fabric.device.type == "cuda" and step % STOP_CHECK_EVERY:
        return ""
    code = torch.tensor(STOP_REASONS.index(reason), device=fabric.device)
    latest = fabric.all_reduce(code, reduce_op="max")
    assert isinstance(latest, torch.Tensor)
    return STOP_REASONS[int(latest)]


def average_losses(fabric: Fabric, losses: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """Losses as numbers: the mean over all processes, each of which saw its own share of the batch."""
    values = torch.stack([loss.detach().float() for loss in losses.values()])
    averages = fabric.all_reduce(values, reduce_op="mean")
    assert isinstance(averages, torch.Tensor)
    return dict(zip(losses, averages.tolist(), strict=True))
