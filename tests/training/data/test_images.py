"""Images: from files of all sorts, to tensors and back; augmentation."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from data_folders import make_noise, write_image
from PIL import Image as Pil

from i2i_training.data import normalize_images, to_images, to_tensor
from i2i_training.data.augment import crop, flip_randomly, jitter_colors
from i2i_training.data.batch_plan import DRAW_COLUMNS, FLIP, JITTER, LEFT, TOP
from i2i_training.data.image_tensors import convert_channels, decode, resize_image

# ---------------------------------------------------------------- files


def test_colors_are_rgb_and_alpha_is_dropped(tmp_path: Path) -> None:
    image = make_noise(9, 7)
    write_image(tmp_path / "rgb.png", image)
    alpha = np.dstack([image, make_noise(9, 7, 1)[:, :, :1]])
    Pil.fromarray(alpha, "RGBA").save(tmp_path / "rgba.png")
    assert all(np.array_equal(decode(tmp_path / name), image) for name in ("rgb.png", "rgba.png"))


@pytest.mark.parametrize(("dtype", "factor"), [(np.uint8, 1), (np.uint16, 256)])
def test_gray_becomes_rgb_and_back_unchanged(dtype: type, factor: int, tmp_path: Path) -> None:
    gray = np.arange(256).reshape(16, 16)
    cv2.imwrite(str(tmp_path / "gray.png"), (gray * factor).astype(dtype))
    image = decode(tmp_path / "gray.png")
    assert np.array_equal(image, np.dstack([gray] * 3))
    assert np.array_equal(convert_channels(image, 1), gray[:, :, None])


def test_photos_are_upright(tmp_path: Path) -> None:
    photo = Pil.fromarray(np.full((20, 40, 3), 90, np.uint8))
    exif = photo.getexif()
    exif[0x0112] = 6  # turned by 90 degrees
    photo.save(tmp_path / "phone.jpg", exif=exif)
    assert decode(tmp_path / "phone.jpg").shape == (40, 20, 3)


def test_names_need_not_be_ascii(tmp_path: Path) -> None:
    image = make_noise(4, 4)
    Pil.fromarray(image).save(tmp_path / "グラフ é.png")
    assert np.array_equal(decode(tmp_path / "グラフ é.png"), image)


@pytest.mark.parametrize("channels", [1, 2, 7, 16])
def test_arrays_have_any_number_of_channels(channels: int, tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (12, 10, channels), np.uint8)
    np.save(tmp_path / "x.npy", array)
    assert np.array_equal(decode(tmp_path / "x.npy"), array)
    half = resize_image(array, 6, 5, is_label_map=True)
    assert {tuple(v) for v in half.reshape(-1, channels)} <= {tuple(v) for v in array.reshape(-1, channels)}


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((4, 4, 3), np.float32), r"float32 \[4, 4, 3\]; needed: uint8"),
        (np.zeros((4,), np.uint8), r"uint8 \[4\]"),
        (np.zeros((0, 4, 3), np.uint8), r"uint8 \[0, 4, 3\]"),
        (np.array([{"pickled": 1}], dtype=object), "cannot be read as an array"),
    ],
)
def test_arrays_of_other_kinds_are_refused(array: np.ndarray, reason: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match=reason):
        decode(tmp_path / "x.npy")


@pytest.mark.parametrize("name", ["text.jpg", "empty.png", "folder.png", "text.npy", "empty.npy", "none.png"])
def test_what_is_no_image_is_refused(name: str, tmp_path: Path) -> None:
    if name.startswith("folder"):
        (tmp_path / name).mkdir()
    elif not name.startswith("none"):
        (tmp_path / name).write_text("no image" if name.startswith("text") else "")
    with pytest.raises(ValueError, match="cannot be read"):
        decode(tmp_path / name)


def test_a_cut_off_photo_is_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "x.jpg", make_noise(64, 64))
    (tmp_path / "x.jpg").write_bytes((tmp_path / "x.jpg").read_bytes()[:2000])
    with pytest.raises(ValueError, match="damaged"):
        decode(tmp_path / "x.jpg")


def test_other_channel_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="has 2 channels, not 3"):
        convert_channels(np.zeros((4, 4, 2), np.uint8), 3)


def test_photos_are_smooth_and_labels_stay_labels() -> None:
    stripes = np.zeros((16, 16, 3), np.uint8)
    stripes[:, ::2] = 200
    assert (resize_image(stripes, 8, 8, is_label_map=False) == 100).all()  # the mean
    for side in (8, 21, 35):
        assert set(np.unique(resize_image(stripes, side, side, is_label_map=True))) <= {0, 200}


# ---------------------------------------------------------------- tensors


def test_every_value_survives_the_way_to_the_network_and_back() -> None:
    image = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    values = normalize_images(to_tensor([image, 255 - image]))
    assert values.shape == (2, 3, 16, 16) and values.dtype == torch.float32
    assert (float(values.min()), float(values.max())) == (-1.0, 1.0)
    assert np.array_equal(to_images(values), [image, 255 - image])


def test_pictures_are_clipped_not_wrapped() -> None:
    (image,) = to_images(torch.tensor([-3.0, 3.0]).reshape(1, 1, 1, 2).expand(1, 3, 1, 2))
    assert image[0, :, 0].tolist() == [0, 255]


# ---------------------------------------------------------------- augmentation


def make_draws(**columns: float) -> torch.Tensor:
    values = torch.full((DRAW_COLUMNS,), 0.5, dtype=torch.float64)
    for name, value in columns.items():
        values[{"top": TOP, "left": LEFT, "flip": FLIP}[name]] = value
    return values


def test_crops_reach_every_border() -> None:
    image = make_noise(10, 14)
    for draw, expected in ((0, image[:8, :8]), (1 - 1e-9, image[2:, 6:])):
        assert np.array_equal(crop(image, 8, make_draws(top=draw, left=draw)), expected)


def test_chosen_images_are_mirrored() -> None:
    images = to_tensor([make_noise(6, 8, 1), make_noise(6, 8, 2)])
    result = flip_randomly(images, torch.stack([make_draws(flip=0.4), make_draws(flip=0.6)]))
    assert torch.equal(result, torch.stack([images[0].flip(2), images[1]]))


def test_jitter_of_no_strength_changes_nothing() -> None:
    images = normalize_images(to_tensor([make_noise(6, 8)]))
    assert torch.allclose(jitter_colors(images, torch.rand(1, DRAW_COLUMNS), 0.0), images, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_jitter_changes_brightness_contrast_and_saturation(channels: int) -> None:
    images = torch.rand(1, channels, 16, 16) - 0.5  # 0.25 .. 0.75 of the light

    def jitter_with_factor(index: int, draw: float) -> torch.Tensor:
        values = torch.full((1, DRAW_COLUMNS), 0.5)
        values[0, JITTER.start + index] = draw
        return jitter_colors(images, values, 0.4)

    darker, flatter, grayer = (jitter_with_factor(i, 0.0) for i in range(3))  # factors of 0.6
    assert torch.allclose(darker + 1, 0.6 * (images + 1), atol=1e-5)
    assert float(flatter.std()) == pytest.approx(0.6 * float(images.std()), rel=0.02)
    if channels == 3:
        spread, before = (float((x.amax(1) - x.amin(1)).mean()) for x in (grayer, images))
        assert spread == pytest.approx(0.6 * before, rel=0.01)
    else:
        assert torch.allclose(grayer, images, atol=1e-6)
    bright = jitter_colors(torch.ones(1, channels, 4, 4), torch.ones(1, DRAW_COLUMNS), 1.0)
    assert float(bright.max()) <= 1


@pytest.mark.parametrize("channels", [1, 3, 4, 5, 9, 16])
@pytest.mark.parametrize("side", [8, 40])
def test_any_count_of_channels_is_stretched(channels: int, side: int) -> None:
    image = np.broadcast_to(np.arange(channels, dtype=np.uint8) * 10, (20, 20, channels)).copy()
    resized = resize_image(image, side, side, is_label_map=False)
    assert resized.shape == (side, side, channels) and (resized == np.arange(channels) * 10).all()
