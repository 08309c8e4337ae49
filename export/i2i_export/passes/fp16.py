"""FP32 ONNX -> the same graph typed FP16, which is how strongly typed engines (TensorRT) take a precision.

What loses the picture in half precision stays FP32, with a Cast at each border: normalization and its
statistics, the first steps on the pixels (those before any convolution), and everything from the tanh on:
scaling, rounding, clipping. Quantize/DequantizeLinear pairs are FP16 on their float side.
"""

from __future__ import annotations

import copy

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from i2i_export.ops import ARITHMETIC, HEAD, QUANTIZE, STATISTICS, WEIGHTED
from i2i_sdk.errors import ExportError

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
OPSET = 19  # the first that allows FP16 scales of Q/DQ; it takes graphs of opset 18 as they are
MAX_HALF, MIN_NORMAL_HALF = 65504.0, 2.0**-14  # of FP16 with all its digits


def convert_graph_to_half(model: ModelProto) -> ModelProto:
    """A typed copy of `model`, an FP32 graph with pixels or latents in and pixels out.

    Tensors keep their names; what a Cast makes of one has "_fp16" or "_fp32" added. The opset becomes at
    least 19. Raises ExportError naming a constant that FP16 cannot hold.
    """
    result = copy.deepcopy(model)
    for opset in result.opset_import:
        if opset.domain in ("", "ai.onnx"):
            opset.version = max(opset.version, OPSET)
    graph = result.graph
    del graph.value_info[:]  # would say the old types
    cast_pixels_first(graph)
    make_scales_scalar(graph)
    writer = _HalfWriter(result, find_float_outputs(graph))
    for node in graph.node:
        writer.add(node)
    del graph.node[:], graph.initializer[:]
    graph.node.extend(writer.nodes)
    graph.initializer.extend(writer.constants.values())
    onnx.checker.check_model(result, full_check=True)
    return result


def cast_pixels_first(graph: GraphProto) -> None:
    """Swap a Transpose of the uint8 input with the Cast behind it: TensorRT takes uint8 for a Cast only."""
    pixels = {i.name for i in graph.input if i.type.tensor_type.elem_type == TensorProto.UINT8}
    for node in graph.node:
        if node.op_type != "Transpose" or node.input[0] not in pixels:
            continue
        consumers = [n for n in graph.node if node.output[0] in n.input]
        if [n.op_type for n in consumers] != ["Cast"]:
            continue  # TensorRT's parser will name what it cannot take
        cast = consumers[0]
        floats = f"{node.input[0]}_float"
        transpose = helper.make_node("Transpose", [floats], cast.output, name=node.name)
        transpose.attribute.extend(node.attribute)
        node.CopyFrom(helper.make_node("Cast", node.input, [floats], name=cast.name, to=FLOAT))
        cast.CopyFrom(transpose)


def make_scales_scalar(graph: GraphProto) -> None:
    """Make scalars of one-element scales and zero points of Q/DQ pairs, in place.

    Where an activation's have the shape [1], TensorRT for RTX computes the convolution in FP16 and says
    nothing (measured with 1.7). Raises ExportError for a scale that loses digits in FP16.
    """
    constants = {i.name: i for i in graph.initializer}
    names = [name for node in graph.node if node.op_type in QUANTIZE for name in node.input[1:]]
    for name in dict.fromkeys(names):
        values = numpy_helper.to_array(constants[name])
        if values.dtype == np.float32 and (values < MIN_NORMAL_HALF).any():
            raise ExportError(
                f"{name} holds a scale of {values.min():g}; FP16 keeps all digits from {MIN_NORMAL_HALF:g} on"
            )
        if values.size == 1:
            constants[name].CopyFrom(numpy_helper.from_array(values.reshape(()), name))


def find_float_outputs(graph: GraphProto) -> set[str]:
    """The outputs of the nodes that compute in FP32: before any weights, of statistics, from the head on."""
    constants = {i.name for i in graph.initializer}
    after_work: set[str] = set()
    after_means: set[str] = set()
    after_head: set[str] = set()
    found: set[str] = set()
    for node in graph.node:  # in topological order
        inputs, outputs = set(node.input), set(node.output)
        if node.op_type in WEIGHTED or inputs & after_work:
            after_work |= outputs
        residual = node.op_type == "Add" and not inputs & constants
        arithmetic = node.op_type in ARITHMETIC and inputs & after_means and not residual
        if node.op_type in STATISTICS or arithmetic:
            after_means |= outputs
        if node.op_type in HEAD or inputs & after_head:
            after_head |= outputs
        is_float = outputs <= after_means | after_head or not outputs <= after_work
        if is_float and node.op_type not in QUANTIZE:
            found |= outputs
    return found


class _HalfWriter:
    """Writes nodes one after the other, in the types they shall have, with the Casts between them."""

    def __init__(self, model: ModelProto, keep: set[str]) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}
        self._keep = keep
        self._given = {i.name: i for i in model.graph.initializer}
        self._types = infer_element_types(model)  # of the FP32 graph
        self._typed = {i.name: self._types[i.name] for i in model.graph.input}  # as written so far

    def add(self, original: NodeProto) -> None:
        """Write a node of the FP32 graph."""
        node = copy.deepcopy(original)
        wanted = FLOAT if node.output[0] in self._keep else HALF
        formal = onnx.defs.get_schema(node.op_type, OPSET, node.domain).inputs
        for index, name in enumerate(node.input):
            takes_half = "tensor(float16)" in formal[min(index, len(formal) - 1)].types
            if name and self._types[name] == FLOAT and takes_half:
                node.input[index] = self._cast_to(name, wanted)
            elif name in self._given:
                self.constants[name] = self._given[name]
        for name in node.output:
            self._typed[name] = wanted if self._types[name] == FLOAT else self._types[name]
        if node.op_type == "Cast":
            node.attribute[0].i = self._typed[node.output[0]]
        self.nodes.append(node)

    def _cast_to(self, name: str, dtype: int) -> str:
        """The name of a float tensor in the type `wanted`, cast where it is not yet."""
        other = f"{name}_fp16" if dtype == HALF else f"{name}_fp32"
        if name in self._given:
            there = self.constants.get(name)
            found = name if there is None or there.data_type == dtype else other
            if found not in self.constants:
                self.constants[found] = _make_constant(self._given[name], found, dtype)
            return found
        if self._typed[name] == dtype:
            return name
        if other not in self._typed:
            self.nodes.append(helper.make_node("Cast", [name], [other], name=f"{other}_cast", to=dtype))
            self._typed[other] = dtype
        return other


def _make_constant(tensor: TensorProto, name: str, dtype: int) -> TensorProto:
    values = numpy_helper.to_array(tensor)
    if dtype == HALF:
        if not (np.abs(values) <= MAX_HALF).all():
            raise ExportError(
                f"{tensor.name} holds {np.abs(values).max():g} and FP16 ends at {MAX_HALF:g}: this network "
                f"cannot be exported in FP16"
            )
        values = values.astype(np.float16)
    return numpy_helper.from_array(values, name)


def emulate_half(model: ModelProto) -> ModelProto:
    """The FP32 graph that computes what the FP16-typed `model` says: each of its values rounded to FP16.

    ONNX Runtime has no FP16 on a CPU: given `model` itself it computes most of it in FP32, unrounded, and
    would prove nothing. Sums inside one operator are FP32 here, as in engines that accumulate in FP32.
    """
    result = copy.deepcopy(model)
    graph = result.graph
    half = {name for name, kind in infer_element_types(model).items() if kind == HALF}
    del graph.value_info[:], graph.node[:], graph.initializer[:]
    for constant in model.graph.initializer:
        values = numpy_helper.to_array(constant)
        is_half = constant.data_type == HALF
        graph.initializer.append(
            numpy_helper.from_array(values.astype(np.float32), constant.name) if is_half else constant
        )
    for original in model.graph.node:
        node = graph.node.add()
        node.CopyFrom(original)
        if node.op_type == "Cast" and node.output[0] in half:
            node.attribute[0].i = FLOAT
        for index, name in enumerate(original.output):
            if name in half:
                node.output[index] = f"{name}_exact"
                graph.node.append(helper.make_node("Cast", [f"{name}_exact"], [f"{name}_rounded"], to=HALF))
                graph.node.append(helper.make_node("Cast", [f"{name}_rounded"], [name], to=FLOAT))
    onnx.checker.check_model(result, full_check=True)
    return result


def infer_element_types(model: ModelProto) -> dict[str, int]:
    """The TensorProto type of every tensor."""
    graph = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    types = {v.name: v.type.tensor_type.elem_type for v in values}
    return types | {i.name: i.data_type for i in graph.initializer}
