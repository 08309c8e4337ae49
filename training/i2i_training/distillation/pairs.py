"""Pairs (photo, the teacher's picture of it) on disk, as a data set that `i2i train distill` takes.

A/train/ B/train/ A/val/ B/val/   photos in A, the teacher's pictures under the same names in B
teacher.json                      who made them, of what; a folder of another teacher is refused
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from i2i_sdk.errors import TrainingError
from i2i_sdk.files import write_atomically
from i2i_sdk.imaging.geometry import swap_red_and_blue
from i2i_sdk.media.images import IMAGE_SUFFIXES, list_files
from i2i_sdk.media.video import VIDEO_SUFFIXES, VideoReader
from i2i_training.data.image_tensors import Image, decode
from i2i_training.distillation.teachers import Teacher, ask_teacher, fit_to_teacher, is_mirror_safe

log = logging.getLogger(__name__)

HELD_OUT_EVERY = 8  # of each folder, where no other photos are held out
VIDEO_FRAMES = 100  # of a video, evenly spread
ORIGIN = "teacher.json"
MIRRORED_PHOTOS = 2  # that are tried
PROGRESS_EVERY = 20  # photos


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
    min_side: int = 160  # pixels that it needs
    multiple_of: int = 8  # of the sides


def make_pairs(
    teacher: Teacher, options: PairOptions, out: Path, progress: Callable[[str], None] = log.info
) -> PairSet:
    """Let the teacher make its pictures, those that an interrupted call has not made yet.

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
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        return _reopen(out, origin, options.min_side)
    folder = _open_unfinished(out, {**origin, "min_side": options.min_side})
    try:
        pairs = _fill_folder(folder, teacher, options, progress)
    except KeyboardInterrupt:
        progress(f"what the teacher has made is kept in {folder}: the same command goes on with it")
        raise
    counts = {"train": pairs.train, "val": pairs.held_out}
    if min(counts.values()) < 1:
        shutil.rmtree(folder)
        raise TrainingError(
            f"{', '.join(options.data)}: {counts['train']} photos to train on and {counts['val']} held "
            f"out have at least {options.min_side} pixels a side{_explain_size(teacher)}; photos are "
            f"never enlarged"
        )
    found = {"min_side": options.min_side, "counts": counts, "is_mirror_safe": pairs.is_mirror_safe}
    (folder / ORIGIN).write_text(json.dumps({"origin": origin, **found}, indent=1), encoding="utf-8")
    if out.exists():
        out.rmdir()  # it is empty
    folder.rename(out)
    return replace(pairs, folder=out)


def _open_unfinished(out: Path, origin: dict[str, object]) -> Path:
    """The folder beside `out` that becomes it, with what an interrupted call of the same origin has made."""
    folder = out.with_name(f".{out.name}.unfinished")
    known = json.dumps({"origin": origin})
    if not (folder / ORIGIN).is_file() or (folder / ORIGIN).read_text(encoding="utf-8") != known:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / ORIGIN).write_text(known, encoding="utf-8")
    return folder


def _fill_folder(
    folder: Path, teacher: Teacher, options: PairOptions, progress: Callable[[str], None]
) -> PairSet:
    """Write what is not there yet."""
    counts: dict[str, int] = {"train": 0, "val": 0}
    safe: list[bool] = []
    total, small, started, asked = _count_photos(options), 0, time.monotonic(), 0
    for number, photo in enumerate(_read_photos(options), 1):
        image = fit_to_teacher(photo.pixels, teacher, options.side, options.multiple_of)
        if image is None or min(image.shape[:2]) < options.min_side:
            small += 1
            continue
        if len(safe) < MIRRORED_PHOTOS:
            safe.append(is_mirror_safe(teacher, image))
        if not (folder / "B" / photo.split / f"{photo.name}.png").is_file():
            asked += 1
            picture = ask_teacher(teacher, image, photo.name)
            _write_picture(folder / "A" / photo.split, photo.name, _cut(image, options.multiple_of))
            _write_picture(folder / "B" / photo.split, photo.name, _cut(picture, options.multiple_of))
        for domain in "AB":
            _link_copies(folder / domain / photo.split, photo)
        counts[photo.split] += photo.weight
        if asked and number % PROGRESS_EVERY == 0:
            minutes = (time.monotonic() - started) / 60 * (total - number) / number
            progress(f"the teacher's pictures: {number} of {total}, {max(0.0, minutes):.0f} min left")
    if small:
        needed = f"have {options.min_side} pixels a side{_explain_size(teacher)}"
        progress(f"{small} of {total} photos are left out: to be used, they must {needed}")
    return PairSet(folder, counts["train"], counts["val"], all(safe))


def _check_sources(options: PairOptions) -> None:
    """Raise TrainingError for a folder that is not there, and one that is trained on and held out."""
    if options.side - options.side % options.multiple_of < options.min_side:
        raise TrainingError(
            f"crops of {options.min_side} pixels do not fit into photos of {options.side}, shrunken to "
            f"--size and cut to multiples of {options.multiple_of}; choose a smaller --crop-size or another "
            f"--size"
        )
    for source in map(Path, (*options.data, *options.held_out)):
        if not source.exists():
            raise TrainingError(f"{source}: there is no such folder of photos, and no such video")
        if source.is_file() and source.suffix.lower() not in VIDEO_SUFFIXES:
            raise TrainingError(f"{source}: is a file and no video; give its folder")
        if source.is_dir() and not list_files(source):
            raise TrainingError(f"{source}: no photos in it ({', '.join(IMAGE_SUFFIXES)})")
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
    sizes = {"side": options.side, "multiple_of": options.multiple_of}
    return {"data": sources, "held_out": held_out, **sizes}


def _list_files(source: Path) -> int:
    """CRC-32 of the names and bytes of a folder's images, or of the video."""
    paths = list_files(source) if source.is_dir() else [source] * source.is_file()
    return zlib.crc32("".join(f"{path.name} {path.stat().st_size}\n" for path in paths).encode())


def _reopen(out: Path, origin: dict[str, object], min_side: int) -> PairSet:
    try:
        known = json.loads((out / ORIGIN).read_text(encoding="utf-8"))
        counts, safe, smallest = known["counts"], known["is_mirror_safe"], known["min_side"]
        if known["origin"] != origin:
            before = known["origin"]["teacher"]
            raise TrainingError(
                f"{out} holds pairs by {before}, or of other photos or sizes; choose another --cache, or "
                f"remove it"
            )
        if smallest < min_side:
            raise TrainingError(
                f"{out} holds photos from {smallest} pixels on; choose --crop-size {smallest} or less, or "
                f"another --cache"
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
    for path in list_files(source):
        try:
            yield path.name.replace(".", "_"), decode(path)
        except ValueError as error:
            log.warning("%s: left out: it %s", path, error)


def _count_photos(options: PairOptions) -> int:
    """About how many `_read_photos` gives."""
    sources = [Path(each) for each in dict.fromkeys((*options.data, *options.held_out))]
    return sum(len(list_files(each)) if each.is_dir() else VIDEO_FRAMES for each in sources)


def _write_picture(folder: Path, name: str, pixels: Image) -> None:
    """PNG, quickly: nothing may be lost between the teacher and its student."""
    done, encoded = cv2.imencode(".png", swap_red_and_blue(pixels), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert done
    with write_atomically(folder / f"{name}.png") as temporary:
        temporary.write_bytes(np.asarray(encoded).tobytes())


def _link_copies(folder: Path, photo: Photo) -> None:
    """A photo that counts more than once has more names: links, or copies on a disk that has none."""
    first = folder / f"{photo.name}.png"
    for number in range(1, photo.weight):
        copy = folder / f"{photo.name}_{number}.png"
        if copy.is_file():
            continue
        try:
            os.link(first, copy)
        except OSError:
            shutil.copyfile(first, copy)
