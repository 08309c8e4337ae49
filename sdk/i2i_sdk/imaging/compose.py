"""What is shown of a frame and its translation: blends, masks, views side by side, text on top.

Pure functions on uint8 [H, W, 3] pictures, 0..255, made for every frame of a live stream. Color order does
not matter, only that both pictures have the same. Nothing that is given is changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from i2i_sdk.errors import InputError

Image = NDArray[np.uint8]

VIEWS = ("output", "split", "side", "input")
LIGHT, DARK = (240, 240, 240), (40, 40, 40)

FONT = cv2.FONT_HERSHEY_SIMPLEX
FONT_CAPITAL_HEIGHT = 21  # pixels: height of the font's capitals at scale 1
MIN_TEXT_HEIGHT = 8  # pixels: height of capitals that can still be read
PLATE_BRIGHTNESS = 0.3  # of the brightness is left behind text


def mirror_image(image: Image) -> Image:
    """Left and right exchanged, as people expect to see themselves."""
    return np.asarray(cv2.flip(image, 1), np.uint8)


def blend_images(frame: Image, output: Image, weight: float) -> Image:
    """A mix of a frame and its translation.

    Args:
        frame, output: uint8 [H, W, 3] of one size.
        weight: of `output`, 0..1; 0 gives `frame`.

    Returns:
        uint8 [H, W, 3], a new array.

    Raises:
        InputError: the two are not both [H, W, 3] and of one size.
    """
    _check_pair(frame, output)
    return np.asarray(cv2.addWeighted(output, weight, frame, 1 - weight, 0), np.uint8)


def apply_mask(frame: Image, output: Image, mask: NDArray[Any]) -> Image:
    """`output` where the mask says so, `frame` elsewhere, a mix where it lies between.

    Args:
        frame, output: uint8 [H, W, 3] of one size.
        mask: [H, W] or [H, W, 1] of bool, uint8 (0..255) or float (0..1).

    Returns:
        uint8 [H, W, 3], a new array.

    Raises:
        InputError: a shape, dtype or value is not one of these.
    """
    _check_pair(frame, output)
    plane = _to_mask_plane(mask, frame.shape[0], frame.shape[1])
    if plane.dtype == np.bool_:
        return np.asarray(cv2.copyTo(output, plane.view(np.uint8), frame.copy()), np.uint8)
    weights = plane * np.float32(1 / 255) if plane.dtype == np.uint8 else plane
    return np.asarray(cv2.blendLinear(output, frame, weights, 1 - weights), np.uint8)


def compose_view(view: str, frame: Image, output: Image, position: float = 0.5) -> Image:
    """What is shown of a frame and its translation.

    Args:
        view: one of `VIEWS`. "output" and "input" show one of the two; "side" the frame with its translation
            to the right of it; "split" the frame on the left of a line, its translation on the right, and a
            handle on the line.
        frame, output: uint8 [H, W, 3] of one size.
        position: of the line, 0 (left border) to 1 (right border).

    Returns:
        uint8 [H, W, 3], for "side" [H, 2 W, 3]; `output` or `frame` itself where it is shown alone.

    Raises:
        InputError: the two are not both [H, W, 3] and of one size.
    """
    if view in ("output", "input"):
        return output if view == "output" else frame
    _check_pair(frame, output)
    if view == "side":
        return np.asarray(cv2.hconcat([frame, output]), np.uint8)
    return _draw_split(frame, output, position)


def _draw_split(frame: Image, output: Image, position: float) -> Image:
    height, width = frame.shape[:2]
    x = round(position * width)
    picture = output.copy()
    picture[:, :x] = frame[:, :x]
    unit = max(1, round(min(height, width) / 360))
    picture[:, max(0, x - 2 * unit) : x + 2 * unit] = DARK  # light alone cannot be seen on snow
    picture[:, max(0, x - unit) : x + unit] = LIGHT
    _draw_handle(picture, x, height // 2, 11 * unit, unit)
    return picture


def draw_overlay(image: Image, lines: Sequence[str], at_bottom: bool = False) -> Image:
    """A copy of `image` with light text on a translucent dark plate in its corner at the top left.

    Args:
        image: uint8 [H, W, 3].
        lines: of any width; what does not fit is wrapped, where two spaces are if there are any, and lines
            for which there is no room are left out. The text's size follows the picture's. Only ASCII is
            drawn everywhere: OpenCV 4 shows "?" for the rest.
        at_bottom: in the corner at the bottom left instead.

    Returns:
        uint8 [H, W, 3], a new array.
    """
    picture = image.copy()
    height, width = picture.shape[:2]
    capital = max(MIN_TEXT_HEIGHT, round(min(height, width) / 55))
    gap = round(0.8 * capital)  # around the plate, inside it, and between lines
    scale, thickness = capital / FONT_CAPITAL_HEIGHT, max(1, round(capital / 12))
    printable = ["".join(c if c.isprintable() else "?" for c in line) for line in lines]
    texts = [t for line in printable for t in _wrap_line(line, width - 4 * gap, scale, thickness)]
    texts = texts[: max(0, (height - 3 * gap) // (capital + gap))]
    if not any(texts):
        return picture
    plate_width = min(width, 2 * gap + max(_measure_text_width(text, scale, thickness) for text in texts))
    plate_height = gap + len(texts) * (capital + gap)
    left = min(gap, width - plate_width)
    top = height - gap - plate_height if at_bottom else min(gap, height - plate_height)
    plate = picture[top : top + plate_height, left : left + plate_width]
    cv2.convertScaleAbs(plate, plate, PLATE_BRIGHTNESS)
    for number, text in enumerate(texts, 1):
        cv2.putText(plate, text, (gap, number * (capital + gap)), FONT, scale, LIGHT, thickness, cv2.LINE_AA)
    return picture


def _check_pair(frame: Image, output: Image) -> None:
    if frame.shape != output.shape or frame.ndim != 3 or frame.shape[2] != 3:
        shapes = f"a frame of shape {frame.shape} and a translation of shape {output.shape}"
        raise InputError(f"got {shapes}; both must be [H, W, 3] and of one size")


def _to_mask_plane(mask: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """A mask as a C-contiguous [H, W] of bool, uint8 or float32."""
    allowed = f"[{height}, {width}] or [{height}, {width}, 1] of bool, uint8 (0..255) or float (0..1)"
    value: Any = mask
    if not isinstance(value, np.ndarray):
        raise InputError(f"the mask is {type(value).__name__}; allowed: an array {allowed}")
    array = cast("NDArray[Any]", value)
    if array.shape not in ((height, width), (height, width, 1)):
        raise InputError(f"the mask has shape {array.shape}; allowed: {allowed}")
    if array.dtype.kind not in "bf" and array.dtype != np.uint8:
        raise InputError(f"the mask is an array of {array.dtype}; allowed: {allowed}")
    plane = np.ascontiguousarray(array.reshape(height, width))
    if array.dtype.kind == "f":
        plane = plane.astype(np.float32, copy=False)
        # The upper end is not part of OpenCV's range; NaN never is.
        if not cv2.checkRange(plane, quiet=True, minVal=0, maxVal=1 + 1e-6)[0]:
            raise InputError("the mask has values outside 0..1; for values of 0..255 give uint8")
    return plane


def _draw_handle(picture: Image, x: int, y: int, radius: int, unit: int) -> None:
    """A light disc with two arrow heads, cut off at the border of the picture."""
    cv2.circle(picture, (x, y), radius + unit, DARK, -1, cv2.LINE_AA)
    cv2.circle(picture, (x, y), radius, LIGHT, -1, cv2.LINE_AA)
    for side in (-1, 1):
        tip, foot, half = x + side * 8 * unit, x + side * 3 * unit, 4 * unit
        head = np.array([[tip, y], [foot, y - half], [foot, y + half]], np.int32)
        cv2.fillConvexPoly(picture, head, DARK, cv2.LINE_AA)


def _wrap_line(
    line: str, width: int, scale: float, thickness: int, gaps: Sequence[str] = ("  ", " ")
) -> list[str]:
    """`line` in pieces of at most `width` pixels, broken at `gaps`; a longer word is left as it is."""
    if not gaps or _measure_text_width(line, scale, thickness) <= width:
        return [line]
    gap, *smaller = gaps
    pieces: list[str] = []
    for part in line.split(gap):
        for piece in _wrap_line(part, width, scale, thickness, smaller):
            longer = f"{pieces[-1]}{gap}{piece}" if pieces else piece
            if pieces and _measure_text_width(longer, scale, thickness) <= width:
                pieces[-1] = longer
            else:
                pieces.append(piece)
    return pieces


def _measure_text_width(text: str, scale: float, thickness: int) -> int:
    return cv2.getTextSize(text, FONT, scale, thickness)[0][0]
