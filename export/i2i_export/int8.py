"""From the canonical graph to one whose convolutions compute in 8 bits, with a floor on its pictures.

First the arithmetic is made to fit 8 bits: transposed convolutions as ordinary ones, the picture on the
engine's grid, channels equalised, ranges and weights clipped where that errs least, biases corrected. Only
where that is not enough do layers go back to float, the worst first.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from i2i_export.calibrate import BINS, METHODS, Activation, Observed, observe
from i2i_export.equalise import equalised
from i2i_export.graph import write_onnx
from i2i_export.job import Job
from i2i_export.module import example_input
from i2i_export.onnx_graph import Graph, constant, conv_macs
from i2i_export.quantize import (
    STYLES,
    Weights,
    all_weights,
    eligible,
    quantised,
    tensors_to_observe,
)
from i2i_export.rewrites import transposed_to_convolutions
from i2i_export.sensitivity import fallback, sweep, worst_first
from i2i_sdk.choose import DEFAULT_MIN_PSNR
from i2i_sdk.errors import ExportError, InputError
from i2i_sdk.manifest import Requirements, Variant
from i2i_sdk.parity import Inputs, Trial, floor_of, read_inputs
from i2i_sdk.quality import psnr

log = logging.getLogger(__name__)

MARGIN = 0.5  # dB above the floor: engines round differently from the one that is asked here
LEAST_SHARE = 1 / 3  # of the multiplications; with fewer in 8 bits a variant is INT8 by name only
GOOD_SHARE = 2 / 3  # with so many a variant is worth having in the quality that Translator asks for
CALIBRATION_FRAMES = 128
FEW_FRAMES = 32
SWEEP_FRAMES = 4


@dataclass(frozen=True)
class Int8Graph:
    """A graph with explicit Q/DQ pairs, and what a manifest says of it."""

    path: Path  # in the job's scratch folder
    macs_share: float  # of the multiplications in 8 bits, 0..1
    kept: dict[str, str]  # layer -> what it computes in instead
    sensitivity: dict[str, float]  # layer -> dB with it alone in 8 bits; empty where no layer had to go back
    calibration_sha256: str

    def described(self, variant: Variant) -> Variant:
        """`variant` with what a manifest says of its quantisation."""
        return replace(
            variant,
            macs_in_precision=self.macs_share,
            precision_kept=self.kept,
            sensitivity=self.sensitivity,
            calibration_sha256=self.calibration_sha256,
        )


@dataclass(frozen=True)
class Prepared:
    """What all styles of one job share."""

    model: onnx.ModelProto  # float, the same pictures as the canonical graph
    layers: dict[str, list[str]]
    macs: dict[str, int]
    seen: Observed
    weights: dict[str, Weights]
    calibration_sha256: str

    def convs(self, layers: Sequence[str]) -> list[str]:
        """Names of the Conv nodes of these layers."""
        return [conv for layer in layers for conv in self.layers[layer]]

    def macs_of(self, layers: Sequence[str]) -> int:
        """Multiplications that these layers do."""
        return sum(self.macs[conv] for conv in self.convs(layers))

    def share(self, layers: Sequence[str]) -> float:
        """The share, 0..1, of all multiplications that these layers do."""
        return self.macs_of(layers) / sum(self.macs.values())


def int8_variant(job: Job, backend: str, requires: Requirements) -> Variant:
    """The INT8 variant of an engine that reads ONNX; its style has the backend's name."""
    found = int8_graph(job, backend)
    path = job.folder / f"{backend}-int8-{job.size}.onnx"
    shutil.copyfile(found.path, path)
    variant = job.variant(backend, "int8", (job.entry(path),), requires)
    return found.described(variant)


def int8_graph(job: Job, style: str) -> Int8Graph:
    """Write the job's graph in the given style of `quantize.STYLES`; held-out frames keep the floor.

    Raises ExportError without frames to calibrate on, and where the floor leaves too little in 8 bits.
    """
    key = f"int8 {style}"
    if key not in job.shared:
        job.shared[key] = _int8_graph(job, style)
    found = job.shared[key]
    assert isinstance(found, Int8Graph)
    return found


def _int8_graph(job: Job, style: str) -> Int8Graph:
    prepared = _prepared(job)
    ranges = METHODS[job.options.ranges or STYLES[style].ranges]

    def graph_of(layers: Sequence[str]) -> onnx.ModelProto:
        convs = prepared.convs(layers)
        return quantised(prepared.model, prepared.seen, prepared.weights, convs, STYLES[style], ranges)

    layers, alone = _layers_that_hold(prepared, graph_of, job, style)
    path = job.scratch / f"int8-{style}.onnx"
    onnx.save(graph_of(layers), str(path))
    kept = {layer: STYLES[style].rest for layer in prepared.layers if layer not in layers}
    return Int8Graph(path, round(prepared.share(layers), 4), kept, alone, prepared.calibration_sha256)


@dataclass(frozen=True)
class Goal:
    """What is wanted of the pictures, and what may be given for it."""

    db: float
    least_share: float  # of the multiplications in 8 bits, 0..1


def goals(min_psnr: float | None) -> tuple[Goal, ...]:
    """The best first: what Translator takes unless told otherwise, if it costs little, then the floor."""
    floor = Goal(floor_of("int8", min_psnr), LEAST_SHARE)
    return (floor,) if min_psnr is not None else (Goal(DEFAULT_MIN_PSNR, GOOD_SHARE), floor)


def _layers_that_hold(
    prepared: Prepared, graph_of: Callable[[Sequence[str]], onnx.ModelProto], job: Job, style: str
) -> tuple[list[str], dict[str, float]]:
    """The layers in 8 bits with which the first goal that can be reached is, and the sweep if one was needed.

    Raises ExportError when not even the floor can be held by enough of them.
    """

    def score(layers: Sequence[str]) -> float:
        return decibels(graph_of(layers), job.trial)

    every, wanted = list(prepared.layers), goals(job.options.min_psnr)
    job.progress(f"int8 {style}: comparing on held-out frames")
    db = score(every)
    if db >= wanted[0].db + MARGIN:
        return every, {}
    few = _first_frames(job.trial, SWEEP_FRAMES)
    alone = sweep(every, lambda layers: decibels(graph_of(layers), few), job.progress)
    order = worst_first(alone, {layer: prepared.macs_of([layer]) for layer in every})
    job.progress(f"int8 {style}: how many layers go back to {STYLES[style].rest}")
    layers = every
    for goal in wanted:
        enough = goal.db + MARGIN
        layers = every if db >= enough else fallback(order, score, enough)[0]
        if prepared.share(layers) >= goal.least_share:
            return layers, alone
    raise ExportError(
        f"int8 for {style}: {wanted[-1].db:.0f} dB leave {prepared.share(layers):.0%} of the multiplications "
        f"in 8 bits, at least {LEAST_SHARE:.0%} are needed to be worth it. Take bf16 or fp16, calibrate on "
        f"more frames, or lower --min-psnr"
    )


def _prepared(job: Job) -> Prepared:
    if "int8" not in job.shared:
        job.shared["int8"] = _prepare(job)
    prepared = job.shared["int8"]
    assert isinstance(prepared, Prepared)
    return prepared


def _prepare(job: Job) -> Prepared:
    """The float graph in its best form for 8 bits, and what its tensors show on the calibration frames."""
    frames = calibration_inputs(job)
    module = copy.deepcopy(job.module)
    transposed_to_convolutions(module)
    path = job.scratch / "int8-float.onnx"
    write_onnx(module, example_input(job.spec, job.height, job.width, batch=2), path)
    model = onnx.load(str(path))
    picture = picture_on_grid(model)
    layers = eligible(model)
    if not layers:
        raise ExportError("int8: this network has no convolutions that can be quantised")
    job.progress(f"int8: ranges of activations on {len(frames)} frames")
    model, count = equalised(model, observe(model, tensors_to_observe(model), frames[::4]))
    log.info("channels of %d tensors equalised", count)
    seen = observe(model, tensors_to_observe(model), frames)
    if picture is not None:
        seen[picture] = _known(seen[picture])
    if len(frames) < FEW_FRAMES:
        log.warning(
            "int8: calibrated on %d frames; fewer than %d may miss what your camera shows",
            len(frames),
            FEW_FRAMES,
        )
    return Prepared(model, layers, conv_macs(Graph(model)), seen, all_weights(model), _sha256(frames))


def calibration_inputs(job: Job) -> tuple[NDArray[Any], ...]:
    """Up to 128 real frames at the engine's size, none of which the result is judged on.

    Raises ExportError without any, MediaError as `read_frames`.
    """
    options, spec = job.options, job.spec
    source = options.calibration or options.frames
    if source is None and spec.kind != "sampler":
        raise ExportError(
            "int8 needs real frames to calibrate on: --frames FOLDER_OR_VIDEO, of which every second one is "
            "taken, or --calibration FOLDER_OR_VIDEO"
        )
    part = "all" if options.calibration else "odd"
    channels = spec.config.in_channels
    size = job.height, job.width
    try:
        return read_inputs(spec.kind, source, *size, channels, part=part, most=CALIBRATION_FRAMES).arrays
    except InputError as error:
        raise ExportError(f"int8: {error}") from error


def _sha256(arrays: Sequence[NDArray[Any]]) -> str:
    """Of all values in their order: the same frames give the same hash anywhere."""
    digest = hashlib.sha256()
    for values in arrays:
        digest.update(values.tobytes())
    return digest.hexdigest()


def picture_on_grid(model: onnx.ModelProto) -> str | None:
    """Shift the picture by half a step, in place, so that 8 bits hold it exactly; its tensor's name.

    x / 127.5 - 1 has 256 values half way between those of a grid that contains 0, as every 8-bit grid does.
    Half a step less, and the first convolution's bias makes up for it: exact, but for zeros at the border
    that such a convolution may add itself, which then count as half a step. None where anything else sees
    the picture.
    """
    graph = Graph(model)
    for shift in graph.nodes("Sub"):
        picture = shift.output[0]
        direct = graph.consumers.get(picture, [])
        readers = [r for d in direct for r in (graph.consumers[d.output[0]] if d.op_type == "Pad" else [d])]
        plain = shift.input[1] in graph.constants and graph.value(shift.input[1]).tolist() == 1.0
        if not plain or not readers or any(reader.op_type != "Conv" for reader in readers):
            continue
        values = {f"{shift.name}.shift": np.float32(128 / 127.5)}
        shift.input[1] = f"{shift.name}.shift"
        for conv in readers:
            bias = graph.value(conv.input[2]) if len(conv.input) > 2 else np.float32(0)
            taps = graph.value(conv.input[1]).sum((1, 2, 3))
            values[f"{conv.name}.shifted"] = bias + taps * np.float32(0.5 / 127.5)
            conv.input[:] = [*conv.input[:2], f"{conv.name}.shifted"]
        model.graph.initializer.extend(constant(n, np.asarray(v, np.float32)) for n, v in values.items())
        return picture
    return None


def _known(seen: Activation) -> Activation:
    """A picture's values fill their grid, whatever the calibration frames show of it."""
    low, high = -128 / 127.5, 127 / 127.5
    return Activation(low, high, -low, np.ones(BINS), seen.channel_mean, seen.channel_peak, known=True)


def decibels(model: onnx.ModelProto, trial: Trial) -> float:
    """Mean PSNR of a graph's pictures in ONNX Runtime against PyTorch's."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    pictures = (np.asarray(session.run(None, {name: given[None]})[0]) for given in trial.inputs.arrays)
    return float(np.mean([psnr(p[0], e) for p, e in zip(pictures, trial.expected, strict=True)]))


def _first_frames(trial: Trial, most: int) -> Trial:
    """At most so many of the trial's frames, evenly spread."""
    step = max(1, len(trial.expected) // most)
    chosen = slice(0, step * most, step)
    inputs = Inputs(trial.inputs.names[chosen], trial.inputs.arrays[chosen], trial.inputs.source)
    return Trial(inputs, trial.expected[chosen])
