"""Pairs (photo, the teacher's picture of it) on disk, as a data set that `i2i train distill` takes.

A/train/ B/train/ A/val/ B/val/   photos in A, the teacher's pictures under the same names in B
teacher.json                      who made them, of what; a folder of another teacher is refused
"""

from __future__ import annotations

import json
import logging
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from i2i_sdk.errors import TrainingError
from i2i_sdk.files import create_temporary_folder
from i2i_sdk.imaging.geometry import swap_red_and_blue
from i2i_sdk.media.images import IMAGE_SUFFIXES, list_files
from i2i_sdk.media.video import VIDEO_SUFFIXES, VideoReader
from i2i_training.data.image_tensors import Image, decode
from i2i_training.distillation.teachers import Teacher, ask_teacher, fit_to_teacher, is_mirror_safe

log = logging.getLogger(__name__)

HELD_OUT_EVERY = 8  # of each folder, where no other photos are held out
VIDEO_FRAMES = 100  # of a video, evenly spread
ORIGIN = "teacher.json"


@dataclass(frozen=True)
class PairSet:
    """What there is on disk."""

    folder: Path
    train: int
    held_out: int
    is_mirror_safe: bool  # whether a mirrored photo's picture is the picture, mirrored


@dataclass(frozen=True)
class PairOptions:
    """How photos become pairs."""

    data: tuple[str, ...]  # folders of photos, or videos; one that is named twice counts twice
    held_out: tuple[str, ...] = ()  # folders of photos never trained on; empty: every eighth of `data`
    side: int = 512  # pixels that the shorter side has at most: as large as the student will see frames
    min_side: int = 224  # pixels that it needs
    multiple_of: int = 8  # of the sides


def make_pairs(
    teacher: Teacher, options: PairOptions, out: Path, progress: Callable[[str], None] = log.info
) -> PairSet:
    """Let the teacher make its pictures, all of them or none; those that a folder already holds are kept.

    Args:
        teacher: who makes them.
        options: of what.
        out: the folder; one of the same teacher, photos and sizes is taken as it is.
        progress: is told how far it is.

    Returns:
        What there is.

    Raises:
        TrainingError: for folders without usable photos, and where `out` holds something else.
    """
    known = {"teacher": teacher.name, "fingerprint": teacher.fingerprint, "contract": teacher.contract}
    origin = {**known, "size": list(teacher.size or ()), **_describe(options)}
    _check_sources(options)
    if out.exists():
        return _reopen(out, origin)
    with create_temporary_folder(out) as parent:
        folder = parent / "pairs"
        counts: dict[str, int] = {"train": 0, "val": 0}
        safe: list[bool] = []
        for photo in _read_photos(options):
            image = fit_to_teacher(photo.pixels, teacher, options.side, options.multiple_of)
            if image is None or min(image.shape[:2]) < options.min_side:
                continue
            picture = ask_teacher(teacher, image, photo.name)
            if len(safe) < 2:
                safe.append(is_mirror_safe(teacher, image))
            for domain, pixels in (("A", image), ("B", picture)):
                _write_copies(folder / domain / photo.split, photo, _cut(pixels, options.multiple_of))
            counts[photo.split] += photo.weight
            if sum(counts.values()) % 20 == 0:
                progress(f"the teacher's pictures: {sum(counts.values())}")
        if min(counts.values()) < 1:
            raise TrainingError(
                f"{', '.join(options.data)}: {counts['train']} photos to train on and {counts['val']} held "
                f"out have at least {options.min_side} pixels a side{_explain_size(teacher)}; photos are "
                f"never enlarged"
            )
        found = {"counts": counts, "is_mirror_safe": all(safe)}
        (folder / ORIGIN).write_text(json.dumps({"origin": origin, **found}, indent=1), encoding="utf-8")
        folder.rename(out)
    return PairSet(out, counts["train"], counts["val"], all(safe))


def _check_sources(options: PairOptions) -> None:
    """Raise TrainingError for a folder that is not there, and one that is trained on and held out."""
    for source in map(Path, (*options.data, *options.held_out)):
        if not source.exists():
            raise TrainingError(f"{source}: there is no such folder of photos, and no such video")
        if source.is_file() and source.suffix.lower() not in VIDEO_SUFFIXES:
            raise TrainingError(f"{source}: is a file and no video; give its folder")
    data, held_out = ({Path(each).resolve() for each in paths} for paths in (options.data, options.held_out))
    if both := sorted(data & held_out):
        raise TrainingError(f"{both[0]}: is among the photos to train on and those held out; leave one out")


def _cut(pixels: Image, multiple_of: int) -> Image:
    """Without what is left over at the bottom and the right: a teacher may take a size of its own only."""
    height, width = (side - side % multiple_of for side in pixels.shape[:2])
    return np.ascontiguousarray(pixels[:height, :width])


def _explain_size(teacher: Teacher) -> str:
    return f" and fill {teacher.size[0]}x{teacher.size[1]}, the teacher's only size" if teacher.size else ""


def _describe(options: PairOptions) -> dict[str, object]:
    sources = [[str(Path(each).resolve()), _list_files(Path(each))] for each in options.data]
    held_out = [[str(Path(each).resolve()), _list_files(Path(each))] for each in options.held_out]
    sizes = {"side": options.side, "min_side": options.min_side, "multiple_of": options.multiple_of}
    return {"data": sources, "held_out": held_out, **sizes}


def _list_files(source: Path) -> int:
    """CRC-32 of the names and bytes of a folder's images, or of the video."""
    paths = list_files(source) if source.is_dir() else [source] * source.is_file()
    return zlib.crc32("".join(f"{path.name} {path.stat().st_size}\n" for path in paths).encode())


def _reopen(out: Path, origin: dict[str, object]) -> PairSet:
    try:
        known = json.loads((out / ORIGIN).read_text(encoding="utf-8"))
        counts, safe = known["counts"], known["is_mirror_safe"]
        if known["origin"] != origin:
            before = known["origin"]["teacher"]
            raise TrainingError(
                f"{out} holds pairs by {before}, or of other photos or sizes; choose another --cache, or "
                f"remove it"
            )
        return PairSet(out, counts["train"], counts["val"], safe)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{out} is no folder of pairs ({error}); choose another --cache") from error


@dataclass(frozen=True)
class Photo:
    name: str
    split: str  # "train" or "val"
    weight: int  # how often it is in the split
    pixels: Image  # uint8 [H, W, 3] RGB


def _read_photos(options: PairOptions) -> Iterator[Photo]:
    """Every photo that can be read, once."""
    for number, source in enumerate(dict.fromkeys(options.data)):
        weight = options.data.count(source)
        for index, (name, pixels) in enumerate(_read_source(Path(source))):
            is_held = not options.held_out and index % HELD_OUT_EVERY == 0
            split, times = ("val", 1) if is_held else ("train", weight)
            yield Photo(f"{number}_{name}", split, times, pixels)
    for number, source in enumerate(options.held_out):
        for name, pixels in _read_source(Path(source)):
            yield Photo(f"{number}_{name}", "val", 1, pixels)


def _read_source(source: Path) -> Iterator[tuple[str, Image]]:
    if source.suffix.lower() in VIDEO_SUFFIXES:
        with VideoReader(source) as video:
            every = -(-(video.frame_count_hint or 1) // VIDEO_FRAMES)
            for frame in video:
                if frame.index % every == 0:
                    yield f"{source.stem}_{frame.index:06d}", swap_red_and_blue(frame.image)
        return
    if not source.is_dir():
        raise TrainingError(f"{source}: no folder of photos and no video")
    paths = list_files(source)
    if not paths:
        raise TrainingError(f"{source}: no photos in it ({', '.join(IMAGE_SUFFIXES)})")
    for path in paths:
        try:
            yield path.name.replace(".", "_"), decode(path)
        except ValueError as error:
            log.warning("%s: left out: it %s", path, error)


def _write_copies(folder: Path, photo: Photo, pixels: Image) -> None:
    """PNG, quickly: nothing may be lost between the teacher and its student. Copies are links."""
    folder.mkdir(parents=True, exist_ok=True)
    done, encoded = cv2.imencode(".png", swap_red_and_blue(pixels), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert done
    first = folder / f"{photo.name}.png"
    first.write_bytes(np.asarray(encoded).tobytes())
    for number in range(1, photo.weight):
        os.link(first, folder / f"{photo.name}_{number}.png")
