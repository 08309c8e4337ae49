"""Encoded pictures: looked at before they are decoded, decoded, encoded.

Bytes come from strangers. A few hundred of them can claim to be a picture of a gigapixel, so the size is
read from the header first, and no decoder sees a picture that is too large.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from i2i_sdk.errors import MediaError
from i2i_sdk.media.image_headers import find_format, read_size
from i2i_sdk.media.images import decode_image, encode_image
from i2i_sdk.server.refusals import RefusedError
from i2i_sdk.server.schema import Encoding

Image = NDArray[np.uint8]

MEDIA_TYPES = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "bmp": "image/bmp"}

# Progressive JPEGs come in about ten scans. Each costs a pass over the whole picture and may have 20 bytes,
# so without a limit one small file would occupy a decoder for hours.
MAX_SCANS = 64
START_OF_SCAN, END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"
ALLOWED_FORMATS = ("jpeg", "png", "webp", "bmp")


def inspect(data: bytes, max_pixels: int) -> None:
    """Look at the header of an encoded picture.

    Raises RefusedError: another format, a damaged header, or more than `max_pixels`.
    """
    kind = find_format(data)
    if kind not in ALLOWED_FORMATS:
        begin = f"these bytes begin with {data[:8].hex(' ')}" if data else "there are no bytes"
        message = f"{begin}, which is no known format; JPEG, PNG, WebP and BMP are read"
        raise RefusedError("unsupported_format", message)
    width, height = read_size(data)
    if not width:
        message = f"the header of this {kind} is damaged or incomplete: send a whole picture"
        raise RefusedError("bad_image", message)
    if width * height > max_pixels:
        message = f"the picture has {width}x{height} pixels; at most {max_pixels} are allowed: shrink it"
        raise RefusedError("too_large", message)
    if kind == "jpeg":
        _check_scans(data)


def decode(data: bytes, max_pixels: int) -> Image:
    """An encoded picture -> uint8 [H, W, 3] BGR, or [H, W, 4] BGRA where it has alpha; 0..255.

    As `decode_image`: orientation and color profile are applied, 16 bits become 8, gray BGR.
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


def _check_scans(data: bytes) -> None:
    scans = data.count(START_OF_SCAN)
    if scans > MAX_SCANS:
        message = f"this JPEG has {scans} scans; at most {MAX_SCANS} are decoded: save it as baseline"
        raise RefusedError("too_large", message)
    if data.rfind(END_OF_IMAGE) < data.rfind(START_OF_SCAN):  # some decoders would fill the rest with gray
        raise RefusedError("bad_image", "this JPEG is incomplete: it has no end. Send the whole file")
