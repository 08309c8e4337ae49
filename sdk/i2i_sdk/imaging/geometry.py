"""Frames in, frames out: color order, channels, and bringing any size to an engine's size and back.

Pure functions on uint8 arrays. An engine takes [H, W, C] RGB of one size; a camera gives BGR of another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from i2i_sdk.errors import InputError

Image = NDArray[np.uint8]

PLACEMENTS = ("resize", "letterbox", "crop", "pad")  # one canvas for a frame
FITS = (*PLACEMENTS, "tile")  # and several: `tiles.py`
COLORS = ("bgr", "rgb")
MAX_PIXELS = 2**27  # 134 megapixels
ACCEPTED_IMAGES = (
    "a uint8 array of shape [H, W] (gray), [H, W, 1], [H, W, 3] or [H, W, 4] (with alpha), "
    "or a PIL image of mode L, LA, RGB, RGBA or P"
)


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """For indexing an array: image[box.slices]."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


@dataclass(frozen=True)
class Placement:
    """Which part of a frame is translated, and where it lies on the engine's canvas."""

    source: Box  # in the frame
    target: Box  # on the canvas
    fill: str  # what surrounds the target: "none", "gray" or "reflect"


def check_image(image: object) -> Image:
    """Return `image` if it is an array that can be translated. Raises InputError saying what is accepted."""
    if not isinstance(image, np.ndarray):
        hint = "; cv2.imread gives None for a file that it cannot read" if image is None else ""
        raise InputError(f"got {type(image).__name__}; accepted: {ACCEPTED_IMAGES}{hint}")
    array = cast("NDArray[Any]", image)
    if array.dtype != np.uint8:
        hint = "scale values 0..1 by 255, and use x.round().astype('uint8')"
        if array.dtype.kind in "iu" and array.itemsize > 1:
            hint = "divide 10-bit values by 4, 12-bit by 16, 16-bit by 256, as in (x // 16).astype('uint8')"
        raise InputError(f"got an array of {array.dtype}; accepted: {ACCEPTED_IMAGES}; {hint}")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        hint = "; reshape a flat one to its rows: x.reshape(height, width, 3)" if array.ndim == 1 else ""
        raise InputError(f"got an array of shape {array.shape}; accepted: {ACCEPTED_IMAGES}{hint}")
    if array.size == 0:
        raise InputError(f"got an empty array of shape {array.shape}; accepted: {ACCEPTED_IMAGES}")
    if array.shape[0] * array.shape[1] > MAX_PIXELS:
        pixels, limit = array.shape[0] * array.shape[1] / 1e6, MAX_PIXELS / 1e6
        raise InputError(f"got {pixels:.0f} megapixels; at most {limit:.0f} are translated at once")
    return array


def check_frame(frame: object) -> Image:
    """A camera's frame as uint8 [H, W, 3], in its own color order; alpha is left out.

    Raises InputError as `check_image`, and for a single gray row or column: a camera's bytes, as they come
    from a driver that does not convert them.
    """
    image = check_image(frame)
    if 1 in image.shape[:2] and image.shape[2:] in ((), (1,)) and image.size > 1:
        raise InputError(
            f"got a frame of shape {image.shape}, a flat array of a camera's bytes; a frame is [H, W, 3]. "
            "Let the driver convert it, or reshape it; for MJPEG use cv2.imdecode"
        )
    return extract_color(image)


def compute_placement(frame_height: int, frame_width: int, height: int, width: int, fit: str) -> Placement:
    """Where a frame of [frame_height, frame_width] goes on a canvas of [height, width].

    Args:
        frame_height, frame_width: in pixels.
        height, width: of the canvas, in pixels.
        fit: "resize" stretches; "letterbox" keeps the aspect and fills the rest with gray; "crop" keeps the
            aspect and translates the largest centered part that fills the canvas; "pad" keeps every pixel
            and reflects the frame into the rest (the frame must not be larger than the canvas).

    Returns:
        Where `to_canvas` and `from_canvas` cut and put.

    Raises:
        InputError: the fit is none of these, or the frame is too large to pad.
    """
    whole, canvas = Box(0, 0, frame_height, frame_width), Box(0, 0, height, width)
    if fit == "resize":
        return Placement(whole, canvas, "none")
    if fit == "letterbox":
        scale = min(height / frame_height, width / frame_width)
        inner = _center_box(canvas, round(frame_height * scale), round(frame_width * scale))
        return Placement(whole, inner, "gray")
    if fit == "crop":
        scale = max(height / frame_height, width / frame_width)
        return Placement(_center_box(whole, round(height / scale), round(width / scale)), canvas, "none")
    if fit == "pad":
        if frame_height > height or frame_width > width:
            raise InputError(
                f"fit='pad' keeps every pixel, so a frame of {frame_width}x{frame_height} does not fit an "
                f"engine of {width}x{height}; use fit='tile' or fit='letterbox', or export a larger size"
            )
        return Placement(whole, _center_box(canvas, frame_height, frame_width), "reflect")
    raise InputError(f"fit is {fit!r}; allowed: {', '.join(PLACEMENTS)}")


def to_canvas(frame: Image, placement: Placement, height: int, width: int) -> Image:
    """Cut and resize a frame, and fill what it leaves of the canvas.

    Args:
        frame: uint8 [H, W, C].
        placement: that `compute_placement` gives for these sizes.
        height, width: of the canvas, in pixels.

    Returns:
        uint8 [height, width, C].
    """
    target = placement.target
    part = resize(frame[placement.source.slices], target.height, target.width)
    if placement.fill == "none":
        return part
    bottom = height - target.top - target.height
    right = width - target.left - target.width
    border = cv2.BORDER_CONSTANT if placement.fill == "gray" else cv2.BORDER_REFLECT_101
    gray = (127, 127, 127, 127)
    bordered = cv2.copyMakeBorder(part, target.top, bottom, target.left, right, border, value=gray)
    return _restore_channel_axis(bordered)


def from_canvas(canvas: Image, placement: Placement, frame: Image) -> Image:
    """Undo `to_canvas`.

    Args:
        canvas: uint8 [height, width, C], translated.
        placement: that `to_canvas` was given.
        frame: uint8 [H, W, C], the untranslated one; what was not on the canvas stays as it is there.

    Returns:
        uint8 [H, W, C], of the frame's size.
    """
    source = placement.source
    part = resize(canvas[placement.target.slices], source.height, source.width)
    if (source.height, source.width) == frame.shape[:2]:
        return part
    whole = frame.copy()
    whole[source.slices] = part
    return whole


def resize(image: Image, height: int, width: int) -> Image:
    """Resize linearly, with the averaging that shrinking needs against aliasing.

    OpenCV's INTER_AREA is fast for blocks of 2 or 4 only. So an image that shrinks goes linearly to such a
    multiple of the target, and its blocks are averaged: 50 dB from INTER_AREA, several times faster.

    Args:
        image: uint8 [H, W, C].
        height, width: in pixels.

    Returns:
        uint8 [height, width, C]; `image` itself where it has that size.
    """
    if image.shape[:2] == (height, width):
        return image
    rows, columns = _choose_block_size(image.shape[0] / height), _choose_block_size(image.shape[1] / width)
    blocks = (columns * width, rows * height)
    if image.shape[1::-1] != blocks:
        image = _restore_channel_axis(cv2.resize(image, blocks, interpolation=cv2.INTER_LINEAR))
    if (rows, columns) == (1, 1):
        return image
    return _restore_channel_axis(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))


def _choose_block_size(shrink: float) -> int:
    """How many pixels per target pixel to average, so that the linear step skips almost none."""
    if shrink <= 1:
        return 1
    return 2 ** max(1, math.ceil(math.log2(shrink / 2.5)))


def extract_color(image: Image) -> Image:
    """The color part of a checked image, as [H, W, 3] in the image's own color order."""
    if image.ndim == 2 or image.shape[2] == 1:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)
    return image[:, :, :3]


def match_original(color: Image, original: Image, order: str, channels: int) -> Image:
    """A translation as an image like the one that it was made of, with that one's alpha.

    Args:
        color: uint8 [H, W, 3].
        original: uint8 [H, W], [H, W, 1], [H, W, 3] or [H, W, 4].
        order: of the colors of both, "bgr" or "rgb".
        channels: that the network gives, 3 or 1.

    Returns:
        uint8 of the shape of `original`; [H, W, 3] of a gray one where the network gives colors.
    """
    if channels == 1 and (original.ndim == 2 or original.shape[2] == 1):
        return to_engine(color, order, 1).reshape(original.shape)
    if original.shape[2:] == (4,):
        return np.dstack([color, original[:, :, 3]])
    return np.ascontiguousarray(color)  # with fit="pad" it is a view of the canvas


def to_engine(canvas: Image, order: str, channels: int) -> Image:
    """A canvas as the engine takes it.

    Args:
        canvas: uint8 [H, W, 3].
        order: of its colors, "bgr" or "rgb".
        channels: of the network, 3, or 1 for luma.

    Returns:
        uint8 [H, W, channels], RGB where it has colors.
    """
    if channels == 1:
        code = cv2.COLOR_BGR2GRAY if order == "bgr" else cv2.COLOR_RGB2GRAY
        return np.asarray(cv2.cvtColor(canvas, code), np.uint8)[:, :, None]
    return swap_red_and_blue(canvas) if order == "bgr" else canvas


def from_engine(output: Image, order: str) -> Image:
    """[H, W, 3] RGB or [H, W, 1] -> [H, W, 3] in color order `order`."""
    if output.shape[2] == 1:
        return np.asarray(cv2.cvtColor(output, cv2.COLOR_GRAY2BGR), np.uint8)
    return swap_red_and_blue(output) if order == "bgr" else output


def swap_red_and_blue(image: Image) -> Image:
    """RGB <-> BGR, contiguous."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def _center_box(outer: Box, height: int, width: int) -> Box:
    height, width = min(max(height, 1), outer.height), min(max(width, 1), outer.width)
    return Box((outer.height - height) // 2, (outer.width - width) // 2, height, width)


def _restore_channel_axis(image: NDArray[Any]) -> Image:
    """OpenCV drops a single channel's axis; put it back."""
    array = np.asarray(image, np.uint8)
    return array[:, :, None] if array.ndim == 2 else array
