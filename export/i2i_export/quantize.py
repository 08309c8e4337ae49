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

from i2i_export.calibrate import Activation, Grid, Observed, minmax
from i2i_export.onnx_graph import Graph, attribute, constant

OPSET = 19  # of QuantizeLinear with float16 scales; what was exported for 18 means the same there
WEIGHT_SHRINKS = np.linspace(0.7, 1.0, 13)

RangeOf = Callable[[Activation, Grid], tuple[float, float]]


@dataclass(frozen=True)
class Style:
    """Where an engine wants its pairs to run a convolution in 8 bits, measured to be so."""

    grid: Grid
    outputs: bool  # the result is 8-bit too: ONNX Runtime fuses nothing else
    before_padding: bool  # padding works on 8-bit values, of which there are fewer
    ranges: str  # the method of `calibrate.METHODS` that gave the best pictures of four trained networks
    rest: str  # what layers that are not quantised compute in


STYLES = {
    "ort": Style(Grid(signed=False), outputs=True, before_padding=True, ranges="percentile", rest="fp32"),
    "openvino": Style(
        Grid(signed=False), outputs=False, before_padding=True, ranges="percentile", rest="float"
    ),
    "tensorrt": Style(Grid(signed=True), outputs=False, before_padding=False, ranges="mse", rest="fp16"),
}


def eligible(model: onnx.ModelProto) -> dict[str, list[str]]:
    """Layers that may be quantised: a name as in the checkpoint -> its Conv nodes, in the order they run.

    A transposed convolution that was rewritten as four is one layer.
    """
    graph = Graph(model)
    layers: dict[str, list[str]] = {}
    for conv in graph.nodes("Conv"):
        if attribute(conv, "group", 1) == 1 and conv.input[1] in graph.constants:
            layers.setdefault(layer_name(conv.input[1]), []).append(conv.name)
    return layers


def layer_name(weight: str) -> str:
    """
    >>> layer_name("generator.model.19.parts.0.weight")
    'model.19'
    """
    return weight.removeprefix("generator.").removesuffix(".weight").split(".parts.")[0]


def unpadded(graph: Graph, tensor: str) -> str:
    """The tensor before a Pad node, or the tensor itself."""
    node = graph.producer.get(tensor)
    return node.input[0] if node is not None and node.op_type == "Pad" else tensor


def tensors_to_observe(model: onnx.ModelProto) -> list[str]:
    """Inputs (before padding) and outputs of every convolution, each once."""
    graph = Graph(model)
    convs = graph.nodes("Conv")
    return list(dict.fromkeys([*(unpadded(graph, c.input[0]) for c in convs), *(c.output[0] for c in convs)]))


def quantised(
    model: onnx.ModelProto,
    seen: Observed,
    weights: Mapping[str, Weights],
    convs: Collection[str],
    style: Style,
    range_of: RangeOf,
) -> onnx.ModelProto:
    """A copy of `model` whose Conv nodes named in `convs` compute in 8 bits.

    seen: as `observe` found it for `tensors_to_observe(model)`. weights: as `all_weights` made them. What the
    rounding of weights adds to the mean of a channel is taken off its bias.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    writer = _Writer(Graph(model), seen, weights, style, range_of)
    for node in model.graph.node:
        if node.op_type == "Conv" and node.name in convs:
            writer.convolution(node)
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


class _Writer:
    """The nodes and constants of the new graph, as far as it is written."""

    def __init__(
        self,
        graph: Graph,
        seen: Observed,
        weights: Mapping[str, Weights],
        style: Style,
        range_of: RangeOf,
    ) -> None:
        self.graph, self.seen, self.rounded, self.style, self.range_of = graph, seen, weights, style, range_of
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.written: set[str] = set()

    def convolution(self, conv: onnx.NodeProto) -> None:
        """The convolution with 8-bit input and weights, and its output where the style wants that."""
        tensor = conv.input[0]
        source = unpadded(self.graph, tensor)
        seen = self.seen[source]
        if source == tensor or not self.style.before_padding:
            given = self.pair(tensor, seen)
        else:
            given = self.padded(self.graph.producer[tensor], self.pair(source, seen))
            if self.style.outputs:  # ONNX Runtime pads 8-bit values only between two pairs
                given = self.pair(given, seen)
        rounded = self.rounded[conv.input[1]]
        new = onnx.NodeProto()
        new.CopyFrom(conv)
        new.input[0], new.input[1] = given, self.weights(conv.input[1], rounded)
        if len(conv.input) > 2:
            shift = rounded.lost @ seen.channel_mean
            name = f"{conv.name}.bias"
            self.constants[name] = constant(
                name, (self.graph.value(conv.input[2]) + shift).astype(np.float32)
            )
            new.input[2] = name
        if not self.style.outputs:
            self.nodes.append(new)
            return
        result = conv.output[0]
        new.output[0] = f"{result}.exact"
        self.nodes.append(new)
        self.pair(new.output[0], self.seen[result], result)

    def pair(self, tensor: str, seen: Activation, result: str | None = None) -> str:
        """Quantise and dequantise `tensor`, once however many read it; the result's name."""
        result = result or f"{tensor}.dequantised"
        if result in self.written:
            return result
        self.written.add(result)
        range_of = minmax if seen.known else self.range_of
        scale, zero = self.style.grid.scale_and_zero(*range_of(seen, self.style.grid))
        names = [f"{tensor}.scale", f"{tensor}.zero"]
        for name, values in zip(names, (scale, zero), strict=True):
            self.constants[name] = constant(name, np.asarray(values))
        rounded = f"{tensor}.quantised"
        self.nodes.append(
            helper.make_node("QuantizeLinear", [tensor, *names], [rounded], f"{tensor}.quantise")
        )
        self.nodes.append(
            helper.make_node("DequantizeLinear", [rounded, *names], [result], f"{tensor}.dequantise")
        )
        return result

    def padded(self, pad: onnx.NodeProto, given: str) -> str:
        """The same padding of a dequantised tensor."""
        new = onnx.NodeProto()
        new.CopyFrom(pad)
        new.name = new.output[0] = f"{pad.output[0]}.padded"
        new.input[0] = given
        if new.name not in self.written:
            self.written.add(new.name)
            self.nodes.append(new)
        return new.name

    def weights(self, name: str, rounded: Weights) -> str:
        """Write 8-bit weights; the name of the dequantised ones."""
        result = f"{name}.dequantised"
        if result not in self.written:
            self.written.add(result)
            zeros = np.zeros(len(rounded.scales), np.int8)
            parts = {"quantised": rounded.values, "scales": rounded.scales, "zeros": zeros}
            for part, values in parts.items():
                self.constants[f"{name}.{part}"] = constant(f"{name}.{part}", values)
            inputs = [f"{name}.{part}" for part in parts]
            self.nodes.append(
                helper.make_node("DequantizeLinear", inputs, [result], f"{name}.dequantise", axis=0)
            )
        return result


@dataclass(frozen=True)
class Weights:
    """A convolution's weights in 8 bits, symmetric, a scale per output channel."""

    values: NDArray[np.int8]  # [O, I, h, w]
    scales: NDArray[np.float32]  # [O]
    lost: NDArray[np.float32]  # [O, I], what rounding took off the sum of each kernel


def all_weights(model: onnx.ModelProto) -> dict[str, Weights]:
    """The rounded weights of every convolution that may be quantised, by name of the constant."""
    graph = Graph(model)
    names = {name for convs in eligible(model).values() for name in convs}
    constants = {conv.input[1] for conv in graph.nodes("Conv") if conv.name in names}
    return {name: rounded_weights(graph.value(name)) for name in constants}


def rounded_weights(weights: NDArray[np.float32]) -> Weights:
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
    return Weights(values, scales, lost)


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
