"""Is the picture the same? Variants are compared on real frames, a sampler's on latents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from i2i_sdk.backends.base import Engine
from i2i_sdk.manifest import Parity
from i2i_sdk.quality import max_abs, psnr, ssim

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
