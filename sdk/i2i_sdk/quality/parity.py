"""Parity: compare a variant's pictures with the expected ones, on real frames.

With PyTorch's pictures when a bundle is made (`i2i_export.verify_variant`), with those of its reference
graph on a device (`i2i verify`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from i2i_sdk.backends.base import Engine
from i2i_sdk.bundle.manifest import Parity
from i2i_sdk.quality.eval_frames import ParityInputs
from i2i_sdk.quality.metrics import max_abs, psnr, ssim

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class ParityCase:
    """What every variant has to make of what: a picture for each input."""

    inputs: ParityInputs
    expected: tuple[Image, ...]  # uint8 [H, W, C_out] RGB


def measure_parity(engine: Engine, case: ParityCase) -> Parity:
    """Run every input through `engine` and compare with what is expected of it."""
    scores: list[tuple[float, float | None, int]] = []
    for values, picture in zip(case.inputs.arrays, case.expected, strict=True):
        output = engine.run(values[None])[0]
        similarity = ssim(output, picture) if min(picture.shape[:2]) >= 11 else None
        scores.append((psnr(output, picture), similarity, max_abs(output, picture)))
    similarities = [s[1] for s in scores if s[1] is not None]
    worst = min(range(len(scores)), key=lambda i: scores[i][0])
    return Parity(
        psnr=round(float(np.mean([s[0] for s in scores])), 2),
        ssim=round(float(np.mean(similarities)), 5) if similarities else None,
        max_abs=max(s[2] for s in scores),
        frames=len(scores),
        frames_from=case.inputs.source,
        worst_frame=case.inputs.names[worst],
        worst_psnr=round(scores[worst][0], 2),
    )
