"""Is the picture the same? Every variant is compared with PyTorch on real frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from i2i_export.frames import NamedFrame
from i2i_sdk.backends.base import Engine
from i2i_sdk.errors import ParityError
from i2i_sdk.manifest import Parity
from i2i_sdk.quality import max_abs, psnr, ssim

Image = NDArray[np.uint8]

# Mean PSNR over frames that a precision must keep, in dB; --min-psnr replaces them.
FLOORS = {"fp32": 50.0, "bf16": 40.0, "fp16": 40.0, "w8": 40.0, "int8": 30.0, "palette6": 30.0}


def pytorch_pictures(module: nn.Module, frames: Sequence[NamedFrame]) -> list[Image]:
    """What the loaded, unrewritten generator makes of each frame: uint8 [H, W, C_out] RGB.

    The conversions are written out here once more, on purpose: an error in the exported ones must not
    check itself.
    """
    pictures: list[Image] = []
    for frame in frames:
        values = frame.image.astype(np.float32).transpose(2, 0, 1)[None] / 127.5 - 1.0
        with torch.no_grad():
            output = module(torch.from_numpy(values))[0].numpy()
        pictures.append(np.clip(np.rint(output.transpose(1, 2, 0) * 127.5 + 127.5), 0, 255).astype(np.uint8))
    return pictures


def measure_parity(
    engine: Engine, frames: Sequence[NamedFrame], expected: Sequence[Image], frames_from: str
) -> Parity:
    """Run every frame through `engine` and compare with `expected`."""
    scores: list[tuple[float, float | None, int]] = []
    for frame, picture in zip(frames, expected, strict=True):
        output = engine.run(frame.image[None])[0]
        similarity = ssim(output, picture) if min(picture.shape[:2]) >= 11 else None
        scores.append((psnr(output, picture), similarity, max_abs(output, picture)))
    similarities = [s[1] for s in scores if s[1] is not None]
    worst = min(range(len(scores)), key=lambda i: scores[i][0])
    return Parity(
        psnr=round(float(np.mean([s[0] for s in scores])), 2),
        ssim=round(float(np.mean(similarities)), 5) if similarities else None,
        max_abs=max(s[2] for s in scores),
        frames=len(scores),
        frames_from=frames_from,
        worst_frame=frames[worst].name,
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
