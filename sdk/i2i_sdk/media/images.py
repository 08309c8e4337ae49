"""Image files as uint8 arrays in OpenCV's color order (BGR or BGRA), read and written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from i2i_sdk.errors import InputError, MediaError
from i2i_sdk.files import convert_errors, write_atomically

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
ALPHA_SUFFIXES = (".png", ".webp", ".bmp")  # of formats that keep it
JPEG_MAGIC = b"\xff\xd8"  # how every JPEG file begins
TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # and every TIFF


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an image file as BGR [H, W, 3], or BGRA [H, W, 4] when it has an alpha channel; uint8, 0..255.

    16-bit files are reduced to 8 bits (the high byte). The EXIF orientation is applied, except to images
    with alpha, which OpenCV reads as they are stored. Gray becomes BGR.

    Raises MediaError if the file is missing or unreadable, holds other values than uint8 or uint16, or is a
    TIFF with alpha or in CMYK.
    """
    with convert_errors("read", path):
        # Not cv2.imread: on Windows it cannot open names that are not ASCII.
        encoded = np.fromfile(path, np.uint8)
    return decode_image(encoded, str(path))


def decode_image(encoded: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """The bytes of an image file, uint8 [N], as `read_image` gives them; `name` is for errors.

    Raises MediaError as `read_image`.
    """
    if encoded[:2].tobytes() != JPEG_MAGIC:  # a JPEG has no alpha, so the usual photo is decoded once
        stored = _decode_pixels(name, encoded, cv2.IMREAD_UNCHANGED)
        if stored.dtype.name not in ("uint8", "uint16"):
            raise MediaError(
                f"{name} holds {stored.dtype} values; images are read from uint8 and uint16. "
                "Scale the values to 0..255, and save them as uint8"
            )
        if stored.ndim == 3 and stored.shape[2] == 4:
            if encoded[:4].tobytes() in TIFF_MAGICS:
                raise MediaError(
                    f"{name} is a TIFF of four channels: CMYK, or colors that OpenCV may have multiplied by "
                    "their alpha. Convert it, for example with PIL: "
                    "Image.open(path).convert('RGB').save('rgb.png')"
                )
            # Of 16 bits the high byte, as IMREAD_COLOR takes it.
            return (stored >> 8 if stored.dtype == np.uint16 else stored).astype(np.uint8)
    return np.asarray(_decode_pixels(name, encoded, cv2.IMREAD_COLOR), np.uint8)


def _decode_pixels(name: str, encoded: NDArray[np.uint8], mode: int) -> NDArray[Any]:
    try:
        image = cv2.imdecode(encoded, mode)
    except cv2.error:  # an empty file, or more pixels than OpenCV allows
        image = None
    if image is None:  # pyright: ignore[reportUnnecessaryComparison]  # OpenCV's stub is wrong
        raise MediaError(
            f"cannot decode {name} as an image: it is damaged, empty or of another format. "
            f"Readable are {', '.join(IMAGE_SUFFIXES)}"
        )
    return image


def write_image(path: Path, image: NDArray[np.uint8]) -> None:
    """Write a uint8 image: BGR [H, W, 3], BGRA [H, W, 4] or gray [H, W]. The suffix decides the format.

    JPEG is written with quality 95, WebP without loss. Folders are created. The file appears whole or
    not at all. Raises MediaError for an unknown suffix, alpha in a format without it, or a failed write;
    InputError for another dtype.
    """
    if image.dtype != np.uint8:  # OpenCV would write 0.5 as 0
        raise InputError(f"cannot write {path}: images are written from uint8; got {image.dtype}")
    suffix = path.suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        raise MediaError(f"cannot write {path}: images are written as {', '.join(IMAGE_SUFFIXES)}")
    if image.ndim == 3 and image.shape[2] == 4 and suffix not in ALPHA_SUFFIXES:
        raise MediaError(
            f"cannot write {path}: the image has an alpha channel, which is kept in "
            f"{', '.join(ALPHA_SUFFIXES)} only. Use one of these, or give BGR"
        )
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if suffix in (".jpg", ".jpeg") else []
    if (encoded := encode_image(image, suffix, options)) is None:
        raise MediaError(f"cannot write {path}: OpenCV cannot encode {image.dtype} {image.shape} as {suffix}")
    with convert_errors("write", path), write_atomically(path) as temporary:
        # Not cv2.imwrite: on Windows it cannot write names that are not ASCII.
        temporary.write_bytes(encoded)


def encode_image(image: NDArray[np.uint8], suffix: str, options: list[int]) -> bytes | None:
    """A picture as the bytes of a file.

    Args:
        image: uint8 BGR [H, W, 3], BGRA [H, W, 4] or gray [H, W].
        suffix: of the format, ".png".
        options: of `cv2.imencode`.

    Returns:
        The bytes; None where the format cannot hold the picture.
    """
    try:
        done, encoded = cv2.imencode(suffix, image, options)
    except cv2.error:
        return None
    return encoded.tobytes() if done else None
