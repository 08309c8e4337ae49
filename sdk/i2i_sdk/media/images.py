"""Image files as uint8 arrays in OpenCV's color order (BGR or BGRA), listed, read and written.

OpenCV decodes: it is twice as fast as Pillow, and knows 16 bits. Pillow does what OpenCV does not: it applies
color profiles, and decodes GIF, CMYK, and TIFF with alpha.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from i2i_sdk.errors import InputError, MediaError
from i2i_sdk.files import convert_errors, write_atomically
from i2i_sdk.imaging.geometry import MAX_PIXELS
from i2i_sdk.imaging.pil import apply_profile, find_transform
from i2i_sdk.media.image_headers import find_format, may_hold_metadata, read_size
from i2i_sdk.media.pillow_files import (
    Header,
    decode_by_pillow,
    encode_by_pillow,
    make_save_options,
    read_header,
)

WRITABLE_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
IMAGE_SUFFIXES = (*WRITABLE_IMAGE_SUFFIXES, ".gif", ".jfif", ".jpe", ".avif", ".jp2")
ALPHA_SUFFIXES = (".png", ".webp", ".bmp", ".tif", ".tiff")  # of formats that keep it
PLAIN_MODES = ("1", "L", "P", "RGB")  # Pillow's, of TIFFs that OpenCV reads right
# What is often found under the name of an image, by how its bytes begin.
FOREIGN = {
    rb"\Z": "empty",
    rb".{4}ftyp(?:hei|mif1|msf1)": "HEIC, a photo of a phone: save it as JPEG there",
    rb"(?i)\s*<(?:!doctype html|html)": "a web page: the download failed",
    rb"(?i)\s*<(?:\?xml|svg)": "XML, such as SVG: save it as PNG",
    rb"version https://git-lfs": "a pointer of Git LFS: run `git lfs pull`",
    rb"%PDF": "a PDF: save its pages as PNG",
}
JUNK_NAMES = ("Thumbs.db", "desktop.ini", "__MACOSX")  # beside names that begin with a dot, as ._a.png does


def list_files(folder: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES, *, deep: bool = False) -> list[Path]:
    """What in a folder is meant as an image, in the order of the names.

    By their names alone: files of these suffixes, without what systems leave behind (`._a.png`, hidden files
    and folders, `__MACOSX`). Not all need be readable; a folder called a.png is in it, unless it is walked.

    Args:
        folder: where to look.
        suffixes: in lower case, with a dot.
        deep: in its folders, too.
    """
    found = [path for path in (folder.rglob("*") if deep else folder.iterdir()) if is_meant(path, folder)]
    return sorted(p for p in found if p.suffix.lower() in suffixes and not (deep and p.is_dir()))


def is_meant(path: Path, folder: Path) -> bool:
    """Whether a path below a folder is something that a person put there."""
    return not any(part.startswith(".") or part in JUNK_NAMES for part in path.relative_to(folder).parts)


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an image file as BGR [H, W, 3], or BGRA [H, W, 4] when it has an alpha channel; uint8, 0..255.

    Colors are sRGB. 16-bit files are reduced to 8 bits (the high byte). The EXIF orientation and the color
    profile are applied. Gray becomes BGR. Of an animation it is the first frame.

    Raises MediaError if the file is missing or unreadable, has more than 134 megapixels, or holds other
    values than uint8 or uint16.
    """
    with convert_errors("read", path):
        # Not cv2.imread: on Windows it cannot open names that are not ASCII.
        encoded = np.fromfile(path, np.uint8)
    return decode_image(encoded, str(path))


def decode_image(encoded: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """The bytes of an image file, uint8 [N], as `read_image` gives them; `name` is for errors.

    Raises MediaError as `read_image`.
    """
    data = encoded.tobytes()
    kind = find_format(data)
    width, height = read_size(data)
    if width * height > MAX_PIXELS:
        raise MediaError(
            f"{name} says that it has {width}x{height} pixels; at most {MAX_PIXELS // 10**6} megapixels are "
            "read: shrink it, or cut it into parts"
        )
    header = read_header(data) if may_hold_metadata(data) else None
    image = None
    if width and _is_for_opencv(kind, header):
        image = _decode_by_opencv(encoded, kind, name, header)
    if image is None and (width or kind is None):
        image = decode_by_pillow(data)
    if image is None:
        problem = next(
            (what for start, what in FOREIGN.items() if re.match(start, data)), "damaged or another format"
        )
        readable = ", ".join(IMAGE_SUFFIXES)
        raise MediaError(f"cannot decode {name} as an image: it is {problem}. Readable are {readable}")
    return image


def _is_for_opencv(kind: str | None, header: Header | None) -> bool:
    """Whether OpenCV's colors are right: it multiplies those of a TIFF by its alpha."""
    if kind in (None, "gif") or header is None:
        return kind not in (None, "gif")
    if kind == "tiff":
        return header.mode in PLAIN_MODES or header.mode.startswith(("I", "F"))
    return not (header.mode == "CMYK" and header.profile)


def _decode_by_opencv(
    encoded: NDArray[np.uint8], kind: str | None, name: str, header: Header | None
) -> NDArray[np.uint8] | None:
    header = header or Header("")
    if kind != "jpeg" and not (kind == "tiff" and header.mode in PLAIN_MODES):
        stored = _decode_pixels(encoded, cv2.IMREAD_UNCHANGED)
        if stored is None:
            return None
        if stored.dtype.name not in ("uint8", "uint16"):
            raise MediaError(
                f"{name} holds {stored.dtype} values; images are read from uint8 and uint16. "
                "Scale the values to 0..255, and save them as uint8"
            )
        if kind != "tiff":
            # Of 16 bits the high byte, as IMREAD_COLOR takes it.
            image = np.asarray(stored >> 8 if stored.dtype == np.uint16 else stored, np.uint8)
            return _turn_upright(_convert_colors(image, header), header.orientation)
        if stored.shape[2:] == (4,):
            return None
    color = _decode_pixels(encoded, cv2.IMREAD_COLOR)  # which turns it upright
    return None if color is None else _convert_colors(color, header)


def _decode_pixels(encoded: NDArray[np.uint8], mode: int) -> NDArray[Any] | None:
    try:
        return cv2.imdecode(encoded, mode)
    except cv2.error:
        return None


def _turn_upright(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    if orientation >= 5:
        image = np.asarray(cv2.transpose(image), np.uint8)
    flip = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    return image if flip is None else np.asarray(cv2.flip(image, flip), np.uint8)


def _convert_colors(image: NDArray[np.uint8], header: Header) -> NDArray[np.uint8]:
    """Gray, BGR or BGRA in the profile of the file -> BGR or BGRA in sRGB."""
    if image.ndim == 2:
        image = np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)
    mode = "L" if header.mode in ("1", "L", "LA") or header.mode.startswith("I;16") else "RGB"
    if not header.profile or find_transform(header.profile, mode) is None:
        return image
    from PIL import Image

    color = image[:, :, 0] if mode == "L" else cv2.cvtColor(image[:, :, :3], cv2.COLOR_BGR2RGB)
    converted = np.asarray(apply_profile(Image.fromarray(color), header.profile).convert("RGB"))
    color = cv2.cvtColor(converted, cv2.COLOR_RGB2BGR)
    return np.asarray(np.dstack([color, image[:, :, 3]]) if image.shape[2] == 4 else color, np.uint8)


def write_image(path: Path, image: NDArray[np.uint8], *, like: Path | None = None) -> None:
    """Write a uint8 image: BGR [H, W, 3], BGRA [H, W, 4] or gray [H, W]. The suffix decides the format.

    JPEG is written with quality 95, WebP without loss. Folders are created. The file appears whole or
    not at all.

    Args:
        path: of the file.
        image: what is written.
        like: an image file whose resolution and date are kept, as far as the format has a place for them.

    Raises:
        MediaError: an unknown suffix, alpha in a format without it, or a failed write.
        InputError: another dtype.
    """
    if image.dtype != np.uint8:  # OpenCV would write 0.5 as 0
        raise InputError(f"cannot write {path}: images are written from uint8; got {image.dtype}")
    suffix = path.suffix.lower()
    if suffix not in WRITABLE_IMAGE_SUFFIXES:
        raise MediaError(f"cannot write {path}: images are written as {', '.join(WRITABLE_IMAGE_SUFFIXES)}")
    has_alpha = image.shape[2:] == (4,)
    if has_alpha and suffix not in ALPHA_SUFFIXES:
        raise MediaError(
            f"cannot write {path}: the image has an alpha channel, which is kept in "
            f"{', '.join(ALPHA_SUFFIXES)} only. Use one of these, or leave the alpha out"
        )
    with convert_errors("read", path):
        header = read_header(like.read_bytes()) if like else None
    facts = make_save_options(header, suffix) if header else {}
    if has_alpha and suffix == ".bmp":
        facts = {}  # Pillow writes them, but loses the alpha
    if suffix in (".jpg", ".jpeg"):
        exif = facts["exif"].tobytes().removeprefix(b"Exif\0\0") if facts else b""
        encoded = encode_image(image, suffix, [cv2.IMWRITE_JPEG_QUALITY, 95], exif)
    elif facts or (has_alpha and suffix in (".tif", ".tiff")):
        encoded = encode_by_pillow(image, suffix, facts)
    else:
        encoded = encode_image(image, suffix, [])
    if encoded is None:
        raise MediaError(f"cannot write {path}: {image.dtype} {image.shape} cannot be encoded as {suffix}")
    with convert_errors("write", path), write_atomically(path) as temporary:
        # Not cv2.imwrite: on Windows it cannot write names that are not ASCII.
        temporary.write_bytes(encoded)


def encode_image(
    image: NDArray[np.uint8], suffix: str, options: list[int], exif: bytes = b""
) -> bytes | None:
    """A picture as the bytes of a file.

    Args:
        image: uint8 BGR [H, W, 3], BGRA [H, W, 4] or gray [H, W].
        suffix: of the format, ".png".
        options: of `cv2.imencode`.
        exif: data that the file is to have.

    Returns:
        The bytes; None where the format cannot hold the picture.
    """
    try:
        if exif:
            kinds, data = [cv2.IMAGE_METADATA_EXIF], [np.frombuffer(exif, np.uint8)]
            done, encoded = cv2.imencodeWithMetadata(suffix, image, kinds, data, options)
        else:
            done, encoded = cv2.imencode(suffix, image, options)
    except cv2.error:
        return None
    return encoded.tobytes() if done else None
