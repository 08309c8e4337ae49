"""FP32 graphs typed FP16: which types stand where, under which names, and what is left of the pictures."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from i2i_export.job import Job
from i2i_export.passes.fp16 import FLOAT, HALF, convert_graph_to_half, emulate_half, infer_element_types
from i2i_export.passes.instance_norm import replace_instance_norm
from i2i_sdk import ExportError
from i2i_sdk.quality.metrics import psnr
from i2i_training.networks import EncoderDecoderConfig, GeneratorConfig
from tests.export.conftest import SMALL, export_graph, run_graph, save_network

NETWORKS: dict[str, GeneratorConfig] = {
    **{name: SMALL[name] for name in ("resnet", "resnet_batch", "unet_instance")},
    "encoder_decoder": EncoderDecoderConfig(width=16),
}
CONVOLUTIONS = {"Conv", "ConvTranspose"}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelProto]:
    """The FP32 graphs of untrained networks: for types only."""
    folder = tmp_path_factory.mktemp("small")
    paths = {name: save_network(folder / f"{name}.safetensors", NETWORKS[name]) for name in NETWORKS}
    return {name: export_graph(path, 64, folder / f"{name}.onnx") for name, path in paths.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_types(name: str, small: dict[str, ModelProto]) -> None:
    before, model = small[name], convert_graph_to_half(small[name])
    types = infer_element_types(model)
    kinds = [Counter(n.op_type for n in m.graph.node if n.op_type != "Cast") for m in (before, model)]
    assert kinds[0] == kinds[1]
    after_head = False
    for node in model.graph.node:
        after_head |= node.op_type == "Tanh"
        if node.op_type in CONVOLUTIONS:
            assert {types[name] for name in (*node.input, *node.output)} == {HALF}
        elif node.op_type in ("InstanceNormalization", "Tanh", "Div", "Sub") or after_head:
            assert HALF not in {types[n] for n in node.output}
            assert node.op_type == "Cast" or HALF not in {types[n] for n in node.input}
    ports = (*model.graph.input, *model.graph.output)
    assert ports == (*before.graph.input, *before.graph.output)
    assert all(i.data_type != FLOAT for i in model.graph.initializer if len(i.dims) == 4)


@pytest.mark.parametrize("name", NETWORKS)
def test_tensors_keep_their_names(name: str, small: dict[str, ModelProto]) -> None:
    """Calibrated ranges are found by name. Only the uint8 planes are gone, TensorRT has none."""
    models = small[name], convert_graph_to_half(small[name])
    before, after = (set(infer_element_types(model)) for model in models)
    assert before - after <= {"permute"}
    assert all(new.endswith(("_fp16", "_fp32")) or new == "image_float" for new in after - before)


def test_pixels_are_cast_before_anything_else(small: dict[str, ModelProto]) -> None:
    first, second = convert_graph_to_half(small["resnet"]).graph.node[:2]
    assert [first.op_type, second.op_type] == ["Cast", "Transpose"] and list(first.input) == ["image"]


def test_a_norm_that_is_written_out_stays_float(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    graph = export_graph(checkpoints["resnet"], 64, tmp_path / "x.onnx", replace_instance_norm)
    model = convert_graph_to_half(graph)
    types, kinds = infer_element_types(model), Counter[tuple[str, int]]()
    for node in model.graph.node:
        kinds[node.op_type, types[node.output[0]]] += 1
    assert kinds["ReduceMean", FLOAT] == 2 * 9  # of each of its norms
    for kind in ("Sqrt", "Reciprocal", "Sub", "Mul", "ReduceMean"):
        assert kinds[kind, FLOAT] and not kinds[kind, HALF]
    assert kinds["Add", HALF] == 2  # one in each of the two residual blocks


@pytest.mark.parametrize(("name", "least"), [("sketch", 55), ("zebra", 45)])  # zebra: with InstanceNorm
def test_trained_networks_stay(name: str, least: float, request: pytest.FixtureRequest) -> None:
    job: Job = request.getfixturevalue(f"{name}_job")
    exact = onnx.load(str(job.graph))
    half = emulate_half(convert_graph_to_half(exact))
    for frame in job.parity_case.inputs.arrays[:8]:
        assert psnr(run_graph(half, frame[None])[0], run_graph(exact, frame[None])[0]) >= least

    """By hand, and not by ONNX Runtime itself, which computes FP16 graphs in FP32 on a CPU."""
    random = np.random.default_rng(0)
    first, second = (random.normal(size=(8, 8)).astype(np.float16) for _ in range(2))
    x = random.normal(size=(1, 8, 16)).astype(np.float32)
    constants = [numpy_helper.from_array(first[..., None], "first")]
    constants += [numpy_helper.from_array(second[..., None], "second")]
    nodes = [
        helper.make_node("Cast", ["x"], ["half"], to=HALF),
        helper.make_node("Conv", ["half", "first"], ["a"]),
        helper.make_node("Mul", ["a", "a"], ["b"]),
        helper.make_node("Conv", ["b", "second"], ["c"]),
        helper.make_node("Cast", ["c"], ["y"], to=FLOAT),
    ]
    ports = [helper.make_tensor_value_info(name, FLOAT, [1, 8, 16]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)

    def round_values(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return values.astype(np.float16).astype(np.float32)

    a = round_values(first.astype(np.float32) @ round_values(x))
    expected = round_values(second.astype(np.float32) @ round_values(a * a))
    found = run_graph(emulate_half(model), x)
    step = np.spacing(np.abs(expected).astype(np.float16)).astype(np.float32)
    # Sums in another order may fall on the other side of a rounding now and then.
    assert (found == round_values(found)).all() and (np.abs(found - expected) <= 2 * step).all()
    assert (found == expected).mean() > 0.95
    unrounded = round_values(second.astype(np.float32) @ (first.astype(np.float32) @ round_values(x)) ** 2)
    assert (unrounded == expected).mean() < 0.8


def make_convolution_graph(weights: NDArray[np.float32], scales: tuple[int, ...] | None = None) -> ModelProto:
    """uint8 [N, 1, 8, 8] -> cast -> [Q/DQ ->] convolution "w" -> tanh -> uint8, opset 18."""
    nodes = [helper.make_node("Cast", ["x"], ["f"], to=FLOAT)]
    constants, inputs = {"w": weights}, ["f", "w"]
    if scales is not None:
        step = np.abs(weights).max((1, 2, 3)) / 127
        constants = {
            "s": np.full(scales, 2.0, np.float32),
            "z": np.zeros(scales, np.int8),
            "w": np.rint(weights / step[:, None, None, None]).astype(np.int8),
            "ws": step,
            "wz": np.zeros(len(step), np.int8),
        }
        nodes += [
            helper.make_node("QuantizeLinear", ["f", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
            helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
        ]
        inputs = ["d", "wd"]
    nodes += [
        helper.make_node("Conv", inputs, ["c"]),
        helper.make_node("Tanh", ["c"], ["t"]),
        helper.make_node("Cast", ["t"], ["y"], to=TensorProto.UINT8),
    ]
    shapes = {"x": ["n", 1, 8, 8], "y": ["n", len(weights), 8, 8]}
    x, y = (helper.make_tensor_value_info(n, TensorProto.UINT8, shape) for n, shape in shapes.items())
    tensors = [numpy_helper.from_array(v, name) for name, v in constants.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.mark.parametrize("value", [7e4, -1e30, np.inf, np.nan])
def test_what_half_precision_cannot_hold_is_an_error(value: float) -> None:
    with pytest.raises(ExportError, match=r"w holds .* and FP16 ends at 65504"):
        convert_graph_to_half(make_convolution_graph(np.full((1, 1, 1, 1), value, np.float32)))
    convert_graph_to_half(make_convolution_graph(np.full((1, 1, 1, 1), 65504, np.float32)))


@pytest.mark.parametrize("scales", [(), (1,)])
def test_quantized_convolutions(scales: tuple[int, ...]) -> None:
    weights = np.array([1, -2], np.float32).reshape(2, 1, 1, 1)
    model = convert_graph_to_half(make_convolution_graph(weights, scales))
    types = infer_element_types(model)
    assert {types[name] for name in ("d", "wd", "c", "s", "ws")} == {HALF}
    assert {types[name] for name in ("q", "z", "w", "wz")} == {TensorProto.INT8}
    assert (types["f"], types["t"]) == (FLOAT, FLOAT)
    assert model.opset_import[0].version == 19
    # One number as a scalar: with the shape [1] TensorRT would run FP16, see test_trt_builder.py.
    shapes = {i.name: list(i.dims) for i in model.graph.initializer if i.name in "szws"}
    assert shapes == {"s": [], "z": [], "w": [2, 1, 1, 1], "ws": [2]}


def test_a_scale_too_small_for_half_precision_is_an_error() -> None:
    with pytest.raises(ExportError, match=r"ws holds a scale of 7\.87402e-06; FP16 keeps all digits from"):
        convert_graph_to_half(make_convolution_graph(np.full((1, 1, 1, 1), 1e-3, np.float32), ()))
