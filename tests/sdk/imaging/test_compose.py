"""Views: which picture is where, to the pixel, and nothing that was given is changed."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from known_bundles import make_noise

from i2i_sdk.errors import InputError
from i2i_sdk.imaging.compose import VIEWS, apply_mask, blend_images, compose_view, draw_overlay, mirror_image

HEIGHT, WIDTH = 90, 130
FRAME, OUTPUT = make_noise(HEIGHT, WIDTH, 3, seed=1), make_noise(HEIGHT, WIDTH, 3, seed=2)
TEXT = ("24.3 fps  p50 31.0 ms", "q quit  space pause  v view")
SIZES = [(120, 160), (480, 640), (720, 1280), (2160, 3840), (640, 360)]


@pytest.fixture(autouse=True)
def _inputs_stay() -> Any:
    before = FRAME.copy(), OUTPUT.copy()
    yield
    assert (before[0] == FRAME).all() and (before[1] == OUTPUT).all()


def test_mirrored_exchanges_left_and_right_only() -> None:
    assert (mirror_image(FRAME) == FRAME[:, ::-1]).all()


@pytest.mark.parametrize("weight", [0, 0.25, 0.5, 1])
def test_blended(weight: float) -> None:
    exact = FRAME * (1.0 - weight) + OUTPUT * float(weight)
    assert np.abs(blend_images(FRAME, OUTPUT, weight) - exact).max() <= 0.5
    assert not np.shares_memory(blend_images(FRAME, OUTPUT, weight), OUTPUT)


MASKS = {
    "bool": np.random.default_rng(3).random((HEIGHT, WIDTH)) < 0.5,
    "uint8": make_noise(HEIGHT, WIDTH, seed=3),
    "float16": np.linspace(0, 1, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.float16),
    "float32": np.random.default_rng(3).random((HEIGHT, WIDTH), np.float32),
    "float64": np.linspace(0, 1, HEIGHT * WIDTH).reshape(WIDTH, HEIGHT).T,  # not contiguous
}


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("axes", [2, 3])
def test_masked(kind: str, axes: int) -> None:
    mask = MASKS[kind] if axes == 2 else MASKS[kind][:, :, None]
    before = mask.copy()
    share = MASKS[kind].astype(np.float64)[:, :, None] / (255 if kind == "uint8" else 1)
    exact = FRAME * (1 - share) + OUTPUT * share
    result = apply_mask(FRAME, OUTPUT, mask)
    assert result.dtype == np.uint8
    assert np.abs(result - exact).max() <= 0.51
    assert (mask == before).all()
    assert (result[share[:, :, 0] == 0] == FRAME[share[:, :, 0] == 0]).all()
    assert (result[share[:, :, 0] == 1] == OUTPUT[share[:, :, 0] == 1]).all()
    assert (apply_mask(FRAME, FRAME, mask) == FRAME).all()  # mixing a picture with itself changes nothing


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (None, "the mask is NoneType; allowed: an array"),
        (make_noise(HEIGHT, WIDTH + 1), rf"the mask has shape \({HEIGHT}, {WIDTH + 1}\); allowed"),
        (make_noise(HEIGHT, WIDTH, 3), rf"shape \({HEIGHT}, {WIDTH}, 3\); allowed: \[{HEIGHT}, {WIDTH}\] or"),
        (np.zeros((HEIGHT, WIDTH), np.int64), "array of int64; allowed: .* of bool, uint8 .* or float"),
        (np.zeros((HEIGHT, WIDTH), np.uint16), "array of uint16"),
        (np.full((HEIGHT, WIDTH), 1.01), r"outside 0\.\.1; for values of 0\.\.255 give uint8"),
        (np.full((HEIGHT, WIDTH), -0.01, np.float32), r"outside 0\.\.1"),
        (np.full((HEIGHT, WIDTH), np.nan, np.float32), r"outside 0\.\.1"),
    ],
)
def test_other_masks_are_refused(mask: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        apply_mask(FRAME, OUTPUT, mask)


@pytest.mark.parametrize(
    "function",
    [partial(compose_view, "side"), partial(compose_view, "split"), partial(blend_images, weight=0.5)],
)
def test_both_pictures_have_one_size(function: Any) -> None:
    with pytest.raises(InputError, match=re.escape(f"({HEIGHT}, {WIDTH}, 3) and a translation of shape")):
        function(FRAME, OUTPUT[:-1])
    with pytest.raises(InputError, match=re.escape("both must be [H, W, 3]")):
        function(FRAME[:, :, 0], OUTPUT[:, :, 0])


def test_the_views_by_name() -> None:
    assert VIEWS == ("output", "split", "side", "input")
    assert compose_view("output", FRAME, OUTPUT) is OUTPUT
    assert compose_view("input", FRAME, OUTPUT) is FRAME
    assert (compose_view("side", FRAME, OUTPUT) == np.hstack([FRAME, OUTPUT])).all()


@pytest.mark.parametrize(("height", "width"), [*SIZES, (1, 1), (3, 200), (200, 2)])
@pytest.mark.parametrize("position", [0, 0.3, 0.5, 1])
def test_split_shows_the_input_left_of_its_line(height: int, width: int, position: float) -> None:
    frame, output = np.full((height, width, 3), 90, np.uint8), np.full((height, width, 3), 160, np.uint8)
    result = compose_view("split", frame, output, position)
    line, reach = round(position * width), round(min(height, width) / 20) + 15  # of line and handle
    assert (result[:, : max(0, line - reach)] == 90).all()
    assert (result[:, line + reach :] == 160).all()
    row = result[height // 8, max(0, line - 10) : line + 10, 0]
    assert row.max() > 230 or width == 1  # a light line
    if 0 < position < 1 and width > 100:
        assert row.min() < 60  # with dark borders: it can be seen on white


def _find_change(before: np.ndarray, after: np.ndarray) -> tuple[slice, slice]:
    """The rectangle that differs."""
    differs = (before != after).any(axis=2)
    rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("level", [0, 128, 255])
def test_text_is_legible_on_any_background(height: int, width: int, level: int) -> None:
    image = np.full((height, width, 3), level, np.uint8)
    result = draw_overlay(image, TEXT)
    assert (image == level).all() and result.shape == image.shape
    rows, columns = _find_change(image, result) if level else _find_change(image + 1, result + 1)
    text = result[rows, columns, 0] > 170
    plate = result[rows, columns, 0] < 90
    assert 0.03 < text.mean() < 0.5
    assert text.mean() + plate.mean() > 0.75  # the rest is the smooth border of letters
    lines = np.flatnonzero(np.diff(np.concatenate([[0], text.any(axis=1), [0]]).astype(int)) == 1)
    assert len(lines) >= 2
    assert text.any(axis=1).sum() > min(height, width) / 60 * 2  # letters grow with the picture


@pytest.mark.parametrize("at_bottom", [False, True])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_plate_is_in_its_corner_and_inside(at_bottom: bool, height: int, width: int) -> None:
    image = np.full((height, width, 3), 200, np.uint8)
    result = draw_overlay(image, ["24.3 fps"], at_bottom)
    rows, columns = _find_change(image, result)
    assert min(rows.start, columns.start) > 0 and rows.stop < height and columns.stop < width
    assert (rows.start + rows.stop > height) == at_bottom
    assert columns.start + columns.stop < width
    # nothing is cut off: the plate has a border without letters
    plate = result[rows, columns, 0]
    border = np.concatenate([plate[0], plate[-1], plate[:, 0], plate[:, -1]])
    assert (border == border[0]).all()


def test_long_lines_are_wrapped_where_two_spaces_are() -> None:
    image = np.full((240, 200, 3), 200, np.uint8)
    long = draw_overlay(image, ["first part of it  second part of it  third part of it  fourth part of it"])
    by_hand = ["first part of it  second part of it", "third part of it  fourth part of it"]
    assert (long == draw_overlay(image, by_hand)).all()
    assert (long != draw_overlay(image, by_hand[:1])).any()
    words = draw_overlay(image, ["one after the other " * 5])
    rows, _ = _find_change(image, words)
    one, _ = _find_change(image, draw_overlay(image, ["one after the other"]))
    assert rows.stop - rows.start > one.stop - one.start


@given(
    *(st.integers(1, 60), st.integers(1, 60), st.floats(0, 1)),
    st.text(max_size=30) | st.sampled_from(["x" * 400, "wide words " * 60, "", " "]),
    st.booleans(),
)
def test_any_size_and_text(height: int, width: int, position: float, text: str, at_bottom: bool) -> None:
    frame, output = make_noise(height, width, 3, seed=1), make_noise(height, width, 3, seed=2)
    for view in VIEWS:
        picture = compose_view(view, frame, output, position)
        result = draw_overlay(picture, [text] * 50, at_bottom)
        assert result.shape == picture.shape and not np.shares_memory(result, picture)
        assert (draw_overlay(picture, [], at_bottom) == picture).all()
