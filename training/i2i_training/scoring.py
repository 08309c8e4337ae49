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
from i2i_training.metrics.inception import INCEPTION_URL
from i2i_training.networks import DcganConfig, build_generator
from i2i_training.recipes.base import Generator
from i2i_training.run_options import RunOptions

Image = NDArray[np.uint8]

SMALLEST = 16  # pixels: SSIM's window is 11, the patches of the sliced Wasserstein distance need a pyramid
ROWS = 6  # of a grid
SAMPLES = 64  # of a noise -> image generator


@dataclass(frozen=True)
class Way:
    """What the generator of one direction is examined with: uint8 images [H, W, C]."""

    inputs: list[Image]  # none for a sampler
    targets: list[Image] | None  # the truth for each input, where pairs exist
    others: list[Image]  # real images of the domain that is translated into
    palette: NDArray[np.uint8] | None  # [K, 3] RGB of the classes, where the targets are label maps
    keeps_colours: bool  # a translation that turns colours round would be wrong
    inception: str  # file, or ""

    @property
    def scores(self) -> list[str]:
        """The names that are computed for such images: most need pictures, RGB or gray."""
        pictures = is_picture(self.others[0])
        names = ["l1"] if self.targets is not None else []
        if pictures:
            names += ["psnr", "ssim"] * (self.targets is not None)
            names += ["pixel_accuracy", "miou"] * (self.palette is not None)
            names += ["swd", *["fid", "kid"] * bool(self.inception)]
            names += ["edge_similarity"] * self.same_kind
        return names

    @property
    def same_kind(self) -> bool:
        """Whether inputs and outputs are pictures of as many channels."""
        return bool(self.inputs) and is_picture(self.inputs[0]) and _channels(self.inputs) == self.channels

    @property
    def channels(self) -> int:
        """Of the outputs."""
        return _channels(self.others)


@dataclass(frozen=True)
class Examination:
    """What is scored, known before the first step."""

    ways: dict[str, Way]  # by the generator's direction
    best_by: str  # the score of AtoB that picks the best checkpoint; empty where none is computed


@dataclass(frozen=True)
class Evaluation:
    """Scores by name, the names of the way back ending in _BtoA; grids uint8 [H, W, 3] RGB by name."""

    scores: dict[str, float]
    grids: dict[str, Image]
    warnings: list[str]  # what looks wrong, in sentences


def examination(directions: Sequence[str], held_out: HeldOut, run: RunOptions) -> Examination:
    """Decide what is scored for generators of `directions`, AtoB first.

    Raises TrainingError for a palette that is none, a missing Inception file, and a score to go by that
    does not exist or is not computed for these images.
    """
    ways = {direction: _way(direction, held_out, run) for direction in directions}
    scores = ways["AtoB"].scores
    allowed = ", ".join(["auto", *scores])
    if run.palette != "none" and all(way.palette is None for way in ways.values()):
        raise TrainingError(
            f"palette is {run.palette!r}: pixel accuracy needs held-out pairs whose targets are label "
            f"maps or drawings; with direction {run.direction} and labels {run.labels} there are none: "
            f"leave it out"
        )
    if run.best_by not in ("auto", *HIGHER_IS_BETTER):
        raise TrainingError(f"best_by is {run.best_by!r}; allowed: {allowed}")
    if run.best_by not in ("auto", *scores):
        needs = {"fid": "inception", "kid": "inception", "miou": "palette", "pixel_accuracy": "palette"}
        hint = f", which need --{needs[run.best_by]}" if run.best_by in needs else ""
        raise TrainingError(
            f"best_by is {run.best_by!r}{hint}: it is not computed for these images; allowed: {allowed}"
        )
    best_by = run.best_by
    if best_by == "auto":
        best_by = next((name for name in ("l1", "swd") if name in scores), "")
    if run.schedule == "plateau" and not best_by:
        raise TrainingError("schedule is 'plateau', but these images have no score to go by; try linear")
    return Examination(ways, best_by)


def evaluate(generators: Sequence[Generator], exam: Examination, fabric: Fabric) -> Evaluation:
    """Translate the held-out images with every generator. Disturbs neither weights nor random generators."""
    modules = {g.direction: snapshot(g).to(fabric.device) for g in generators}
    scores: dict[str, float] = {}
    grids: dict[str, Image] = {}
    warnings: list[str] = []
    for generator in generators:
        module, way = modules[generator.direction], exam.ways[generator.direction]
        if isinstance(generator.config, DcganConfig):
            outputs = sampled(module, generator.config.latent, SAMPLES, fabric)
            columns: dict[str, list[Image]] = {}
            if is_picture(outputs[0]):
                grids["samples"] = sample_sheet(outputs, columns=8)
        else:
            outputs = translated(module, way.inputs, fabric)
            columns = {"input": way.inputs, "output": outputs}
            back = modules.get("BtoA" if generator.direction == "AtoB" else "AtoB")
            if back is not None:
                columns["cycle"] = translated(back, outputs[:ROWS], fabric)
            if way.targets is not None:
                columns["target"] = way.targets
        shown = {name: images[:ROWS] for name, images in columns.items() if is_picture(images[0])}
        if shown:
            grids[generator.direction] = sample_grid(shown)
        suffix = "" if generator.direction == "AtoB" else "_BtoA"
        scores |= {f"{name}{suffix}": value for name, value in _scores(outputs, way, fabric.device).items()}
        warnings += [f"{generator.direction}: {reason}" for reason in _wrong_colours(outputs, way)]
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


def translated(module: nn.Module, images: Sequence[Image], fabric: Fabric) -> list[Image]:
    """Each uint8 [H, W, C] image through the generator, one at a time."""
    outputs: list[Image] = []
    with torch.no_grad(), fabric.autocast():
        for image in images:
            x = normalised(to_tensor([image]).to(fabric.device))
            outputs += to_images(module(x))
    return outputs


def sampled(module: nn.Module, latent: int, count: int, fabric: Fabric, seed: int = 0) -> list[Image]:
    """`count` images of noise drawn from a generator of its own, so that every call draws the same."""
    z = torch.randn(count, latent, dtype=torch.float32, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad(), fabric.autocast():
        return to_images(module(z.to(fabric.device)))


def badness(name: str, value: float) -> float:
    """The score, turned so that lower is better."""
    return -value if HIGHER_IS_BETTER[name] else value


def _copied(tensor: Tensor) -> Tensor:
    copy = tensor.detach().clone()
    return copy.float() if copy.is_floating_point() else copy


def _channels(images: Sequence[Image]) -> int:
    return images[0].shape[2]


def _way(direction: str, held_out: HeldOut, run: RunOptions) -> Way:
    inputs, targets, others = held_out.inputs, held_out.targets, held_out.others
    if direction == "BtoA":
        inputs, targets, others = others, inputs if targets is not None else None, inputs
    source, target = ("A", "B") if direction == run.direction else ("B", "A")  # the data set's names
    labels = run.are_labels(target) if run.labels != "none" else direction == "AtoB"
    palette = None
    if labels and targets is not None and is_picture(targets[0]):
        palette = palette_of(run.palette, targets)
    keeps_colours = targets is None and not (run.are_labels(source) or run.are_labels(target))
    if run.inception and not Path(run.inception).is_file():
        raise TrainingError(f"inception is {run.inception}: no such file; download {INCEPTION_URL}")
    if run.inception and len(others) < 2:
        raise TrainingError(f"inception: FID and KID need at least 2 held-out images; {direction} has 1")
    return Way(inputs, targets, others, palette, keeps_colours, run.inception)


def palette_of(palette: str, targets: Sequence[Image]) -> NDArray[np.uint8] | None:
    """The colours of `--palette`: found in the targets for auto."""
    if palette == "none":
        return None
    return dominant_colours(targets) if palette == "auto" else parse_palette(palette)


def _scores(outputs: Sequence[Image], way: Way, device: torch.device) -> dict[str, float]:
    """`way.scores` with their values."""
    if not is_picture(outputs[0]):
        return {} if way.targets is None else {"l1": _l1(outputs, way.targets)}
    scores: dict[str, float] = {}
    if way.targets is not None:
        scores |= paired_scores(outputs, way.targets, way.palette)
    side = min(min(image.shape[:2]) for image in [*outputs, *way.others])
    left, right = ([_centre(image, side) for image in images] for images in (outputs, way.others))
    scores["swd"] = sliced_wasserstein(left, right)["mean"]
    if way.inception:
        scores |= inception_scores(left, right, Path(way.inception), device)
    if way.same_kind:
        scores["edge_similarity"] = edge_similarity(outputs, way.inputs)
    return scores


def _l1(outputs: Sequence[Image], targets: Sequence[Image]) -> float:
    """Of images of any number of channels; as `paired_scores`."""
    pairs = zip(outputs, targets, strict=True)
    return float(np.mean([np.abs(o.astype(np.int16) - t).mean() for o, t in pairs]))


def _wrong_colours(outputs: Sequence[Image], way: Way) -> list[str]:
    """A sentence if CycleGAN's known failure is seen. Where truth exists, the scores tell."""
    if not (way.keeps_colours and way.same_kind):
        return []
    shift = colour_shift(outputs, way.inputs, way.others)
    return [shift.reason] if shift.shifted else []


def _centre(image: Image, side: int) -> Image:
    top, left = ((length - side) // 2 for length in image.shape[:2])
    return image[top : top + side, left : left + side]
