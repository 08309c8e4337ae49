"""One file per method. A recipe owns its networks and optimizers and knows one training step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from i2i_training.recipes import cut, cyclegan, dcgan, distill, encdec, pix2pix, unit
from i2i_training.recipes.base import Recipe, TrainedGenerator

__all__ = ["RECIPES", "Recipe", "RecipeSpec", "TrainedGenerator"]


@dataclass(frozen=True)
class RecipeSpec:
    """What `i2i train NAME` needs to know."""

    recipe: type[Any]  # takes (options, seed)
    options: type[Any]  # a frozen dataclass
    presets: Mapping[str, Mapping[str, Any]]  # name -> what differs from the defaults
    summary: str
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])  # where they differ from every run's


RECIPES: dict[str, RecipeSpec] = {
    "pix2pix": RecipeSpec(
        pix2pix.Pix2pix, pix2pix.Pix2pixOptions, pix2pix.PRESETS, "pairs, conditional GAN + L1"
    ),
    "cyclegan": RecipeSpec(
        cyclegan.CycleGAN, cyclegan.CycleGANOptions, cyclegan.PRESETS, "no pairs, both directions, cycle loss"
    ),
    "cut": RecipeSpec(
        cut.Cut, cut.CutOptions, cut.PRESETS, "no pairs, one direction, contrastive: half the work"
    ),
    "unit": RecipeSpec(
        unit.Unit, unit.UnitOptions, unit.PRESETS, "no pairs, both directions, shared latent space"
    ),
    "encdec": RecipeSpec(
        encdec.EncoderDecoder,
        encdec.EncoderDecoderOptions,
        encdec.PRESETS,
        "no pairs, no cycle: the baseline",
    ),
    "distill": RecipeSpec(
        distill.Distill,
        distill.DistillOptions,
        distill.PRESETS,
        "pairs of a teacher's, into a small network; i2i distill makes them",
        distill.DEFAULTS,
    ),
    "dcgan": RecipeSpec(dcgan.Dcgan, dcgan.DcganOptions, dcgan.PRESETS, "noise to image", dcgan.DEFAULTS),
}
