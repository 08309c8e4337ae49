"""The picture on the grid of 8 bits, at no cost in exactness."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper

from i2i_export.int8.builder import align_picture_to_grid, prepare
from i2i_export.int8.calibrate import choose_minmax_range
from i2i_export.job import Job
from i2i_export.passes.onnx_graph import OnnxGraph
from i2i_sdk.quality.grids import QuantizationGrid
from tests.export.conftest import FindGraph, make_float_model, run_graph

GRIDS = [QuantizationGrid(signed=True), QuantizationGrid(signed=False)]


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_the_picture_is_exact_in_8_bits(grid: QuantizationGrid, sketch_job: Job) -> None:
    """All 256 values, whatever the calibration frames show."""
    prepared = prepare(sketch_job)
    (shift,) = OnnxGraph(prepared.model).find_nodes("Sub")
    low, high = choose_minmax_range(prepared.observations[shift.output[0]], grid)
    step, zero = grid.compute_scale_and_zero(low, high)
    kind = np.iinfo(zero.dtype.name)
    values = np.arange(256, dtype=np.float32) / np.float32(127.5) - np.float32(128 / 127.5)
    levels = np.clip(np.rint(values / step) + float(zero), kind.min, kind.max)
    assert len(set(levels)) == 256
    np.testing.assert_allclose((levels - float(zero)) * step, values, atol=1e-6)


def compute_unrounded(model: onnx.ModelProto, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What a network's last tanh gives, in steps of the picture."""
    (tanh,) = OnnxGraph(model).find_nodes("Tanh")
    return run_graph(model, frame[None], tanh.output[0]) * np.float32(127.5)


@pytest.mark.parametrize("name", ["resnet", "resnet_batch", "mobile", "unet", "unet_instance"])
def test_moving_the_picture_onto_the_grid_changes_nothing(name: str, float_graph: FindGraph) -> None:
    """But for a U-Net's first convolution, which pads with zeros: there they count as half a step."""
    model, frame = float_graph(name), np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    changed = copy.deepcopy(model)
    picture = align_picture_to_grid(changed)
    assert picture == OnnxGraph(model).find_nodes("Sub")[0].output[0]
    onnx.checker.check_model(changed, full_check=True)
    difference = np.abs(compute_unrounded(changed, frame) - compute_unrounded(model, frame)).max()
    assert 1e-3 < difference < 2 if name.startswith("unet") else difference < 2e-3


def make_first_layers(*rest: onnx.NodeProto, bias: bool = True) -> onnx.ModelProto:
    """x / 127.5 - 1 as "picture", a 3x3 convolution of it, and the rest."""
    inputs = ["picture", "weights", *(["bias"] if bias else [])]
    nodes = [
        helper.make_node("Div", ["x", "half"], ["scaled"], "div"),
        helper.make_node("Sub", ["scaled", "one"], ["picture"], "sub"),
        helper.make_node("Conv", inputs, ["y"], "conv"),
        *rest,
    ]
    rng = np.random.default_rng(0)
    tensors = {"weights": rng.normal(size=(4, 3, 3, 3)), "bias": rng.normal(size=4)}
    results = [n.output[0] for n in (nodes[2], *rest)]
    return make_float_model(nodes, [1, 3, 8, 8], results, half=127.5, one=1, **tensors)


@pytest.mark.parametrize("bias", [True, False])
def test_a_first_convolution_with_or_without_a_bias(bias: bool) -> None:
    model = make_first_layers(bias=bias)
    frame: Any = np.random.default_rng(1).integers(0, 256, (1, 3, 8, 8)).astype(np.float32)
    exact = run_graph(model, frame)
    assert align_picture_to_grid(model) == "picture"
    np.testing.assert_allclose(run_graph(model, frame), exact, atol=1e-5)


@pytest.mark.parametrize("reader", ["Neg", "Identity"])
def test_a_picture_that_others_see_stays(reader: str) -> None:
    """A skip connection from the input would carry the half step into the result."""
    model = make_first_layers(helper.make_node(reader, ["picture"], ["seen"], "other"))
    before = model.SerializeToString()
    assert align_picture_to_grid(model) is None and model.SerializeToString() == before
