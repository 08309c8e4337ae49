"""Float graph -> the same graph with explicit QuantizeLinear/DequantizeLinear pairs around convolutions.

Only convolutions compute in 8 bits; everything between them stays float. Depthwise ones stay float as well:
they do few of the multiplications and make much of the noise.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from i2i_export.int8.calibrate import Activation, Observations, choose_minmax_range
from i2i_export.passes.onnx_graph import OnnxGraph, get_attribute, make_constant
from i2i_sdk.quality.grids import QuantizationGrid

OPSET = 19  # of QuantizeLinear with float16 scales; what was exported for 18 means the same there
WEIGHT_SHRINKS = np.linspace(0.7, 1.0, 13)

RangeMethod = Callable[[Activation, QuantizationGrid], tuple[float, float]]


@dataclass(frozen=True)
class Style:
    """Where an engine wants its pairs to run a convolution in 8 bits, measured to be so."""

    grid: QuantizationGrid
    range_method: str  # of `calibrate.RANGE_METHODS`: it gave the best pictures of four trained networks
    fallback_precision: str  # what layers that are not quantized compute in
    quantize_outputs: bool = False  # the result is 8-bit too: ONNX Runtime fuses nothing else
    quantize_before_padding: bool = True  # padding works on 8-bit values, of which there are fewer


SIGNED, UNSIGNED = QuantizationGrid(signed=True), QuantizationGrid(signed=False)
STYLES = {
    "ort": Style(UNSIGNED, "percentile", "fp32", quantize_outputs=True),
    "openvino": Style(UNSIGNED, "percentile", "float"),
    "tensorrt": Style(SIGNED, "mse", "fp16", quantize_before_padding=False),
}


def find_eligible_layers(model: onnx.ModelProto) -> dict[str, list[str]]:
    """Layers that may be quantized: a name as in the checkpoint -> its Conv nodes, in the order they run.

    A transposed convolution that was rewritten as four is one layer.
    """
    graph = OnnxGraph(model)
    layers: dict[str, list[str]] = {}
    for conv in graph.find_nodes("Conv"):
        if get_attribute(conv, "group", 1) == 1 and conv.input[1] in graph.constants:
            layers.setdefault(get_layer_name(conv.input[1]), []).append(conv.name)
    return layers


def get_layer_name(weight: str) -> str:
    """
    >>> get_layer_name("generator.model.19.parts.0.weight")
    'model.19'
    """
    return weight.removeprefix("generator.").removesuffix(".weight").split(".parts.")[0]


def find_unpadded(graph: OnnxGraph, tensor: str) -> str:
    """The tensor before a Pad node, or the tensor itself."""
    node = graph.producer.get(tensor)
    return node.input[0] if node is not None and node.op_type == "Pad" else tensor


def list_observed_tensors(model: onnx.ModelProto) -> list[str]:
    """Inputs (before padding) and outputs of every convolution, each once."""
    graph = OnnxGraph(model)
    convs = graph.find_nodes("Conv")
    inputs = [find_unpadded(graph, conv.input[0]) for conv in convs]
    return list(dict.fromkeys([*inputs, *(conv.output[0] for conv in convs)]))


def quantize_graph(
    model: onnx.ModelProto,
    observations: Observations,
    weights: Mapping[str, QuantizedWeights],
    convs: Collection[str],
    style: Style,
    choose_range: RangeMethod,
) -> onnx.ModelProto:
    """A copy of `model`, some of whose convolutions compute in 8 bits.

    What the rounding of weights adds to the mean of a channel is taken off its bias.

    Args:
        model: a float graph.
        observations: as `observe` found them for `list_observed_tensors(model)`.
        weights: as `quantize_all_weights` made them.
        convs: names of the Conv nodes that are to compute in 8 bits.
        style: where the engine wants its pairs.
        choose_range: the range of an activation on a grid: its lowest and highest value.

    Returns:
        The graph with Q/DQ pairs, of opset 19 at least.
    """
    changed = copy.deepcopy(model)
    writer = _QdqWriter(OnnxGraph(model), observations, weights, style, choose_range)
    for node in model.graph.node:
        if node.op_type == "Conv" and node.name in convs:
            writer.add_convolution(node)
        else:
            writer.nodes.append(node)
    del changed.graph.node[:]
    changed.graph.node.extend(writer.nodes)
    changed.graph.initializer.extend(writer.constants.values())
    remove_unused(changed)
    for opset in changed.opset_import:
        opset.version = max(opset.version, OPSET)
    onnx.checker.check_model(changed)
    return changed


@dataclass
class _QdqWriter:
    """The nodes and constants of the new graph, as far as it is written."""

    graph: OnnxGraph
    observations: Observations
    weights: Mapping[str, QuantizedWeights]
    style: Style
    choose_range: RangeMethod
    nodes: list[onnx.NodeProto] = field(default_factory=list[onnx.NodeProto])
    constants: dict[str, onnx.TensorProto] = field(default_factory=dict[str, onnx.TensorProto])
    written: set[str] = field(default_factory=set[str])

    def add_convolution(self, conv: onnx.NodeProto) -> None:
        """The convolution with 8-bit input and weights, and its output where the style wants that."""
        tensor = conv.input[0]
        source = find_unpadded(self.graph, tensor)
        seen = self.observations[source]
        if source == tensor or not self.style.quantize_before_padding:
            layer_input = self._add_pair(tensor, seen)
        else:
            layer_input = self._add_padding(self.graph.producer[tensor], self._add_pair(source, seen))
            if self.style.quantize_outputs:  # ONNX Runtime pads 8-bit values only between two pairs
                layer_input = self._add_pair(layer_input, seen)
        rounded = self.weights[conv.input[1]]
        new = copy.deepcopy(conv)
        new.input[0], new.input[1] = layer_input, self._add_weights(conv.input[1], rounded)
        if len(conv.input) > 2:
            bias = self.graph.get_value(conv.input[2]) + rounded.rounding_loss @ seen.channel_mean
            new.input[2] = self._add_constant(f"{conv.name}.bias", bias.astype(np.float32))
        self.nodes.append(new)
        if self.style.quantize_outputs:
            result = conv.output[0]
            new.output[0] = f"{result}.exact"
            self._add_pair(new.output[0], self.observations[result], result)

    def _add_constant(self, name: str, values: NDArray[np.generic] | np.generic) -> str:
        self.constants[name] = make_constant(name, values)
        return name

    def _add_pair(self, tensor: str, activation: Activation, result: str = "") -> str:
        """Quantize and dequantize `tensor`, once however many read it; the result's name."""
        result = result or f"{tensor}.dequantized"
        if result in self.written:
            return result
        self.written.add(result)
        range_of = choose_minmax_range if activation.has_known_range else self.choose_range
        scale, zero = self.style.grid.compute_scale_and_zero(*range_of(activation, self.style.grid))
        names = [self._add_constant(f"{tensor}.scale", scale), self._add_constant(f"{tensor}.zero", zero)]
        rounded = f"{tensor}.quantized"
        self.nodes += [
            helper.make_node("QuantizeLinear", [tensor, *names], [rounded], f"{tensor}.quantize"),
            helper.make_node("DequantizeLinear", [rounded, *names], [result], f"{tensor}.dequantize"),
        ]
        return result

    def _add_padding(self, pad: onnx.NodeProto, tensor: str) -> str:
        """The same padding of a dequantized tensor."""
        new = copy.deepcopy(pad)
        new.name = new.output[0] = f"{pad.output[0]}.padded"
        new.input[0] = tensor
        if new.name not in self.written:
            self.written.add(new.name)
            self.nodes.append(new)
        return new.name

    def _add_weights(self, name: str, rounded: QuantizedWeights) -> str:
        """Write 8-bit weights; the name of the dequantized ones."""
        result = f"{name}.dequantized"
        if result not in self.written:
            self.written.add(result)
            zeros = np.zeros(len(rounded.scales), np.int8)
            parts = {"quantized": rounded.values, "scales": rounded.scales, "zeros": zeros}
            inputs = [self._add_constant(f"{name}.{part}", values) for part, values in parts.items()]
            self.nodes.append(
                helper.make_node("DequantizeLinear", inputs, [result], f"{name}.dequantize", axis=0)
            )
        return result


@dataclass(frozen=True)
class QuantizedWeights:
    """A convolution's weights in 8 bits, symmetric, a scale per output channel."""

    values: NDArray[np.int8]  # [O, I, h, w]
    scales: NDArray[np.float32]  # [O]
    rounding_loss: NDArray[np.float32]  # [O, I], what rounding took off the sum of each kernel


def quantize_all_weights(model: onnx.ModelProto) -> dict[str, QuantizedWeights]:
    """The rounded weights of every convolution that may be quantized, by name of the constant."""
    graph = OnnxGraph(model)
    names = {name for convs in find_eligible_layers(model).values() for name in convs}
    constants = {conv.input[1] for conv in graph.find_nodes("Conv") if conv.name in names}
    return {name: quantize_weights(graph.get_value(name)) for name in constants}


def quantize_weights(weights: NDArray[np.float32]) -> QuantizedWeights:
    """float32 [O, I, h, w] -> 8 bits, each channel's scale that of the least squared error."""
    rows = weights.reshape(len(weights), -1)
    peaks = np.abs(rows).max(1)
    peaks[peaks < 1e-30] = 1  # a channel of zeros
    scales, errors = peaks / 127, np.full(len(rows), np.inf)
    for shrink in WEIGHT_SHRINKS:
        tried = peaks * shrink / 127
        rounded = np.clip(np.rint(rows / tried[:, None]), -127, 127) * tried[:, None]
        error = np.square(rows - rounded).sum(1)
        scales, errors = np.where(error < errors, tried, scales), np.minimum(error, errors)
    scales = scales.astype(np.float32)
    values = np.clip(np.rint(rows / scales[:, None]), -127, 127).astype(np.int8).reshape(weights.shape)
    lost = (weights - values * scales.reshape(-1, 1, 1, 1)).sum((2, 3))
    return QuantizedWeights(values, scales, lost)


def remove_unused(model: onnx.ModelProto) -> None:
    """Take out nodes and constants that nothing reads any more."""
    graph = model.graph
    needed = {output.name for output in graph.output}
    kept: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    nodes = kept[::-1]
    constants = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(constants)
