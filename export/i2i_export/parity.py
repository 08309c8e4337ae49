"""What every variant is compared with: the pictures of the unrewritten module in PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from i2i_sdk.errors import ParityError
from i2i_sdk.manifest import Parity
from i2i_sdk.parity import Image, Trial, floor_of, read_inputs
from i2i_training.networks import GeneratorSpec


def make_trial(
    module: nn.Module,
    spec: GeneratorSpec,
    frames: Path | None,
    height: int,
    width: int,
    *,
    part: str = "all",
) -> Trial:
    """Read frames (or draw a sampler's latents, always the same) and run the unrewritten module on them.

    part: of the frames, as `read_frames` takes it. Raises InputError and MediaError, see `read_inputs`.
    """
    inputs = read_inputs(spec.kind, frames, height, width, spec.config.in_channels, part=part)
    if spec.kind == "sampler":
        return Trial(inputs, tuple(_picture(module, values[None]) for values in inputs.arrays))
    return Trial(inputs, tuple(_picture(module, _network_input(image)) for image in inputs.arrays))


def _network_input(image: Image) -> NDArray[np.float32]:
    """uint8 [H, W, C] -> float32 [1, C, H, W] in -1..1.

    This conversion and the one back are written out here once more, on purpose: an error in the exported
    ones must not check itself.
    """
    return image.astype(np.float32).transpose(2, 0, 1)[None] / 127.5 - 1.0


def _picture(module: nn.Module, values: NDArray[np.float32]) -> Image:
    """What the module makes of one input, float32 [1, ...]: uint8 [H, W, C_out] RGB."""
    with torch.no_grad():
        output = module(torch.from_numpy(values))[0].numpy()
    return np.clip(np.rint(output.transpose(1, 2, 0) * 127.5 + 127.5), 0, 255).astype(np.uint8)


def require_floor(variant: str, precision: str, parity: Parity, min_psnr: float | None) -> None:
    """Raise ParityError when `parity` is below the precision's floor (or `min_psnr`, where given)."""
    floor = floor_of(precision, min_psnr)
    if parity.psnr < floor:
        raise ParityError(
            f"{variant}: {parity.psnr:.1f} dB against PyTorch over {parity.frames} frames, the floor is "
            f"{floor:.0f} dB (worst: {parity.worst_frame}, {parity.worst_psnr:.1f} dB). "
            f"A higher precision is closer; --min-psnr changes the floor"
        )
