"""From file to file: an image, a folder of images or a video is translated picture by picture."""

from __future__ import annotations

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
from i2i_sdk.media.images import IMAGE_SUFFIXES, read_image, write_image
from i2i_sdk.media.video import VIDEO_SUFFIXES, VideoReader
from i2i_sdk.media.video_writer import VideoWriter

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

    A folder's images keep their relative names; its other files are left out and counted in the notes. Videos
    keep size, frame rate, frames and sound.

    Args:
        translate: uint8 BGR [H, W, 3] (or BGRA [H, W, 4] for images with alpha) to the same shape and dtype,
            such as a `Translator`.
        source: an image, a folder of images, or a video.
        out: a file of the same kind; or a folder, existing or without a suffix, for a file of the source's
            name.
        progress: show a bar on stderr, if that is a terminal.
        side_by_side: write input and output side by side.

    Returns:
        What was written, how many pictures, in how many seconds, and notes for the user.

    Raises:
        InputError: source or out cannot be used.
        MediaError: a file cannot be read or written. In a folder all other images are translated first, and
            the error lists those that could not be read.

    Example:
        summary = translate_path(Translator("horse2zebra.i2i"), Path("ride.mp4"), Path("zebra.mp4"))
    """
    start = time.perf_counter()
    kind = _detect_kind(source)
    target = _choose_target(kind, source, out)
    job = _wrap_translate(translate, side_by_side)
    if kind == "image":
        pictures = _translate_image(job, source, target)
    elif kind == "folder":
        pictures = _translate_folder(job, source, target, progress)
    else:
        pictures = _translate_video(job, source, target, progress, columns=2 if side_by_side else 1)
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


def _translate_image(translate: Translate, source: Path, out: Path) -> Pictures:
    image = read_image(source)
    write_image(out, translate(image))
    return 1, image.shape[:2], ()


def _translate_folder(translate: Translate, source: Path, out: Path, progress: bool) -> Pictures:
    files = sorted(path for path in source.rglob("*") if path.is_file())
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        raise InputError(f"no image in {source}; readable are {', '.join(IMAGE_SUFFIXES)}")
    sizes: set[tuple[int, int]] = set()
    unreadable: list[str] = []
    with _show_progress(progress, source.name, len(images)) as advance:
        for path in images:
            try:
                image = read_image(path)
            except MediaError as error:
                unreadable.append(str(error))
            else:
                write_image(out / path.relative_to(source), translate(image))
                sizes.add(image.shape[:2])
            advance()
    if unreadable:
        raise MediaError(
            f"{len(unreadable)} of {len(images)} images in {source} could not be read, the others are in "
            f"{out}:\n  " + "\n  ".join(unreadable)
        )
    others = len(files) - len(images)
    notes = (f"{others} other file(s) left out, since they are not images",) if others else ()
    return len(images), sizes.pop() if len(sizes) == 1 else (None, None), notes


def _translate_video(translate: Translate, source: Path, out: Path, progress: bool, columns: int) -> Pictures:
    frames = 0
    with VideoReader(source) as video:
        width, aspect = video.width * columns, video.sample_aspect
        writer = VideoWriter(out, width, video.height, video.fps, source, sample_aspect=aspect)
        with writer, _show_progress(progress, source.name, video.frame_count_hint) as advance:
            for frame in video:
                writer.write(translate(frame.image), frame.time_ms)
                frames += 1
                advance()
    notes = tuple(writer.notes)
    if video.undecodable:
        notes += (f"{video.undecodable} damaged frame(s) of {source.name} could not be decoded",)
    return frames, (video.height, video.width), notes


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
