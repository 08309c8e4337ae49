"""How an export goes about it: what a caller may say, in one place."""

from __future__ import annotations

import os
from dataclasses import dataclass

from i2i_sdk.selection import Size

StrPath = str | os.PathLike[str]


@dataclass(frozen=True)
class ExportOptions:
    """How `export` goes about it; None means what the checkpoint says or the default."""

    size: Size | None = None  # 256, (height, width) or "HxW"; default: the size it was trained at, else 256
    frames: StrPath | None = None  # folder or video for parity; default: scikit-image's photos
    min_psnr: float | None = None  # dB; default: the precision's floor
    force: bool = False  # replace a bundle of another checkpoint
    direction: str | None = None  # refused when the checkpoint says another one
    # int8
    calibration: StrPath | None = (
        None  # folder or video; default: those of `frames` that parity does not take
    )
    ranges: str | None = None  # one of `calibrate.RANGE_METHODS`; default: what suits the engine
    # TensorRT
    flavor: str = "auto"  # "tensorrt", "rtx", or whichever is installed
    compute_capabilities: tuple[str, ...] = ()  # of an RTX engine; none named: all that the builder offers
    # what a .pth cannot say of itself
    norm_mode: str | None = None
    padding: str | None = None
    upsample: str | None = None
    name: str | None = None
    license: str | None = None
    trained_on: str | None = None


def can_calibrate(options: ExportOptions) -> bool:
    """Were frames given that INT8 can take its ranges from?"""
    return options.frames is not None or options.calibration is not None
