"""Channels made equally large: the pictures stay, and nothing changes where they would not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from i2i_export.int8.builder import measure_psnr, read_calibration_inputs
from i2i_export.int8.calibrate import choose_percentile_range, observe
from i2i_export.int8.equalize import equalize_channels
from i2i_export.int8.qdq import (
    STYLES,
    find_eligible_layers,
    find_unpadded,
    list_observed_tensors,
    quantize_all_weights,
    quantize_graph,
    remove_unused,
)
from i2i_export.options import ExportOptions
from i2i_export.passes.onnx_graph import OnnxGraph, make_constant
from tests.export.conftest import SMALL, make_job

# Tensors that can be equalized in each: all that a norm (or, folded, a convolution) writes for convolutions
# alone, so none whose values are also added to (ResNet blocks) or concatenated (U-Net skips).
COUNTS = {
    "resnet": 6,
    "resnet_batch": 6,
    "resnet_none": 6,
    "resnet_gray": 5,
    "mobile": 8,
    "unet": 1,
    "unet_instance": 1,
}


def make_frames(model: onnx.ModelProto, count: int = 3) -> list[NDArray[np.uint8]]:
    sides = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:]
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, sides, np.uint8) for _ in range(count)]


def compute_tensor(model: onnx.ModelProto, tensor: str, frame: NDArray[Any]) -> NDArray[np.float32]:
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    if tensor not in {output.name for output in model.graph.output}:
        watched.graph.output.append(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run([tensor], {session.get_inputs()[0].name: frame[None]})[0])


def measure_channel_spread(model: onnx.ModelProto, frames: Sequence[NDArray[Any]]) -> float:
    """Largest over smallest peak of a channel, mean over the convolutions' inputs that are no picture."""
    graph = OnnxGraph(model)
    inputs = list(dict.fromkeys(find_unpadded(graph, conv.input[0]) for conv in graph.find_nodes("Conv")))[1:]
    peaks = [np.maximum(a.channel_peak, 1e-2) for a in observe(model, inputs, frames).values()]
    return float(np.mean([p.max() / p.min() for p in peaks]))


@pytest.mark.parametrize("name", SMALL)
def test_pictures_stay(name: str, float_graph: Callable[[str], onnx.ModelProto]) -> None:
    model = float_graph(name)
    frames, before = make_frames(model), model.SerializeToString()
    changed, count = equalize_channels(model, observe(model, list_observed_tensors(model), frames))
    assert count == COUNTS[name]
    assert model.SerializeToString() == before
    onnx.checker.check_model(changed, full_check=True)
    (last,) = OnnxGraph(model).find_nodes("Tanh")
    for frame in frames:
        exact = compute_tensor(model, last.input[0], frame)
        assert (
            np.abs(compute_tensor(changed, last.input[0], frame) - exact).max() <= 1e-5 * np.abs(exact).max()
        )


def test_what_it_is_for(root: Path, crops: Path, tmp_path: Path) -> None:
    """The trained ResNet-9, all of it in INT8 as OpenVINO takes it."""
    checkpoint = root / "models" / "maps_resnet9" / "latest_net_G.safetensors"
    (tmp_path / "few").mkdir()
    for path in sorted(crops.iterdir())[:8]:
        (tmp_path / "few" / path.name).symlink_to(path)
    job = make_job(checkpoint, tmp_path / "job", 64, ExportOptions(frames=tmp_path / "few"))
    frames, model = read_calibration_inputs(job.int8), onnx.load(str(job.graph))
    found: list[tuple[float, float]] = []
    for graph in (model, equalize_channels(model, observe(model, list_observed_tensors(model), frames))[0]):
        convs = [conv for layer in find_eligible_layers(graph).values() for conv in layer]
        seen = observe(graph, list_observed_tensors(graph), frames)
        rounded = quantize_graph(
            graph, seen, quantize_all_weights(graph), convs, STYLES["openvino"], choose_percentile_range
        )
        found.append((measure_channel_spread(graph, frames), measure_psnr(rounded, job.parity_case)))
    (spread, db), (even, better) = found
    assert even < 0.7 * spread
    assert better > db + 2


# x (3 channels) -> Conv "writer" -> a (4 channels) -> ... -> what the rest of a graph makes of it.
WEIGHTS = {
    "writer": (4, 3, 3, 3),
    "plain": (5, 4, 3, 3),
    "grouped": (6, 2, 3, 3),
    "depthwise": (4, 1, 3, 3),
    "pointwise": (2, 4, 1, 1),
}


def make_conv(weights: str, source: str, result: str, **attributes: Any) -> NodeProto:
    return helper.make_node(
        "Conv", [source, weights, f"{weights}.bias"], [result], f"{weights}>", **attributes
    )


def make_graph(rest: Sequence[NodeProto], results: Sequence[str], **constants: Any) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    values: dict[str, Any] = {name: rng.normal(size=shape) for name, shape in WEIGHTS.items()}
    values |= {f"{name}.bias": rng.normal(size=shape[0]) for name, shape in WEIGHTS.items()}
    values["writer"] *= np.reshape([0.01, 1, 5, 30], (4, 1, 1, 1))
    tensors = [make_constant(name, np.asarray(value, np.float32)) for name, value in values.items()]
    tensors += [make_constant("pads", np.array([0, 0, 1, 1, 0, 0, 1, 1]))]
    tensors += [make_constant(name, np.asarray(value, np.float32)) for name, value in constants.items()]
    nodes = [make_conv("writer", "x", "a"), *rest]
    graph = helper.make_graph(
        nodes,
        "drawn",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 10, 10])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in results],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    remove_unused(model)
    return model


def make_node(kind: str, source: str, result: str, *others: str, **attributes: Any) -> NodeProto:
    return helper.make_node(kind, [source, *others], [result], f"{kind}>{result}", **attributes)


READ = make_conv("plain", "b", "y")
PAD = make_node("Pad", "b", "c", "pads")
RESIZE = ("", "scales")
CROP_AND_RESIZE = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 1.0}
CASES: dict[str, tuple[bool, list[NodeProto], tuple[str, ...]]] = {
    "a convolution": (True, [make_conv("plain", "a", "y")], ("y",)),
    "relu": (True, [make_node("Relu", "a", "b"), READ], ("y",)),
    "leaky relu": (True, [make_node("LeakyRelu", "a", "b", alpha=0.2), READ], ("y",)),
    "reflected": (True, [make_node("Pad", "a", "b", "pads", mode="reflect"), READ], ("y",)),
    "replicated": (True, [make_node("Pad", "a", "b", "pads", mode="edge"), READ], ("y",)),
    "padded with 0": (True, [make_node("Pad", "a", "b", "pads"), READ], ("y",)),
    "padded with a 0 that stands there": (
        True,
        [make_node("Pad", "a", "b", "pads", "nothing"), READ],
        ("y",),
    ),
    "enlarged": (True, [make_node("Resize", "a", "b", *RESIZE, mode="linear"), READ], ("y",)),
    "several convolutions": (
        True,
        [
            make_node("Relu", "a", "b"),
            READ,
            make_conv("pointwise", "b", "z"),
            PAD,
            make_conv("depthwise", "c", "d", group=4),
        ],
        ("y", "z", "d"),
    ),
    "depthwise": (True, [make_conv("depthwise", "a", "y", group=4)], ("y",)),
    "grouped": (False, [make_conv("grouped", "a", "y", group=2)], ("y",)),
    "padded with 1": (False, [make_node("Pad", "a", "b", "pads", "one"), READ], ("y",)),
    "enlarged with 1 around": (
        False,
        [make_node("Resize", "a", "b", "frame", "scales", **CROP_AND_RESIZE), READ],
        ("y",),
    ),
    "sigmoid": (False, [make_node("Sigmoid", "a", "b"), READ], ("y",)),
    "clipped": (False, [make_node("Clip", "a", "b", "nothing", "one"), READ], ("y",)),
    "a skip connection": (False, [make_conv("pointwise", "a", "y"), make_node("Neg", "a", "z")], ("y", "z")),
    "a skip connection after the relu": (
        False,
        [make_node("Relu", "a", "b"), READ, make_node("Concat", "b", "z", "b", axis=1)],
        ("y", "z"),
    ),
    "the graph's output": (False, [make_conv("plain", "a", "y")], ("y", "a")),
    "the graph's output after the relu": (False, [make_node("Relu", "a", "b"), READ], ("y", "b")),
    "nothing reads it": (False, [], ("a",)),
}


@pytest.mark.parametrize("case", CASES)
def test_only_what_a_factor_passes_through(case: str) -> None:
    changes, rest, results = CASES[case]
    frame = [0, 0, -0.2, -0.2, 1, 1, 1.2, 1.2]
    model = make_graph(rest, results, nothing=0, one=1, scales=[1, 1, 2, 2], frame=frame)
    frames: list[Any] = [np.random.default_rng(i).normal(size=(3, 10, 10)).astype(np.float32) for i in (1, 2)]
    changed, count = equalize_channels(model, observe(model, list_observed_tensors(model), frames))
    assert count == int(changes)
    for result in results:
        exact = compute_tensor(model, result, frames[0])
        error = np.abs(compute_tensor(changed, result, frames[0]) - exact).max()
        assert error <= (1e-5 * np.abs(exact).max() if changes else 0)
    if changes:
        seen = [observe(m, ["a"], frames)["a"].channel_peak for m in (model, changed)]
        before, after = (peaks.max() / peaks.min() for peaks in seen)
        assert before > 300 and after < before / 10


def test_a_convolution_whose_weights_are_computed_stays() -> None:
    rest = [make_node("Neg", "plain", "negative"), make_conv("plain", "a", "y")]
    rest[1].input[1] = "negative"
    model = make_graph(rest, ["y"])
    _, count = equalize_channels(model, observe(model, list_observed_tensors(model), [_make_noise()]))
    assert count == 0
    model = make_graph([make_conv("plain", "a", "y")], ["y"])
    model.graph.node.insert(0, make_node("Neg", "writer", "negative"))
    model.graph.node[1].input[1] = "negative"
    _, count = equalize_channels(model, observe(model, list_observed_tensors(model), [_make_noise()]))
    assert count == 0


@pytest.mark.parametrize("part", ["row", "column"])
def test_a_silent_channel_leaves_the_others_even(part: str) -> None:
    """Nothing comes through channel 1, or nobody listens to it."""
    model = make_graph([make_conv("plain", "a", "y")], ["y"])
    graph = OnnxGraph(model)
    for name, index in {"row": [("writer", 1), ("writer.bias", 1)], "column": [("plain", (slice(None), 1))]}[
        part
    ]:
        values = graph.get_value(name).copy()
        values[index] = 0
        graph.constants[name].CopyFrom(make_constant(name, values))
    frames = [_make_noise()]
    changed, count = equalize_channels(model, observe(model, list_observed_tensors(model), frames))
    assert count == 1
    exact = compute_tensor(model, "y", frames[0])
    assert np.abs(compute_tensor(changed, "y", frames[0]) - exact).max() <= 1e-5 * np.abs(exact).max()
    peaks = observe(changed, ["a"], frames)["a"].channel_peak
    others = np.delete(peaks, 1)
    assert others.max() / others.min() < 100
    if part == "row":
        assert peaks[1] == 0


def test_a_channel_that_hardly_speaks_is_not_blown_up() -> None:
    """On other frames than those it may be louder."""
    model = make_graph([make_conv("plain", "a", "y")], ["y"])
    graph = OnnxGraph(model)
    for name in ("writer", "writer.bias"):
        values = graph.get_value(name).copy()
        values[1] *= 1e-6
        graph.constants[name].CopyFrom(make_constant(name, values))
    changed, _ = equalize_channels(model, observe(model, list_observed_tensors(model), [_make_noise()]))
    before, after = (observe(m, ["a"], [_make_noise()])["a"].channel_peak for m in (model, changed))
    louder = after / before
    assert louder[1] == louder.max() and louder.max() / louder.min() < 1010


def test_a_constant_that_two_nodes_share_becomes_two() -> None:
    """Two norms with the same gain: each is divided by factors of its own."""
    gain = {"gain": [1.0, 2.0, 3.0, 4.0], "zero": [0.0] * 4}
    rest = [
        make_node("InstanceNormalization", "a", "b", "gain", "zero"),
        make_node("InstanceNormalization", "a", "c", "zero", "gain"),
        make_conv("pointwise", "b", "y"),
        make_conv("pointwise", "c", "z"),
    ]
    rest[3].name = "another"
    model = make_graph(rest, ["y", "z"], **gain)
    changed, count = equalize_channels(model, observe(model, list_observed_tensors(model), [_make_noise()]))
    assert count == 2
    for result in ("y", "z"):
        exact = compute_tensor(model, result, _make_noise())
        assert (
            np.abs(compute_tensor(changed, result, _make_noise()) - exact).max() <= 1e-5 * np.abs(exact).max()
        )


def _make_noise() -> Any:
    return np.random.default_rng(1).normal(size=(3, 10, 10)).astype(np.float32)
