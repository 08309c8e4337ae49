"""PIL images in and out, without importing PIL before somebody brings one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from i2i_sdk.errors import InputError
from i2i_sdk.imaging import geometry


def is_pil(image: object) -> bool:
    """True for any PIL image."""
    return type(image).__module__.startswith("PIL.")


def from_pil(image: Any) -> NDArray[np.uint8]:
    """A PIL image as an RGB, RGBA or gray array; LA becomes RGBA and is turned back by `to_pil`."""
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode == "LA":
        image = image.convert("RGBA")
    if image.mode not in ("L", "RGB", "RGBA"):
        advice = (
            'use image.convert("RGB"); where it would clip at 255 (I, F), scale the values to 0..255 first'
        )
        accepted = f"accepted: {geometry.ACCEPTED_IMAGES}; {advice}"
        raise InputError(f"got a PIL image of mode {image.mode}; {accepted}")
    return np.asarray(image)


def to_pil(array: NDArray[np.uint8], mode: str) -> Any:
    """An array as a PIL image; `mode` is that of the image it came from."""
    from PIL import Image as PilModule

    image = PilModule.fromarray(array)
    return image.convert("LA") if mode == "LA" else image
