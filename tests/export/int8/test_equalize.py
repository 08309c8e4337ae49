"""Channels made equally large: the pictures stay, and nothing changes where they would not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, helper

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
from i2i_export.passes.onnx_graph import OnnxGraph, make_constant
from tests.export.conftest import (
    SMALL,
    FindGraph,
    link_first_files,
    make_float_model,
    make_int8_job,
    run_graph,
)

# Tensors that can be equalized in each: all that a norm (or, folded, a convolution) writes for convolutions
# alone, so none whose values are also added to (ResNet blocks) or concatenated (U-Net skips).
COUNTS = {"resnet_gray": 5, "mobile": 8, "unet": 1, "unet_instance": 1}
OTHER_COUNT = 6
NOISE: Any = np.random.default_rng(1).normal(size=(3, 10, 10)).astype(np.float32)


def make_frames(model: onnx.ModelProto, count: int = 3) -> list[NDArray[np.uint8]]:
    sides = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:]
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, sides, np.uint8) for _ in range(count)]


def equalize_on(model: onnx.ModelProto, frames: Sequence[NDArray[Any]]) -> tuple[onnx.ModelProto, int]:
    return equalize_channels(model, observe(model, list_observed_tensors(model), frames))


def measure_error(model: onnx.ModelProto, changed: onnx.ModelProto, tensor: str, frame: Any) -> float:
    """The largest difference of a tensor, as a share of its largest value."""
    exact, found = (run_graph(graph, frame[None], tensor) for graph in (model, changed))
    return float(np.abs(found - exact).max() / np.abs(exact).max())


def measure_channel_spread(model: onnx.ModelProto, frames: Sequence[NDArray[Any]]) -> float:
    """Largest over smallest peak of a channel, mean over the convolutions' inputs that are no picture."""
    graph = OnnxGraph(model)
    inputs = list(dict.fromkeys(find_unpadded(graph, conv.input[0]) for conv in graph.find_nodes("Conv")))[1:]
    peaks = [np.maximum(a.channel_peak, 1e-2) for a in observe(model, inputs, frames).values()]
    return float(np.mean([p.max() / p.min() for p in peaks]))


@pytest.mark.parametrize("name", SMALL)
def test_pictures_stay(name: str, float_graph: FindGraph) -> None:
    model = float_graph(name)
    frames, before = make_frames(model), model.SerializeToString()
    changed, count = equalize_on(model, frames)
    assert count == COUNTS.get(name, OTHER_COUNT)
    assert model.SerializeToString() == before
    onnx.checker.check_model(changed, full_check=True)
    (last,) = OnnxGraph(model).find_nodes("Tanh")
    assert all(measure_error(model, changed, last.input[0], frame) <= 1e-5 for frame in frames)


def test_what_it_is_for(root: Path, crops: Path, tmp_path: Path) -> None:
    """The trained ResNet-9, all of it in INT8 as OpenVINO takes it."""
    checkpoint = root / "models" / "maps_resnet9" / "latest_net_G.safetensors"
    job = make_int8_job(checkpoint, tmp_path / "job", link_first_files(8, crops, tmp_path / "few"))
    frames, model = read_calibration_inputs(job), onnx.load(str(job.graph))
    found: list[tuple[float, float]] = []
    for graph in (model, equalize_on(model, frames)[0]):
        convs = [conv for layer in find_eligible_layers(graph).values() for conv in layer]
        seen = observe(graph, list_observed_tensors(graph), frames)
        weights, style = quantize_all_weights(graph), STYLES["openvino"]
        rounded = quantize_graph(graph, seen, weights, convs, style, choose_percentile_range)
        found.append((measure_channel_spread(graph, frames), measure_psnr(rounded, job.parity_case)))
    (spread, db), (even, better) = found
    assert even < 0.7 * spread and better > db + 2


# x (3 channels) -> Conv "writer" -> a (4 channels) -> ... -> what the rest of a graph makes of it.
WEIGHTS = {
    "writer": (4, 3, 3, 3),
    "plain": (5, 4, 3, 3),
    "grouped": (6, 2, 3, 3),
    "depthwise": (4, 1, 3, 3),
    "pointwise": (2, 4, 1, 1),
}


def make_conv(weights: str, source: str, result: str, **attributes: Any) -> NodeProto:
    inputs = [source, weights, f"{weights}.bias"]
    return helper.make_node("Conv", inputs, [result], f"{weights}>", **attributes)


def make_graph(rest: Sequence[NodeProto], results: Iterable[str], **constants: Any) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    values: dict[str, Any] = {name: rng.normal(size=shape) for name, shape in WEIGHTS.items()}
    values |= {f"{name}.bias": rng.normal(size=shape[0]) for name, shape in WEIGHTS.items()}
    values["writer"] *= np.reshape([0.01, 1, 5, 30], (4, 1, 1, 1))
    values |= {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]), **constants}
    nodes = [make_conv("writer", "x", "a"), *rest]
    model = make_float_model(nodes, [1, 3, 10, 10], results, **values)
    remove_unused(model)
    return model


def make_node(kind: str, source: str, result: str, *others: str, **attributes: Any) -> NodeProto:
    return helper.make_node(kind, [source, *others], [result], f"{kind}>{result}", **attributes)


READ = make_conv("plain", "b", "y")
RELU, PAD = make_node("Relu", "a", "b"), make_node("Pad", "b", "c", "pads")
RESIZE = ("", "scales")
# Whether a factor passes, the nodes, and the graph's outputs, each of one letter.
CASES: dict[str, tuple[bool, list[NodeProto], str]] = {
    "a convolution": (True, [make_conv("plain", "a", "y")], "y"),
    "relu": (True, [RELU, READ], "y"),
    "leaky relu": (True, [make_node("LeakyRelu", "a", "b", alpha=0.2), READ], "y"),
    "reflected": (True, [make_node("Pad", "a", "b", "pads", mode="reflect"), READ], "y"),
    "replicated": (True, [make_node("Pad", "a", "b", "pads", mode="edge"), READ], "y"),
    "padded with 0": (True, [make_node("Pad", "a", "b", "pads"), READ], "y"),
    "padded with a 0 that stands there": (True, [make_node("Pad", "a", "b", "pads", "nothing"), READ], "y"),
    "enlarged": (True, [make_node("Resize", "a", "b", *RESIZE, mode="linear"), READ], "y"),
    "several convolutions": (
        True,
        [RELU, READ, make_conv("pointwise", "b", "z"), PAD, make_conv("depthwise", "c", "d", group=4)],
        "yzd",
    ),
    "depthwise": (True, [make_conv("depthwise", "a", "y", group=4)], "y"),
    "grouped": (False, [make_conv("grouped", "a", "y", group=2)], "y"),
    "padded with 1": (False, [make_node("Pad", "a", "b", "pads", "one"), READ], "y"),
    "sigmoid": (False, [make_node("Sigmoid", "a", "b"), READ], "y"),
    "clipped": (False, [make_node("Clip", "a", "b", "nothing", "one"), READ], "y"),
    "a skip connection": (False, [make_conv("pointwise", "a", "y"), make_node("Neg", "a", "z")], "yz"),
    "a skip connection after the relu": (
        False,
        [RELU, READ, make_node("Concat", "b", "z", "b", axis=1)],
        "yz",
    ),
    "the graph's output": (False, [make_conv("plain", "a", "y")], "ya"),
    "the graph's output after the relu": (False, [RELU, READ], "yb"),
    "nothing reads it": (False, [], "a"),
}


@pytest.mark.parametrize("case", CASES)
def test_only_what_a_factor_passes_through(case: str) -> None:
    changes, rest, results = CASES[case]
    model = make_graph(rest, results, nothing=0, one=1, scales=[1, 1, 2, 2])
    frames = [NOISE, np.random.default_rng(2).normal(size=(3, 10, 10)).astype(np.float32)]
    changed, count = equalize_on(model, frames)
    assert count == int(changes)
    for result in results:
        assert measure_error(model, changed, result, NOISE) <= (1e-5 if changes else 0)
    if changes:
        seen = [observe(m, ["a"], frames)["a"].channel_peak for m in (model, changed)]
        before, after = (peaks.max() / peaks.min() for peaks in seen)
        assert before > 300 and after < before / 10


def scale_channel(model: onnx.ModelProto, factor: float, places: dict[str, Any]) -> None:
    """Multiply parts of constants, by name and index."""
    graph = OnnxGraph(model)
    for name, index in places.items():
        values = graph.get_value(name).copy()
        values[index] *= factor
        graph.constants[name].CopyFrom(make_constant(name, values))


ROW = {"writer": 1, "writer.bias": 1}  # of channel 1


@pytest.mark.parametrize("places", [ROW, {"plain": (slice(None), 1)}], ids=["row", "column"])
def test_a_silent_channel_leaves_the_others_even(places: dict[str, Any]) -> None:
    """Nothing comes through channel 1, or nobody listens to it."""
    model = make_graph([make_conv("plain", "a", "y")], "y")
    scale_channel(model, 0, places)
    changed, count = equalize_on(model, [NOISE])
    assert count == 1 and measure_error(model, changed, "y", NOISE) <= 1e-5
    peaks = observe(changed, ["a"], [NOISE])["a"].channel_peak
    others = np.delete(peaks, 1)
    assert others.max() / others.min() < 100
    assert peaks[1] == 0 or places is not ROW


def test_a_channel_that_hardly_speaks_is_not_blown_up() -> None:
    """On other frames than those it may be louder."""
    model = make_graph([make_conv("plain", "a", "y")], "y")
    scale_channel(model, 1e-6, ROW)
    changed, _ = equalize_on(model, [NOISE])
    before, after = (observe(m, ["a"], [NOISE])["a"].channel_peak for m in (model, changed))
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
    model = make_graph(rest, "yz", **gain)
    changed, count = equalize_on(model, [NOISE])
    assert count == 2
    assert all(measure_error(model, changed, result, NOISE) <= 1e-5 for result in "yz")
