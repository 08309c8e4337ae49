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

from i2i_export.calibrate import observe, percentile
from i2i_export.equalise import equalised
from i2i_export.int8 import calibration_inputs, decibels
from i2i_export.onnx_graph import Graph, constant
from i2i_export.options import ExportOptions
from i2i_export.quantize import (
    STYLES,
    all_weights,
    eligible,
    quantised,
    remove_unused,
    tensors_to_observe,
    unpadded,
)
from tests.export.conftest import SMALL, make_job

# Tensors that can be equalised in each: all that a norm (or, folded, a convolution) writes for convolutions
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


def frames_for(model: onnx.ModelProto, count: int = 3) -> list[NDArray[np.uint8]]:
    sides = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:]
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, sides, np.uint8) for _ in range(count)]


def values_of(model: onnx.ModelProto, tensor: str, frame: NDArray[Any]) -> NDArray[np.float32]:
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    if tensor not in {output.name for output in model.graph.output}:
        watched.graph.output.append(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run([tensor], {session.get_inputs()[0].name: frame[None]})[0])


def spread_of_channels(model: onnx.ModelProto, frames: Sequence[NDArray[Any]]) -> float:
    """Largest over smallest peak of a channel, mean over the convolutions' inputs that are no picture."""
    graph = Graph(model)
    inputs = list(dict.fromkeys(unpadded(graph, conv.input[0]) for conv in graph.nodes("Conv")))[1:]
    peaks = [np.maximum(a.channel_peak, 1e-2) for a in observe(model, inputs, frames).values()]
    return float(np.mean([p.max() / p.min() for p in peaks]))


@pytest.mark.parametrize("name", SMALL)
def test_pictures_stay(name: str, float_graph: Callable[[str], onnx.ModelProto]) -> None:
    model = float_graph(name)
    frames, before = frames_for(model), model.SerializeToString()
    changed, count = equalised(model, observe(model, tensors_to_observe(model), frames))
    assert count == COUNTS[name]
    assert model.SerializeToString() == before
    onnx.checker.check_model(changed, full_check=True)
    (last,) = Graph(model).nodes("Tanh")
    for frame in frames:
        exact = values_of(model, last.input[0], frame)
        assert np.abs(values_of(changed, last.input[0], frame) - exact).max() <= 1e-5 * np.abs(exact).max()


def test_what_it_is_for(root: Path, crops: Path, tmp_path: Path) -> None:
    """The trained ResNet-9, all of it in INT8 as OpenVINO takes it."""
    checkpoint = root / "models" / "maps_resnet9" / "latest_net_G.safetensors"
    (tmp_path / "few").mkdir()
    for path in sorted(crops.iterdir())[:8]:
        (tmp_path / "few" / path.name).symlink_to(path)
    job = make_job(checkpoint, tmp_path / "job", 64, ExportOptions(frames=tmp_path / "few"))
    frames, model = calibration_inputs(job), onnx.load(str(job.graph))
    found: list[tuple[float, float]] = []
    for graph in (model, equalised(model, observe(model, tensors_to_observe(model), frames))[0]):
        convs = [conv for layer in eligible(graph).values() for conv in layer]
        seen = observe(graph, tensors_to_observe(graph), frames)
        rounded = quantised(graph, seen, all_weights(graph), convs, STYLES["openvino"], percentile)
        found.append((spread_of_channels(graph, frames), decibels(rounded, job.trial)))
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


def conv(weights: str, source: str, result: str, **attributes: Any) -> NodeProto:
    return helper.make_node(
        "Conv", [source, weights, f"{weights}.bias"], [result], f"{weights}>", **attributes
    )


def graph_of(rest: Sequence[NodeProto], results: Sequence[str], **constants: Any) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    values: dict[str, Any] = {name: rng.normal(size=shape) for name, shape in WEIGHTS.items()}
    values |= {f"{name}.bias": rng.normal(size=shape[0]) for name, shape in WEIGHTS.items()}
    values["writer"] *= np.reshape([0.01, 1, 5, 30], (4, 1, 1, 1))
    tensors = [constant(name, np.asarray(value, np.float32)) for name, value in values.items()]
    tensors += [constant("pads", np.array([0, 0, 1, 1, 0, 0, 1, 1]))]
    tensors += [constant(name, np.asarray(value, np.float32)) for name, value in constants.items()]
    nodes = [conv("writer", "x", "a"), *rest]
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


def node(kind: str, source: str, result: str, *others: str, **attributes: Any) -> NodeProto:
    return helper.make_node(kind, [source, *others], [result], f"{kind}>{result}", **attributes)


READ = conv("plain", "b", "y")
PAD = node("Pad", "b", "c", "pads")
RESIZE = ("", "scales")
AROUND = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 1.0}
CASES: dict[str, tuple[bool, list[NodeProto], tuple[str, ...]]] = {
    "a convolution": (True, [conv("plain", "a", "y")], ("y",)),
    "relu": (True, [node("Relu", "a", "b"), READ], ("y",)),
    "leaky relu": (True, [node("LeakyRelu", "a", "b", alpha=0.2), READ], ("y",)),
    "reflected": (True, [node("Pad", "a", "b", "pads", mode="reflect"), READ], ("y",)),
    "replicated": (True, [node("Pad", "a", "b", "pads", mode="edge"), READ], ("y",)),
    "padded with 0": (True, [node("Pad", "a", "b", "pads"), READ], ("y",)),
    "padded with a 0 that stands there": (True, [node("Pad", "a", "b", "pads", "nothing"), READ], ("y",)),
    "enlarged": (True, [node("Resize", "a", "b", *RESIZE, mode="linear"), READ], ("y",)),
    "several convolutions": (
        True,
        [
            node("Relu", "a", "b"),
            READ,
            conv("pointwise", "b", "z"),
            PAD,
            conv("depthwise", "c", "d", group=4),
        ],
        ("y", "z", "d"),
    ),
    "depthwise": (True, [conv("depthwise", "a", "y", group=4)], ("y",)),
    "grouped": (False, [conv("grouped", "a", "y", group=2)], ("y",)),
    "padded with 1": (False, [node("Pad", "a", "b", "pads", "one"), READ], ("y",)),
    "enlarged with 1 around": (False, [node("Resize", "a", "b", "frame", "scales", **AROUND), READ], ("y",)),
    "sigmoid": (False, [node("Sigmoid", "a", "b"), READ], ("y",)),
    "clipped": (False, [node("Clip", "a", "b", "nothing", "one"), READ], ("y",)),
    "a skip connection": (False, [conv("pointwise", "a", "y"), node("Neg", "a", "z")], ("y", "z")),
    "a skip connection after the relu": (
        False,
        [node("Relu", "a", "b"), READ, node("Concat", "b", "z", "b", axis=1)],
        ("y", "z"),
    ),
    "the graph's output": (False, [conv("plain", "a", "y")], ("y", "a")),
    "the graph's output after the relu": (False, [node("Relu", "a", "b"), READ], ("y", "b")),
    "nothing reads it": (False, [], ("a",)),
}


@pytest.mark.parametrize("case", CASES)
def test_only_what_a_factor_passes_through(case: str) -> None:
    changes, rest, results = CASES[case]
    frame = [0, 0, -0.2, -0.2, 1, 1, 1.2, 1.2]
    model = graph_of(rest, results, nothing=0, one=1, scales=[1, 1, 2, 2], frame=frame)
    frames: list[Any] = [np.random.default_rng(i).normal(size=(3, 10, 10)).astype(np.float32) for i in (1, 2)]
    changed, count = equalised(model, observe(model, tensors_to_observe(model), frames))
    assert count == int(changes)
    for result in results:
        exact = values_of(model, result, frames[0])
        error = np.abs(values_of(changed, result, frames[0]) - exact).max()
        assert error <= (1e-5 * np.abs(exact).max() if changes else 0)
    if changes:
        seen = [observe(m, ["a"], frames)["a"].channel_peak for m in (model, changed)]
        before, after = (peaks.max() / peaks.min() for peaks in seen)
        assert before > 300 and after < before / 10


def test_a_convolution_whose_weights_are_computed_stays() -> None:
    rest = [node("Neg", "plain", "negative"), conv("plain", "a", "y")]
    rest[1].input[1] = "negative"
    model = graph_of(rest, ["y"])
    _, count = equalised(model, observe(model, tensors_to_observe(model), [_noise()]))
    assert count == 0
    model = graph_of([conv("plain", "a", "y")], ["y"])
    model.graph.node.insert(0, node("Neg", "writer", "negative"))
    model.graph.node[1].input[1] = "negative"
    _, count = equalised(model, observe(model, tensors_to_observe(model), [_noise()]))
    assert count == 0


@pytest.mark.parametrize("part", ["row", "column"])
def test_a_silent_channel_leaves_the_others_even(part: str) -> None:
    """Nothing comes through channel 1, or nobody listens to it."""
    model = graph_of([conv("plain", "a", "y")], ["y"])
    graph = Graph(model)
    for name, index in {"row": [("writer", 1), ("writer.bias", 1)], "column": [("plain", (slice(None), 1))]}[
        part
    ]:
        values = graph.value(name).copy()
        values[index] = 0
        graph.constants[name].CopyFrom(constant(name, values))
    frames = [_noise()]
    changed, count = equalised(model, observe(model, tensors_to_observe(model), frames))
    assert count == 1
    exact = values_of(model, "y", frames[0])
    assert np.abs(values_of(changed, "y", frames[0]) - exact).max() <= 1e-5 * np.abs(exact).max()
    peaks = observe(changed, ["a"], frames)["a"].channel_peak
    others = np.delete(peaks, 1)
    assert others.max() / others.min() < 100
    if part == "row":
        assert peaks[1] == 0


def test_a_channel_that_hardly_speaks_is_not_blown_up() -> None:
    """On other frames than those it may be louder."""
    model = graph_of([conv("plain", "a", "y")], ["y"])
    graph = Graph(model)
    for name in ("writer", "writer.bias"):
        values = graph.value(name).copy()
        values[1] *= 1e-6
        graph.constants[name].CopyFrom(constant(name, values))
    changed, _ = equalised(model, observe(model, tensors_to_observe(model), [_noise()]))
    before, after = (observe(m, ["a"], [_noise()])["a"].channel_peak for m in (model, changed))
    louder = after / before
    assert louder[1] == louder.max() and louder.max() / louder.min() < 1010


def test_a_constant_that_two_nodes_share_becomes_two() -> None:
    """Two norms with the same gain: each is divided by factors of its own."""
    gain = {"gain": [1.0, 2.0, 3.0, 4.0], "zero": [0.0] * 4}
    rest = [
        node("InstanceNormalization", "a", "b", "gain", "zero"),
        node("InstanceNormalization", "a", "c", "zero", "gain"),
        conv("pointwise", "b", "y"),
        conv("pointwise", "c", "z"),
    ]
    rest[3].name = "another"
    model = graph_of(rest, ["y", "z"], **gain)
    changed, count = equalised(model, observe(model, tensors_to_observe(model), [_noise()]))
    assert count == 2
    for result in ("y", "z"):
        exact = values_of(model, result, _noise())
        assert np.abs(values_of(changed, result, _noise()) - exact).max() <= 1e-5 * np.abs(exact).max()


def _noise() -> Any:
    return np.random.default_rng(1).normal(size=(3, 10, 10)).astype(np.float32)
