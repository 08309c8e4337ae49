"""Engines that do nothing, or nothing but wait, so that what is measured is the loop's or the server's."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from i2i_sdk import Translator
from i2i_sdk.backends.base import Timings

SLOW_S = 0.1


def write_identity(path: Path, height: int = 256, width: int = 256) -> Path:
    """An ONNX file, uint8 [N, height, width, 3] in, the same out.

    Args:
        path: of the file.
        height: in pixels.
        width: in pixels.

    Returns:
        The path.
    """
    shape = ["n", height, width, 3]
    values = [helper.make_tensor_value_info(name, TensorProto.UINT8, shape) for name in ("x", "y")]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "identity", values[:1], values[1:]
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


class SlowEngine(Translator):
    """Takes 0.1 s longer, as a large network on another device does: without using the processor."""

    def __call__(self, image: Any, color: str = "bgr") -> Any:
        """As the translator, later."""
        result = super().__call__(image, color)
        time.sleep(SLOW_S)
        return result

    def timed(
        self, images: Sequence[NDArray[Any]], color: str = "bgr"
    ) -> tuple[list[NDArray[np.uint8]], Timings]:
        """As the translator, later."""
        outputs, timings = super().timed(images, color)
        time.sleep(SLOW_S)
        return outputs, replace(timings, engine_ms=timings.engine_ms + SLOW_S * 1000)
