"""Channels of one tensor are made equally large before it gets one 8-bit range for all of them.

What a normalization (or a convolution) writes is divided by a number per channel, and the weights of the
convolutions that read it are multiplied by the same numbers: exact, and free, since both are constants.
Between them only operators that a positive factor per channel passes through. See Nagel et al. 2019
(https://arxiv.org/abs/1906.04721) for two convolutions, Xiao et al. 2022 (https://arxiv.org/abs/2211.10438)
for how far activations should be favored over weights.
"""

from __future__ import annotations

import copy

import numpy as np
import onnx
from numpy.typing import NDArray

from i2i_export.int8.calibrate import Observations
from i2i_export.ops import SCALABLE
from i2i_export.passes.onnx_graph import OnnxGraph, get_attribute, make_constant

MIGRATION_STRENGTH = 0.7  # 1: all channels of the activation alike; 0: all columns of the weights
MIN_CHANNEL_SHARE = 1e-3  # of the largest channel: a smaller one, or one that is silent, counts as so large


def equalize_channels(model: onnx.ModelProto, observations: Observations) -> tuple[onnx.ModelProto, int]:
    """A model with the same pictures whose activations have more even channels, and how many tensors changed.

    observations: as `observe` found it for `list_observed_tensors(model)`.
    """
    changed = copy.deepcopy(model)
    graph = OnnxGraph(changed)
    count = 0
    for node in [*graph.find_nodes("InstanceNormalization"), *graph.find_nodes("Conv")]:
        readers = _find_readers(graph, node.output[0])
        tensor = _find_observed_tensor(graph, node.output[0], observations)
        if readers and tensor is not None:
            factors = _compute_factors(graph, readers, observations[tensor].channel_peak)
            _divide_output(graph, node, factors)
            for conv in readers:
                _multiply_columns(graph, conv, factors)
            count += 1
    return changed, count


def _find_readers(graph: OnnxGraph, tensor: str) -> list[onnx.NodeProto]:
    """The convolutions that read `tensor`, if nothing else does; else none."""
    found: list[onnx.NodeProto] = []
    if tensor in {output.name for output in graph.model.graph.output}:
        return []
    for node in graph.consumers.get(tensor, []):
        if node.op_type == "Conv" and _has_input_columns(graph, node):
            found.append(node)
        elif _is_scalable(graph, node) and (after := _find_readers(graph, node.output[0])):
            found += after
        else:
            return []
    return found


def _is_scalable(graph: OnnxGraph, node: onnx.NodeProto) -> bool:
    """Is what it makes of a multiple of a channel that multiple of what it makes of the channel?"""
    if node.op_type == "Pad" and len(node.input) > 2 and node.input[2]:  # with a number, not always 0
        return node.input[2] in graph.constants and not graph.get_value(node.input[2]).any()
    return node.op_type in SCALABLE


def _find_observed_tensor(graph: OnnxGraph, tensor: str, observations: Observations) -> str | None:
    while tensor not in observations:
        after = graph.consumers.get(tensor, [])
        if len(after) != 1:
            return None
        tensor = after[0].output[0]
    return tensor


def _compute_factors(
    graph: OnnxGraph, readers: list[onnx.NodeProto], peaks: NDArray[np.float64]
) -> NDArray[np.float32]:
    """What each channel is divided by; their geometric mean is 1."""
    columns = np.max([_compute_column_peaks(graph, conv) for conv in readers], axis=0)
    favor = 1.0 if all(_is_depthwise(graph, conv) for conv in readers) else MIGRATION_STRENGTH
    factors = _clamp_small(peaks) ** favor / _clamp_small(columns) ** (1 - favor)
    return (factors / np.exp(np.mean(np.log(factors)))).astype(np.float32)


def _clamp_small(sizes: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.maximum(sizes, max(MIN_CHANNEL_SHARE * sizes.max(), 1e-30))


def _has_input_columns(graph: OnnxGraph, conv: onnx.NodeProto) -> bool:
    """Has each input channel weights of its own to multiply: one group, or one for each channel?"""
    return get_attribute(conv, "group", 1) == 1 or _is_depthwise(graph, conv)


def _is_depthwise(graph: OnnxGraph, conv: onnx.NodeProto) -> bool:
    outputs, per_group = graph.constants[conv.input[1]].dims[:2]
    return per_group == 1 and get_attribute(conv, "group", 1) == outputs > 1


def _compute_column_peaks(graph: OnnxGraph, conv: onnx.NodeProto) -> NDArray[np.float32]:
    """Largest weight of each input channel."""
    weights = np.abs(graph.get_value(conv.input[1]))
    return weights.max((1, 2, 3)) if _is_depthwise(graph, conv) else weights.max((0, 2, 3))


def _divide_output(graph: OnnxGraph, node: onnx.NodeProto, factors: NDArray[np.float32]) -> None:
    """Gain and bias of a normalization, or rows and bias of a convolution, by its channels' factors."""
    for index in range(1, len(node.input)):
        values = graph.get_value(node.input[index])
        shape = (-1,) + (1,) * (values.ndim - 1)
        _replace_input(graph, node, index, values / factors.reshape(shape))


def _multiply_columns(graph: OnnxGraph, conv: onnx.NodeProto, factors: NDArray[np.float32]) -> None:
    shape = (-1, 1, 1, 1) if _is_depthwise(graph, conv) else (1, -1, 1, 1)
    _replace_input(graph, conv, 1, graph.get_value(conv.input[1]) * factors.reshape(shape))


def _replace_input(graph: OnnxGraph, node: onnx.NodeProto, index: int, values: NDArray[np.float32]) -> None:
    """Give one input of a node its own constant: exporters let nodes share them."""
    name = f"{node.name}.{index}.equalized"
    if name in graph.constants:  # a convolution is changed as a reader and as a writer
        graph.model.graph.initializer.remove(graph.constants[name])
    tensor = make_constant(name, values.astype(np.float32))
    graph.model.graph.initializer.append(tensor)
    graph.constants[name] = graph.model.graph.initializer[-1]
    node.input[index] = name
