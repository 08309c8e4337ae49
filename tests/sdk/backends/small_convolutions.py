"""Small networks of two convolutions with a bundle's contract, in types that engines have to tell apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from known_bundles import save_nodes
from onnx import TensorProto, helper, numpy_helper

CHANNELS = 16  # as many as a vector register holds: engines have their usual kernels for it


def save_convolutions(
    path: Path, quantized: str = "no", *, transposed: int = 0, half: bool = False, batch: int | str = "n"
) -> Path:
    """uint8 [N, H, W, 3] -> conv 3x3 -> ReLU -> conv 3x3 -> uint8 [N, H, W, 3].

    transposed: so many of the two, from the last, are transposed convolutions.
    quantized: "no"; "inputs": Q/DQ before each convolution and on its weights; "both": after each as well.
    half: FP16 weights and arithmetic.
    """
    graph = _GraphBuilder(np.float16 if half else np.float32, quantized)
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    graph.add("Transpose", ["x"], "planes", perm=[0, 3, 1, 2])
    graph.add("Cast", ["planes"], "floats", to=kind)
    graph.add("Mul", ["floats", graph.add_constant("scale", 1 / 255)], "unit")
    graph.add_convolution("unit", "first", 3, CHANNELS, transposed > 1)
    graph.add("Relu", ["first"], "positive")
    graph.add_convolution("positive", "second", CHANNELS, 3, transposed > 0)
    graph.add("Mul", ["second", graph.add_constant("back", 255)], "gray levels")
    low, high = graph.add_constant("low", 0), graph.add_constant("high", 255)
    graph.add("Clip", ["gray levels", low, high], "clipped")
    graph.add("Cast", ["clipped"], "bytes", to=TensorProto.UINT8)
    graph.add("Transpose", ["bytes"], "y", perm=[0, 2, 3, 1])
    return save_nodes(path, graph.nodes, graph.constants, batch)


class _GraphBuilder:
    def __init__(self, dtype: type[np.floating], quantized: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._dtype, self._quantized = dtype, quantized
        self._random = np.random.default_rng(0)

    def add(self, op: str, inputs: list[str], output: str, **attributes: object) -> None:
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))

    def add_constant(self, name: str, values: object, dtype: type | None = None) -> str:
        self.constants.append(numpy_helper.from_array(np.array(values, dtype or self._dtype), name))
        return name

    def add_convolution(self, source: str, result: str, inputs: int, outputs: int, transposed: bool) -> None:
        """A 3x3 convolution that keeps values in 0..1, with Q/DQ as asked for."""
        op, shape = ("ConvTranspose", (inputs, outputs)) if transposed else ("Conv", (outputs, inputs))
        weights = self._random.uniform(0, 1 / (9 * inputs), (*shape, 3, 3))
        name = f"{result} weights"
        if self._quantized == "no":
            self.add(op, [source, self.add_constant(name, weights)], result, pads=[1, 1, 1, 1])
            return
        scale = self.add_constant(f"{name} scale", weights.max() / 127)
        zero = self.add_constant(f"{name} zero", 0, np.int8)
        self.add_constant(name, np.rint(weights / (weights.max() / 127)), np.int8)
        self.add("DequantizeLinear", [name, scale, zero], f"{name} again")
        before = self.add_quantize_pair(source)
        after = f"{result} exact" if self._quantized == "both" else result
        self.add(op, [before, f"{name} again"], after, pads=[1, 1, 1, 1])
        if self._quantized == "both":
            self.add_quantize_pair(after, result)

    def add_quantize_pair(self, source: str, result: str | None = None) -> str:
        """Q/DQ of values in 0..1, with unsigned bytes."""
        result = result or f"{source} again"
        levels = f"{result} levels"
        scale = self.add_constant(f"{levels} scale", 1 / 255)
        zero = self.add_constant(f"{levels} zero", 0, np.uint8)
        self.add("QuantizeLinear", [source, scale, zero], levels)
        self.add("DequantizeLinear", [levels, scale, zero], result)
        return result
