"""Tiles: what a pixelwise or strided function makes of tiles is what it makes of the frame, to the bit."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st
from known_bundles import HEIGHT, WIDTH, FindBundle, make_noise, save_affine

from i2i_sdk import Translator
from i2i_sdk.bundle.manifest import ModelInfo
from i2i_sdk.imaging import tiles
from i2i_sdk.quality.metrics import psnr

Image = np.ndarray[Any, np.dtype[np.uint8]]


def stack_pictures(pictures: list[Image]) -> Image:
    return np.stack(pictures)


def translate_tiled(
    image: Image, run: tiles.RunEngine, side: int, *, correct: bool = False, batch: int = 4
) -> Image:
    return tiles.translate_tiled([image], run, side, side, batch=batch, correct=correct)[0]


# where tiles lie


@given(st.integers(1, 300), st.integers(1, 2000))
def test_the_weights_of_all_tiles_sum_to_one_everywhere(side: int, wanted: int) -> None:
    length = tiles.compute_covered_length(wanted, side)
    axis = tiles.plan_axis(length, side)
    sums = np.zeros(length, np.float32)
    for start, weights in zip(axis.starts, axis.weights, strict=True):
        assert weights.shape == (side,) and weights.min() >= 0  # a slice beyond the frame would be shorter
        sums[start : start + side] += weights
    assert (sums == 1).all()


@given(st.integers(8, 300), st.integers(1, 2000))
def test_tiles_overlap_and_lie_on_the_grid(side: int, wanted: int) -> None:
    length, grid = tiles.compute_covered_length(wanted, side), 16 if side >= 64 else 1
    assert max(wanted, side) <= length < max(wanted, side) + grid
    axis = tiles.plan_axis(length, side)
    gaps = np.diff(axis.starts)
    assert axis.starts[0] == 0 and axis.starts[-1] == length - side
    assert all(start % grid == 0 for start in axis.starts)
    assert (gaps > 0).all() and (gaps <= side - side // 4).all()
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= grid
    # The outermost pixels do not count, but at the frame's border.
    for number, weights in enumerate(axis.weights):
        margin = side // 16 if side >= 16 else 0
        assert number == 0 or (weights[:margin] == 0).all()
        assert number == len(gaps) or (weights[side - margin :] == 0).all()


def test_as_few_tiles_as_that_takes() -> None:
    assert tiles.plan_axis(256, 256).starts == (0,)
    assert tiles.plan_axis(448, 256).starts == (0, 192)
    assert tiles.plan_axis(464, 256).starts == (0, 96, 208)
    assert tiles.plan_axis(1280, 256).starts == (0, 160, 336, 512, 672, 848, 1024)


# exactness


@given(
    st.integers(1, 150), st.integers(1, 150), st.sampled_from([1, 3]), st.sampled_from([1, 5, 24, 64]),
    st.sampled_from([2, 40, 64]), st.integers(1, 9),
)  # fmt: skip
def test_identity_gives_the_frame_back(
    height: int, width: int, channels: int, tall: int, wide: int, batch: int
) -> None:
    image = make_noise(height, width, channels)
    before = image.copy()
    result = tiles.translate_tiled([image], stack_pictures, tall, wide, batch=batch, correct=False)[0]
    assert result.dtype == np.uint8 and (result == image).all() and (image == before).all()


def average_blocks(pictures: list[Image]) -> Image:
    """The mean of each block of 4x4 pixels: it moves with the picture by 4 pixels, as a strided network."""
    stack = np.stack(pictures)
    count, height, width, channels = stack.shape
    means = stack.reshape(count, height // 4, 4, width // 4, 4, channels).mean((2, 4))
    return np.round(means).astype(np.uint8).repeat(4, 1).repeat(4, 2)


def test_a_strided_function_gives_the_same_as_of_the_whole_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    image = make_noise(192, 320, 3)
    whole = average_blocks([image])[0]
    assert (translate_tiled(image, average_blocks, 128) == whole).all()
    monkeypatch.setattr(tiles, "GRID", 1)
    monkeypatch.setattr(tiles, "OVERLAP", 3)
    assert tiles.plan_axis(320, 128).starts == (0, 64, 128, 192)  # by chance on the grid
    assert (translate_tiled(image[:, :-4], average_blocks, 128) != whole[:, :-4]).any()


def test_the_last_tile_is_on_the_grid_too() -> None:
    """A frame that the grid does not cover is continued by reflection on both sides."""
    result = translate_tiled(np.full((192, 309, 3), 77, np.uint8), average_blocks, 128)
    assert result.shape == (192, 309, 3) and (result == 77).all()
    image = make_noise(192, 309, 3)
    grown = np.pad(image, ((0, 0), (5, 6), (0, 0)), mode="reflect")
    assert (translate_tiled(image, average_blocks, 128) == average_blocks([grown])[0][:, 5:-6]).all()


def test_calls_are_as_few_as_the_batch_allows() -> None:
    run = Mock(side_effect=lambda pictures: np.stack(pictures)[..., :1])
    images = [make_noise(100, 150, 3), make_noise(10, 10, 3), make_noise(64, 200, 3, seed=4)]
    results = tiles.translate_tiled(images, run, 64, 64, batch=4, correct=False)
    sizes = [len(call.args[0]) for call in run.call_args_list]
    assert sizes == [4] * (sum(sizes) // 4) + [sum(sizes) % 4] and sum(sizes) == 2 * 3 + 1 + 4
    for result, image in zip(results, images, strict=True):
        assert (result == image[..., :1]).all()
    assert tiles.translate_tiled([], run, 64, 64, batch=4, correct=True) == []


def test_memory_is_bounded_for_4k() -> None:
    """Float sums of a whole frame would take 100 MB alone."""
    image = np.full((2160, 3840, 3), 9, np.uint8)
    tracemalloc.start()
    try:
        result = tiles.translate_tiled([image], stack_pictures, 256, 256, batch=4, correct=True)[0]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (result == 9).all()
    assert peak - 2 * image.nbytes < 64e6  # the result, and the frame continued to the grid


# models that see the whole picture


def normalize_pictures(pictures: list[Image]) -> Image:
    """As InstanceNorm does: every picture gets the mean 128 and the deviation 50, whatever it was."""
    floats = np.stack(pictures).astype(np.float32)
    mean, deviation = floats.mean((1, 2), keepdims=True), floats.std((1, 2), keepdims=True) + 1
    return np.clip(np.round((floats - mean) / deviation * 50 + 128), 0, 255).astype(np.uint8)


def load_photo(name: str, height: int, width: int) -> Image:
    image = getattr(skimage.data, name)()
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def blur(image: Image) -> np.ndarray[Any, Any]:
    return cv2.GaussianBlur(image.astype(np.float32), (0, 0), 24)


@pytest.mark.parametrize("name", ["astronaut", "coffee", "rocket"])
def test_low_frequencies_are_those_of_the_whole_frame(name: str) -> None:
    image = load_photo(name, 512, 640)
    whole = blur(normalize_pictures([image])[0])
    corrected = np.abs(blur(translate_tiled(image, normalize_pictures, 128, correct=True)) - whole).mean()
    plain = np.abs(blur(translate_tiled(image, normalize_pictures, 128)) - whole).mean()
    assert corrected < 4 and plain > 4 * corrected


@pytest.mark.parametrize("name", ["astronaut", "coffee", "rocket"])
def test_the_correction_changes_nothing_that_is_right(name: str) -> None:
    image = load_photo(name, 480, 640)
    difference = np.abs(translate_tiled(image, stack_pictures, 256, correct=True).astype(int) - image)
    assert difference.max() <= 2 and difference.mean() < 0.2


def test_detail_is_the_tiles_own() -> None:
    image = load_photo("coffee", 512, 640)
    guide = np.full((256, 256, 3), 100, np.uint8)
    tile = image[:256, :256]
    result = tiles.replace_low_frequencies(tile, guide)
    assert np.abs(cv2.GaussianBlur(result, (0, 0), 48)[64:-64, 64:-64] - 100).max() < 12
    fine = tile - cv2.GaussianBlur(tile.astype(np.float32), (0, 0), 3)
    assert np.abs(result - cv2.GaussianBlur(result, (0, 0), 3) - fine).mean() < 0.05 * np.abs(fine).mean()


def test_a_frame_that_one_tile_covers_is_not_corrected() -> None:
    run = Mock(side_effect=stack_pictures)
    for height, width in ((64, 64), (20, 64), (1, 1)):
        image = make_noise(height, width, 3)
        assert (translate_tiled(image, run, 64, correct=True) == image).all()
    assert [len(call.args[0]) for call in run.call_args_list] == [1, 1, 1]


def make_model_info(norm_mode: str, **options: Any) -> ModelInfo:
    return ModelInfo("x", "resnet", options, norm_mode, "cyclegan", "AtoB", 1, 1, "0" * 64, "none", "nothing")


@pytest.mark.parametrize(
    ("info", "needed"),
    [
        (make_model_info("none", norm="instance"), True),
        (make_model_info("batch_stats", norm="batch"), True),  # exported as InstanceNorm
        (make_model_info("running_stats", norm="batch"), False),
        (make_model_info("none", norm="none"), False),
        (make_model_info("none"), True),  # nothing is known
        (make_model_info("none", norm="instance_of_another_kind"), True),
        (None, True),
    ],
)
def test_which_models_are_corrected(info: ModelInfo | None, needed: bool) -> None:
    assert tiles.needs_correction(info) is needed


# through Translator

SHAPES: list[tuple[int, ...]] = [
    (100, 130, 3), (101, 67), (57, 99, 1), (75, 200, 4), (1, 300, 3), (300, 1), (1, 1, 3), (HEIGHT, WIDTH, 3),
    (HEIGHT, 3 * WIDTH, 3), (9, 9, 4),
]  # fmt: skip


@pytest.mark.parametrize("order", ["bgr", "rgb"])
@pytest.mark.parametrize("name", ["identity", "invert", "gray", "red", "color", "swap"])
def test_every_kind_of_image_and_channels(known: FindBundle, name: str, order: str) -> None:
    """As one engine call for a frame of the engine's size would do, which `test_translator.py` checks."""
    with Translator(known(name), fit="tile") as translate:
        for shape in SHAPES:
            image = make_noise(*shape)
            result = translate(image, order)
            is_gray = image.shape[2:] in ((), (1,)) and name not in ("gray", "red")  # which give colors of it
            assert result.shape == ((*shape[:2], 3) if is_gray else shape) and result.dtype == np.uint8
            top, left = min(shape[0], HEIGHT), min(shape[1], WIDTH)  # each function here is pixelwise
            with Translator(known(name), fit="pad") as single:
                assert (result[:top, :left] == single(image[:top, :left], order)).all()
                assert (result[-top:, -left:] == single(image[-top:, -left:], order)).all()


def test_external_files_are_corrected(tmp_path: Path) -> None:
    """Nothing says what is inside; the correction leaves a function that needs none as it is."""
    path = save_affine(tmp_path / "x.onnx", (0.5, 0.5, 0.5), (20, 20, 20), size=(64, 64))
    ranges = {"input_range": (0, 255), "output_range": (0, 255)}
    with Translator(path, fit="tile", layout="nchw", channel_order="rgb", **ranges) as translate:
        image = load_photo("astronaut", 200, 300)
        assert np.abs(translate(image).astype(int) - (0.5 * image + 20)).max() <= 4
        assert psnr(translate(image), np.round(0.5 * image + 20).astype(np.uint8)) > 45


@pytest.mark.parametrize("name", ["astronaut", "coffee"])
def test_tiles_of_a_real_model_are_its_translation_at_full_size(name: str) -> None:
    """sketch has no InstanceNorm: nine tiles of 256 give what the engine of 512 gives; resizing does not."""
    image = load_photo(name, 512, 512)
    pictures: dict[str, Image] = {}
    for fit, size in (("resize", 512), ("tile", 256), ("resize", 256)):
        with Translator("sketch", backend="ort", precision="fp32", size=size, fit=fit) as translate:
            pictures[f"{fit} {size}"] = translate(image)
    full = pictures["resize 512"]
    assert np.abs(pictures["tile 256"].astype(int) - full).max() <= 2
    assert psnr(pictures["resize 256"], full) < 25
    detail = {k: np.abs(cv2.Laplacian(p.astype(np.float32), cv2.CV_32F)).mean() for k, p in pictures.items()}
    assert detail["resize 256"] < 0.5 * detail["tile 256"]
