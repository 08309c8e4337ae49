"""Finding one's way in an ONNX graph, for the passes that change it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper


@dataclass
class OnnxGraph:
    """An ONNX model with its nodes by what they give and take. Passes change `model` and make a new Graph."""

    model: onnx.ModelProto

    def __post_init__(self) -> None:
        graph = self.model.graph
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.producer = {name: node for node in graph.node for name in node.output}
        self.consumers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self.consumers.setdefault(name, []).append(node)

    def find_nodes(self, kind: str) -> list[onnx.NodeProto]:
        """All nodes of an operator, in the order they run."""
        return [node for node in self.model.graph.node if node.op_type == kind]

    def get_value(self, name: str) -> NDArray[np.float32]:
        """A constant's numbers."""
        return numpy_helper.to_array(self.constants[name])

    def infer_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all tensors that onnx can infer; the batch counts as 1."""
        inferred = onnx.shape_inference.infer_shapes(self.model).graph
        values = [*inferred.value_info, *inferred.input, *inferred.output]
        return {v.name: tuple(d.dim_value or 1 for d in v.type.tensor_type.shape.dim) for v in values}


def make_constant(name: str, values: NDArray[np.generic] | np.generic) -> onnx.TensorProto:
    """A named constant of the graph."""
    return numpy_helper.from_array(np.asarray(values, order="C"), name)


def get_attribute(node: onnx.NodeProto, name: str, default: object = None) -> object:
    """The value of a node's attribute.

    Args:
        node: has the attribute, or not.
        name: of the attribute.
        default: its value where the node does not say one.

    Returns:
        A number, bytes, or a list of these, as onnx reads it.
    """
    return next((onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def count_conv_macs(graph: OnnxGraph) -> dict[str, int]:
    """Multiplications of one image by name of each Conv and ConvTranspose node."""
    shapes = graph.infer_shapes()
    positions = {conv.name: conv.output[0] for conv in graph.find_nodes("Conv")}
    positions |= {conv.name: conv.input[0] for conv in graph.find_nodes("ConvTranspose")}
    weights = {node.name: node.input[1] for node in graph.model.graph.node if node.name in positions}
    return {
        name: int(np.prod(shapes[tensor][2:])) * int(np.prod(graph.constants[weights[name]].dims))
        for name, tensor in positions.items()
    }
