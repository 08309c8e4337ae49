"""Is the picture the same? Every variant is compared with PyTorch, on real frames or a sampler's latents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from i2i_export.frames import MOST, read_frames
from i2i_sdk.backends.base import Engine
from i2i_sdk.errors import ExportError, ParityError
from i2i_sdk.manifest import Parity
from i2i_sdk.quality import max_abs, psnr, ssim
from i2i_sdk.sampling import latents
from i2i_training.networks import GeneratorSpec

Image = NDArray[np.uint8]

# Mean PSNR over frames that a precision must keep, in dB; --min-psnr replaces them.
FLOORS = {"fp32": 50.0, "bf16": 40.0, "fp16": 40.0, "w8": 40.0, "int8": 30.0, "palette6": 30.0}


@dataclass(frozen=True)
class Trial:
    """What every variant has to make, of what: one input and one picture per name."""

    names: tuple[str, ...]
    inputs: tuple[NDArray[Any], ...]  # uint8 [H, W, C_in] RGB; a sampler's: float32 [z]
    expected: tuple[Image, ...]  # uint8 [H, W, C_out] RGB, of the loaded, unrewritten module
    source: str  # as Parity.frames_from


def make_trial(module: nn.Module, spec: GeneratorSpec, frames: Path | None, height: int, width: int) -> Trial:
    """Read frames (or draw a sampler's latents, always the same) and run the unrewritten module on them.

    Raises ExportError and MediaError, see `read_frames`; ExportError for a sampler with frames.
    """
    if spec.kind == "sampler":
        if frames is not None:
            raise ExportError(f"--frames {frames}: a sampler is compared on noise; leave --frames out")
        inputs = tuple(latents(MOST, spec.config.in_channels))
        names = tuple(f"seed 0, number {index}" for index in range(MOST))
        return Trial(names, inputs, tuple(_picture(module, values[None]) for values in inputs), "latents")
    found = read_frames(frames, height, width, spec.config.in_channels)
    expected = tuple(_picture(module, _network_input(frame.image)) for frame in found)
    source = "builtin" if frames is None else "user"
    return Trial(tuple(f.name for f in found), tuple(f.image for f in found), expected, source)


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


def measure_parity(engine: Engine, trial: Trial) -> Parity:
    """Run every input through `engine` and compare with what PyTorch made of it."""
    scores: list[tuple[float, float | None, int]] = []
    for given, picture in zip(trial.inputs, trial.expected, strict=True):
        output = engine.run(given[None])[0]
        similarity = ssim(output, picture) if min(picture.shape[:2]) >= 11 else None
        scores.append((psnr(output, picture), similarity, max_abs(output, picture)))
    similarities = [s[1] for s in scores if s[1] is not None]
    worst = min(range(len(scores)), key=lambda i: scores[i][0])
    return Parity(
        psnr=round(float(np.mean([s[0] for s in scores])), 2),
        ssim=round(float(np.mean(similarities)), 5) if similarities else None,
        max_abs=max(s[2] for s in scores),
        frames=len(scores),
        frames_from=trial.source,
        worst_frame=trial.names[worst],
        worst_psnr=round(scores[worst][0], 2),
    )


def require_floor(variant: str, precision: str, parity: Parity, min_psnr: float | None) -> None:
    """Raise ParityError when `parity` is below the precision's floor (or `min_psnr`, where given)."""
    floor = FLOORS[precision] if min_psnr is None else min_psnr
    if parity.psnr < floor:
        raise ParityError(
            f"{variant}: {parity.psnr:.1f} dB against PyTorch over {parity.frames} frames, the floor is "
            f"{floor:.0f} dB (worst: {parity.worst_frame}, {parity.worst_psnr:.1f} dB). Nothing was written. "
            f"Try a higher precision; --min-psnr changes the floor"
        )
