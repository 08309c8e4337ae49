"""Q/DQ pairs where each engine wants them, weights that err least, and biases that make up for rounding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from i2i_export.int8.calibrate import choose_minmax_range, observe
from i2i_export.int8.qdq import (
    STYLES,
    find_eligible_layers,
    find_unpadded,
    list_observed_tensors,
    quantize_all_weights,
    quantize_graph,
    quantize_weights,
)
from i2i_export.passes.onnx_graph import OnnxGraph, get_attribute
from i2i_training.checkpoint import load_generator
from tests.export.conftest import FindGraph, make_float_model, run_graph

NETWORKS = ["resnet", "resnet_none", "mobile", "unet_instance"]


def list_eligible_convs(model: onnx.ModelProto) -> list[str]:
    return [conv for convs in find_eligible_layers(model).values() for conv in convs]


def quantize_on_noise(model: onnx.ModelProto, style: str, convs: list[str] | None = None) -> onnx.ModelProto:
    """`model` quantized by what its tensors show on noise; all that may be, or `convs`."""
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:]
    kind = np.uint8 if model.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8 else np.float32
    frames: list[Any] = [np.random.default_rng(i).uniform(0, 255, shape).astype(kind) for i in range(2)]
    seen = observe(model, list_observed_tensors(model), frames)
    convs = list_eligible_convs(model) if convs is None else convs
    return quantize_graph(model, seen, quantize_all_weights(model), convs, STYLES[style], choose_minmax_range)


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_are_named_as_in_the_checkpoint(
    name: str, float_graph: FindGraph, checkpoints: dict[str, Path]
) -> None:
    module, _ = load_generator(checkpoints[name])
    weights = {key: value for key, value in module.state_dict().items() if value.dim() == 4}
    depthwise = {key for key, value in weights.items() if name == "mobile" and value.shape[1] == 1}
    found = find_eligible_layers(float_graph(name))
    assert {f"{layer}.weight" for layer in found} == set(weights) - depthwise
    transposed = {"resnet": 2, "unet_instance": 6, "mobile": 2}.get(name, 0)
    assert sorted(map(len, found.values())) == [1] * (len(found) - transposed) + [4] * transposed


class QuantizedConvs:
    """What stands around the quantized convolutions of a graph."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = OnnxGraph(model)
        weights = {n.output[0] for n in self.graph.find_nodes("DequantizeLinear")}
        self.convs = [c for c in self.graph.find_nodes("Conv") if c.input[1] in weights]

    def find_quantized_input(self, tensor: str) -> str:
        """What the Q/DQ pair that writes `tensor` reads; scale and zero point of both are the same."""
        dequantize = self.graph.producer[tensor]
        quantize = self.graph.producer[dequantize.input[0]]
        assert (quantize.op_type, dequantize.op_type) == ("QuantizeLinear", "DequantizeLinear")
        assert quantize.input[1:] == dequantize.input[1:]
        scale = self.graph.get_value(quantize.input[1])
        assert scale.shape == () and scale > 0
        return quantize.input[0]


def find_conv(graph: OnnxGraph, name: str) -> NodeProto:
    return next(conv for conv in graph.find_nodes("Conv") if conv.name == name)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", NETWORKS)
def test_pairs_stand_where_the_engine_wants_them(name: str, style: str, float_graph: FindGraph) -> None:
    model = float_graph(name)
    changed = quantize_on_noise(model, style)
    onnx.checker.check_model(changed, full_check=True)
    assert [(o.domain, o.version) for o in changed.opset_import] == [("", 19)]
    assert changed.graph.input == model.graph.input and changed.graph.output == model.graph.output
    found, original = QuantizedConvs(changed), OnnxGraph(model)
    assert [conv.name for conv in found.convs] == list_eligible_convs(model)
    for conv in found.convs:
        was = find_conv(original, conv.name)
        assert all(get_attribute(conv, a.name) == get_attribute(was, a.name) for a in was.attribute)
        before = original.producer[was.input[0]]
        source, tensor = find_unpadded(original, was.input[0]), conv.input[0]
        if style == "tensorrt":  # after the padding
            assert found.find_quantized_input(tensor) == was.input[0]
        elif before.op_type == "Pad":  # before it; ONNX Runtime after it as well
            pad = found.graph.producer[found.find_quantized_input(tensor) if style == "ort" else tensor]
            assert pad.op_type == "Pad" and pad.input[1:] == before.input[1:]
            assert get_attribute(pad, "mode") == get_attribute(before, "mode")
            assert found.find_quantized_input(pad.input[0]) == source
        else:
            assert found.find_quantized_input(tensor) == source
        readers = found.graph.consumers[conv.output[0]]
        if style == "ort":
            assert [r.op_type for r in readers] == ["QuantizeLinear"]
            assert found.find_quantized_input(was.output[0]) == conv.output[0]
        else:
            assert conv.output == was.output and "QuantizeLinear" not in {r.op_type for r in readers}
    # What several layers read is quantized once, and no float weights are carried along.
    read = [node.input[0] for node in changed.graph.node if node.op_type == "QuantizeLinear"]
    constants = [tensor.name for tensor in changed.graph.initializer]
    written = constants + [name for node in changed.graph.node for name in node.output]
    assert len(read) == len(set(read)) and len(written) == len(set(written))
    assert set(constants) <= {name for node in changed.graph.node for name in node.input}


@pytest.mark.parametrize("style", STYLES)
def test_types_and_scales(style: str, float_graph: FindGraph) -> None:
    model = float_graph("unet_instance")
    found, original = QuantizedConvs(quantize_on_noise(model, style)), OnnxGraph(model)
    for conv in found.convs:
        weights = found.graph.producer[conv.input[1]]
        values, scales, zeros = map(found.graph.get_value, weights.input)
        exact = original.get_value(find_conv(original, conv.name).input[1])
        assert get_attribute(weights, "axis") == 0
        assert (values.dtype, scales.dtype, zeros.dtype) == (np.int8, np.float32, np.int8)
        assert values.shape == exact.shape and scales.shape == zeros.shape == (len(exact),)
        assert not zeros.any() and values.min() >= -127
        error = np.linalg.norm(values * scales.reshape(-1, 1, 1, 1) - exact) / np.linalg.norm(exact)
        assert error < 0.01
        assert found.graph.get_value(conv.input[2]).dtype == np.float32  # a bias stays float
    for quantize in found.graph.find_nodes("QuantizeLinear"):
        zero = found.graph.get_value(quantize.input[2])
        assert zero.dtype == (np.int8 if style == "tensorrt" else np.uint8)
        assert style != "tensorrt" or zero == 0


@pytest.mark.parametrize("style", STYLES)
def test_layers_that_are_not_named_stay_as_they_are(style: str, float_graph: FindGraph) -> None:
    model = float_graph("resnet")
    some = list_eligible_convs(model)[2:5]
    changed = quantize_on_noise(model, style, some)
    assert [conv.name for conv in QuantizedConvs(changed).convs] == some
    before, after = OnnxGraph(model), OnnxGraph(changed)
    for conv in before.find_nodes("Conv"):
        if conv.name not in some:
            assert conv in after.find_nodes("Conv")
            np.testing.assert_array_equal(after.get_value(conv.input[1]), before.get_value(conv.input[1]))
    assert len(quantize_on_noise(model, style, []).graph.node) == len(model.graph.node)


def make_graph(nodes: list[NodeProto], results: list[str], **constants: NDArray[Any]) -> onnx.ModelProto:
    """A graph of float32 [1, 4, 24, 24] "x"."""
    return make_float_model(nodes, [1, 4, 24, 24], results, **constants)


@pytest.mark.parametrize("style", STYLES)
def test_a_convolution_that_reads_another_directly(style: str) -> None:
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "one.weight", "bias"], ["y"], "first"),
        helper.make_node("Conv", ["y", "two.weight", "bias"], ["z"], "second"),
    ]
    weights = {f"{name}.weight": rng.normal(size=(4, 4, 3, 3)) for name in ("one", "two")}
    model = make_graph(nodes, ["z"], bias=rng.normal(size=4), **weights)
    changed = quantize_on_noise(model, style)
    assert len(QuantizedConvs(changed).convs) == 2
    frame = np.random.default_rng(0).uniform(0, 255, (1, 4, 24, 24)).astype(np.float32)
    exact = run_graph(model, frame)
    assert np.abs(run_graph(changed, frame) - exact).max() < 0.03 * np.ptp(exact)


def test_what_rounded_weights_add_to_the_mean_is_taken_off_the_bias() -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(6, 4, 3, 3)) + 0.2
    node = helper.make_node("Conv", ["x", "a.weight", "bias"], ["y"], "conv")
    model = make_graph([node], ["y"], bias=rng.normal(size=6), **{"a.weight": weights})
    offsets = np.array([0, 2, 4, 6]).reshape(4, 1, 1)  # a mean that rounding can add to
    frames: list[Any] = [(rng.uniform(0, 1, (4, 24, 24)) + offsets).astype(np.float32)]
    seen, rounded = observe(model, list_observed_tensors(model), frames), quantize_all_weights(model)

    def measure_mean_shift(lost: NDArray[np.float32]) -> NDArray[np.float32]:
        given = {"a.weight": replace(rounded["a.weight"], rounding_loss=lost)}
        changed = quantize_graph(model, seen, given, ["conv"], STYLES["openvino"], choose_minmax_range)
        after, before = (run_graph(graph, frames[0][None]) for graph in (changed, model))
        return np.abs((after - before).mean((0, 2, 3)))

    lost = rounded["a.weight"].rounding_loss
    corrected, as_rounded = measure_mean_shift(lost), measure_mean_shift(np.zeros_like(lost))
    assert corrected.max() < 0.2 * as_rounded.max()
    np.testing.assert_allclose(as_rounded, np.abs(lost @ seen["x"].channel_mean), atol=0.2 * as_rounded.max())


kernels = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)).flatmap(
    lambda shape: arrays.arrays(np.float32, shape, elements=st.floats(-1e3, 1e3, width=32))
)


@given(kernels)
def test_rounded_weights_err_no_more_than_scaled_by_their_peak(weights: NDArray[np.float32]) -> None:
    found = quantize_weights(weights)
    assert found.values.dtype == np.int8 and np.abs(found.values.astype(int)).max() <= 127
    assert found.scales.dtype == np.float32 and (found.scales > 0).all()
    rows = weights.astype(np.float64).reshape(len(weights), -1)
    peaks = np.abs(rows).max(1, keepdims=True)
    plain = np.where(peaks > 0, np.rint(rows / np.maximum(peaks, 1e-300) * 127) / 127 * peaks, 0)
    restored = found.values.reshape(rows.shape) * found.scales[:, None].astype(np.float64)
    errors, allowed = (np.square(rows - other).sum(1) for other in (restored, plain))
    uncounted = 1e-12 * np.square(peaks[:, 0]) + 1e-58  # what is below 1e-30 counts as 0
    assert (errors <= 1.001 * allowed + uncounted).all()
    lost = (rows - restored).reshape(weights.shape).sum((2, 3))
    np.testing.assert_allclose(found.rounding_loss, lost, atol=1e-5 * peaks.max() + 1e-30)


def test_an_outlier_among_weights_is_clipped_where_that_errs_less() -> None:
    weights = np.full((2, 10, 40, 40), 0.1, np.float32)
    weights += np.random.default_rng(0).normal(0, 0.03, weights.shape).astype(np.float32)
    weights[:, 0, 0, 0] = [0.2, 0.4]
    peak = np.abs(weights).reshape(2, -1).max(1)
    found = quantize_weights(weights).scales * 127 / peak
    assert found[1] < 0.95 and found.min() >= 0.699
