"""How good the generators are now: held-out images translated, scored, and laid out in grids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from lightning.fabric import Fabric
from numpy.typing import NDArray
from torch import nn

from i2i_sdk.errors import TrainingError
from i2i_training import metrics
from i2i_training.checkpoint import set_test_mode
from i2i_training.data import HeldOutSet, normalize_images, to_images, to_tensor
from i2i_training.data.image_tensors import Image
from i2i_training.metrics.inception import INCEPTION_URL
from i2i_training.networks import DcganConfig, build_generator
from i2i_training.recipes.base import TrainedGenerator
from i2i_training.run.run_options import RunOptions
from i2i_training.run.sample_grids import draw_sample_grid, draw_sample_sheet

MIN_SIZE = 16  # pixels: SSIM's window is 11, the patches of the sliced Wasserstein distance need a pyramid
GRID_ROWS = 6  # of a grid
SAMPLE_COUNT = 64  # of a noise -> image generator


@dataclass(frozen=True)
class EvalSet:
    """What the generator of one direction is examined with: uint8 images [H, W, C]."""

    inputs: list[Image]  # none for a sampler
    targets: list[Image] | None  # the truth for each input, where pairs exist
    references: list[Image]  # real images of the domain that is translated into
    palette: NDArray[np.uint8] | None  # [K, 3] RGB of the classes, where the targets are label maps
    keeps_colors: bool  # turning colors round would be wrong; where truth exists, the scores tell
    inception: str  # file, or ""
    measures_edits: bool = False  # whether the truth is a teacher's picture, whose effect counts

    @property
    def score_names(self) -> list[str]:
        """The names that are computed for such images: most need pictures, RGB or gray."""
        pictures = is_picture(self.references[0])
        names = ["l1"] if self.targets is not None else []
        if pictures:
            names += ["psnr", "ssim"] * (self.targets is not None)
            names += ["edit_energy", "edit_correlation"] * self.measures_edits
            names += ["pixel_accuracy", "miou"] * (self.palette is not None)
            names += ["swd", *["fid", "kid"] * bool(self.inception)]
            names += ["edge_similarity"] * self.has_same_kind
        return names

    @property
    def has_same_kind(self) -> bool:
        """Whether inputs and outputs are pictures of as many channels."""
        if not self.inputs or not is_picture(self.inputs[0]):
            return False
        return self.inputs[0].shape[2] == self.references[0].shape[2]


@dataclass(frozen=True)
class EvalPlan:
    """What is scored, known before the first step."""

    eval_sets: dict[str, EvalSet]  # by the generator's direction
    best_by: str  # the score of AtoB that picks the best checkpoint; empty where none is computed


@dataclass(frozen=True)
class Evaluation:
    """Scores by name, the names of the way back ending in _BtoA; grids uint8 [H, W, 3] RGB by name."""

    scores: dict[str, float]
    grids: dict[str, Image]
    warnings: list[str]  # what looks wrong, in sentences


def plan_evaluation(
    directions: Sequence[str], held_out: HeldOutSet, run: RunOptions, measures_edits: bool = False
) -> EvalPlan:
    """Decide what is scored for generators of `directions`, AtoB first.

    Args:
        directions: of the generators.
        held_out: the images.
        run: says the palette, the Inception file and the score to go by.
        measures_edits: whether targets are a teacher's pictures of the inputs, both RGB.

    Returns:
        The plan, for `evaluate`.

    Raises:
        TrainingError: for a palette that is none, a missing Inception file, and a score to go by that does
            not exist or is not computed for these images.
    """
    eval_sets = {direction: _build_eval_set(direction, held_out, run) for direction in directions}
    if measures_edits:
        eval_sets = {direction: replace(each, measures_edits=True) for direction, each in eval_sets.items()}
    scores = [name for name in eval_sets["AtoB"].score_names if metrics.SCORES[name].better]
    allowed = ", ".join(["auto", *scores])
    if run.palette != "none" and all(eval_set.palette is None for eval_set in eval_sets.values()):
        raise TrainingError(
            f"palette is {run.palette!r}: pixel accuracy needs held-out pairs whose targets are label "
            f"maps or drawings; with direction {run.direction} and labels {run.labels} there are none: "
            f"leave it out"
        )
    if run.best_by not in ("auto", *scores):
        needs = {"fid": "inception", "kid": "inception", "miou": "palette", "pixel_accuracy": "palette"}
        hint = f", which need --{needs[run.best_by]}" if run.best_by in needs else ""
        raise TrainingError(
            f"best_by is {run.best_by!r}{hint}; for these images are computed and allowed: {allowed}"
        )
    best_by = run.best_by
    if best_by == "auto":
        # L1 likes a blurred student best.
        order = ("swd",) if measures_edits else ("l1", "swd")
        best_by = next((name for name in order if name in scores), "")
    if run.schedule == "plateau" and not best_by:
        raise TrainingError("schedule is 'plateau', but these images have no score to go by; try linear")
    return EvalPlan(eval_sets, best_by)


def evaluate(generators: Sequence[TrainedGenerator], plan: EvalPlan, fabric: Fabric) -> Evaluation:
    """Translate the held-out images with every generator. Disturbs neither weights nor random generators.

    Args:
        generators: those that the plan is for.
        plan: by `plan_evaluation`.
        fabric: where and how precisely they run.

    Returns:
        Scores, grids and what looks wrong.
    """
    modules = {g.direction: copy_generator(g).to(fabric.device) for g in generators}
    scores: dict[str, float] = {}
    grids: dict[str, Image] = {}
    warnings: list[str] = []
    for generator in generators:
        module, eval_set = modules[generator.direction], plan.eval_sets[generator.direction]
        if isinstance(generator.config, DcganConfig):
            outputs = _sample_images(module, generator.config.latent, fabric)
            columns: dict[str, list[Image]] = {}
            if is_picture(outputs[0]):
                grids["samples"] = draw_sample_sheet(outputs, columns=8)
        else:
            outputs = translate_images(module, eval_set.inputs, fabric)
            columns = {"input": eval_set.inputs, "output": outputs}
            back = modules.get("BtoA" if generator.direction == "AtoB" else "AtoB")
            if back is not None:
                columns["cycle"] = translate_images(back, outputs[:GRID_ROWS], fabric)
            if eval_set.targets is not None:
                columns["target"] = eval_set.targets
        shown = {name: images[:GRID_ROWS] for name, images in columns.items() if is_picture(images[0])}
        if shown:
            grids[generator.direction] = draw_sample_grid(shown)
        suffix = "" if generator.direction == "AtoB" else "_BtoA"
        found = _compute_scores(outputs, eval_set, fabric.device)
        scores |= {f"{name}{suffix}": value for name, value in found.items()}
        if eval_set.keeps_colors and eval_set.has_same_kind:
            reason = metrics.detect_color_shift(outputs, eval_set.inputs, eval_set.references)
            warnings += [f"{generator.direction}: {reason}"] * bool(reason)
    return Evaluation(scores, grids, warnings)


def is_picture(image: Image) -> bool:
    """RGB or gray; other counts of channels cannot be shown or looked at by the measures of pictures."""
    return image.shape[2] in (1, 3)


def copy_generator(generator: TrainedGenerator) -> nn.Module:
    """A float32 copy of the generator as it will be run: dropout off, norms in their test mode.

    Built without drawing random weights: evaluating must not change what training draws next.
    """
    with torch.device("meta"):
        module = build_generator(generator.config)
    state = {k: v.detach().clone() for k, v in generator.module.state_dict().items()}
    module.load_state_dict(state, assign=True)
    return set_test_mode(module.float(), generator.norm_mode)


def translate_images(module: nn.Module, images: Sequence[Image], fabric: Fabric) -> list[Image]:
    """Each image through the generator, one at a time.

    Args:
        module: float32 [1, C, H, W] in -1..1 to the same, on the device of `fabric`.
        images: uint8 [H, W, C].
        fabric: where and how precisely it runs.

    Returns:
        uint8 [H, W, C] images.
    """
    outputs: list[Image] = []
    with torch.no_grad(), fabric.autocast():
        for image in images:
            x = normalize_images(to_tensor([image]).to(fabric.device))
            outputs += to_images(module(x))
    return outputs


def _sample_images(module: nn.Module, latent: int, fabric: Fabric) -> list[Image]:
    """Images of noise drawn from a generator of its own, so that every call draws the same."""
    z = torch.randn(SAMPLE_COUNT, latent, dtype=torch.float32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), fabric.autocast():
        return to_images(module(z.to(fabric.device)))


def value_to_minimize(name: str, value: float) -> float:
    """The score, turned so that lower is better."""
    return -metrics.SCORES[name].better * value


def _build_eval_set(direction: str, held_out: HeldOutSet, run: RunOptions) -> EvalSet:
    inputs, targets, others = held_out.inputs, held_out.targets, held_out.references
    if direction == "BtoA":
        inputs, targets, others = others, inputs if targets is not None else None, inputs
    source, target = ("A", "B") if direction == run.direction else ("B", "A")  # the data set's names
    labels = run.are_labels(target) if run.labels != "none" else direction == "AtoB"
    palette = None
    if labels and targets is not None and is_picture(targets[0]):
        palette = resolve_palette(run.palette, targets)
    keeps_colors = targets is None and not (run.are_labels(source) or run.are_labels(target))
    if run.inception and not Path(run.inception).is_file():
        raise TrainingError(f"inception is {run.inception}: no such file; download {INCEPTION_URL}")
    if run.inception and len(others) < 2:
        raise TrainingError(f"inception: FID and KID need at least 2 held-out images; {direction} has 1")
    return EvalSet(inputs, targets, others, palette, keeps_colors, run.inception)


def resolve_palette(palette: str, targets: Sequence[Image]) -> NDArray[np.uint8] | None:
    """The colors of `--palette`: found in the targets for auto."""
    if palette == "none":
        return None
    return metrics.find_dominant_colors(targets) if palette == "auto" else metrics.parse_palette(palette)


def _compute_scores(outputs: Sequence[Image], eval_set: EvalSet, device: torch.device) -> dict[str, float]:
    """The scores by name."""
    if not is_picture(outputs[0]):
        return {} if eval_set.targets is None else {"l1": metrics.compute_l1(outputs, eval_set.targets)}
    scores: dict[str, float] = {}
    if eval_set.targets is not None:
        scores |= metrics.compute_paired_scores(outputs, eval_set.targets, eval_set.palette)
        if eval_set.measures_edits:
            scores |= metrics.compute_effect_scores(eval_set.inputs, outputs, eval_set.targets)
    side = min(min(image.shape[:2]) for image in [*outputs, *eval_set.references])
    left, right = (
        [_crop_center(image, side) for image in images] for images in (outputs, eval_set.references)
    )
    scores["swd"] = metrics.compute_sliced_wasserstein(left, right)["mean"]
    if eval_set.inception:
        scores |= metrics.compute_inception_scores(left, right, Path(eval_set.inception), device)
    if eval_set.has_same_kind:
        scores["edge_similarity"] = metrics.compute_edge_similarity(outputs, eval_set.inputs)
    return scores


def _crop_center(image: Image, side: int) -> Image:
    top, left = ((length - side) // 2 for length in image.shape[:2])
    return image[top : top + side, left : left + side]
