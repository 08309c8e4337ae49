"""How good the generators are now: held-out images translated, scored, and laid out in grids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lightning.fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from i2i_sdk.errors import TrainingError
from i2i_training.checkpoint import set_test_mode
from i2i_training.data import HeldOut, normalised, to_images, to_tensor
from i2i_training.grids import sample_grid, sample_sheet
from i2i_training.metrics import (
    HIGHER_IS_BETTER,
    colour_shift,
    dominant_colours,
    edge_similarity,
    inception_scores,
    paired_scores,
    parse_palette,
    sliced_wasserstein,
)
from i2i_training.networks import DcganConfig, build_generator
from i2i_training.recipes.base import Generator
from i2i_training.run_options import RunOptions

Image = NDArray[np.uint8]

SMALLEST = 16  # pixels: SSIM's window is 11, the patches of the sliced Wasserstein distance need a pyramid
ROWS = 6  # of a grid
SAMPLES = 64  # of a noise -> image generator


@dataclass(frozen=True)
class Evaluation:
    """Scores by name, the names of the way back ending in _BtoA; grids uint8 [H, W, 3] RGB by name."""

    scores: dict[str, float]
    grids: dict[str, Image]
    warnings: list[str]  # what looks wrong, in sentences


def evaluate(
    generators: Sequence[Generator], held_out: HeldOut, run: RunOptions, fabric: Fabric
) -> Evaluation:
    """Translate the held-out images with every generator. Disturbs neither weights nor random generators."""
    modules = {g.direction: snapshot(g).to(fabric.device) for g in generators}
    scores: dict[str, float] = {}
    grids: dict[str, Image] = {}
    warnings: list[str] = []
    for generator in generators:
        module = modules[generator.direction]
        if isinstance(generator.config, DcganConfig):
            images = sampled(module, generator.config.latent, SAMPLES, fabric)
            scores |= _distances(images, held_out.others, run)
            grids["samples"] = sample_sheet(images, columns=8)
            continue
        inputs, targets, others = _direction(held_out, generator.direction)
        outputs = translated(module, inputs, fabric)
        suffix = "" if generator.direction == "AtoB" else "_BtoA"
        found = _scores(inputs, outputs, targets, others, run)
        scores |= {f"{name}{suffix}": value for name, value in found.items()}
        columns = {"input": inputs, "output": outputs}
        back = modules.get("BtoA" if generator.direction == "AtoB" else "AtoB")
        if back is not None:
            columns["cycle"] = translated(back, outputs[:ROWS], fabric)
        if targets is not None:
            columns["target"] = targets
        grids[generator.direction] = sample_grid(
            {n: c[:ROWS] for n, c in columns.items() if is_picture(c[0])}
        )
        if is_picture(inputs[0]) and is_picture(outputs[0]) and others:
            shift = colour_shift(outputs, inputs, others)
            warnings += [f"{generator.direction}: {shift.reason}"] * shift.shifted
    return Evaluation(scores, grids, warnings)


def is_picture(image: Image) -> bool:
    """RGB or gray; other counts of channels cannot be shown or looked at by the measures of pictures."""
    return image.shape[2] in (1, 3)


def snapshot(generator: Generator) -> nn.Module:
    """A float32 copy of the generator as it will be run: dropout off, norms in their test mode.

    Built without drawing random weights: evaluating must not change what training draws next.
    """
    with torch.device("meta"):
        module = build_generator(generator.config)
    state = {k: _copied(v) for k, v in generator.module.state_dict().items()}
    module.load_state_dict(state, assign=True)
    return set_test_mode(module, generator.norm_mode)


def _copied(tensor: Tensor) -> Tensor:
    copy = tensor.detach().clone()
    return copy.float() if copy.is_floating_point() else copy


def translated(module: nn.Module, images: Sequence[Image], fabric: Fabric) -> list[Image]:
    """Each uint8 [H, W, C] image through the generator, one at a time."""
    outputs: list[Image] = []
    with torch.no_grad(), fabric.autocast():
        for image in images:
            x = normalised(to_tensor([image]).to(fabric.device))
            outputs += to_images(module(x).float().cpu())
    return outputs


def sampled(module: nn.Module, latent: int, count: int, fabric: Fabric, seed: int = 0) -> list[Image]:
    """`count` images of noise drawn from a generator of its own, so that every call draws the same."""
    z = torch.randn(count, latent, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad(), fabric.autocast():
        return to_images(module(z.to(fabric.device)).float().cpu())


def best_by(run: RunOptions, held_out: HeldOut) -> str:
    """The score that picks the best checkpoint. Raises TrainingError for one that nobody computes."""
    if run.best_by == "auto":
        return "swd" if held_out.targets is None else "l1"
    if run.best_by not in HIGHER_IS_BETTER:
        raise TrainingError(f"best_by is {run.best_by!r}; allowed: auto, {', '.join(HIGHER_IS_BETTER)}")
    return run.best_by


def badness(name: str, value: float) -> float:
    """The score, turned so that lower is better."""
    return -value if HIGHER_IS_BETTER[name] else value


def _direction(held_out: HeldOut, direction: str) -> tuple[list[Image], list[Image] | None, list[Image]]:
    """Inputs, targets where pairs exist, and real images of the target domain."""
    if direction == "AtoB":
        return held_out.inputs, held_out.targets, held_out.others
    if held_out.targets is not None:
        return held_out.targets, held_out.inputs, held_out.inputs
    return held_out.others, None, held_out.inputs


def _scores(
    inputs: Sequence[Image],
    outputs: Sequence[Image],
    targets: Sequence[Image] | None,
    others: Sequence[Image],
    run: RunOptions,
) -> dict[str, float]:
    scores: dict[str, float] = {}
    if targets is not None:
        scores |= paired_scores(outputs, targets, palette_of(run.palette, targets))
    scores |= _distances(outputs, others, run)
    if inputs[0].shape[2] == outputs[0].shape[2] == 3:
        scores["edge_similarity"] = edge_similarity(outputs, inputs)
    return scores


def palette_of(palette: str, targets: Sequence[Image]) -> NDArray[np.uint8] | None:
    """The colours of `--palette`: found in the targets for auto."""
    if palette == "none":
        return None
    return dominant_colours(targets) if palette == "auto" else parse_palette(palette)


def _distances(outputs: Sequence[Image], others: Sequence[Image], run: RunOptions) -> dict[str, float]:
    """How far the outputs, as a set, are from real images of the target domain."""
    if not others or outputs[0].shape[2] != 3:
        return {}
    side = min(min(image.shape[:2]) for image in [*outputs, *others])
    left, right = ([_centre(image, side) for image in images] for images in (outputs, others))
    scores = {"swd": sliced_wasserstein(left, right)["mean"]}
    if run.inception:
        scores |= inception_scores(left, right, Path(run.inception))
    return scores


def _centre(image: Image, side: int) -> Image:
    top, left = ((length - side) // 2 for length in image.shape[:2])
    return image[top : top + side, left : left + side]
