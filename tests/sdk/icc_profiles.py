"""Color profiles (ICC, version 2) made from their numbers, and what they must give."""

from __future__ import annotations

import itertools
import struct

import numpy as np

# Display P3: the colors of red, green and blue under daylight of 5000 K, which profiles are based on.
P3_COLORS = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
SRGB_COLORS = np.array([[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])
WHITE = (0.9642, 1.0, 0.8249)


def make_p3_profile() -> bytes:
    """Wider than sRGB: colors look dull where it is ignored."""
    tags = {b"wtpt": _make_xyz(WHITE)}
    for name, color in zip((b"r", b"g", b"b"), P3_COLORS.T, strict=True):
        tags |= {name + b"XYZ": _make_xyz(color), name + b"TRC": _make_gamma(2.2)}
    return _make_profile(b"RGB ", b"XYZ ", tags)


def convert_p3(rgb: np.ndarray) -> np.ndarray:
    """Colors of that profile, uint8 [..., 3], in sRGB, worked out without a color library."""
    light = (rgb / 255) ** 2.2 @ P3_COLORS.T @ np.linalg.inv(SRGB_COLORS).T
    return encode_srgb(light)


def encode_srgb(light: np.ndarray) -> np.ndarray:
    """Light 0..1 as sRGB's values 0..255, rounded; what is out of range is clipped."""
    light = np.clip(light, 0, 1)
    value = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(255 * value).astype(int)


def make_linear_gray_profile() -> bytes:
    """Values are amounts of light, so that 55 is the middle gray that sRGB calls 128."""
    return _make_profile(b"GRAY", b"XYZ ", {b"wtpt": _make_xyz(WHITE), b"kTRC": _make_gamma(1.0)})


def make_ink_profile() -> bytes:
    """CMYK of inks that are weaker than a naive 1 - x: all four together leave a middle gray."""
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    curve = bytes(range(256))
    corners = [max(0, 255 - 40 * sum(inks)) for inks in itertools.product((0, 1), repeat=4)]
    grid = b"".join(bytes([lightness, 128, 128]) for lightness in corners)
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + 4 * curve + grid + 3 * curve
    return _make_profile(b"CMYK", b"Lab ", {b"wtpt": _make_xyz(WHITE), b"A2B0": table})


def _make_xyz(color: tuple[float, ...] | np.ndarray) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(65536 * value) for value in color))


def _make_gamma(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(256 * gamma))


def _make_profile(space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78), **tags}
    table, body, start = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    device = b"mntr" if space != b"CMYK" else b"prtr"
    header = struct.pack(">I4sI4s4s4s", start + len(body), b"test", 0x02400000, device, space, connection)
    header += bytes(12) + b"acsp" + bytes(28) + _make_xyz(WHITE)[8:] + bytes(48)
    return header + table + body
