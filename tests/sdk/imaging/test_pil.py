"""Pillow images: each comes back as it was, in its mode, or is refused with advice."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from known_bundles import HEIGHT, WIDTH, OpenKnown, make_noise
from PIL import Image as Pil
from PIL import ImageOps

from i2i_sdk import InputError


def _make_pil_images() -> dict[str, Any]:
    rgba = Pil.fromarray(make_noise(31, 47, 4))
    rgb = Pil.fromarray(np.asarray(Pil.fromarray(make_noise(8, 12, 3)).resize((47, 31))))
    palette = rgb.quantize(16)
    transparent = palette.copy()
    transparent.info["transparency"] = 3
    images = {"L": rgb.convert("L"), "LA": rgba.convert("LA"), "RGB": rgb, "RGBA": rgba, "P": palette}
    return images | {"P with transparency": transparent}


@pytest.mark.parametrize("mode", _make_pil_images())
@pytest.mark.parametrize("order", ["bgr", "rgb"])
def test_pil_images_come_back_as_they_were(open_known: OpenKnown, mode: str, order: str) -> None:
    image = _make_pil_images()[mode]
    before = image.tobytes()
    result = open_known("identity", fit="letterbox")(image, order)
    assert isinstance(result, Pil.Image) and result.size == (47, 31)
    assert result.mode == {"L": "RGB", "LA": "RGBA", "P": "RGB", "P with transparency": "RGBA"}.get(
        mode, mode
    )
    assert image.tobytes() == before
    if "A" in image.getbands():
        assert result.getchannel("A").tobytes() == image.getchannel("A").tobytes()


@pytest.mark.parametrize("order", ["bgr", "rgb"])
def test_pil_images_are_rgb_whatever_numpys_order(open_known: OpenKnown, order: str) -> None:
    size = (WIDTH, HEIGHT)
    red = Pil.new("RGB", size, (255, 10, 0))
    assert open_known("swap")(red, order).getpixel((3, 3)) == (0, 10, 255)
    result = open_known("swap")(Pil.new("RGBA", size, (255, 10, 0, 77)), order)
    assert result.getpixel((3, 3)) == (0, 10, 255, 77)
    assert open_known("invert")(Pil.new("LA", size, (10, 77)), order).getpixel((0, 0)) == (245, 245, 245, 77)
    # swapping twice would hide a wrong order; the red channel alone does not
    assert open_known("red")(red, order).getpixel((3, 3)) == (255, 255, 255)
    transparent = Pil.new("P", size, 3)
    transparent.putpalette([9] * 9 + [255, 10, 0])
    assert open_known("swap")(transparent, order).getpixel((3, 3)) == (0, 10, 255)
    transparent.info["transparency"] = 3
    assert open_known("swap")(transparent, order).getpixel((3, 3)) == (0, 10, 255, 0)


@pytest.mark.parametrize("fit", ["resize", "tile"])
@pytest.mark.parametrize(
    ("name", "mode", "expected"),
    [
        *(("color", mode, {"L": "RGB", "LA": "RGBA"}.get(mode, mode)) for mode in ("L", "LA", "RGB", "RGBA")),
        *(("gray", mode, mode) for mode in ("L", "LA", "RGB", "RGBA")),
        *(("red", mode, mode) for mode in ("L", "LA", "RGB")),
    ],
)
def test_the_network_decides_on_colors(
    open_known: OpenKnown, name: str, mode: str, expected: str, fit: str
) -> None:
    value = {"L": 60, "LA": (60, 77), "RGB": (60, 60, 60), "RGBA": (60, 60, 60, 77)}[mode]
    result = open_known(name, fit=fit)(Pil.new(mode, (WIDTH, HEIGHT), value))
    colors = {"color": (60, 195, 30), "gray": (195,) * 3, "red": (60,) * 3}[name]
    assert result.mode == expected
    pixel = result.convert("RGBA").getpixel((3, 3))
    np.testing.assert_allclose(pixel, (*colors, 77 if "A" in mode else 255), atol=1)


@pytest.mark.parametrize("orientation", [1, 3, 6, 7, 99, "six"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "new"])
def test_pil_images_are_turned_upright(open_known: OpenKnown, orientation: int | str, kind: str) -> None:
    image = Pil.fromarray(np.asarray(Pil.fromarray(make_noise(4, 6, 3)).resize((WIDTH, HEIGHT))))
    upright = np.asarray(ImageOps.exif_transpose(image))
    if kind == "new":
        image.getexif()[0x0112] = orientation
    else:
        exif, file = Pil.Exif(), io.BytesIO()
        exif[0x0112 if isinstance(orientation, int) else 0x010E] = orientation
        image.save(file, kind, exif=exif)
        image = Pil.open(file)
    turned = {3: upright[::-1, ::-1], 6: np.rot90(upright, -1), 7: np.rot90(upright, 2).swapaxes(0, 1)}
    expected = turned.get(orientation, upright)  # pyright: ignore[reportArgumentType, reportCallIssue]
    result = np.asarray(open_known("invert", fit="tile")(image))
    assert result.shape == expected.shape
    assert np.abs(result.astype(int) - (255 - expected)).mean() < (9 if kind == "JPEG" else 1)


def test_pil_images_from_files(open_known: OpenKnown) -> None:
    file = io.BytesIO()
    Pil.fromarray(make_noise(HEIGHT, WIDTH, 3)).save(file, "PNG")
    image = Pil.open(file)  # a subclass of PIL.Image.Image, not loaded yet
    result = open_known("invert")(image)
    assert (np.asarray(result) == 255 - np.asarray(image)).all()


@pytest.mark.parametrize(
    ("mode", "hint"),
    [
        *((mode, r'image\.convert\("RGB"\)') for mode in ("1", "CMYK", "YCbCr", "HSV", "PA")),
        *((mode, r"clip at 255 .*scale the values to 0\.\.255") for mode in ("I", "F", "I;16")),
    ],
)
def test_other_pil_modes_are_refused_with_advice(open_known: OpenKnown, mode: str, hint: str) -> None:
    accepted = "accepted: .*L, LA, RGB, RGBA or P"
    with pytest.raises(InputError, match=f"PIL image of mode {mode}; {accepted}.*{hint}"):
        open_known("invert")(Pil.new(mode, (9, 9)))
