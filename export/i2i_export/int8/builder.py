"""From the canonical graph to one whose convolutions compute in 8 bits, with a floor on its pictures.

First the arithmetic is made to fit 8 bits: transposed convolutions as ordinary ones, the picture on the
engine's grid, channels equalized, ranges and weights clipped where that errs least, biases corrected. Only
where that is not enough do layers go back to float, the worst first.
"""

from __future__ import annotations

import copy
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from i2i_export.canonical import Uint8Translator, make_example_input, write_onnx
from i2i_export.int8.calibrate import BINS, RANGE_METHODS, Activation, Observations, observe
from i2i_export.int8.equalize import equalize_channels
from i2i_export.int8.qdq import (
    STYLES,
    QuantizedWeights,
    find_eligible_layers,
    list_observed_tensors,
    quantize_all_weights,
    quantize_graph,
)
from i2i_export.options import ExportOptions
from i2i_export.passes import replace_transposed_convolutions
from i2i_export.passes.onnx_graph import OnnxGraph, count_conv_macs, make_constant
from i2i_sdk.bundle.manifest import Variant
from i2i_sdk.errors import ExportError, InputError
from i2i_sdk.quality.eval_frames import ParityInputs, read_inputs
from i2i_sdk.quality.floors import DEFAULT_MIN_PSNR, choose_floor
from i2i_sdk.quality.metrics import psnr
from i2i_sdk.quality.parity import ParityCase
from i2i_training.networks import GeneratorSpec

log = logging.getLogger(__name__)

MARGIN = 0.5  # dB above the floor: engines round differently from the one that is asked here
MIN_SHARE = 1 / 3  # of the multiplications; with fewer in 8 bits a variant is INT8 by name only
GOOD_SHARE = 2 / 3  # with so many a variant is worth having in the quality that Translator asks for
CALIBRATION_FRAMES = 128
FEW_FRAMES = 32
SWEEP_FRAMES = 4

ScoreFunction = Callable[[Sequence[str]], float]  # layers in 8 bits -> mean PSNR in dB over held-out frames


@dataclass(frozen=True)
class Int8Graph:
    """A graph with explicit Q/DQ pairs, and what a manifest says of it."""

    path: Path  # in the scratch folder
    macs_share: float  # of the multiplications in 8 bits, 0..1
    kept: dict[str, str]  # layer -> what it computes in instead
    sensitivity: dict[str, float]  # layer -> dB with it alone in 8 bits; empty where no layer had to go back
    calibration_sha256: str

    def describe_variant(self, variant: Variant) -> Variant:
        """`variant` with what a manifest says of its quantization."""
        return replace(
            variant,
            macs_in_precision=self.macs_share,
            precision_kept=self.kept,
            sensitivity=self.sensitivity,
            calibration_sha256=self.calibration_sha256,
        )


@dataclass(frozen=True)
class Int8Preparation:
    """What all styles share."""

    model: onnx.ModelProto  # float, the same pictures as the canonical graph
    layers: dict[str, list[str]]
    macs: dict[str, int]
    observations: Observations
    weights: dict[str, QuantizedWeights]
    calibration_sha256: str

    def list_convs(self, layers: Sequence[str]) -> list[str]:
        """Names of the Conv nodes of these layers."""
        return [conv for layer in layers for conv in self.layers[layer]]

    def count_macs(self, layers: Sequence[str]) -> int:
        """Multiplications that these layers do."""
        return sum(self.macs[conv] for conv in self.list_convs(layers))

    def compute_share(self, layers: Sequence[str]) -> float:
        """The share, 0..1, of all multiplications that these layers do."""
        return self.count_macs(layers) / sum(self.macs.values())


@dataclass(frozen=True)
class Int8Builder:
    """The INT8 graphs of one network at one size: what they share is prepared once, each is written once."""

    module: Uint8Translator
    spec: GeneratorSpec
    height: int
    width: int
    scratch: Path
    parity_case: ParityCase  # on whose frames the floor has to hold
    options: ExportOptions
    progress: Callable[[str], None]
    graphs: dict[str, Int8Graph] = field(default_factory=dict[str, "Int8Graph"])  # style -> what was written

    @cached_property
    def preparation(self) -> Int8Preparation:
        """Raises ExportError without frames to calibrate on."""
        return _prepare(self)

    def write_graph(self, style: str) -> Int8Graph:
        """The graph in the given style of `qdq.STYLES`; held-out frames keep the floor.

        Raises ExportError without frames to calibrate on, and where the floor leaves too little in 8 bits.
        """
        if style not in self.graphs:
            self.graphs[style] = _write_int8_graph(self, style)
        return self.graphs[style]


def _write_int8_graph(builder: Int8Builder, style: str) -> Int8Graph:
    prepared = builder.preparation
    ranges = RANGE_METHODS[builder.options.ranges or STYLES[style].range_method]

    def build_graph(layers: Sequence[str]) -> onnx.ModelProto:
        convs = prepared.list_convs(layers)
        return quantize_graph(
            prepared.model, prepared.observations, prepared.weights, convs, STYLES[style], ranges
        )

    layers, alone = _select_layers(builder, build_graph, style)
    path = builder.scratch / f"int8-{style}.onnx"
    onnx.save(build_graph(layers), str(path))
    kept = {layer: STYLES[style].fallback_precision for layer in prepared.layers if layer not in layers}
    return Int8Graph(path, round(prepared.compute_share(layers), 4), kept, alone, prepared.calibration_sha256)


@dataclass(frozen=True)
class QualityGoal:
    """What is wanted of the pictures, and what may be given for it."""

    db: float
    min_share: float  # of the multiplications in 8 bits, 0..1


def list_goals(min_psnr: float | None) -> tuple[QualityGoal, ...]:
    """The best first: what Translator takes unless told otherwise, if it costs little, then the floor."""
    floor = QualityGoal(choose_floor("int8", min_psnr), MIN_SHARE)
    return (floor,) if min_psnr is not None else (QualityGoal(DEFAULT_MIN_PSNR, GOOD_SHARE), floor)


def _select_layers(
    builder: Int8Builder, build_graph: Callable[[Sequence[str]], onnx.ModelProto], style: str
) -> tuple[list[str], dict[str, float]]:
    """The layers in 8 bits with which the first goal that can be reached is, and the sweep if one was needed.

    Raises ExportError when not even the floor can be held by enough of them.
    """

    def score(layers: Sequence[str]) -> float:
        return measure_psnr(build_graph(layers), builder.parity_case)

    prepared = builder.preparation
    every, goals = list(prepared.layers), list_goals(builder.options.min_psnr)
    builder.progress(f"int8 {style}: comparing on held-out frames")
    db = score(every)
    if db >= goals[0].db + MARGIN:
        return every, {}
    few = _select_frames(builder.parity_case, SWEEP_FRAMES)
    alone = sweep_layers(every, lambda layers: measure_psnr(build_graph(layers), few), builder.progress)
    order = rank_layers(alone, {layer: prepared.count_macs([layer]) for layer in every})
    builder.progress(f"int8 {style}: how many layers go back to {STYLES[style].fallback_precision}")
    layers = every
    for goal in goals:
        enough = goal.db + MARGIN
        layers = every if db >= enough else find_fallback(order, score, enough)[0]
        if prepared.compute_share(layers) >= goal.min_share:
            return layers, alone
    raise ExportError(
        f"int8 for {style}: {goals[-1].db:.0f} dB leave {prepared.compute_share(layers):.0%} "
        "of the multiplications "
        f"in 8 bits, at least {MIN_SHARE:.0%} are needed to be worth it. Take bf16 or fp16, calibrate on "
        f"more frames, or lower --min-psnr"
    )


def sweep_layers(
    layers: Sequence[str], score: ScoreFunction, progress: Callable[[str], None] = lambda text: None
) -> dict[str, float]:
    """The dB with each layer alone in 8 bits, the worst first."""
    found: dict[str, float] = {}
    for number, layer in enumerate(layers, 1):
        progress(f"sensitivity: layer {number} of {len(layers)}")
        found[layer] = round(score([layer]), 2)
    return dict(sorted(found.items(), key=lambda item: item[1]))


def rank_layers(alone: Mapping[str, float], macs: Mapping[str, int]) -> list[str]:
    """Layers by the noise that each of their multiplications costs, most first.

    Noise power is 10 ** (-dB / 10). A large layer is kept in 8 bits before a small one with the same noise:
    it is what makes the engine fast.
    """
    return sorted(alone, key=lambda layer: 10 ** (-alone[layer] / 10) / macs[layer], reverse=True)


def find_fallback(order: Sequence[str], score: ScoreFunction, floor: float) -> tuple[list[str], float]:
    """As many of the last of `order` in 8 bits as keep `floor`, and the dB they have.

    Fewer layers in 8 bits are taken to be better, so that the number is found by halving; the result itself
    was measured. With none left the picture is exact: ([], inf).
    """
    held: tuple[list[str], float] = ([], float("inf"))
    fewest, most = 1, len(order)  # layers that go back; 0 was tried by the caller
    while fewest <= most:
        back = (fewest + most) // 2
        left = list(order[back:])
        db = score(left) if left else float("inf")
        if db >= floor:
            held, most = (left, db), back - 1
        else:
            fewest = back + 1
    return held


def _prepare(builder: Int8Builder) -> Int8Preparation:
    """The float graph in its best form for 8 bits, and what its tensors show on the calibration frames."""
    frames = read_calibration_inputs(builder)
    module = copy.deepcopy(builder.module)
    replace_transposed_convolutions(module)
    path = builder.scratch / "int8-float.onnx"
    write_onnx(module, make_example_input(builder.spec, builder.height, builder.width, batch=2), path)
    model = onnx.load(str(path))
    picture = align_picture_to_grid(model)
    layers = find_eligible_layers(model)
    if not layers:
        raise ExportError("int8: this network has no convolutions that can be quantized")
    builder.progress(f"int8: ranges of activations on {len(frames)} frames")
    model, count = equalize_channels(model, observe(model, list_observed_tensors(model), frames[::4]))
    log.info("channels of %d tensors equalized", count)
    seen = observe(model, list_observed_tensors(model), frames)
    if picture is not None:
        seen[picture] = _set_known_range(seen[picture])
    if len(frames) < FEW_FRAMES:
        log.warning(
            "int8: calibrated on %d frames; fewer than %d may miss what your camera shows",
            len(frames),
            FEW_FRAMES,
        )
    return Int8Preparation(
        model,
        layers,
        count_conv_macs(OnnxGraph(model)),
        seen,
        quantize_all_weights(model),
        _compute_sha256(frames),
    )


def read_calibration_inputs(builder: Int8Builder) -> tuple[NDArray[Any], ...]:
    """Up to 128 real frames at the engine's size, none of which the result is judged on.

    Raises ExportError without any, MediaError as `read_inputs`.
    """
    options, spec = builder.options, builder.spec
    source = options.calibration or options.frames
    if source is None:
        raise ExportError(
            "int8 needs real frames to calibrate on: --frames FOLDER_OR_VIDEO, of which every second one is "
            "taken, or --calibration FOLDER_OR_VIDEO"
        )
    part = "all" if options.calibration else "odd"
    channels = spec.config.in_channels
    size = builder.height, builder.width
    try:
        return read_inputs(source, *size, channels, part=part, max_inputs=CALIBRATION_FRAMES).arrays
    except InputError as error:
        raise ExportError(f"int8: {error}") from error


def _compute_sha256(arrays: Sequence[NDArray[Any]]) -> str:
    """Of all values in their order: the same frames give the same hash anywhere."""
    digest = hashlib.sha256()
    for values in arrays:
        digest.update(values.tobytes())
    return digest.hexdigest()


def align_picture_to_grid(model: onnx.ModelProto) -> str | None:
    """Shift the picture by half a step, in place, so that 8 bits hold it exactly; its tensor's name.

    x / 127.5 - 1 has 256 values half way between those of a grid that contains 0, as every 8-bit grid does.
    Half a step less, and the first convolution's bias makes up for it: exact, but for zeros at the border
    that such a convolution may add itself, which then count as half a step. None where anything else sees
    the picture.
    """
    graph = OnnxGraph(model)
    for shift in graph.find_nodes("Sub"):
        picture = shift.output[0]
        direct = graph.consumers.get(picture, [])
        readers = [r for d in direct for r in (graph.consumers[d.output[0]] if d.op_type == "Pad" else [d])]
        plain = shift.input[1] in graph.constants and graph.get_value(shift.input[1]).tolist() == 1.0
        if not plain or not readers or any(reader.op_type != "Conv" for reader in readers):
            continue
        values = {f"{shift.name}.shift": np.float32(128 / 127.5)}
        shift.input[1] = f"{shift.name}.shift"
        for conv in readers:
            bias = graph.get_value(conv.input[2]) if len(conv.input) > 2 else np.float32(0)
            taps = graph.get_value(conv.input[1]).sum((1, 2, 3))
            values[f"{conv.name}.shifted"] = bias + taps * np.float32(0.5 / 127.5)
            conv.input[:] = [*conv.input[:2], f"{conv.name}.shifted"]
        model.graph.initializer.extend(make_constant(n, np.asarray(v, np.float32)) for n, v in values.items())
        return picture
    return None


def _set_known_range(activation: Activation) -> Activation:
    """A picture's values fill their grid, whatever the calibration frames show of it."""
    low, high = -128 / 127.5, 127 / 127.5
    return Activation(
        low, high, -low, np.ones(BINS), activation.channel_mean, activation.channel_peak, has_known_range=True
    )


def measure_psnr(model: onnx.ModelProto, parity_case: ParityCase) -> float:
    """Mean PSNR of a graph's pictures in ONNX Runtime against PyTorch's."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    pictures = (np.asarray(session.run(None, {name: frame[None]})[0]) for frame in parity_case.inputs.arrays)
    return float(np.mean([psnr(p[0], e) for p, e in zip(pictures, parity_case.expected, strict=True)]))


def _select_frames(parity_case: ParityCase, max_frames: int) -> ParityCase:
    """At most so many of the trial's frames, evenly spread."""
    step = max(1, len(parity_case.expected) // max_frames)
    chosen = slice(0, step * max_frames, step)
    inputs = ParityInputs(
        parity_case.inputs.names[chosen], parity_case.inputs.arrays[chosen], parity_case.inputs.source
    )
    return ParityCase(inputs, parity_case.expected[chosen])
