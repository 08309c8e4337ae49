"""From file to file: an image, a folder of images or a video is translated picture by picture."""

from __future__ import annotations

import itertools
import math
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from i2i_sdk.errors import InputError, MediaError, redact_credentials
from i2i_sdk.imaging import geometry
from i2i_sdk.media.images import (
    ALPHA_SUFFIXES,
    IMAGE_SUFFIXES,
    WRITABLE_IMAGE_SUFFIXES,
    is_meant,
    list_files,
    read_image,
    write_image,
)
from i2i_sdk.media.pillow_files import count_frames, iterate_frames
from i2i_sdk.media.video import VIDEO_SUFFIXES, VideoReader
from i2i_sdk.media.video_writer import WRITABLE_VIDEO_SUFFIXES, VideoWriter

Translate = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
Kind = Literal["image", "folder", "video"]
# How many were translated, of which height and width (None if they differ), and notes.
Pictures = tuple[int, tuple[int | None, int | None], tuple[str, ...]]


@dataclass(frozen=True)
class FileSummary:
    """What `translate_path` did.

    source, out: what was read, and the file or folder that was written. frames: pictures translated.
    seconds: wall time of all of it, reading and writing included. width, height: of the source's
    pictures in pixels; None for a folder whose pictures differ. notes: what the user should know.
    """

    kind: Kind
    source: Path
    out: Path
    frames: int
    seconds: float
    width: int | None
    height: int | None
    notes: tuple[str, ...] = ()

    @property
    def fps(self) -> float:
        """Pictures per second of wall time, reading and writing included."""
        return self.frames / self.seconds


def translate_path(
    translate: Translate, source: Path, out: Path, *, progress: bool = True, side_by_side: bool = False
) -> FileSummary:
    """Translate an image, a folder of images, or a video, and write the result.

    A folder's images keep their relative names; its other files, and images that cannot be read, are left out
    and counted in the notes. Images keep their resolution and date, and are written upright in sRGB. Videos
    keep size, frame rate, frames and sound. All frames of an animation (GIF, WebP, PNG, pages of a TIFF) go
    into a video where `out` is one, else the first is translated.

    Args:
        translate: uint8 BGR [H, W, 3] (or BGRA [H, W, 4] for images with alpha) to the same shape and dtype,
            such as a `Translator`.
        source: an image, a folder of images, or a video.
        out: a file of the same kind, or a video of an animation; or a folder, existing or without a suffix,
            for a file of the source's name, with ".png" after it where its own format is not written or keeps
            no alpha.
        progress: show a bar on stderr, if that is a terminal.
        side_by_side: write input and output side by side.

    Returns:
        What was written, how many pictures, in how many seconds, and notes for the user.

    Raises:
        InputError: source or out cannot be used.
        MediaError: a file cannot be read or written; of a folder, none of the images can be read.

    Example:
        summary = translate_path(Translator("horse2zebra.i2i"), Path("ride.mp4"), Path("zebra.mp4"))
    """
    start = time.perf_counter()
    kind = _detect_kind(source)
    target = _choose_target(kind, source, out)
    job = _wrap_translate(translate, side_by_side)
    columns = 2 if side_by_side else 1
    if kind == "image":
        target, pictures = _translate_image(job, source, target, progress, columns, is_named=target == out)
    elif kind == "folder":
        pictures = _translate_folder(job, source, target, progress)
    else:
        pictures = _translate_video(job, source, target, progress, columns)
    count, (height, width), notes = pictures
    seconds = time.perf_counter() - start
    return FileSummary(kind, source, target, count, seconds, width, height, notes)


def _detect_kind(source: Path) -> Kind:
    if not source.exists():
        raise InputError(f"there is no file or folder {redact_credentials(str(source))}")
    if source.is_dir():
        return "folder"
    if source.suffix.lower() in IMAGE_SUFFIXES:
        return "image"
    if source.suffix.lower() in VIDEO_SUFFIXES:
        return "video"
    raise InputError(
        f"{source} is neither an image ({', '.join(IMAGE_SUFFIXES)}), nor a video "
        f"({', '.join(VIDEO_SUFFIXES)}), nor a folder of images"
    )


def _choose_target(kind: Kind, source: Path, out: Path) -> Path:
    """The file or folder to write, or InputError."""
    if kind == "folder":
        if out.is_file() or out.suffix.lower() in (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES):
            raise InputError(f"{source} is a folder, so out must be a folder; got the file {out}")
        if source.resolve() in out.resolve().parents:
            raise InputError(
                f"out {out} lies inside the source folder {source}, where the next run would translate it "
                "again; give a folder elsewhere"
            )
    elif out.is_dir() or not out.suffix:
        out = out / source.name
    if out.exists() and out.samefile(source):
        raise InputError(f"out is the source itself, {source}; give another name or folder")
    return out


def _wrap_translate(translate: Translate, side_by_side: bool) -> Translate:
    """`translate` with its result checked, beside its input if `side_by_side`."""

    def translate_checked(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        result = translate(image)
        if result.shape != image.shape or result.dtype != np.uint8:
            found = f"{result.dtype} {result.shape}"
            raise InputError(f"translate must give uint8 of the input's shape {image.shape}; it gave {found}")
        return np.hstack([image, result]) if side_by_side else result

    return translate_checked


def _translate_image(
    translate: Translate, source: Path, out: Path, progress: bool, columns: int, is_named: bool
) -> tuple[Path, Pictures]:
    """What was written, and the pictures. is_named: the user chose `out` to the letter."""
    frames = _count_frames(source)
    if frames > 1 and out.suffix.lower() in WRITABLE_VIDEO_SUFFIXES:
        return out, _translate_animation(translate, source, out, progress, columns, frames)
    image = read_image(source)
    result = translate(image)
    out = out if is_named else _suit_name(out, result)
    write_image(out, result, like=source)
    advice = "for all of them give a video as output, such as -o out.mp4"
    notes = (f"{source.name} has {frames} frames or pages, of which the first is translated; {advice}",)
    return out, (1, image.shape[:2], notes if frames > 1 else ())


def _translate_animation(
    translate: Translate, source: Path, out: Path, progress: bool, columns: int, count: int
) -> Pictures:
    frames = iterate_frames(source.read_bytes())
    first = next(frames, None)
    if first is None:
        raise MediaError(f"cannot decode {source}: it is damaged")
    (height, width), time_ms, done, resized, has_alpha = first[0].shape[:2], 0.0, 0, 0, False
    writer = VideoWriter(out, width * columns, height, 1000 / first[1], None, variable_rate=True)
    with writer, _show_progress(progress, source.name, count) as advance:
        for image, duration_ms in itertools.chain([first], frames):
            has_alpha |= image.shape[2] == 4
            resized += image.shape[:2] != (height, width)
            image = _lay_on_white(image)
            place = geometry.compute_placement(image.shape[0], image.shape[1], height, width, "letterbox")
            writer.write(translate(geometry.to_canvas(image, place, height, width)), time_ms, duration_ms)
            time_ms, done = time_ms + duration_ms, done + 1
            advance()
    notes = list(writer.notes)
    if resized:
        notes.append(f"{resized} page(s) of another size are fitted into that of the first, {width}x{height}")
    if has_alpha:
        notes.append("what is transparent is white, since a video has no alpha")
    if done < count:
        notes.append(f"{source.name} is damaged: {done} of its {count} frames could be read")
    return done, (height, width), tuple(notes)


def _lay_on_white(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if image.shape[2] == 3:
        return image
    alpha = image[:, :, 3:].astype(np.uint16)
    return ((image[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _count_frames(path: Path) -> int:
    """1 where they cannot be counted; `read_image` says why."""
    try:
        return count_frames(path.read_bytes())
    except OSError:
        return 1


def _suit_name(out: Path, image: NDArray[np.uint8]) -> Path:
    """`out`, with ".png" after it where its format cannot be written or has no alpha, which the image has."""
    allowed = WRITABLE_IMAGE_SUFFIXES if image.shape[2] == 3 else ALPHA_SUFFIXES
    return out if out.suffix.lower() in allowed else out.with_name(f"{out.name}.png")


def _translate_folder(translate: Translate, source: Path, out: Path, progress: bool) -> Pictures:
    images = list_files(source, deep=True)
    if not images:
        raise InputError(f"no image in {source}; readable are {', '.join(IMAGE_SUFFIXES)}")
    sizes: list[tuple[int, int]] = []
    unreadable: list[str] = []
    animated = 0
    with _show_progress(progress, source.name, len(images)) as advance:
        for path in images:
            try:
                image = read_image(path)
            except MediaError as error:
                unreadable.append(str(error))
            else:
                result = translate(image)
                write_image(_suit_name(out / path.relative_to(source), result), result, like=path)
                sizes.append(image.shape[:2])
                animated += _count_frames(path) > 1
            advance()
    failures = "\n  ".join(unreadable)
    if not sizes:
        raise MediaError(f"none of the {len(images)} image(s) in {source} can be read:\n  {failures}")
    notes: list[str] = []
    if unreadable:
        count = f"{len(unreadable)} of {len(images)} images"
        notes.append(f"{count} in {source} cannot be read and are left out:\n  {failures}")
    if animated:
        notes.append(f"of {animated} file(s) with several frames or pages, the first is translated")
    files = [path for path in source.rglob("*") if path.is_file() and is_meant(path, source)]
    if others := len(set(files) - set(images)):
        notes.append(f"{others} other file(s) left out, since they are not images")
    return len(sizes), sizes[0] if len(set(sizes)) == 1 else (None, None), tuple(notes)


def _translate_video(translate: Translate, source: Path, out: Path, progress: bool, columns: int) -> Pictures:
    frames = 0
    with VideoReader(source) as video:
        size, aspect = (video.width * columns, video.height), video.sample_aspect
        is_variable = video.has_variable_rate
        writer = VideoWriter(out, *size, video.fps, source, sample_aspect=aspect, variable_rate=is_variable)
        with writer, _show_progress(progress, source.name, video.frame_count_hint) as advance:
            for frame in video:
                writer.write(translate(frame.image), frame.time_ms, frame.duration_ms)
                frames += 1
                advance()
    return frames, (video.height, video.width), (*writer.notes, *video.collect_notes())


@contextmanager
def _show_progress(enabled: bool, title: str, total: int | None) -> Generator[Callable[[], None]]:
    """A function to call after every picture; it moves a bar on stderr, if that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    text, speed = "[progress.description]{task.description}", "{task.fields[fps]:5.1f} fps"
    columns = text, BarColumn(), MofNCompleteColumn(), speed, TimeRemainingColumn()
    is_shown = enabled and sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), disable=not is_shown) as bar:
        bar.add_task(title, total=total, fps=0.0)
        (task,) = bar.tasks

        def advance() -> None:
            bar.update(task.id, advance=1, fps=(task.completed + 1) / (task.elapsed or math.inf))

        yield advance
        bar.update(task.id, total=task.completed)  # the container's frame count was a hint
