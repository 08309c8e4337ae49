"""One file per method. A recipe owns its networks and optimisers and knows one training step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from i2i_training.recipes import cut, cyclegan, dcgan, encdec, pix2pix, unit
from i2i_training.recipes.base import Generator, Recipe

__all__ = ["RECIPES", "Generator", "Method", "Recipe"]


@dataclass(frozen=True)
class Method:
    """What `i2i train NAME` needs to know."""

    recipe: type[Any]  # takes (options, seed)
    options: type[Any]  # a frozen dataclass
    presets: Mapping[str, Mapping[str, Any]]  # name -> what differs from the defaults
    summary: str
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])  # where they differ from every run's


RECIPES: dict[str, Method] = {
    "pix2pix": Method(
        pix2pix.Pix2pix, pix2pix.Pix2pixOptions, pix2pix.PRESETS, "pairs, conditional GAN + L1"
    ),
    "cyclegan": Method(
        cyclegan.CycleGAN, cyclegan.CycleGANOptions, cyclegan.PRESETS, "no pairs, both directions, cycle loss"
    ),
    "cut": Method(
        cut.Cut, cut.CutOptions, cut.PRESETS, "no pairs, one direction, contrastive: half the work"
    ),
    "unit": Method(
        unit.Unit, unit.UnitOptions, unit.PRESETS, "no pairs, both directions, shared latent space"
    ),
    "encdec": Method(
        encdec.EncoderDecoder,
        encdec.EncoderDecoderOptions,
        encdec.PRESETS,
        "no pairs, no cycle: the baseline",
    ),
    "dcgan": Method(dcgan.Dcgan, dcgan.DcganOptions, dcgan.PRESETS, "noise to image", dcgan.DEFAULTS),
}
