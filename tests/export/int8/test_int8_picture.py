"""The picture on the grid of 8 bits, at no cost in exactness."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from i2i_export.int8.builder import align_picture_to_grid
from i2i_export.int8.calibrate import choose_minmax_range
from i2i_export.job import Job
from i2i_export.passes.onnx_graph import OnnxGraph, make_constant
from i2i_sdk.quality.grids import QuantizationGrid

FindGraph = Callable[[str], onnx.ModelProto]
GRIDS = [QuantizationGrid(signed=True), QuantizationGrid(signed=False)]


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_the_picture_is_exact_in_8_bits(grid: QuantizationGrid, sketch_job: Job) -> None:
    """All 256 values, whatever the calibration frames show."""
    prepared = sketch_job.int8.preparation
    (shift,) = OnnxGraph(prepared.model).find_nodes("Sub")
    step, zero = grid.compute_scale_and_zero(
        *choose_minmax_range(prepared.observations[shift.output[0]], grid)
    )
    kind = np.iinfo(zero.dtype.name)
    values = np.arange(256, dtype=np.float32) / np.float32(127.5) - np.float32(128 / 127.5)
    levels = np.clip(np.rint(values / step) + float(zero), kind.min, kind.max)
    assert len(set(levels)) == 256
    np.testing.assert_allclose((levels - float(zero)) * step, values, atol=1e-6)


def compute_unrounded(model: onnx.ModelProto, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What a network's last tanh gives, in steps of the picture."""
    (tanh,) = OnnxGraph(model).find_nodes("Tanh")
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.append(helper.make_tensor_value_info(tanh.output[0], TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run([tanh.output[0]], {"image": frame[None]})[0]) * np.float32(127.5)


@pytest.mark.parametrize("name", ["resnet", "resnet_batch", "mobile", "unet", "unet_instance"])
def test_moving_the_picture_onto_the_grid_changes_nothing(name: str, float_graph: FindGraph) -> None:
    """But for a U-Net's first convolution, which pads with zeros: there they count as half a step."""
    model, frame = float_graph(name), np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    picture = align_picture_to_grid(changed)
    assert picture == OnnxGraph(model).find_nodes("Sub")[0].output[0]
    onnx.checker.check_model(changed, full_check=True)
    difference = np.abs(compute_unrounded(changed, frame) - compute_unrounded(model, frame))
    if name.startswith("unet"):
        assert 1e-3 < difference.max() < 2
    else:
        assert difference.max() < 2e-3


def make_first_layers(*rest: onnx.NodeProto, bias: bool = True) -> onnx.ModelProto:
    """x / 127.5 - 1 as "picture", a 3x3 convolution of it, and the rest."""
    inputs = ["picture", "weights", *(["bias"] if bias else [])]
    nodes = [
        helper.make_node("Div", ["image", "half"], ["scaled"], "div"),
        helper.make_node("Sub", ["scaled", "one"], ["picture"], "sub"),
        helper.make_node("Conv", inputs, ["y"], "conv"),
        *rest,
    ]
    rng = np.random.default_rng(0)
    values = {"half": np.float32(127.5), "one": np.float32(1)}
    tensors = {"weights": rng.normal(size=(4, 3, 3, 3)), "bias": rng.normal(size=4)}
    constants = [make_constant(n, np.asarray(v, np.float32)) for n, v in (values | tensors).items()]
    results = [n.output[0] for n in (nodes[2], *rest)]
    graph = helper.make_graph(
        nodes,
        "drawn",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, "c", "h", "w"]) for name in results],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.mark.parametrize("bias", [True, False])
def test_a_first_convolution_with_or_without_a_bias(bias: bool) -> None:
    model = make_first_layers(bias=bias)
    frame: Any = np.random.default_rng(1).integers(0, 256, (1, 3, 8, 8)).astype(np.float32)
    exact, moved = [], onnx.ModelProto()
    moved.CopyFrom(model)
    assert align_picture_to_grid(moved) == "picture"
    for graph in (model, moved):
        session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
        exact.append(session.run(None, {"image": frame})[0])
    np.testing.assert_allclose(exact[1], exact[0], atol=1e-5)


@pytest.mark.parametrize("reader", ["Neg", "Identity"])
def test_a_picture_that_others_see_stays(reader: str) -> None:
    """A skip connection from the input would carry the half step into the result."""
    model = make_first_layers(helper.make_node(reader, ["picture"], ["seen"], "other"))
    before = model.SerializeToString()
    assert align_picture_to_grid(model) is None and model.SerializeToString() == before


def test_a_graph_without_a_picture_stays() -> None:
    model = make_first_layers()
    model.graph.initializer[1].CopyFrom(make_constant("one", np.array(0.9, np.float32)))
    assert align_picture_to_grid(model) is None
