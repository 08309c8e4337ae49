"""From the canonical graph to one whose convolutions compute in 8 bits, with a floor on its pictures.

First the arithmetic is made to fit 8 bits: transposed convolutions as ordinary ones, the picture on the
engine's grid, channels equalized, ranges and weights clipped where that errs least, biases corrected. Only
where that is not enough do layers go back to float, the worst first.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from i2i_export.canonical import make_example_input, write_onnx
from i2i_export.int8.calibrate import BINS, RANGE_METHODS, Observations, observe, open_session
from i2i_export.int8.equalize import equalize_channels
from i2i_export.int8.qdq import (
    STYLES,
    QuantizedWeights,
    find_eligible_layers,
    list_observed_tensors,
    quantize_all_weights,
    quantize_graph,
)
from i2i_export.job import Job
from i2i_export.passes.conv_transpose import replace_transposed_convolutions
from i2i_export.passes.onnx_graph import OnnxGraph, count_conv_macs, make_constant
from i2i_sdk.bundle.manifest import Requirements, Variant
from i2i_sdk.errors import ExportError, InputError
from i2i_sdk.quality.eval_frames import MAX_FRAMES, ParityInputs, read_inputs
from i2i_sdk.quality.floors import DEFAULT_MIN_PSNR, choose_floor
from i2i_sdk.quality.metrics import psnr
from i2i_sdk.quality.parity import ParityCase

log = logging.getLogger(__name__)

MARGIN = 0.5  # dB above the floor: engines round differently from the one that is asked here
MIN_SHARE = 1 / 3  # of the multiplications; with fewer in 8 bits a variant is INT8 by name only
GOOD_SHARE = 2 / 3  # with so many a variant is worth having in the quality that Translator asks for
CALIBRATION_FRAMES = 128
FEW_FRAMES = 32
SWEEP_FRAMES = 4
CALIBRATION_ADVICE = (
    f"--frames FOLDER_OR_VIDEO with {2 * FEW_FRAMES} images or more like those that the model will see, such "
    f"as frames of its camera, never random ones (every second one calibrates, at most {CALIBRATION_FRAMES}; "
    f"of the others at most {MAX_FRAMES} are compared), or --calibration FOLDER_OR_VIDEO with {FEW_FRAMES} "
    f"or more"
)

ScoreFunction = Callable[[Sequence[str]], float]  # layers in 8 bits -> mean PSNR in dB over held-out frames


@dataclass(frozen=True)
class Int8Graph:
    """A graph with explicit Q/DQ pairs, and what a manifest says of it."""

    path: Path  # in the scratch folder
    macs_in_precision: float  # share of the multiplications in 8 bits, 0..1
    precision_kept: dict[str, str]  # layer -> what it computes in instead
    sensitivity: dict[str, float]  # layer -> dB with it alone in 8 bits; empty where no layer had to go back
    calibration_sha256: str

    @property
    def facts(self) -> dict[str, Any]:
        """The fields of Variant that say how it was quantized."""
        return {name: value for name, value in vars(self).items() if name != "path"}


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


def make_int8_variant(job: Job, backend: str, requires: Requirements) -> Variant:
    """The INT8 variant of an engine that reads ONNX; its style has the backend's name.

    Args:
        job: with frames to calibrate on.
        backend: a style of `qdq.STYLES`.
        requires: what a device needs for it.

    Returns:
        The variant, whose graph is in the bundle.

    Raises:
        ExportError: as `write_graph`.
    """
    found = write_graph(job, backend)
    path = job.folder / f"{job.format_name(backend, 'int8')}.onnx"
    shutil.copyfile(found.path, path)
    return job.make_variant(backend, "int8", [path], requires, **found.facts)


def write_graph(job: Job, style: str, prepared: Int8Preparation | None = None) -> Int8Graph:
    """The job's graph in a style; held-out frames keep the floor.

    Args:
        job: with frames to calibrate on, unless that was done.
        style: of `qdq.STYLES`.
        prepared: None prepares the job.

    Returns:
        Where it was written, and what a manifest says of it.

    Raises:
        ExportError: without frames to calibrate on; where the floor leaves too little in 8 bits.
    """
    prepared = prepared or prepare(job)
    ranges = RANGE_METHODS[job.options.ranges or STYLES[style].range_method]

    def build_graph(layers: Sequence[str]) -> onnx.ModelProto:
        convs = prepared.list_convs(layers)
        return quantize_graph(
            prepared.model, prepared.observations, prepared.weights, convs, STYLES[style], ranges
        )

    layers, alone = _select_layers(job, prepared, build_graph, style)
    path = job.scratch / f"int8-{style}.onnx"
    onnx.save(build_graph(layers), str(path))
    kept = {layer: STYLES[style].fallback_precision for layer in prepared.layers if layer not in layers}
    share = round(prepared.compute_share(layers), 4)
    return Int8Graph(path, share, kept, alone, prepared.calibration_sha256)


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
    job: Job, prepared: Int8Preparation, build_graph: Callable[[Sequence[str]], onnx.ModelProto], style: str
) -> tuple[list[str], dict[str, float]]:
    """The layers in 8 bits with which the first goal that can be reached is, and the sweep if one was needed.

    Raises ExportError when not even the floor can be held by enough of them.
    """

    def score(layers: Sequence[str]) -> float:
        return measure_psnr(build_graph(layers), job.parity_case)

    every, goals = list(prepared.layers), list_goals(job.options.min_psnr)
    job.progress(f"int8 {style}: comparing on {len(job.parity_case.expected)} held-out frames")
    db = score(every)
    if db >= goals[0].db + MARGIN:
        return every, {}
    few = _select_frames(job.parity_case, SWEEP_FRAMES)
    alone = sweep_layers(every, lambda layers: measure_psnr(build_graph(layers), few), job.progress)
    order = rank_layers(alone, {layer: prepared.count_macs([layer]) for layer in every})
    job.progress(f"int8 {style}: how many layers go back to {STYLES[style].fallback_precision}")
    layers = every
    for goal in goals:
        enough = goal.db + MARGIN
        layers = every if db >= enough else find_fallback(order, score, enough)
        if prepared.compute_share(layers) >= goal.min_share:
            return layers, alone
    raise ExportError(
        f"int8 for {style}: {goals[-1].db:.0f} dB leave {prepared.compute_share(layers):.0%} of the "
        f"multiplications in 8 bits, at least {MIN_SHARE:.0%} are needed to be worth it. Take bf16 or fp16, "
        f"calibrate on more frames, or lower --min-psnr"
    )


def sweep_layers(
    layers: Sequence[str], score: ScoreFunction, progress: Callable[[str], None] = lambda text: None
) -> dict[str, float]:
    """How well the picture bears each layer in 8 bits.

    Args:
        layers: their names.
        score: the mean dB with some layers in 8 bits.
        progress: is told which layer is being tried.

    Returns:
        The dB with each layer alone in 8 bits, the worst first.
    """
    found: dict[str, float] = {}
    for number, layer in enumerate(layers, 1):
        progress(f"int8: sensitivity of {len(layers)} layers, {number} of {len(layers)}")
        found[layer] = round(score([layer]), 2)
    return dict(sorted(found.items(), key=lambda item: item[1]))


def rank_layers(alone: Mapping[str, float], macs: Mapping[str, int]) -> list[str]:
    """Layers by the noise that each of their multiplications costs, most first.

    Noise power is 10 ** (-dB / 10). A large layer is kept in 8 bits before a small one with the same noise:
    it is what makes the engine fast.
    """
    return sorted(alone, key=lambda layer: 10 ** (-alone[layer] / 10) / macs[layer], reverse=True)


def find_fallback(order: Sequence[str], score: ScoreFunction, floor: float) -> list[str]:
    """As many layers in 8 bits as keep a floor.

    Fewer layers in 8 bits are taken to be better, so that the number is found by halving; the result itself
    was measured. With none left the picture is exact.

    Args:
        order: the layers; the first go back first.
        score: the mean dB with some layers in 8 bits.
        floor: in dB.

    Returns:
        The last of `order`, or none.
    """
    held: list[str] = []
    fewest, most = 1, len(order)  # layers that go back; 0 was tried by the caller
    while fewest <= most:
        back = (fewest + most) // 2
        left = list(order[back:])
        if not left or score(left) >= floor:
            held, most = left, back - 1
        else:
            fewest = back + 1
    return held


@lru_cache(maxsize=1)  # all targets of a job share it
def prepare(job: Job) -> Int8Preparation:
    """The float graph in its best form for 8 bits, and what its tensors show on the calibration frames.

    It is made once for a job. Raises ExportError without frames to calibrate on.
    """
    frames = read_calibration_inputs(job)
    module = copy.deepcopy(job.module)
    replace_transposed_convolutions(module)
    path = job.scratch / "int8-float.onnx"
    write_onnx(module, make_example_input(job.spec, job.height, job.width, batch=2), path)
    model = onnx.load(str(path))
    picture = align_picture_to_grid(model)
    layers = find_eligible_layers(model)
    if not layers:
        raise ExportError("int8: this network has no convolutions that can be quantized")
    if len(frames) < FEW_FRAMES:
        log.warning(
            "int8: calibrated on %d frames; fewer than %d may miss what your camera shows",
            len(frames),
            FEW_FRAMES,
        )
    job.progress(f"int8: ranges of activations on {len(frames)} frames")
    model, count = equalize_channels(model, observe(model, list_observed_tensors(model), frames[::4]))
    log.info("channels of %d tensors equalized", count)
    seen = observe(model, list_observed_tensors(model), frames)
    if picture is not None:  # its values fill their grid, whatever the calibration frames show of it
        low, high = -128 / 127.5, 127 / 127.5
        known = {"low": low, "high": high, "reach": -low, "counts": np.ones(BINS), "has_known_range": True}
        seen[picture] = replace(seen[picture], **known)
    macs, weights = count_conv_macs(OnnxGraph(model)), quantize_all_weights(model)
    return Int8Preparation(model, layers, macs, seen, weights, _compute_sha256(frames))


def read_calibration_inputs(job: Job) -> tuple[NDArray[Any], ...]:
    """Up to 128 real frames at the engine's size, none of which the result is judged on.

    Raises ExportError without any, MediaError as `read_inputs`.
    """
    options = job.options
    source = options.calibration or options.frames
    if source is None:
        raise ExportError(f"int8 needs real frames to calibrate on: {CALIBRATION_ADVICE}")
    part = "all" if options.calibration else "odd"
    size = job.height, job.width, job.spec.config.in_channels
    try:
        return read_inputs(Path(source), *size, part=part, max_inputs=CALIBRATION_FRAMES).arrays
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


def measure_psnr(model: onnx.ModelProto, parity_case: ParityCase) -> float:
    """Mean PSNR of a graph's pictures in ONNX Runtime against PyTorch's."""
    session = open_session(model)
    name = session.get_inputs()[0].name
    pictures = (np.asarray(session.run(None, {name: frame[None]})[0]) for frame in parity_case.inputs.arrays)
    return float(np.mean([psnr(p[0], e) for p, e in zip(pictures, parity_case.expected, strict=True)]))


def _select_frames(parity_case: ParityCase, max_frames: int) -> ParityCase:
    """At most so many of the trial's frames, evenly spread."""
    step = max(1, len(parity_case.expected) // max_frames)
    chosen = slice(0, step * max_frames, step)
    inputs = parity_case.inputs
    few = ParityInputs(inputs.names[chosen], inputs.arrays[chosen], inputs.source)
    return ParityCase(few, parity_case.expected[chosen])
