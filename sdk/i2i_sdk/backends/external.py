"""ONNX files that others made: float in and out, with conventions only their author knows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from i2i_sdk.backends.base import Engine
from i2i_sdk.errors import BackendError, InputError

LAYOUTS = ("nchw", "nhwc")


@dataclass(frozen=True)
class ExternalContract:
    """What a foreign graph expects and gives."""

    input_range: tuple[float, float]  # the values that black and white have: (0, 255), (0, 1) or (-1, 1)
    output_range: tuple[float, float]
    layout: str  # "nchw" or "nhwc"
    channel_order: str  # "rgb" or "bgr"

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise InputError(f"layout is {self.layout!r}; allowed: {', '.join(LAYOUTS)}")
        if self.channel_order not in ("rgb", "bgr"):
            raise InputError(f"channel_order is {self.channel_order!r}; allowed: rgb, bgr")
        for name in ("input_range", "output_range"):
            bounds: Any = getattr(self, name)
            try:
                low, high = (float(value) for value in bounds)
            except (TypeError, ValueError):
                low = high = math.nan
            if not -math.inf < low < high < math.inf:
                example = "it is (black, white), for example (0, 255) or (-1, 1)"
                raise InputError(f"{name} is {bounds!r}; {example}")


def to_external(batch: NDArray[np.uint8], contract: ExternalContract) -> NDArray[np.float32]:
    """uint8 [N, H, W, C] RGB -> float32 as the graph expects it."""
    low, high = contract.input_range
    values = batch.astype(np.float32)
    if (low, high) != (0, 255):
        values = values * np.float32((high - low) / 255.0) + np.float32(low)
    if contract.channel_order == "bgr":
        values = values[..., ::-1]
    if contract.layout == "nchw":
        values = values.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(values)


def from_external(output: NDArray[Any], contract: ExternalContract) -> NDArray[np.uint8]:
    """What the graph gives -> uint8 [N, H, W, C] RGB, clipped to the range."""
    low, high = contract.output_range
    values = (output.astype(np.float32) - np.float32(low)) * np.float32(255.0 / (high - low))
    if contract.layout == "nchw":
        values = values.transpose(0, 2, 3, 1)
    if contract.channel_order == "bgr":
        values = values[..., ::-1]
    return np.ascontiguousarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


class ExternalEngine(Engine):
    """Gives a float engine the uint8 contract of a bundle's variants."""

    def __init__(self, inner: Engine, contract: ExternalContract, size: tuple[int, int] | None) -> None:
        self._inner, self._contract = inner, contract
        batch, *rest = inner.input_shape
        channels, height, width = rest if contract.layout == "nchw" else (rest[2], rest[0], rest[1])
        if channels not in (1, 3):
            other, there = ("nhwc", rest[2]) if contract.layout == "nchw" else ("nchw", rest[0])
            hint = f"; is its layout {other!r}?" if there in (1, 3) else ""
            raise InputError(
                f"layout is {contract.layout!r}, by which a file that takes {inner.input_shape} has "
                f"{channels or 'any number of'} channels; 1 or 3 are needed{hint}"
            )
        if height is None or width is None:
            if size is None:
                example = "size=256 or size=(480, 640)"
                raise InputError(f"this ONNX file takes any size; say which to run at: {example}")
            height, width = height or size[0], width or size[1]
        self.input_shape = (batch, height, width, channels)
        output = inner.output_shape
        if len(output) == 4 and contract.layout == "nchw":
            output = (output[0], output[2], output[3], output[1])
        self.output_shape = output
        self.input_dtype = self.output_dtype = "uint8"
        self.precision, self.provider = inner.precision, inner.provider

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """uint8 [N, H, W, C] RGB -> the same, through the graph's own convention."""
        output = self._inner.run(to_external(batch, self._contract))
        if output.ndim != 4:
            raise BackendError(f"the engine gave {output.shape}; pictures have 4 dimensions")
        return from_external(output, self._contract)

    def close(self) -> None:
        self._inner.close()
