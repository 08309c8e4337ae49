"""What the first bytes of an image file say: its format and size, before any decoder sees it.

Bytes come from strangers. A few hundred of them can claim to be a picture of a gigapixel, and a few megabytes
of empty segments keep a parser busy for seconds, so at most `MAX_PARTS` are looked at.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

MAX_PARTS = 1000  # segments or chunks before the pixels; photos have up to a few hundred, for color profiles
MARKER = re.compile(rb"\xff+([^\xff])", re.DOTALL)


def find_format(data: bytes) -> str | None:
    """ "jpeg", "png", "webp", "bmp", "gif" or "tiff"; None for anything else."""
    return next((name for name, at, magic, _ in FORMATS if data.startswith(magic, at)), None)


def read_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels; 0, 0 where the header is damaged or of an unknown format."""
    read = next((read for _, at, magic, read in FORMATS if data.startswith(magic, at)), None)
    try:
        width, height = read(data) if read else (0, 0)
    except (struct.error, IndexError):
        return 0, 0
    return (width, height) if width > 0 and height > 0 else (0, 0)


def may_hold_metadata(data: bytes) -> bool:
    """Whether a color profile, or an orientation that OpenCV does not apply, may be in the file."""
    kind = find_format(data)
    if kind == "jpeg":
        segments = list(_walk_jpeg(data))
        is_profile = (c == 0xE2 and data.startswith(b"ICC_PROFILE\0", at + 2) for c, at in segments)
        return len(segments) < MAX_PARTS and any(is_profile)
    if kind == "png":
        names = list(_walk_png(data))
        return len(names) < MAX_PARTS and (b"iCCP" in names or b"eXIf" in data)
    if kind == "webp":
        return data[12:16] == b"VP8X" and bool(data[20] & 0x28)  # bits of profile and EXIF
    return kind == "tiff"


def _walk_jpeg(data: bytes) -> Iterator[tuple[int, int]]:
    """Code and position of each segment before the pixels, as libjpeg finds them: any number of FFs and a
    code. The first two bytes at the position are the segment's length.
    """
    position = 2
    for _ in range(MAX_PARTS):
        marker = MARKER.search(data, position)
        if marker is None or marker[1] in b"\xd9\xda":
            return
        code, position = marker[1][0], marker.end()
        yield code, position
        if code > 0x01 and not 0xD0 <= code <= 0xD8:  # no segment follows these
            if position + 2 > len(data):
                return
            position += struct.unpack_from(">H", data, position)[0]


def _walk_png(data: bytes) -> Iterator[bytes]:
    """Names of the chunks before the pixels."""
    position = 8
    for _ in range(MAX_PARTS):
        if position + 8 > len(data):
            return
        length, name = struct.unpack_from(">I4s", data, position)
        if name == b"IDAT":
            return
        yield name
        position += 12 + length


def _read_jpeg_size(data: bytes) -> tuple[int, int]:
    for code, position in _walk_jpeg(data):
        if 0xC0 <= code <= 0xCF and code not in (0xC4, 0xC8, 0xCC):  # the first frame header
            height, width = struct.unpack_from(">HH", data, position + 3)
            return width, height
    return 0, 0  # the pixels begin, or the file ends, before the size was said


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


def _read_gif_size(data: bytes) -> tuple[int, int]:
    return struct.unpack_from("<HH", data, 6)


def _read_tiff_size(data: bytes) -> tuple[int, int]:
    """Of the first picture in it."""
    order = "<" if data[:2] == b"II" else ">"
    is_big = data[2:4] in (b"+\0", b"\0+")
    start = struct.unpack_from(f"{order}Q" if is_big else f"{order}I", data, 8 if is_big else 4)[0]
    count = struct.unpack_from(f"{order}Q" if is_big else f"{order}H", data, start)[0]
    first, step, value = (start + 8, 20, 12) if is_big else (start + 2, 12, 8)
    sizes = {256: 0, 257: 0}
    for at in range(first, first + step * min(count, MAX_PARTS), step):
        tag, kind = struct.unpack_from(f"{order}HH", data, at)
        if tag in sizes:
            sizes[tag] = struct.unpack_from(order + {3: "H", 16: "Q"}.get(kind, "I"), data, at + value)[0]
    return sizes[256], sizes[257]


# The format, where its signature stands, the signature, and what reads its size.
FORMATS = (
    ("jpeg", 0, b"\xff\xd8\xff", _read_jpeg_size),
    ("png", 0, b"\x89PNG\r\n\x1a\n", _read_png_size),
    ("webp", 8, b"WEBP", _read_webp_size),
    ("bmp", 0, b"BM", _read_bmp_size),
    ("gif", 0, b"GIF8", _read_gif_size),
    *(("tiff", 0, magic, _read_tiff_size) for magic in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
)
