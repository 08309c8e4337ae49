"""PIL images in and out, upright and in sRGB, without importing PIL before somebody brings one."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from i2i_sdk.errors import InputError
from i2i_sdk.imaging import geometry

ORIENTATION = 0x0112  # tag of EXIF
VISIBLE_LEVELS = 2  # of 255: a profile that moves no color by more is sRGB under another name

_lock = threading.Lock()


@contextmanager
def ignore_warnings() -> Generator[None]:
    """Silence Pillow in this block: it warns of metadata that it cannot parse, which nobody can act on.

    Filters of warnings belong to the whole process, so one thread at a time may change them.
    """
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def is_pil(image: object) -> bool:
    """True for any PIL image."""
    return type(image).__module__.startswith("PIL.")


def prepare_pil(image: Any) -> Any:
    """A PIL image as it is meant to look, of mode L, LA, RGB or RGBA: upright, its profile applied.

    Raises InputError for other modes, saying what to do.
    """
    if image.mode not in ("L", "LA", "RGB", "RGBA", "P"):
        advice = (
            'use image.convert("RGB"); where it would clip at 255 (I, F), scale the values to 0..255 first'
        )
        accepted = f"accepted: {geometry.ACCEPTED_IMAGES}; {advice}"
        raise InputError(f"got a PIL image of mode {image.mode}; {accepted}")
    with ignore_warnings():
        return apply_profile(convert_palette(turn_upright(image)), image.info.get("icc_profile"))


def from_pil(image: Any) -> NDArray[np.uint8]:
    """A prepared PIL image as an RGB, RGBA or gray array; the alpha of LA is left to `to_pil`."""
    return np.asarray(image.getchannel("L") if image.mode == "LA" else image)


def to_pil(array: NDArray[np.uint8], original: Any) -> Any:
    """An array as a PIL image, with the alpha of the prepared image that it was made of."""
    from PIL import Image as PilModule

    image = PilModule.fromarray(array)
    if original.mode == "LA":
        image.putalpha(original.getchannel("A"))
    return image


def turn_upright(image: Any) -> Any:
    """A PIL image turned as its EXIF data say; itself where they say nothing, or nothing readable."""
    from PIL import ImageOps

    image.load()  # TIFF turns itself here
    return image if read_orientation(image) == 1 else ImageOps.exif_transpose(image)


def read_orientation(image: Any) -> int:
    """How a PIL image is to be turned, 1..8 as EXIF numbers it; 1, upright, where nothing is said."""
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except Exception:  # bytes of strangers: Pillow raises what comes up
        return 1
    return found if found in range(1, 9) else 1


def convert_palette(image: Any) -> Any:
    """A PIL image with a palette as RGB, or RGBA where it has transparency; others as they are."""
    if image.mode not in ("P", "PA"):
        return image
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def apply_profile(image: Any, profile: bytes | None) -> Any:
    """Convert colors to sRGB.

    Args:
        image: a PIL image of any mode.
        profile: ICC, of its colors; None, a damaged one, and one of other color spaces change nothing.

    Returns:
        A PIL image of the same mode; RGB of CMYK.
    """
    has_alpha = image.mode in ("LA", "RGBA")
    mode = image.mode.removesuffix("A")
    if not profile or mode not in ("L", "RGB", "CMYK") or (to_srgb := find_transform(profile, mode)) is None:
        return image
    from PIL import ImageCms

    color: Any = ImageCms.applyTransform(image.convert(mode), to_srgb)
    if mode == "L":
        color = color.convert("L")
    if has_alpha:
        color.putalpha(image.getchannel("A"))
    return color


@lru_cache(maxsize=16)  # making one takes milliseconds, and a folder's photos share theirs
def find_transform(profile: bytes, mode: str) -> Any:
    """Pillow's transform from a profile to sRGB; None where it changes nothing or cannot be had."""
    from PIL import Image, ImageCms

    cms: Any = ImageCms
    try:
        transform = cms.buildTransform(io.BytesIO(profile), cms.createProfile("sRGB"), mode, "RGB")
    except (cms.PyCMSError, ImportError, OSError, TypeError, ValueError):
        return None  # damaged, for another number of channels, or Pillow is built without LittleCMS
    if mode == "CMYK":
        return transform
    steps = np.arange(0, 256, 15, dtype=np.uint8)
    colors = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    probe = Image.fromarray(colors).convert(mode)
    moved = np.asarray(cms.applyTransform(probe, transform), np.int16) - np.asarray(probe.convert("RGB"))
    return transform if np.abs(moved).max() > VISIBLE_LEVELS else None
