"""Train the zoo's `sketch` model again: photos become pencil drawings.

The targets come from OpenCV (`pencil.py`). Every photo is seen clean, dark, noisy and both, always with
the drawing of the clean one as its target, so that bad frames still come out as drawings.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from i2i_sdk.errors import TrainingError
from i2i_sdk.files import create_temporary_folder, hash_file
from i2i_sdk.media.images import list_files, write_image
from i2i_training.cli.train import main as train_main
from i2i_training.zoo.pencil import degrade, draw_pencil

SHORT_SIDE = 288  # pixels: the size at which a camera frame reaches a 256x256 engine, with room to crop
ORIGIN_FILE = "photos.txt"  # beside the pairs: the photos they were made from
HELD_OUT_EVERY = 8  # every eighth photo is never trained on
VARIANTS = {"clean": (False, False), "dark": (True, False), "noisy": (False, True), "both": (True, True)}

# A small, fast generator: BatchNorm folds away in export, resize + convolution leaves no checkerboard.
TRAIN_ARGS = (
    "pix2pix --layout side-by-side --load-size none --crop-size 192 --batch 4 --steps 8000 "
    "--precision bf16-mixed "
    "--generator resnet --resnet.width 12 --resnet.blocks 4 --resnet.norm batch --resnet.upsample nearest "
    "--resnet.no-dropout --norm-mode running_stats --discriminator.width 24 --discriminator.layers 2 "
    "--gan-mode lsgan --optim.lr 1e-3 --decay-from 0.4"
)


def main(argv: Sequence[str] | None = None) -> int:
    """`python training/sketch.py PHOTOS [--out DIR] [--option value …]`; further options go to pix2pix."""
    parser = argparse.ArgumentParser(prog="training/sketch.py", description=__doc__)
    parser.add_argument("photos", type=Path, help="a folder of ordinary photos; 100 are enough")
    parser.add_argument("--out", type=Path, default=Path("out/sketch"))
    args, more = parser.parse_known_args(argv)
    data = args.out / "pairs"
    if not data.exists():
        make_pairs(args.photos, data)
    elif (data / ORIGIN_FILE).read_text(encoding="utf-8") != _format_origin(_list_photos(args.photos)):
        raise TrainingError(f"{data} was made from other photos than {args.photos}; choose another --out")
    origin = ["--trained-on", f"pencil drawings of {args.photos.name} by OpenCV", "--license", "Apache-2.0"]
    return train_main([*TRAIN_ARGS.split(), "--data", str(data), "--out", str(args.out), *origin, *more])


def make_pairs(photos: Path, out: Path) -> None:
    """Write side-by-side (photo, drawing) images to `out/train` and `out/val`, all of them or none.

    Raises TrainingError for too few photos, or one that cannot be read.
    """
    paths = _list_photos(photos)
    with create_temporary_folder(out) as folder:
        _write_pairs(paths, folder / "pairs")
        (folder / "pairs" / ORIGIN_FILE).write_text(_format_origin(paths), encoding="utf-8")
        (folder / "pairs").rename(out)


def _list_photos(photos: Path) -> list[Path]:
    paths = list_files(photos)
    if len(paths) < 2 * HELD_OUT_EVERY:
        raise TrainingError(f"{photos}: {len(paths)} photos; at least {2 * HELD_OUT_EVERY} are needed")
    return paths


def _format_origin(paths: list[Path]) -> str:
    """Which photos a set of pairs was made from: a line of name and SHA-256 for each."""
    return "".join(f"{path.name} {hash_file(path)}\n" for path in paths)


def _write_pairs(paths: list[Path], out: Path) -> None:
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        (out / split).mkdir(parents=True)
    for index, path in enumerate(paths):
        photo = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if photo is None:
            raise TrainingError(f"{path}: cannot be read as an image")
        photo = resize_short_side(photo, SHORT_SIDE)
        drawing = draw_pencil(photo)
        split = "val" if index % HELD_OUT_EVERY == 0 else "train"
        for name, (dark, noisy) in VARIANTS.items():
            pair = np.hstack([degrade(photo, random, dark, noisy), drawing])
            write_image(out / split / f"{path.stem}_{name}.png", pair)


def resize_short_side(photo: np.ndarray, short_side: int) -> np.ndarray:
    """Resize so that the shorter side has `short_side` pixels."""
    scale = short_side / min(photo.shape[:2])
    size = (round(photo.shape[1] * scale), round(photo.shape[0] * scale))
    return cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
