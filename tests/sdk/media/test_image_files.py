"""Image files of every kind that people have: profiles, alpha, TIFFs, GIFs, and bytes of strangers."""

from __future__ import annotations

import io
import struct
import threading
import tracemalloc
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from icc_profiles import convert_p3, encode_srgb, make_ink_profile, make_linear_gray_profile, make_p3_profile
from known_bundles import OpenKnown
from PIL import Image, ImageCms

from i2i_sdk.errors import MediaError
from i2i_sdk.media.images import decode_image

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
ALPHA = np.tile(np.linspace(9, 255, 64).astype(np.uint8), (48, 1))


def make_colors() -> np.ndarray:
    """RGB [48, 64, 3], many smooth colors."""
    coarse = np.random.default_rng(1).integers(0, 256, (4, 5, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (64, 48), interpolation=cv2.INTER_LINEAR), np.uint8)


def save(image: np.ndarray | Image.Image, kind: str, **options: Any) -> bytes:
    """A file's bytes, as lossless as the format can be."""
    file = io.BytesIO()
    options |= {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True, "exact": True}}.get(
        kind, {}
    )
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(file, kind, **options)
    return file.getvalue()


def decode(data: bytes) -> np.ndarray:
    """A file's bytes as RGB or RGBA."""
    image = decode_image(np.frombuffer(data, np.uint8), "the file")
    return image[:, :, ::-1] if image.shape[2] == 3 else image[:, :, [2, 1, 0, 3]]


# Profiles


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "16 bits"])
def test_wide_colors_become_srgb(kind: str, mode: str) -> None:
    rgb = make_colors()
    image = rgb if mode == "RGB" else np.dstack([rgb, ALPHA])
    if (kind == "JPEG" and mode == "RGBA") or (mode == "16 bits" and kind != "PNG"):
        return
    data = save(image, kind, icc_profile=make_p3_profile())
    if mode == "16 bits":  # the chunk of the profile goes into OpenCV's file
        deep = cv2.imencode(".png", image[:, :, [2, 1, 0, 3]].astype(np.uint16) * 257)[1].tobytes()
        at = data.index(b"iCCP") - 4
        length = 12 + struct.unpack_from(">I", data, at)[0]
        data = deep[:33] + data[at : at + length] + deep[33:]
    found = decode(data).astype(int)
    difference = np.abs(found[:, :, :3] - convert_p3(rgb))
    assert difference.mean() < 1 and difference.max() <= (20 if kind == "JPEG" else 4)
    assert np.abs(convert_p3(rgb) - rgb).mean() > 5  # so that ignoring it would show
    assert mode == "RGB" or (found[:, :, 3] == ALPHA).all()


def test_profiles_that_change_nothing_change_nothing() -> None:
    """sRGB under any name, one for gray on colors, and a damaged one."""
    rgb = make_colors()
    for profile in (SRGB, make_linear_gray_profile(), make_p3_profile()[:200], b"nonsense"):
        assert (decode(save(rgb, "PNG", icc_profile=profile)) == rgb).all()


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_gray_profiles(mode: str) -> None:
    gray = make_colors()[:, :, 0]
    expected = encode_srgb(gray / 255)
    image = Image.fromarray(gray.astype(np.uint16) * 257 if mode == "I;16" else gray)
    if mode == "LA":
        image.putalpha(Image.fromarray(ALPHA))
    for kind in ("PNG", "TIFF"):
        found = decode(save(image, kind, icc_profile=make_linear_gray_profile()))
        # In the dark, where the curve is steep, steps of 8 bits are coarse.
        assert np.abs(found[:, :, :3].astype(int) - expected[:, :, None])[gray > 10].max() <= 2
        assert mode != "LA" or (found[:, :, 3] == ALPHA).all()


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_inks(kind: str) -> None:
    cyan = Image.new("CMYK", (32, 32), (255, 0, 0, 0))
    assert np.abs(decode(save(cyan, kind)).astype(int) - (0, 255, 255)).max() < 3
    found = decode(save(cyan, kind, icc_profile=make_ink_profile())).astype(int)
    # Lightness 215 of 255 in Lab; a little less, since the darkest that these inks can do becomes black.
    light = encode_srgb(np.array((((215 / 255 * 100 + 16) / 116) ** 3,)))[0]
    assert found.min() > light - 8 and found.max() <= light + 2


def test_pil_images_with_profiles(open_known: OpenKnown) -> None:
    rgb = make_colors()
    for image in (rgb, np.dstack([rgb, ALPHA])):
        pil = Image.open(io.BytesIO(save(image, "PNG", icc_profile=make_p3_profile())))
        found = np.asarray(open_known("identity", fit="tile")(pil)).astype(int)
        assert np.abs(found[:, :, :3] - convert_p3(rgb)).max() <= 4
        assert found.shape == image.shape and (found[:, :, 3:] == image[:, :, 3:]).all()


# Other kinds of files

TURNED = [
    *(("PNG", mode) for mode in ("RGBA", "LA", "I;16")),
    *(("TIFF", mode) for mode in ("RGBA", "RGB", "L", "P", "LA", "CMYK")),
    *(("WEBP", "RGBA"), ("JPEG", "CMYK")),
]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("kind", "mode"), TURNED)
def test_orientation_is_obeyed_in_every_mode(kind: str, mode: str, orientation: int) -> None:
    rgba = Image.fromarray(np.dstack([make_colors(), ALPHA]))
    image = (
        rgba.convert("RGB").quantize(64) if mode == "P" else rgba.convert(mode.removeprefix("I;16") or "L")
    )
    expected = np.asarray(image.convert("RGBA" if "A" in mode else "RGB"))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = decode(save(image, kind, exif=exif))
    turned = expected if orientation < 5 else expected.swapaxes(0, 1)
    down, across = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    turned = turned[:: -1 if down else 1, :: -1 if across else 1]
    assert found.shape == turned.shape
    assert np.abs(found.astype(int) - turned).max() <= (12 if kind == "JPEG" else 1)


def test_metadata_behind_the_pixels_counts() -> None:
    """As ImageMagick writes it."""
    rgba = np.dstack([make_colors(), ALPHA])
    data, exif = save(rgba, "PNG"), Image.Exif()
    exif[0x0112] = 3
    at = (turned := save(rgba, "PNG", exif=exif)).index(b"eXIf") - 4
    chunk = turned[at : at + 12 + struct.unpack_from(">I", turned, at)[0]]
    assert (decode(data[:-12] + chunk + data[-12:]) == rgba[::-1, ::-1]).all()


@pytest.mark.parametrize("mode", ["RGB", "P", "L", "1", "transparent"])
def test_gifs(mode: str) -> None:
    image = Image.fromarray(make_colors()).quantize(32)
    expected = np.asarray(image.convert("RGB"))
    if mode == "transparent":
        index = image.getpixel((0, 0))
        found = decode(save(image, "GIF", transparency=index))
        shown = np.asarray(image) != index
        assert (found[:, :, 3] == 255 * shown).all() and (found[shown, :3] == expected[shown]).all()
        return
    converted = image.convert("RGB").convert(mode) if mode in ("L", "1") else image.convert(mode)
    found = decode(save(converted, "GIF"))
    assert (found == np.asarray(converted.convert("RGB"))).all() and found.shape == (48, 64, 3)


def test_tiffs_that_opencv_does_not_read() -> None:
    rgb = make_colors()
    assert np.abs(decode(save(Image.fromarray(rgb).convert("YCbCr"), "TIFF")).astype(int) - rgb).max() <= 3
    premultiplied = Image.fromarray(np.dstack([rgb, ALPHA])).convert("RGBa")
    data = save(Image.fromarray(np.asarray(premultiplied)), "TIFF")
    kind = struct.pack("<HHI", 338, 3, 1)  # of the fourth channel: 2 is alpha, 1 alpha that is multiplied in
    found = decode(data.replace(kind + struct.pack("<I", 2), kind + struct.pack("<I", 1)))
    assert np.abs(found[:, 32:, :3].astype(int) - rgb[:, 32:]).max() <= 2
    assert (found[:, :, 3] == ALPHA).all()


def test_a_preview_in_a_photo_is_no_animation() -> None:
    """Phones append further pictures to a JPEG, with an index that Pillow calls MPO."""
    from i2i_sdk.media.pillow_files import count_frames

    file, photo = io.BytesIO(), Image.fromarray(make_colors())
    photo.save(file, "MPO", save_all=True, append_images=[photo.resize((8, 6))])
    assert count_frames(file.getvalue()) == 1 and decode(file.getvalue()).shape == (48, 64, 3)


def test_a_false_suffix_does_not_matter() -> None:
    """AVIF and JPEG 2000 named .jpg come from downloads."""
    rgb = make_colors()
    for kind in ("AVIF", "JPEG2000"):
        assert np.abs(decode(save(rgb, kind)).astype(int) - rgb).mean() < 9


# Bytes of strangers


def make_bomb(kind: str, side: int) -> bytes:
    """A small file that claims a picture of side x side."""
    data = bytearray(save(np.zeros((8, 8, 3), np.uint8), kind))
    if kind == "JPEG":
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = struct.pack(">HH", side, side)
    elif kind == "PNG":
        data[16:24] = struct.pack(">II", side, side)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    elif kind == "BMP":
        data[18:26] = struct.pack("<ii", side, -side)
    elif kind == "GIF":
        data[6:10] = struct.pack("<HH", side, side)
    elif kind == "WEBP":
        claim = (side - 1).to_bytes(3, "little")
        return b"RIFF\0\1\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + claim + claim + bytes(data[12:])
    else:
        start = struct.unpack_from("<I", data, 4)[0] + 2
        for at in range(start, start + 24, 12):
            assert struct.unpack_from("<H", data, at)[0] in (256, 257)
            data[at + 2 : at + 12] = struct.pack("<HII", 4, 1, side)
    return bytes(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_bombs_are_refused_before_anything_is_allocated(kind: str) -> None:
    side = 16383 if kind == "WEBP" else 60_000
    tracemalloc.start()
    with pytest.raises(MediaError, match=rf"{side}x{side} pixels; at most 134 megapixels .*shrink it"):
        decode(make_bomb(kind, side))
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def make_samples() -> list[bytes]:
    """Real files of every format, with metadata, small."""
    rgb = make_colors()[:12, :16]
    exif, images = Image.Exif(), [Image.fromarray(rgb), Image.fromarray(255 - rgb)]
    exif[0x0112], exif[0x0132] = 6, "2024:05:06 07:08:09"
    exif.get_ifd(0x8769)[0x9003] = "2024:05:06 07:08:09"
    both = {"exif": exif, "icc_profile": make_p3_profile(), "dpi": (300, 300)}
    several = {"save_all": True, "append_images": images[1:], "duration": 50}
    rgba = np.dstack([rgb, ALPHA[:12, :16]])
    samples = [save(rgb, kind) for kind in ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "JPEG2000")]
    samples += [save(rgb, kind, **both) for kind in ("JPEG", "PNG", "WEBP", "TIFF")]
    samples += [save(rgba, kind, **both) for kind in ("PNG", "WEBP", "TIFF")]
    samples += [save(images[0], kind, **several) for kind in ("PNG", "WEBP", "GIF", "TIFF")]
    samples += [save(images[0].convert("CMYK"), kind, **both) for kind in ("JPEG", "TIFF")]
    samples += [
        save(images[0], "TIFF", compression=name) for name in ("tiff_lzw", "tiff_deflate", "packbits")
    ]
    return samples


SAMPLES = make_samples()
edits = st.lists(
    st.tuples(
        st.integers(0, 700), st.sampled_from(["set", "cut", "insert", "delete"]), st.binary(max_size=4)
    ),
    min_size=1,
    max_size=6,
)


@settings(settings.get_profile("strangers"))
@given(number=st.integers(0, len(SAMPLES) - 1), changes=edits)
def test_strangers_files_are_images_or_media_errors(
    number: int, changes: list[tuple[int, str, bytes]]
) -> None:
    from i2i_sdk.media.pillow_files import count_frames, iterate_frames, make_save_options, read_header

    data = bytearray(SAMPLES[number])
    for at, action, new in changes:
        if action == "cut":
            del data[at + 40 :]
        elif action == "set":
            data[at : at + len(new)] = new
        else:
            data[at:at] = new if action == "insert" else b""
            del data[at : at + (len(new) if action == "delete" else 0)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            image = decode_image(np.frombuffer(bytes(data), np.uint8), "x")
        except MediaError as error:
            assert str(error).startswith(("cannot decode x as", "x holds", "x says that it has"))
        else:
            assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] in (3, 4) and image.size
        if (header := read_header(bytes(data))) is not None:
            make_save_options(header, ".webp")
        frames = count_frames(bytes(data))
        assert frames >= 1
        for picture, duration in zip(iterate_frames(bytes(data)), range(3)):  # noqa: B905
            assert picture[0].ndim == 3 and picture[1] > 10, duration
    assert not caught


def test_threads_leave_warnings_as_they_were() -> None:
    """Filters of warnings belong to the process, and Pillow's must be silenced."""
    data = save(make_colors(), "GIF")
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: decode(data), range(200)))
    assert list(warnings.filters) == before
    assert threading.active_count() < 20
