"""Real frames that variants are compared on: from a folder, a video, or scikit-image's photos."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from i2i_sdk import frames as sdk_frames
from i2i_sdk.errors import InputError
from i2i_sdk.sources import IMAGE_SUFFIXES, VIDEO_SUFFIXES, VideoReader, read_image

T = TypeVar("T")

PARTS = {"all": (0, 1), "even": (0, 2), "odd": (1, 2)}  # first, step
MOST = 32  # frames; more change the mean PSNR by less than a tenth of a dB
BUILTIN = ("astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field", "immunohistochemistry")


@dataclass(frozen=True)
class NamedFrame:
    """A frame at the engine's size: uint8 [H, W, C_in] RGB."""

    name: str
    image: NDArray[np.uint8]


def read_frames(
    source: Path | None, height: int, width: int, channels: int, *, part: str = "all", most: int = MOST
) -> list[NamedFrame]:
    """Up to `most` frames, spread evenly over `source`, at the engine's size.

    source: a folder of images or a video; None takes the photos that scikit-image ships. part: "all", or
    every second of them, "even" or "odd": so that what is calibrated on is not what is judged on.

    Raises InputError for an empty or missing source, MediaError for files that cannot be read.
    """

    def at_size(name: str, image: NDArray[np.uint8]) -> NamedFrame:
        return NamedFrame(name, _at_size(image, height, width, channels))

    first, step = PARTS[part]
    if source is None:
        found = [at_size(name, image) for name, image in _builtin()[first::step]]
    elif source.is_dir():
        paths = sorted(p for p in source.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        found = [at_size(path.name, read_image(path)) for path in spread(paths[first::step], most)]
    elif source.suffix.lower() in VIDEO_SUFFIXES:
        with VideoReader(source) as video:
            frames = (at_size(f"{source.name}#{f.index}", f.image) for f in islice(video, first, None, step))
            found = spread(frames, most)
    elif not source.exists():
        raise InputError(f"{source}: no such file or folder")
    else:
        raise InputError(f"{source}: a folder of images or a video is needed")
    if not found:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        if part == "all":
            raise InputError(f"{source}: no images in it ({kinds})")
        raise InputError(
            f"{source}: too few images in it ({kinds}); every second one is for calibration, the others for "
            f"the comparison"
        )
    return found


def spread(items: Iterable[T], most: int) -> list[T]:
    """At most `most` items, evenly spaced, of an iterable whose length is not known, keeping only 2 x `most`.

    Example:
        >>> spread(range(100), 5)
        [0, 32, 64, 96]
    """
    kept: list[T] = []
    stride = 1
    for index, item in enumerate(items):
        if index % stride == 0:
            kept.append(item)
            if len(kept) > 2 * most:
                kept, stride = kept[::2], stride * 2
    step = -(-len(kept) // most)
    return kept[::step] if step else kept


def _builtin() -> list[tuple[str, NDArray[np.uint8]]]:
    try:
        from skimage import data
    except ImportError as error:
        raise InputError(
            "without --frames the photos of scikit-image are used: pip install scikit-image"
        ) from error
    photos = {name: getattr(data, name)() for name in BUILTIN}
    return [(name, cv2.cvtColor(photo[:, :, :3], cv2.COLOR_RGB2BGR)) for name, photo in photos.items()]


def _at_size(image: NDArray[np.uint8], height: int, width: int, channels: int) -> NDArray[np.uint8]:
    color = sdk_frames.resized(sdk_frames.color_of(image), height, width)
    return np.ascontiguousarray(sdk_frames.to_engine(color, "bgr", channels))
