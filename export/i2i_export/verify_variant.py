"""Every variant against the images of the unrewritten module in PyTorch: the floor that it has to hold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from i2i_export.job import Job
from i2i_sdk.backends import open_variant
from i2i_sdk.backends.base import Engine
from i2i_sdk.bundle.manifest import Parity, Variant
from i2i_sdk.errors import ParityError
from i2i_sdk.perf.timing import Timing, compute_statistics, time_interleaved
from i2i_sdk.quality.eval_frames import read_inputs
from i2i_sdk.quality.floors import choose_floor
from i2i_sdk.quality.parity import Image, ParityCase, measure_parity
from i2i_training.networks import GeneratorSpec


def make_parity_case(
    module: nn.Module, spec: GeneratorSpec, frames: Path | None, height: int, width: int, *, part: str = "all"
) -> ParityCase:
    """Read frames and run the unrewritten module on them.

    Args:
        module: as it was loaded: float32 [N, C_in, H, W] -> [N, C_out, H, W] in -1..1.
        spec: of the module.
        frames: an image, a folder or a video; None takes the photos that scikit-image ships.
        height, width: of the engine, in pixels.
        part: of the frames, as `read_inputs` takes it.

    Returns:
        At most 32 frames, and what the module makes of each.

    Raises:
        InputError, MediaError: as `read_inputs`.
    """
    inputs = read_inputs(frames, height, width, spec.config.in_channels, part=part)
    return ParityCase(inputs, tuple(_run_module(module, _to_network_input(image)) for image in inputs.arrays))


def _to_network_input(image: Image) -> NDArray[np.float32]:
    """uint8 [H, W, C] -> float32 [1, C, H, W] in -1..1.

    This conversion and the one back are written out here once more, on purpose: an error in the exported
    ones must not check itself.
    """
    return image.astype(np.float32).transpose(2, 0, 1)[None] / 127.5 - 1.0


def _run_module(module: nn.Module, values: NDArray[np.float32]) -> Image:
    """What the module makes of one input, float32 [1, ...]: uint8 [H, W, C_out] RGB."""
    with torch.no_grad():
        output = module(torch.from_numpy(values))[0].numpy()
    return np.clip(np.rint(output.transpose(1, 2, 0) * 127.5 + 127.5), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class VerifiedVariant:
    """A variant with its parity, and how long one frame took where its own engine ran here."""

    variant: Variant
    timing: Timing | None


def verify_on_device(variant: Variant, job: Job) -> VerifiedVariant:
    """Run the variant as a user would: its parity, its effective precision, its time.

    Raises BackendError when it cannot run here, ParityError below its floor.
    """
    with open_variant(variant, tuple(job.folder / f.path for f in variant.files)) as engine:
        return verify_with(engine, variant, job)


def verify_with(engine: Engine, variant: Variant, job: Job, verified_by: str = "") -> VerifiedVariant:
    """Hold the variant's floor on what `engine` makes, and mark the variant verified.

    Args:
        engine: runs the variant, or its graph.
        variant: that was exported.
        job: whose pictures it is compared with.
        verified_by: what ran its graph in place of its own engine; "" for its own, which is timed too.

    Returns:
        The variant with its parity and how far it was verified.

    Raises:
        BackendError: it fails; ParityError: it misses its floor.
    """
    parity = require_parity(engine, variant.name, variant.precision, job)
    if verified_by:
        found = replace(variant, parity=parity, verified="graph", verified_by=verified_by)
        return VerifiedVariant(found, timing=None)
    first = job.parity_case.inputs.arrays[0][None]
    times = time_interleaved({"run": lambda: engine.run(first)}, rounds=5, warmup=0)["run"]  # it is warm
    found = replace(variant, parity=parity, precision_found=engine.precision, verified="device")
    return VerifiedVariant(found, compute_statistics(times))


def require_parity(engine: Engine, name: str, precision: str, job: Job) -> Parity:
    """How close an engine is to PyTorch.

    Args:
        engine: that runs a variant.
        name: of the variant, for the error.
        precision: whose floor has to hold, unless the job's options say another one.
        job: whose pictures it is compared with.

    Raises:
        ParityError: it is below the floor.
        BackendError: it fails.
    """
    parity = measure_parity(engine, job.parity_case)
    floor = choose_floor(precision, job.options.min_psnr)
    if parity.psnr < floor:
        raise ParityError(
            f"{name}: {parity.psnr:.1f} dB against PyTorch over {parity.frames} frames, the floor is "
            f"{floor:.0f} dB (worst: {parity.worst_frame}, {parity.worst_psnr:.1f} dB). "
            f"A higher precision is closer; --min-psnr changes the floor"
        )
    return parity
