"""Float graph -> the same graph with explicit QuantizeLinear/DequantizeLinear pairs around convolutions.

Only convolutions compute in 8 bits; everything between them stays float. Depthwise ones stay float as well:
they do few of the multiplications and make much of the noise.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

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
    quantize_outputs: bool  # the result is 8-bit too: ONNX Runtime fuses nothing else
    quantize_before_padding: bool  # padding works on 8-bit values, of which there are fewer
    range_method: (
        str  # the method of `calibrate.RANGE_METHODS` that gave the best pictures of four trained networks
    )
    fallback_precision: str  # what layers that are not quantized compute in


STYLES = {
    "ort": Style(
        QuantizationGrid(signed=False),
        quantize_outputs=True,
        quantize_before_padding=True,
        range_method="percentile",
        fallback_precision="fp32",
    ),
    "openvino": Style(
        QuantizationGrid(signed=False),
        quantize_outputs=False,
        quantize_before_padding=True,
        range_method="percentile",
        fallback_precision="float",
    ),
    "tensorrt": Style(
        QuantizationGrid(signed=True),
        quantize_outputs=False,
        quantize_before_padding=False,
        range_method="mse",
        fallback_precision="fp16",
    ),
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
    return list(
        dict.fromkeys([*(find_unpadded(graph, c.input[0]) for c in convs), *(c.output[0] for c in convs)])
    )


def quantize_graph(
    model: onnx.ModelProto,
    observations: Observations,
    weights: Mapping[str, QuantizedWeights],
    convs: Collection[str],
    style: Style,
    choose_range: RangeMethod,
) -> onnx.ModelProto:
    """A copy of `model` whose Conv nodes named in `convs` compute in 8 bits.

    observations: as `observe` found them for `list_observed_tensors(model)`. weights: as
    `quantize_all_weights` made them. What the rounding of weights adds to the mean of a channel is taken off
    its bias.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
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


class _QdqWriter:
    """The nodes and constants of the new graph, as far as it is written."""

    def __init__(
        self,
        graph: OnnxGraph,
        observations: Observations,
        weights: Mapping[str, QuantizedWeights],
        style: Style,
        choose_range: RangeMethod,
    ) -> None:
        self.graph, self.observations, self.rounded, self.style, self.choose_range = (
            graph,
            observations,
            weights,
            style,
            choose_range,
        )
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.written: set[str] = set()

    def add_convolution(self, conv: onnx.NodeProto) -> None:
        """The convolution with 8-bit input and weights, and its output where the style wants that."""
        tensor = conv.input[0]
        source = find_unpadded(self.graph, tensor)
        seen = self.observations[source]
        if source == tensor or not self.style.quantize_before_padding:
            layer_input = self.add_pair(tensor, seen)
        else:
            layer_input = self.add_padding(self.graph.producer[tensor], self.add_pair(source, seen))
            if self.style.quantize_outputs:  # ONNX Runtime pads 8-bit values only between two pairs
                layer_input = self.add_pair(layer_input, seen)
        rounded = self.rounded[conv.input[1]]
        new = onnx.NodeProto()
        new.CopyFrom(conv)
        new.input[0], new.input[1] = layer_input, self.add_weights(conv.input[1], rounded)
        if len(conv.input) > 2:
            shift = rounded.rounding_loss @ seen.channel_mean
            name = f"{conv.name}.bias"
            self.constants[name] = make_constant(
                name, (self.graph.get_value(conv.input[2]) + shift).astype(np.float32)
            )
            new.input[2] = name
        if not self.style.quantize_outputs:
            self.nodes.append(new)
            return
        result = conv.output[0]
        new.output[0] = f"{result}.exact"
        self.nodes.append(new)
        self.add_pair(new.output[0], self.observations[result], result)

    def add_pair(self, tensor: str, activation: Activation, result: str | None = None) -> str:
        """Quantize and dequantize `tensor`, once however many read it; the result's name."""
        result = result or f"{tensor}.dequantized"
        if result in self.written:
            return result
        self.written.add(result)
        range_of = choose_minmax_range if activation.has_known_range else self.choose_range
        scale, zero = self.style.grid.compute_scale_and_zero(*range_of(activation, self.style.grid))
        names = [f"{tensor}.scale", f"{tensor}.zero"]
        for name, values in zip(names, (scale, zero), strict=True):
            self.constants[name] = make_constant(name, np.asarray(values))
        rounded = f"{tensor}.quantized"
        self.nodes.append(
            helper.make_node("QuantizeLinear", [tensor, *names], [rounded], f"{tensor}.quantize")
        )
        self.nodes.append(
            helper.make_node("DequantizeLinear", [rounded, *names], [result], f"{tensor}.dequantize")
        )
        return result

    def add_padding(self, pad: onnx.NodeProto, tensor: str) -> str:
        """The same padding of a dequantized tensor."""
        new = onnx.NodeProto()
        new.CopyFrom(pad)
        new.name = new.output[0] = f"{pad.output[0]}.padded"
        new.input[0] = tensor
        if new.name not in self.written:
            self.written.add(new.name)
            self.nodes.append(new)
        return new.name

    def add_weights(self, name: str, rounded: QuantizedWeights) -> str:
        """Write 8-bit weights; the name of the dequantized ones."""
        result = f"{name}.dequantized"
        if result not in self.written:
            self.written.add(result)
            zeros = np.zeros(len(rounded.scales), np.int8)
            parts = {"quantized": rounded.values, "scales": rounded.scales, "zeros": zeros}
            for part, values in parts.items():
                self.constants[f"{name}.{part}"] = make_constant(f"{name}.{part}", values)
            inputs = [f"{name}.{part}" for part in parts]
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
