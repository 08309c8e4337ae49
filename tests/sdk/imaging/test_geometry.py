"""Any frame onto an engine's canvas and back: sizes, borders, colors."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from known_bundles import make_noise
from numpy.typing import NDArray
from skimage import data

from i2i_sdk.errors import InputError
from i2i_sdk.imaging import geometry
from i2i_sdk.imaging.geometry import (
    PLACEMENTS,
    Placement,
    check_frame,
    check_image,
    compute_placement,
    from_canvas,
    resize,
    to_canvas,
)
from i2i_sdk.quality.metrics import psnr

Image = NDArray[np.uint8]

ANY_SIZE_FITS = ("resize", "letterbox", "crop")  # fits that take frames of any size
sides = st.integers(1, 90)


def make_padding_mask(placement: Placement, height: int, width: int) -> NDArray[np.bool_]:
    """True where the canvas holds nothing of the frame."""
    mask = np.ones((height, width), bool)
    mask[placement.target.slices] = False
    return mask


# sizes and borders


@given(sides, sides, sides, sides, st.sampled_from(ANY_SIZE_FITS), st.integers(0, 255))
def test_any_size_onto_any_canvas_and_back(
    h: int, w: int, height: int, width: int, fit: str, value: int
) -> None:
    """The canvas has the engine's size, the result the frame's; a constant frame comes back."""
    frame = np.full((h, w, 3), value, np.uint8)
    placement = compute_placement(h, w, height, width, fit)
    canvas = to_canvas(frame, placement, height, width)
    assert canvas.shape == (height, width, 3) and canvas.dtype == np.uint8
    back = from_canvas(canvas, placement, frame)
    assert back.shape == frame.shape and back.dtype == np.uint8
    assert (back == frame).all()


@given(sides, sides, sides, sides, st.sampled_from(PLACEMENTS), st.integers(0, 999))
def test_boxes_stay_inside(h: int, w: int, height: int, width: int, fit: str, seed: int) -> None:
    if fit == "pad":
        height, width = height + h, width + w
    placement = compute_placement(h, w, height, width, fit)
    for box, outer in ((placement.source, (h, w)), (placement.target, (height, width))):
        assert box.top >= 0 and box.left >= 0 and box.height >= 1 and box.width >= 1
        assert box.top + box.height <= outer[0] and box.left + box.width <= outer[1]
        # centered: the two margins differ by one pixel at most
        assert 0 <= outer[0] - box.height - 2 * box.top <= 1
        assert 0 <= outer[1] - box.width - 2 * box.left <= 1


@given(sides, sides, sides, sides)
def test_letterbox_bars_never_leak(h: int, w: int, height: int, width: int) -> None:
    """Whatever an engine paints on the bars, the frame does not show it."""
    frame = np.full((h, w, 3), 90, np.uint8)
    placement = compute_placement(h, w, height, width, "letterbox")
    canvas = to_canvas(frame, placement, height, width).copy()
    bars = make_padding_mask(placement, height, width)
    assert (canvas[bars] == 127).all()
    canvas[bars] = (255, 0, 255)
    assert (from_canvas(canvas, placement, frame) == 90).all()
    assert placement.target.height == height or placement.target.width == width


@given(sides, sides, sides, sides, st.integers(0, 999))
def test_crop_leaves_the_border_bit_exact(h: int, w: int, height: int, width: int, seed: int) -> None:
    frame = make_noise(h, w, 3, seed=seed)
    before = frame.copy()
    placement = compute_placement(h, w, height, width, "crop")
    canvas = to_canvas(frame, placement, height, width)
    back = from_canvas(np.full_like(canvas, 33), placement, frame)
    inside = np.zeros((h, w), bool)
    inside[placement.source.slices] = True
    assert (back[inside] == 33).all()
    assert (back[~inside] == frame[~inside]).all()
    assert (frame == before).all()  # the frame itself is not painted on
    assert placement.source.height == h or placement.source.width == w  # the largest part that fits


@given(sides, sides, st.integers(0, 60), st.integers(0, 60), st.integers(0, 999))
def test_pad_is_bit_exact(h: int, w: int, more_h: int, more_w: int, seed: int) -> None:
    frame, height, width = make_noise(h, w, 3, seed=seed), h + more_h, w + more_w
    placement = compute_placement(h, w, height, width, "pad")
    canvas = to_canvas(frame, placement, height, width)
    assert canvas.shape == (height, width, 3)
    assert (from_canvas(canvas, placement, frame) == frame).all()
    top, left = placement.target.top, placement.target.left
    bottom, right = height - h - top, width - w - left
    if max(top, bottom) < h and max(left, right) < w:
        expected = np.pad(frame, ((top, bottom), (left, right), (0, 0)), mode="reflect")
        assert (canvas == expected).all()


@pytest.mark.parametrize(("h", "w"), [(25, 40), (24, 41), (480, 640)])
def test_pad_refuses_what_is_too_large(h: int, w: int) -> None:
    with pytest.raises(InputError, match=rf"frame of {w}x{h} does not fit an engine of 40x24.*letterbox"):
        compute_placement(h, w, 24, 40, "pad")


@pytest.mark.parametrize("fit", ["stretch", "Resize", "", "tile"])
def test_another_fit_lists_the_fits(fit: str) -> None:
    with pytest.raises(InputError, match=f"fit is '{fit}'; allowed: resize, letterbox, crop, pad"):
        compute_placement(10, 10, 10, 10, fit)


@pytest.mark.parametrize("fit", PLACEMENTS)
def test_a_frame_of_the_engines_size_is_not_touched(fit: str) -> None:
    frame = make_noise(24, 40, 3)
    placement = compute_placement(24, 40, 24, 40, fit)
    canvas = to_canvas(frame, placement, 24, 40)
    assert (canvas == frame).all() and (from_canvas(canvas, placement, frame) == frame).all()


def test_letterbox_shows_the_whole_frame_and_crop_the_whole_canvas() -> None:
    wide = compute_placement(100, 400, 64, 64, "letterbox")
    assert (wide.source.height, wide.source.width) == (100, 400)
    assert (wide.target.top, wide.target.left, wide.target.height, wide.target.width) == (24, 0, 16, 64)
    cropped = compute_placement(100, 400, 64, 64, "crop")
    assert (cropped.source.left, cropped.source.width, cropped.source.height) == (150, 100, 100)
    assert (cropped.target.height, cropped.target.width) == (64, 64)


# resizing

PHOTOS = {"astronaut": data.astronaut(), "coffee": data.coffee(), "chelsea": data.chelsea()}


@pytest.mark.parametrize("photo", PHOTOS)
@pytest.mark.parametrize("ratio", [1.1, 1.5, 1.9, 2.0, 2.4, 3.1, 4.0, 5.3, 9.7])
def test_shrinking_is_near_the_area_average(photo: str, ratio: float) -> None:
    image = PHOTOS[photo]
    height, width = round(image.shape[0] / ratio), round(image.shape[1] / ratio)
    expected = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    assert psnr(resize(image, height, width), np.asarray(expected, np.uint8)) >= 30


@pytest.mark.parametrize("photo", PHOTOS)
@pytest.mark.parametrize(("height", "width"), [(90, 900), (900, 90), (600, 100), (64, 601)])
def test_one_side_shrinks_and_the_other_grows(photo: str, height: int, width: int) -> None:
    """INTER_AREA averages nothing as soon as one side grows; the other must still be averaged."""
    image = PHOTOS[photo]
    smaller = (min(width, image.shape[1]), min(height, image.shape[0]))
    averaged = cv2.resize(image, smaller, interpolation=cv2.INTER_AREA)
    expected = cv2.resize(averaged, (width, height), interpolation=cv2.INTER_LINEAR)
    result = resize(image, height, width)
    assert psnr(result, np.asarray(expected, np.uint8)) >= 35
    naive = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    assert psnr(result, np.asarray(naive, np.uint8)) < 35


def test_stripes_of_even_blocks_become_gray() -> None:
    """Aliasing would turn stripes of one pixel into coarse ones, also where the other side grows."""
    for height, width in ((64, 64), (100, 64), (64, 100)):
        stripes = np.zeros((height, 8 * width, 3), np.uint8)
        stripes[:, ::2] = 255
        assert np.abs(resize(stripes, 64, width).astype(int) - 127.5).max() <= 1


def test_growing_is_linear() -> None:
    image = make_noise(20, 30, 3)
    expected = cv2.resize(image, (90, 50), interpolation=cv2.INTER_LINEAR)
    assert (resize(image, 50, 90) == expected).all()


@given(sides, sides, sides, sides, st.sampled_from([1, 3, 4]))
def test_resized_keeps_type_and_channels(h: int, w: int, height: int, width: int, channels: int) -> None:
    image = make_noise(h, w, channels)
    result = resize(image, height, width)
    assert result.shape == (height, width, channels) and result.dtype == np.uint8
    # an average never leaves the range of what it averages
    assert result.min() >= image.min() and result.max() <= image.max()


@pytest.mark.parametrize(
    ("size", "target"), [((1, 40_000), (24, 40)), ((24, 40), (1, 40_000)), ((3, 3), (1, 1))]
)
def test_extreme_shapes(size: tuple[int, int], target: tuple[int, int]) -> None:
    image = np.full((*size, 3), 77, np.uint8)
    assert (resize(image, *target) == np.full((*target, 3), 77, np.uint8)).all()


# color


def test_engines_see_rgb() -> None:
    image = make_noise(5, 7, 3)
    assert (geometry.to_engine(image, "rgb", 3) == image).all()
    assert (geometry.to_engine(image, "bgr", 3) == image[..., ::-1]).all()
    assert (geometry.from_engine(image, "rgb") == image).all()
    assert (geometry.from_engine(image, "bgr") == image[..., ::-1]).all()


def test_gray_engines_see_luma() -> None:
    """Rec. 601: green counts most, blue least, whatever the order."""
    red = np.zeros((2, 2, 3), np.uint8)
    red[..., 0] = 255
    assert geometry.to_engine(red, "rgb", 1).shape == (2, 2, 1)
    assert geometry.to_engine(red, "rgb", 1)[0, 0, 0] == 76
    assert geometry.to_engine(red, "bgr", 1)[0, 0, 0] == 29  # the same values are blue there
    back = geometry.from_engine(np.full((2, 2, 1), 9, np.uint8), "bgr")
    assert back.shape == (2, 2, 3) and (back == 9).all()


@pytest.mark.parametrize("order", ["bgr", "rgb"])
def test_gray_survives_the_way_through_three_channels(order: str) -> None:
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for gray in (every, every[:, :, None]):
        color = geometry.extract_color(gray)
        assert color.shape == (16, 16, 3)
        assert (geometry.match_original(color, gray, order, 1) == gray).all()
        assert geometry.match_original(color, gray, order, 1).shape == gray.shape
        assert geometry.match_original(color, gray, order, 3).shape == (16, 16, 3)


def test_alpha_is_kept_bit_exact() -> None:
    image = make_noise(9, 11, 4)
    color = geometry.extract_color(image)
    assert (color == image[..., :3]).all()
    result = geometry.match_original(255 - color, image, "bgr", 3)
    assert (result[..., 3] == image[..., 3]).all() and (result[..., :3] == 255 - image[..., :3]).all()


# what is accepted


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (5, 7, 1), (5, 7, 3), (5, 7, 4), (4, 4, 3)])
def test_accepted_as_it_is(shape: tuple[int, ...]) -> None:
    image = make_noise(*shape)
    assert check_image(image) is image


REFUSED = [
    (np.zeros((4, 4, 3), np.float32), r"array of float32.*scale.*x\.round\(\)\.astype\('uint8'\)"),
    (np.zeros((4, 4, 3), np.uint16), r"array of uint16.*10-bit values by 4, 12-bit by 16, 16-bit by 256"),
    (np.zeros((4, 4), np.int32), r"array of int32.*\(x // 16\)\.astype\('uint8'\)"),
    (np.zeros((4, 4, 3), np.int8), r"array of int8"),
    (np.zeros((4, 4), bool), r"array of bool"),
    (np.zeros((0, 4, 3), np.uint8), r"empty array of shape \(0, 4, 3\)"),
    (np.zeros((4, 0), np.uint8), r"empty array of shape \(4, 0\)"),
    (np.zeros((4, 4, 5), np.uint8), r"array of shape \(4, 4, 5\)"),
    (np.zeros((4, 4, 2), np.uint8), r"array of shape \(4, 4, 2\)"),
    (np.zeros((3, 4, 4, 3), np.uint8), r"array of shape \(3, 4, 4, 3\)"),
    (np.zeros(16, np.uint8), r"array of shape \(16,\).*x\.reshape\(height, width, 3\)"),
    (np.uint8(3), r"got uint8"),
    ([[1, 2], [3, 4]], r"got list"),
    (None, r"got NoneType"),  # what cv2.imread returns for a file that is not there
    ("photo.jpg", r"got str"),
    (b"\x00", r"got bytes"),
]


@pytest.mark.parametrize(("image", "message"), REFUSED)
def test_refused_saying_what_is_accepted(image: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        check_image(image)
    accepted = "accepted: a uint8 array of shape [H, W] (gray), [H, W, 1], [H, W, 3] or [H, W, 4]"
    assert accepted in str(caught.value)


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_the_advice_for_deep_values_holds(bits: int) -> None:
    """The division that the message gives for these bits keeps black and white, and nothing wraps."""
    deep = np.arange(2**bits).reshape(4, -1).astype(np.uint16)
    with pytest.raises(InputError, match=rf"{bits}-bit[^,]* by (\d+)") as caught:
        check_image(deep)
    found = re.search(rf"{bits}-bit[^,]* by (\d+)", str(caught.value))
    assert found is not None
    scaled = (deep // int(found[1])).astype("uint8")
    assert scaled.min() == 0 and scaled.max() == 255 and (np.diff(scaled.ravel().astype(int)) >= 0).all()


@pytest.mark.parametrize("shape", [(1, 900), (900, 1), (1, 900, 1)])
def test_flat_frames_are_a_cameras_bytes(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"flat array of a camera's bytes; a frame is \[H, W, 3\]"):
        check_frame(np.zeros(shape, np.uint8))
    assert check_frame(np.zeros((1, 900, 3), np.uint8)).shape == (1, 900, 3)  # one line of a line camera


def test_huge_images_are_refused_before_anything_is_allocated() -> None:
    huge = np.broadcast_to(np.zeros(3, np.uint8), (100_000, 100_000, 3))
    with pytest.raises(InputError, match="got 10000 megapixels; at most 134 are translated at once"):
        check_image(huge)
