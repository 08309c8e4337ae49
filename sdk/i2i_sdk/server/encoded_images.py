"""Encoded pictures: looked at before they are decoded, decoded, encoded.

Bytes come from strangers. A few hundred of them can claim to be a picture of a gigapixel, so the size is
read from the header first, and no decoder sees a picture that is too large.
"""

from __future__ import annotations

import re
import struct

import cv2
import numpy as np
from numpy.typing import NDArray

from i2i_sdk.errors import MediaError
from i2i_sdk.media.images import decode_image, encode_image
from i2i_sdk.server.refusals import RefusedError
from i2i_sdk.server.schema import Encoding

Image = NDArray[np.uint8]

MEDIA_TYPES = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "bmp": "image/bmp"}

# Progressive JPEGs come in about ten scans. Each costs a pass over the whole picture and may have 20 bytes,
# so without a limit one small file would occupy a decoder for hours.
MAX_SCANS = 64
START_OF_SCAN, END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"
MAX_MARKERS = 1000  # before the size is said; photos have up to a few hundred, for color profiles
MARKER = re.compile(rb"\xff+([^\xff])", re.DOTALL)


def inspect(data: bytes, max_pixels: int) -> None:
    """Look at the header of an encoded picture.

    Raises RefusedError: another format, a damaged header, or more than `max_pixels`.
    """
    kind = _detect_format(data)
    try:
        width, height = FORMATS[kind][2](data)
    except (struct.error, IndexError):
        width = height = 0
    if width < 1 or height < 1:
        message = f"the header of this {kind} is damaged or incomplete: send a whole picture"
        raise RefusedError("bad_image", message)
    if width * height > max_pixels:
        message = f"the picture has {width}x{height} pixels; at most {max_pixels} are allowed: shrink it"
        raise RefusedError("too_large", message)
    if kind == "jpeg":
        _check_scans(data)


def decode(data: bytes, max_pixels: int) -> Image:
    """An encoded picture -> uint8 [H, W, 3] BGR, or [H, W, 4] BGRA where it has alpha; 0..255.

    As `decode_image`: the EXIF orientation is applied (not with alpha), 16 bits become 8, gray BGR.
    Raises RefusedError as `inspect` does, and for pictures that do not decode.
    """
    inspect(data, max_pixels)
    try:
        image = decode_image(np.frombuffer(data, np.uint8), "the picture")
    except MediaError as error:
        message = "the picture is damaged or incomplete: its header is fine, the rest is not"
        raise RefusedError("bad_image", message) from error
    if image.shape[0] * image.shape[1] > max_pixels:  # the header lied to us, though not to the decoder
        raise RefusedError("too_large", f"the picture has more than the {max_pixels} pixels that are allowed")
    return image


def encode(image: Image, encoding: Encoding) -> bytes:
    """uint8 [H, W, 3] BGR or [H, W, 4] BGRA -> a file's bytes. JPEG has no alpha: it is left out.

    Raises RefusedError where the format cannot hold the picture: WebP ends at 16383 pixels a side.
    """
    options: list[int] = []
    if encoding.format == "jpeg":
        options, image = [cv2.IMWRITE_JPEG_QUALITY, encoding.quality], image[:, :, :3]
    elif encoding.format == "webp":
        options = [cv2.IMWRITE_WEBP_QUALITY, encoding.quality]
    if (encoded := encode_image(image, f".{encoding.format}", options)) is None:
        size = f"{image.shape[1]}x{image.shape[0]}"
        message = f"a picture of {size} cannot be written as {encoding.format}: ask for png"
        raise RefusedError("bad_option", message)
    return encoded


def _detect_format(data: bytes) -> str:
    for name, (start, signature, _) in FORMATS.items():
        if data.startswith(signature, start):
            return name
    begin = f"these bytes begin with {data[:8].hex(' ')}" if data else "there are no bytes"
    message = f"{begin}, which is no known format; JPEG, PNG, WebP and BMP are read"
    raise RefusedError("unsupported_format", message)


def _read_jpeg_size(data: bytes) -> tuple[int, int]:
    """From the first frame header, as libjpeg finds it: a marker is any number of FFs and a code."""
    position = 2
    for _ in range(MAX_MARKERS):
        marker = MARKER.search(data, position)
        if marker is None or marker[1] in b"\xd9\xda":
            return 0, 0  # the picture begins or ends before its size was said
        code, position = marker[1][0], marker.end()
        if code <= 0x01 or 0xD0 <= code <= 0xD8:  # no segment follows these
            continue
        if 0xC0 <= code <= 0xCF and code not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, position + 3)
            return width, height
        position += struct.unpack_from(">H", data, position)[0]
    return 0, 0


def _read_png_size(data: bytes) -> tuple[int, int]:
    name, width, height = struct.unpack_from(">4sII", data, 12)
    return (width, height) if name == b"IHDR" else (0, 0)


def _read_webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return 0, 0


def _read_bmp_size(data: bytes) -> tuple[int, int]:
    if struct.unpack_from("<I", data, 14)[0] == 12:  # the header of OS/2
        return struct.unpack_from("<HH", data, 18)
    width, height = struct.unpack_from("<ii", data, 18)
    return width, abs(height)  # negative: the first row is the top one


# Where its signature stands, the signature, and what reads its size.
FORMATS = {
    "jpeg": (0, b"\xff\xd8\xff", _read_jpeg_size),
    "png": (0, b"\x89PNG\r\n\x1a\n", _read_png_size),
    "webp": (8, b"WEBP", _read_webp_size),
    "bmp": (0, b"BM", _read_bmp_size),
}


def _check_scans(data: bytes) -> None:
    scans = data.count(START_OF_SCAN)
    if scans > MAX_SCANS:
        message = f"this JPEG has {scans} scans; at most {MAX_SCANS} are decoded: save it as baseline"
        raise RefusedError("too_large", message)
    if data.rfind(END_OF_IMAGE) < data.rfind(START_OF_SCAN):  # some decoders would fill the rest with gray
        raise RefusedError("bad_image", "this JPEG is incomplete: it has no end. Send the whole file")
