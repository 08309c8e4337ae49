"""Pictures that a trained sampler makes of noise; `i2i sample CKPT`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from i2i_sdk.commands.sample import parse, write_grid
from i2i_sdk.errors import InputError
from i2i_sdk.sampling import latents
from i2i_training.checkpoint import load_generator

BATCH = 16  # pictures at once


def main(argv: Sequence[str]) -> int:
    """Make a grid with a checkpoint. Raises CheckpointError, and InputError for what is no sampler."""
    args = parse(argv)
    for name in ("backend", "precision", "threads"):
        if getattr(args, name) is not None:
            raise InputError(f"--{name} is for bundles; a checkpoint runs in PyTorch")
    path = Path(args.source)
    module, spec = load_generator(path)
    if spec.kind != "sampler":
        raise InputError(
            f"{path} is a translator ({spec.config.architecture}), not a sampler; next: i2i export {path}"
        )
    values = latents(args.count, spec.config.in_channels, args.seed)
    write_grid(sampled_pictures(module, values), args)
    return 0


def sampled_pictures(module: nn.Module, values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Latents float32 [N, z] -> uint8 [N, H, W, C] RGB, in the mode and on the device that `module` is in."""
    device = next(module.parameters()).device
    made: list[NDArray[np.uint8]] = []
    for start in range(0, len(values), BATCH):
        with torch.no_grad():
            output = module(torch.from_numpy(values[start : start + BATCH]).to(device)).float()
        pixels = (output * 127.5 + 127.5).round().clamp(0, 255).byte()
        made.append(pixels.permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(made)
