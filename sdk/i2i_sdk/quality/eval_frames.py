"""Real frames that variants are compared on: an image, a folder, a video, or scikit-image's photos."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from i2i_sdk.errors import InputError, MediaError, redact_credentials
from i2i_sdk.imaging import geometry
from i2i_sdk.media.images import IMAGE_SUFFIXES, list_files, read_image

log = logging.getLogger(__name__)

Image = NDArray[np.uint8]
T = TypeVar("T")

PARTS = {"all": (0, 1), "even": (0, 2), "odd": (1, 2)}  # first, step
MAX_FRAMES = 32  # frames; more change the mean PSNR by less than a tenth of a dB
BUILTIN_PHOTOS = ("astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field", "immunohistochemistry")


@dataclass(frozen=True)
class ParityInputs:
    """What variants are compared on."""

    names: tuple[str, ...]
    arrays: tuple[Image, ...]  # [H, W, C_in] RGB, at the engine's size
    source: str  # as Parity.frames_from


def read_inputs(
    source: Path | None,
    height: int,
    width: int,
    channels: int,
    *,
    part: str = "all",
    max_inputs: int = MAX_FRAMES,
) -> ParityInputs:
    """Up to `max_inputs` frames, spread evenly over `source`, at the engine's size.

    Args:
        source: an image, a folder of images or a video; None takes the photos that scikit-image ships.
        height, width: of the engine, in pixels.
        channels: 3 (RGB), or 1 (luma).
        part: "all", or every second of them, "even" or "odd": so that what is calibrated on is not what is
            judged on.
        max_inputs: of a folder or video; of the photos all are taken.

    Returns:
        Arrays uint8 [height, width, channels] with their names.

    Raises:
        InputError: the source is empty, missing or of another kind.
        MediaError: the video, or not one of the images, can be read; some that cannot are warned of.
    """
    from i2i_sdk.media.video import VIDEO_SUFFIXES, VideoReader  # loads FFmpeg

    def resize(image: Image) -> Image:
        color = geometry.resize(geometry.extract_color(image), height, width)
        return np.ascontiguousarray(geometry.to_engine(color, "bgr", channels))

    first, step = PARTS[part]
    if source is None:
        found = [(name, resize(photo)) for name, photo in _load_builtin()[first::step]]
    elif source.is_dir() or (source.is_file() and source.suffix.lower() in IMAGE_SUFFIXES):
        paths = list_files(source) if source.is_dir() else [source]
        images = _read_readable(select_spread(paths[first::step], max_inputs))
        found = [(name, resize(image)) for name, image in images]
    elif source.suffix.lower() in VIDEO_SUFFIXES:
        with VideoReader(source) as video:
            frames = ((f"{source.name}#{f.index}", resize(f.image)) for f in islice(video, first, None, step))
            found = select_spread(frames, max_inputs)
    elif not source.exists():
        raise InputError(f"{redact_credentials(str(source))}: no such file or folder")
    else:
        raise InputError(f"{source}: an image, a folder of images or a video is needed")
    if not found:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        if part == "all":
            raise InputError(f"{source}: no images in it ({kinds})")
        raise InputError(
            f"{source}: too few images: every second one is for calibration, the others are for the "
            f"comparison. Give a video, or a folder of 2 images or more ({kinds})"
        )
    names, arrays = zip(*found, strict=True)
    return ParityInputs(names, arrays, "builtin" if source is None else "user")


def _read_readable(paths: list[Path]) -> list[tuple[str, Image]]:
    """Names and pictures of the files that can be read. Raises MediaError where no file can."""
    found: list[tuple[str, Image]] = []
    reasons: list[str] = []
    for path in paths:
        try:
            found.append((path.name, read_image(path)))
        except MediaError as error:
            reasons.append(str(error))
    if reasons and not found:
        raise MediaError("not one image can be read:\n  " + "\n  ".join(reasons))
    if reasons:
        _warn_once(f"{len(reasons)} of {len(paths)} images are left out:\n  " + "\n  ".join(reasons))
    return found


@lru_cache(maxsize=64)  # frames are read again for each size of engine
def _warn_once(message: str) -> None:
    log.warning("%s", message)


def select_spread(items: Iterable[T], max_items: int) -> list[T]:
    """At most `max_items`, evenly spaced, of an iterable of unknown length, keeping only twice as many.

    Example:
        >>> select_spread(range(100), 5)
        [0, 32, 64, 96]
    """
    kept: list[T] = []
    stride = 1
    for index, item in enumerate(items):
        if index % stride == 0:
            kept.append(item)
            if len(kept) > 2 * max_items:
                kept, stride = kept[::2], stride * 2
    step = -(-len(kept) // max_items)
    return kept[::step] if step else kept


def _load_builtin() -> list[tuple[str, Image]]:
    try:
        from skimage import data
    except ImportError as error:
        advice = "pip install scikit-image"
        raise InputError(f"without --frames the photos of scikit-image are used: {advice}") from error
    photos = {name: getattr(data, name)() for name in BUILTIN_PHOTOS}
    return [(name, cv2.cvtColor(photo[:, :, :3], cv2.COLOR_RGB2BGR)) for name, photo in photos.items()]
