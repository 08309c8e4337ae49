"""Whole runs in small: a data set, and for every recipe networks of a few channels."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from tiny_recipe import OPTIONS

from i2i_training.loop import TrainingResult, run_training
from i2i_training.networks import (
    CompactConfig,
    DcganConfig,
    EncoderDecoderConfig,
    ResnetConfig,
    UnetConfig,
    UnitConfig,
)
from i2i_training.recipes import RECIPES, Recipe
from i2i_training.recipes.parts import DiscriminatorOptions
from i2i_training.run.run_options import RunOptions

# A GPU adds up in whatever order its threads come.
bit_for_bit = pytest.mark.skipif(torch.cuda.is_available(), reason="only a CPU is exact to the bit")

D = DiscriminatorOptions(width=2, layers=1)
UNET = UnetConfig(width=2, downs=5)  # too flat for dropout
RESNET = ResnetConfig(width=2, blocks=1, dropout=True)

# With whatever draws random numbers or remembers something: dropout, noise, pools, power iterations.
TINY: dict[str, Any] = {
    "pix2pix": replace(
        OPTIONS["pix2pix"], resnet=replace(RESNET, norm="batch"), discriminator=replace(D, norm="batch")
    ),
    "cyclegan": replace(OPTIONS["cyclegan"], resnet=RESNET, discriminator=replace(D, spectral_norm=True)),
    "cut": replace(OPTIONS["cut"], resnet=RESNET, discriminator=D, patches=4),
    "unit": replace(OPTIONS["unit"], network=UnitConfig(width=2, blocks=1), discriminator=D),
    "encdec": replace(
        OPTIONS["encdec"], network=EncoderDecoderConfig(width=2, downs=2), discriminator=D, gan_mode="wgan-gp"
    ),
    "distill": replace(
        OPTIONS["distill"],
        student=CompactConfig(width=4, blocks=2, global_places=1),
        discriminator=replace(D, spectral_norm=True),
    ),
    "dcgan": replace(OPTIONS["dcgan"], network=DcganConfig(latent=4, width=2, size=32)),
}

RUN = RunOptions(load_size=36, crop_size=32, steps=12, save_every=5, log_every=5, eval_images=1)

PIX2PIX = (
    "pix2pix --generator resnet --resnet.width 2 --resnet.blocks 1 --discriminator.width 2 "
    "--discriminator.layers 1 --load_size 36 --crop_size 32 --eval_images 1"
)
SMALL = [*PIX2PIX.split(), "--steps", "1"]


def write_pictures(root: Path, train: int = 5, val: int = 2) -> Path:
    """Pairs of 40x40, side by side: smooth noise, and its negative. Good for every recipe."""
    random = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        (root / split).mkdir(parents=True)
        for n in range(count):
            a = cv2.resize(random.integers(0, 256, (5, 5, 3), np.uint8), (40, 40))
            assert cv2.imwrite(str(root / split / f"{n}.png"), np.hstack([a, 255 - a]))
    return root


def make_run(data: Path, out: Path, **changes: Any) -> RunOptions:
    return replace(RUN, **{"data": str(data), "out": str(out), **changes})


def make_seeded_recipe(name: str, options: Any = None) -> Recipe:
    """As the command line makes it with seed 0."""
    torch.manual_seed(0)
    return RECIPES[name].recipe(options or TINY[name], 0)


def train_tiny(
    run: RunOptions, name: str = "pix2pix", resume: bool = False, options: Any = None
) -> TrainingResult:
    return run_training(make_seeded_recipe(name, options), run, resume)


def make_path_arguments(data: Path, out: Path) -> list[str]:
    return ["--data", str(data), "--out", str(out)]


def parse_next_commands(text: str) -> list[list[str]]:
    """The commands after `next:`, as a shell would split them, without `i2i`."""
    lines = text.partition("next: ")[2].splitlines()
    return [shlex.split(line)[1:] for line in lines if line.strip()]
