"""`i2i sample CKPT -o grid.png`: images that a trained DCGAN makes of noise."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from i2i_sdk.cli.common import add_options
from i2i_sdk.errors import InputError
from i2i_sdk.media.images import write_image
from i2i_training.sampling import Images, sample

GAP = 2  # white pixels between the images of a grid


def main(argv: Sequence[str]) -> int:
    """Make a grid with a checkpoint. Raises CheckpointError, and InputError for an image-to-image network."""
    parser = argparse.ArgumentParser(
        prog="i2i sample", description="Make images of noise, in a grid. The same seed, the same grid."
    )
    parser.add_argument("checkpoint", type=Path, help="of a DCGAN (.safetensors), or the folder of its run")
    parser.add_argument("--count", type=int, default=64, help="images (default 64)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default 0)")
    add_options(parser.add_argument, out="grid.png")
    parser.add_argument("--columns", type=int, default=8, help="of the grid (default 8)")
    args = parser.parse_args(argv)
    out = args.out or Path("grid.png")
    images = sample(args.checkpoint, args.count, args.seed)
    grid = arrange_grid(images, args.columns)
    write_image(out, np.ascontiguousarray(grid[..., ::-1]))  # OpenCV writes BGR; gray stays gray
    noun = "image" if len(images) == 1 else "images"
    print(f"wrote {out}: {len(images)} {noun} of {images.shape[1]}x{images.shape[2]}")
    return 0


def arrange_grid(images: Images, columns: int = 8) -> Images:
    """Images [N, H, W, C] side by side, row by row, on white: uint8 [rows, columns, C] of pixels.

    Raises InputError for less than one column.
    """
    if columns < 1:
        raise InputError(f"{columns} columns; at least 1 is needed")
    count, height, width, channels = images.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    missing = rows * columns - count
    cells = np.pad(images, ((0, missing), (0, GAP), (0, GAP), (0, 0)), constant_values=255)
    cells = cells.reshape(rows, columns, height + GAP, width + GAP, channels).swapaxes(1, 2)
    return cells.reshape(rows * (height + GAP), columns * (width + GAP), channels)[:-GAP, :-GAP]
