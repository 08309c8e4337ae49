"""`i2i sample X -o grid.png`: pictures that a sampler makes of noise."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from i2i_sdk.cli import SAMPLERS, run
from i2i_sdk.opening import find_source
from i2i_sdk.sampling import Pictures, grid, sample_bundle
from i2i_sdk.sinks import write_image

RUN = "latest_net_G.safetensors"


def main(argv: Sequence[str]) -> int:
    """Make a grid with a bundle, or hand a checkpoint to the package that reads it. Raises I2IError."""
    args = parse(argv)
    run_of = Path(args.source) / RUN  # the folder of a training run will do, as for `i2i export`
    if run_of.is_file():
        argv = [str(run_of) if word == args.source else word for word in argv]
        args = parse(argv)
    sampler = SAMPLERS.get(Path(args.source).suffix)
    if sampler is not None:
        return run(sampler, argv)
    pictures = sample_bundle(
        find_source(args.source),
        args.count,
        args.seed,
        backend=args.backend,
        precision=args.precision,
        threads=args.threads,
    )
    write_grid(pictures, args)
    return 0


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The options of `i2i sample`, for bundles and checkpoints alike."""
    parser = argparse.ArgumentParser(
        prog="i2i sample", description="Make pictures of noise, in a grid. The same seed, the same grid."
    )
    parser.add_argument("source", help="a sampler: its bundle (x.i2i), checkpoint (.safetensors) or run")
    parser.add_argument("--count", type=int, default=64, help="pictures (default 64)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default 0)")
    parser.add_argument("-o", "--out", type=Path, default=Path("grid.png"), help="default grid.png")
    parser.add_argument("--columns", type=int, default=8, help="of the grid (default 8)")
    group = parser.add_argument_group("for bundles")
    group.add_argument("--backend", help="ort, openvino … instead of the fastest that runs here")
    group.add_argument("--precision", help="fp32, bf16 …")
    group.add_argument("--threads", type=int, help="of the engine; default: its own choice")
    return parser.parse_args(argv)


def write_grid(pictures: Pictures, args: argparse.Namespace) -> None:
    """Write uint8 [N, H, W, C] RGB as the grid that `parse` describes, and say so."""
    sheet = grid(pictures, args.columns)
    write_image(args.out, np.ascontiguousarray(sheet[..., ::-1]))  # OpenCV writes BGR; gray stays gray
    noun = "picture" if len(pictures) == 1 else "pictures"
    print(f"wrote {args.out}: {len(pictures)} {noun} of {pictures.shape[1]}x{pictures.shape[2]}")
