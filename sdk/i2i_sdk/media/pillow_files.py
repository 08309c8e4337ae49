"""What Pillow knows of image files and OpenCV does not: profiles, resolution, dates, frames, more formats."""

from __future__ import annotations

import io
import math
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from i2i_sdk.imaging.pil import (
    apply_profile,
    convert_palette,
    ignore_warnings,
    read_orientation,
    turn_upright,
)

# Not all that Pillow knows: for EPS it starts a program.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "JPEG2000")
ANIMATED_FORMATS = ("PNG", "WEBP", "TIFF", "GIF")  # a JPEG's further pictures are previews
EXIF_FOLDER = 0x8769  # of the tags that are not in the main one
DATE, TAKEN = 0x0132, 0x9003  # tags: of the file, which is in the main folder, and of the photo
DATE_TAGS = (DATE, TAKEN, 0x9004, *range(0x9010, 0x9013), *range(0x9290, 0x9293))  # time zones, split seconds
SUBFILE_TYPE, PREVIEW_OR_MASK = 254, 1 | 4  # of a page of a TIFF

# How Pillow is asked for what OpenCV writes: level 1 and run lengths for PNG, which is fast.
SAVE_OPTIONS = {
    ".png": {"format": "PNG", "compress_level": 1, "compress_type": 3},
    ".webp": {"format": "WEBP", "lossless": True},
    ".bmp": {"format": "BMP"},
    ".tif": {"format": "TIFF", "compression": "tiff_lzw"},
    ".tiff": {"format": "TIFF", "compression": "tiff_lzw"},
}

EXIF_SUFFIXES = (".jpg", ".jpeg", ".webp")  # of formats whose resolution stands in EXIF as well

MIN_DURATION_MS, DEFAULT_DURATION_MS = 10, 100  # shorter ones are 100 ms, as in every browser
PAGE_DURATION_MS = 1000  # pages of a TIFF have no times


@dataclass(frozen=True)
class Header:
    """What an image file says of itself.

    mode: Pillow's. profile: ICC, or empty. orientation: 1..8, as EXIF numbers it. dpi: across and down.
    dates: by their EXIF tags.
    """

    mode: str
    profile: bytes = b""
    orientation: int = 1
    dpi: tuple[float, float] | None = None
    dates: dict[int, str] = field(default_factory=dict[int, str])


def read_header(data: bytes) -> Header | None:
    """What the bytes of an image file say; None where Pillow cannot read them."""
    try:
        with _open(data) as image:
            orientation, dates = 1, {}
            # PNG decodes its pixels to look for EXIF data behind them.
            if "exif" in image.info or image.format == "TIFF" or b"eXIf" in data:
                orientation, dates = read_orientation(image), _read_dates(image)
            profile, dpi = image.info.get("icc_profile") or b"", _read_dpi(image)
            return Header(image.mode, profile, orientation, dpi, dates)
    except Exception:  # bytes of strangers: Pillow raises what comes up
        return None


def decode_by_pillow(data: bytes) -> NDArray[np.uint8] | None:
    """The bytes of an image file -> uint8 BGR [H, W, 3] or BGRA [H, W, 4], upright and in sRGB, or None."""
    try:
        with _open(data) as image:
            return _to_array(image)
    except Exception:
        return None


def count_frames(data: bytes) -> int:
    """How many frames or pages an image file says that it has; 1 where that cannot be read."""
    try:
        with _open(data) as image:
            return len(_find_frames(image))
    except Exception:
        return 1


def iterate_frames(data: bytes) -> Iterator[tuple[NDArray[np.uint8], float]]:
    """The frames of an animation, or the pages of a TIFF, as far as they can be read.

    Args:
        data: of a file.

    Returns:
        Each as uint8 BGR [H, W, 3] or BGRA [H, W, 4], with its duration in milliseconds.
    """
    try:
        with _open(data) as image:
            frames = _find_frames(image)
        for index in frames:
            with ignore_warnings():
                image.seek(index)
                picture = _to_array(image)
                is_page = image.format == "TIFF"
                duration = PAGE_DURATION_MS if is_page else float(image.info.get("duration") or 0)
            yield picture, duration if duration > MIN_DURATION_MS else DEFAULT_DURATION_MS
    except Exception:
        return


def make_save_options(header: Header, suffix: str) -> dict[str, Any]:
    """Resolution and dates of a header for Pillow's `save`; empty where there are none that the format keeps.

    For JPEG it is "exif" alone, which OpenCV writes, too.

    Args:
        header: of the file whose facts are kept.
        suffix: of the file to write, such as ".png".
    """
    from PIL import Image

    exif, options = Image.Exif(), dict[str, Any]()
    dates = header.dates
    if suffix in (".tif", ".tiff"):  # Pillow writes no folder of tags into a compressed TIFF
        date = dates.get(DATE) or dates.get(TAKEN)
        dates = {DATE: date} if date else {}
    for tag, date in dates.items():
        (exif if tag == DATE else exif.get_ifd(EXIF_FOLDER))[tag] = date
    if header.dpi and suffix in EXIF_SUFFIXES:
        exif.update({0x011A: header.dpi[0], 0x011B: header.dpi[1], 0x0128: 2})
    elif header.dpi:
        options["dpi"] = header.dpi
    if len(exif) and suffix != ".bmp":
        options["exif"] = exif
    return options


def encode_by_pillow(image: NDArray[np.uint8], suffix: str, options: dict[str, Any]) -> bytes | None:
    """A picture as the bytes of a file.

    Args:
        image: uint8 BGR [H, W, 3], BGRA [H, W, 4] or gray [H, W].
        suffix: of the format, such as ".png".
        options: from `make_save_options`.

    Returns:
        The bytes; None where the format cannot hold the picture.
    """
    from PIL import Image

    codes = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}
    file = io.BytesIO()
    try:
        array = image if image.ndim == 2 else cv2.cvtColor(image, codes[image.shape[2]])
        with ignore_warnings():
            Image.fromarray(array).save(file, **SAVE_OPTIONS[suffix], **options)
    except (KeyError, OSError, ValueError):
        return None
    return file.getvalue()


@contextmanager
def _open(data: bytes) -> Generator[Any]:
    from PIL import Image

    with ignore_warnings():
        yield Image.open(io.BytesIO(data), formats=FORMATS)


def _to_array(image: Any) -> NDArray[np.uint8]:
    """Raises ValueError for deeper values than Pillow converts to 8 bits without clipping."""
    image = turn_upright(image)
    if image.mode.startswith(("I", "F")):
        raise ValueError(image.mode)
    image = apply_profile(convert_palette(image), image.info.get("icc_profile"))
    has_alpha = image.has_transparency_data
    code = cv2.COLOR_RGBA2BGRA if has_alpha else cv2.COLOR_RGB2BGR
    return np.asarray(cv2.cvtColor(np.asarray(image.convert("RGBA" if has_alpha else "RGB")), code), np.uint8)


def _find_frames(image: Any) -> list[int]:
    """Numbers of the frames that are shown."""
    if image.format not in ANIMATED_FORMATS:
        return [0]
    frames = list(range(getattr(image, "n_frames", 1)))
    if image.format == "PNG" and getattr(image, "default_image", False):
        return frames[1:]  # the first is for programs that cannot show the others
    return [i for i in frames if not _is_preview(image, i)] if image.format == "TIFF" else frames


def _is_preview(image: Any, page: int) -> bool:
    image.seek(page)
    return bool(image.tag_v2.get(SUBFILE_TYPE, 0) & PREVIEW_OR_MASK)


def _read_dates(image: Any) -> dict[int, str]:
    exif = image.getexif()
    tags = {**exif.get_ifd(EXIF_FOLDER), **exif}
    return {tag: tags[tag] for tag in DATE_TAGS if isinstance(tags.get(tag), str) and len(tags[tag]) < 40}


def _read_dpi(image: Any) -> tuple[float, float] | None:
    across, down = map(float, image.info.get("dpi", (0, 0)))
    is_said = all(math.isfinite(value) and 1 < value < 65536 for value in (across, down))
    return (across, down) if is_said else None
