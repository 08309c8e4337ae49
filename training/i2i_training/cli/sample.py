"""`i2i sample CKPT -o grid.png`: images that a trained DCGAN makes of noise."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from i2i_sdk.errors import InputError
from i2i_sdk.media.images import write_image
from i2i_training.checkpoint import LATEST, load_generator
from i2i_training.data.image_tensors import to_images
from i2i_training.networks import DcganConfig

BATCH_SIZE = 16  # images at once
MAX_IMAGES = 10_000  # of one grid
GAP = 2  # white pixels between the images of a grid

Images = NDArray[np.uint8]


def main(argv: Sequence[str]) -> int:
    """Make a grid with a checkpoint. Raises CheckpointError, and InputError for an image-to-image network."""
    parser = argparse.ArgumentParser(
        prog="i2i sample", description="Make images of noise, in a grid. The same seed, the same grid."
    )
    parser.add_argument("checkpoint", type=Path, help="of a DCGAN (.safetensors), or the folder of its run")
    parser.add_argument("--count", type=int, default=64, help="images (default 64)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default 0)")
    parser.add_argument("-o", "--out", type=Path, default=Path("grid.png"), help="default grid.png")
    parser.add_argument("--columns", type=int, default=8, help="of the grid (default 8)")
    args = parser.parse_args(argv)
    images = sample_checkpoint(args.checkpoint, args.count, args.seed)
    grid = arrange_grid(images, args.columns)
    write_image(args.out, np.ascontiguousarray(grid[..., ::-1]))  # OpenCV writes BGR; gray stays gray
    noun = "image" if len(images) == 1 else "images"
    print(f"wrote {args.out}: {len(images)} {noun} of {images.shape[1]}x{images.shape[2]}")
    return 0


def sample_checkpoint(path: Path, count: int, seed: int = 0) -> Images:
    """`count` images of the DCGAN at `path`, or in the run's folder there: uint8 [count, H, W, C] RGB."""
    if path.suffix == ".i2i":
        raise InputError(f"{path}: is a bundle, which translates images: i2i run {path}; give a checkpoint")
    module, spec = load_generator(path / f"{LATEST}.safetensors" if path.is_dir() else path)
    if not isinstance(spec.config, DcganConfig):
        raise InputError(
            f"{path}: is a {spec.config.architecture}, which translates images; next: i2i export {path}"
        )
    return generate_images(module, draw_latents(count, spec.config.latent, seed))


def draw_latents(count: int, latent_size: int, seed: int = 0) -> NDArray[np.float32]:
    """`count` latents of `latent_size` values from N(0, 1): float32 [count, latent_size].

    The same seed gives the same latents on every machine and NumPy version (RandomState's stream is
    frozen), and the first ones do not depend on `count`. Raises InputError for a count or seed that is
    not possible.

    Example:
        >>> bool((draw_latents(2, 5, seed=7) == draw_latents(3, 5, seed=7)[:2]).all())
        True
    """
    if not 1 <= count <= MAX_IMAGES:
        raise InputError(f"{count} images; possible are 1 to {MAX_IMAGES}")
    if not 0 <= seed < 2**32:
        raise InputError(f"seed is {seed}; allowed: 0 to {2**32 - 1}")
    return np.random.RandomState(seed).standard_normal((count, latent_size)).astype(np.float32)


def generate_images(module: nn.Module, latents: NDArray[np.float32]) -> Images:
    """Latents float32 [N, z] -> uint8 [N, H, W, C] RGB, in the mode and on the device that `module` is in."""
    device = next(module.parameters()).device
    images: list[Images] = []
    for start in range(0, len(latents), BATCH_SIZE):
        with torch.no_grad():
            output = module(torch.from_numpy(latents[start : start + BATCH_SIZE]).to(device))
        images += to_images(output)
    return np.stack(images)


def arrange_grid(images: Sequence[Images] | Images, columns: int = 8) -> Images:
    """Images [H, W, C] side by side, row by row, on white: uint8 [rows, columns, C] of pixels.

    Raises InputError for less than one column.
    """
    if columns < 1:
        raise InputError(f"{columns} columns; at least 1 is needed")
    height, width, channels = images[0].shape
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    size = (rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, channels)
    grid = np.full(size, 255, np.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * (height + GAP), index % columns * (width + GAP)
        grid[top : top + height, left : left + width] = image
    return grid
