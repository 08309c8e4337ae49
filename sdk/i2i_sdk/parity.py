"""Is the picture the same? Variants are compared on real frames, a sampler's on latents.

With PyTorch's pictures when a bundle is made (`i2i_export.parity`), with those of its reference graph on a
device (`i2i verify`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from i2i_sdk.backends.base import Engine
from i2i_sdk.errors import InputError
from i2i_sdk.manifest import Parity
from i2i_sdk.quality import max_abs, psnr, ssim
from i2i_sdk.sampling import latents
from i2i_sdk.stills import MOST, read_frames

Image = NDArray[np.uint8]

# Mean PSNR over frames that a precision must keep, in dB; --min-psnr replaces them.
FLOORS = {"fp32": 50.0, "bf16": 40.0, "fp16": 40.0, "w8": 40.0, "int8": 30.0, "palette6": 30.0}


@dataclass(frozen=True)
class Inputs:
    """What variants are compared on."""

    names: tuple[str, ...]
    arrays: tuple[NDArray[Any], ...]  # uint8 [H, W, C_in] RGB; a sampler's: float32 [z]
    source: str  # as Parity.frames_from


@dataclass(frozen=True)
class Trial:
    """What every variant has to make of what: a picture for each input."""

    inputs: Inputs
    expected: tuple[Image, ...]  # uint8 [H, W, C_out] RGB


def read_inputs(
    kind: str,
    frames: Path | None,
    height: int,
    width: int,
    channels: int,
    *,
    part: str = "all",
    most: int = MOST,
) -> Inputs:
    """Frames at the engine's size, or for the kind "sampler" latents, always the same.

    All but `kind` as `read_frames` takes it; channels is a sampler's z, and its "odd" latents are others than
    all the rest. Raises InputError and MediaError, see there; InputError for a sampler with frames.
    """
    if kind == "sampler":
        if frames is not None:
            raise InputError(f"--frames {frames}: a sampler is compared on noise; leave --frames out")
        seed = int(part == "odd")
        names = tuple(f"seed {seed}, number {index}" for index in range(most))
        return Inputs(names, tuple(latents(most, channels, seed)), "latents")
    found = read_frames(frames, height, width, channels, part=part, most=most)
    source = "builtin" if frames is None else "user"
    return Inputs(tuple(f.name for f in found), tuple(f.image for f in found), source)


def floor_of(precision: str, min_psnr: float | None) -> float:
    """The dB that a precision must keep, unless `min_psnr` says another."""
    return FLOORS[precision] if min_psnr is None else min_psnr


def measure_parity(engine: Engine, trial: Trial) -> Parity:
    """Run every input through `engine` and compare with what is expected of it."""
    scores: list[tuple[float, float | None, int]] = []
    for given, picture in zip(trial.inputs.arrays, trial.expected, strict=True):
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
        frames_from=trial.inputs.source,
        worst_frame=trial.inputs.names[worst],
        worst_psnr=round(scores[worst][0], 2),
    )
