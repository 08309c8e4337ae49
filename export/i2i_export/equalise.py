"""Channels of one tensor are made equally large before it gets one 8-bit range for all of them.

What a normalisation (or a convolution) writes is divided by a number per channel, and the weights of the
convolutions that read it are multiplied by the same numbers: exact, and free, since both are constants.
Between them only operators that a positive factor per channel passes through. See Nagel et al. 2019
(https://arxiv.org/abs/1906.04721) for two convolutions, Xiao et al. 2022 (https://arxiv.org/abs/2211.10438)
for how far activations should be favoured over weights.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray

from i2i_export.calibrate import Observed
from i2i_export.onnx_graph import Graph, attribute, constant

THROUGH = {"Relu", "LeakyRelu", "Pad", "Resize"}
FAVOUR = 0.7  # 1: all channels of the activation alike; 0: all columns of the weights
SMALLEST = 1e-3  # of the largest channel: a smaller one, or one that is silent, counts as so large


def equalised(model: onnx.ModelProto, seen: Observed) -> tuple[onnx.ModelProto, int]:
    """A model with the same pictures whose activations have more even channels, and how many tensors changed.

    seen: as `observe` found it for `tensors_to_observe(model)`.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = Graph(changed)
    count = 0
    for node in [*graph.nodes("InstanceNormalization"), *graph.nodes("Conv")]:
        if any(name not in graph.constants for name in node.input[1:]):
            continue
        readers = _convolutions_after(graph, node.output[0])
        tensor = _first_seen(graph, node.output[0], seen)
        if readers and tensor is not None:
            factors = _factors(graph, readers, seen[tensor].channel_peak)
            _divide_output(graph, node, factors)
            for conv in readers:
                _multiply_columns(graph, conv, factors)
            count += 1
    return changed, count


def _convolutions_after(graph: Graph, tensor: str) -> list[onnx.NodeProto]:
    """The convolutions that read `tensor`, if nothing else does; else none."""
    found: list[onnx.NodeProto] = []
    if tensor in {output.name for output in graph.model.graph.output}:
        return []
    for node in graph.consumers.get(tensor, []):
        if node.op_type == "Conv" and _columns_are_inputs(graph, node):
            found.append(node)
        elif _through(graph, node) and (after := _convolutions_after(graph, node.output[0])):
            found += after
        else:
            return []
    return found


def _through(graph: Graph, node: onnx.NodeProto) -> bool:
    """Is what it makes of a multiple of a channel that multiple of what it makes of the channel?"""
    if node.op_type == "Pad" and len(node.input) > 2 and node.input[2]:  # with a number, not always 0
        return node.input[2] in graph.constants and not graph.value(node.input[2]).any()
    return node.op_type in THROUGH and attribute(node, "extrapolation_value", 0.0) == 0.0


def _first_seen(graph: Graph, tensor: str, seen: Observed) -> str | None:
    while tensor not in seen:
        after = graph.consumers.get(tensor, [])
        if len(after) != 1:
            return None
        tensor = after[0].output[0]
    return tensor


def _factors(graph: Graph, readers: list[onnx.NodeProto], peaks: NDArray[np.float64]) -> NDArray[np.float32]:
    """What each channel is divided by; their geometric mean is 1."""
    columns = np.max([_column_peaks(graph, conv) for conv in readers], axis=0)
    favour = 1.0 if all(_depthwise(graph, conv) for conv in readers) else FAVOUR
    factors = _audible(peaks) ** favour / _audible(columns) ** (1 - favour)
    return (factors / np.exp(np.mean(np.log(factors)))).astype(np.float32)


def _audible(sizes: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.maximum(sizes, max(SMALLEST * sizes.max(), 1e-30))


def _columns_are_inputs(graph: Graph, conv: onnx.NodeProto) -> bool:
    """Has each input channel weights of its own to multiply: one group, or one for each channel?"""
    return conv.input[1] in graph.constants and (attribute(conv, "group", 1) == 1 or _depthwise(graph, conv))


def _depthwise(graph: Graph, conv: onnx.NodeProto) -> bool:
    outputs, per_group = graph.constants[conv.input[1]].dims[:2]
    return per_group == 1 and attribute(conv, "group", 1) == outputs > 1


def _column_peaks(graph: Graph, conv: onnx.NodeProto) -> NDArray[np.float32]:
    """Largest weight of each input channel."""
    weights = np.abs(graph.value(conv.input[1]))
    return weights.max((1, 2, 3)) if _depthwise(graph, conv) else weights.max((0, 2, 3))


def _divide_output(graph: Graph, node: onnx.NodeProto, factors: NDArray[np.float32]) -> None:
    """Gain and bias of a normalisation, or rows and bias of a convolution, by its channels' factors."""
    for index in range(1, len(node.input)):
        values = graph.value(node.input[index])
        shape = (-1,) + (1,) * (values.ndim - 1)
        _replace_input(graph, node, index, values / factors.reshape(shape))


def _multiply_columns(graph: Graph, conv: onnx.NodeProto, factors: NDArray[np.float32]) -> None:
    shape = (-1, 1, 1, 1) if _depthwise(graph, conv) else (1, -1, 1, 1)
    _replace_input(graph, conv, 1, graph.value(conv.input[1]) * factors.reshape(shape))


def _replace_input(graph: Graph, node: onnx.NodeProto, index: int, values: NDArray[np.float32]) -> None:
    """Give one input of a node its own constant: exporters let nodes share them."""
    name = f"{node.name}.{index}.equalised"
    if name in graph.constants:  # a convolution is changed as a reader and as a writer
        graph.model.graph.initializer.remove(graph.constants[name])
    tensor = constant(name, values.astype(np.float32))
    graph.model.graph.initializer.append(tensor)
    graph.constants[name] = graph.model.graph.initializer[-1]
    node.input[index] = name
