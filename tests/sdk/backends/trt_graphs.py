"""Small graphs typed as TensorRT wants them, whose answer is known: red and blue swapped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from known_bundles import Image, save_nodes
from onnx import TensorProto, helper, numpy_helper

STEP = 2  # of the INT8 graphs: they see every second gray level


def save_swap(
    path: Path, kind: str, *, transposed: bool = False, scales: tuple[int, ...] = (), batch: int | str = "n"
) -> Path:
    """uint8 [N, H, W, 3] -> a 1x1 convolution named "swap" -> uint8 [N, H, W, 3].

    kind: "fp32", "fp16", or "int8" with Q/DQ around FP16 values. transposed: ConvTranspose instead.
    scales: the shape of the activation's scale.
    """
    dtype = np.float32 if kind == "fp32" else np.float16
    weights = np.eye(3)[::-1].reshape(3, 3, 1, 1)
    constants = [numpy_helper.from_array(weights.astype(dtype), "weights")]
    nodes = [
        helper.make_node("Cast", ["x"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["typed"], to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype))),
    ]
    inputs = ["typed", "weights"]
    if kind == "int8":
        values = {
            "step": np.full(scales, STEP, dtype),
            "zero": np.zeros(scales, np.int8),
            "weights": (weights * 64).astype(np.int8),  # 64 / 64: exactly 1 in FP16
            "scales": np.full(3, 1 / 64, dtype),
            "zeros": np.zeros(3, np.int8),
        }
        constants = [numpy_helper.from_array(value, name) for name, value in values.items()]
        axis = 1 if transposed else 0
        nodes += [
            helper.make_node("QuantizeLinear", ["typed", "step", "zero"], ["levels"]),
            helper.make_node("DequantizeLinear", ["levels", "step", "zero"], ["again"]),
            helper.make_node("DequantizeLinear", ["weights", "scales", "zeros"], ["kernel"], axis=axis),
        ]
        inputs = ["again", "kernel"]
    nodes += [
        helper.make_node("ConvTranspose" if transposed else "Conv", inputs, ["swapped"], name="swap"),
        helper.make_node("Cast", ["swapped"], ["exact"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["exact"], ["pixels"], perm=[0, 2, 3, 1]),
        helper.make_node("Cast", ["pixels"], ["y"], to=TensorProto.UINT8),
    ]
    return save_nodes(path, nodes, constants, batch, opset=19)


def swap_red_and_blue(image: Image, kind: str) -> Image:
    """What the graph makes of uint8 [..., 3]."""
    if kind == "int8":
        levels = np.clip(np.rint(image / STEP), -128, 127)
        image = (levels * STEP).astype(np.uint8)
    return image[..., ::-1]
