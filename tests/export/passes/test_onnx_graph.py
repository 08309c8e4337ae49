"""Finding one's way in an ONNX graph."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from i2i_export.job import Job
from i2i_export.passes.onnx_graph import OnnxGraph, count_conv_macs, get_attribute
from i2i_training.networks import count_macs
from tests.export.conftest import SMALL, FindGraph, make_float_model, make_generator


def test_one_graph() -> None:
    """A strided, padded, grouped convolution (6 -> 4 channels), read by a Relu and, twice, by an Add."""
    weights = np.arange(4 * 3 * 3 * 2, dtype=np.float32).reshape(4, 3, 3, 2)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"], "conv", group=2, strides=[2, 1], pads=[1, 0, 1, 1]),
        helper.make_node("Relu", ["y"], ["z"], "relu"),
        helper.make_node("Add", ["y", "y"], ["twice"], "add"),
    ]
    small = OnnxGraph(make_float_model(nodes, ["batch", 6, 10, 8], ["z", "twice"], w=weights))
    assert small.producer["y"].name == "conv" and "x" not in small.producer
    assert [node.name for node in small.consumers["y"]] == ["relu", "add", "add"]
    assert [node.name for node in small.find_nodes("Relu")] == ["relu"]
    assert small.get_value("w")[3, 2, 2, 1] == 71 and list(small.constants) == ["w"]
    (conv,) = small.find_nodes("Conv")
    assert get_attribute(conv, "group", 1) == 2
    assert get_attribute(conv, "pads") == [1, 0, 1, 1]
    assert get_attribute(conv, "auto_pad", "none") == "none"
    shapes = small.infer_shapes()
    assert (shapes["x"], shapes["y"]) == ((1, 6, 10, 8), (1, 4, 5, 8))
    assert count_conv_macs(small) == {"conv": (5 * 8) * 4 * 3 * 3 * 2}


@pytest.mark.parametrize("name", SMALL)
def test_multiplications_are_the_modules(name: str, float_graph: FindGraph) -> None:
    """Counted there by hooks on its layers; four convolutions for a transposed one multiply as often."""
    found = count_conv_macs(OnnxGraph(float_graph(name))).values()
    assert sum(found) == count_macs(make_generator(SMALL[name]), SMALL[name].in_channels, 64, 64)
    assert all(found)


def test_multiplications_of_transposed_convolutions(zebra_job: Job) -> None:
    graph = OnnxGraph(onnx.load(str(zebra_job.graph)))
    assert len(graph.find_nodes("ConvTranspose")) == 2
    assert sum(count_conv_macs(graph).values()) == zebra_job.macs
