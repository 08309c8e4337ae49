"""From a trained network to a graph in INT8: its pictures, what runs it, and what it says of itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from i2i_export import int8
from i2i_export.calibrate import METHODS, observe
from i2i_export.int8 import (
    Int8Graph,
    _prepared,
    calibration_inputs,
    decibels,
    goals,
    int8_graph,
    int8_variant,
)
from i2i_export.job import Job
from i2i_export.onnx_graph import Graph, attribute
from i2i_export.quantize import STYLES, Weights, all_weights, eligible, quantised, tensors_to_observe
from i2i_export.sensitivity import worst_first
from i2i_sdk import ExportError
from i2i_sdk.backends import backend_class
from i2i_sdk.backends.base import Engine
from i2i_sdk.manifest import Requirements
from i2i_sdk.parity import measure_parity

ENGINES = ["ort", "openvino"]


def again(job: Job, scratch: Path, **options: Any) -> Job:
    """The same job with other options, calibrated already."""
    changed = replace(job.options, **options)
    return replace(job, options=changed, scratch=scratch, shared={"int8": _prepared(job)})


def opened(path: Path, engine: str) -> Engine:
    kind = backend_class(engine)
    if reason := kind.missing("int8"):
        pytest.skip(reason)
    return kind((path,), "int8")


def in_8_bits(job: Job, style: str, layers: Sequence[str] | None = None) -> float:
    """dB of the job's network with all layers that may be in 8 bits, or these."""
    p = _prepared(job)
    convs = p.convs(list(p.layers) if layers is None else layers)
    ranges = METHODS[STYLES[style].ranges]
    return decibels(quantised(p.model, p.seen, p.weights, convs, STYLES[style], ranges), job.trial)


def naively(job: Job, style: str, layers: int | None = None, ranges: str = "minmax") -> float:
    """dB of it as it comes: the picture off the grid, uneven channels, no biases corrected."""
    model = onnx.load(str(job.scratch / "int8-float.onnx"))
    seen = observe(model, tensors_to_observe(model), calibration_inputs(job))
    found = all_weights(model)
    weights: dict[str, Weights] = {name: replace(w, lost=np.zeros_like(w.lost)) for name, w in found.items()}
    convs = [conv for names in list(eligible(model).values())[:layers] for conv in names]
    return decibels(quantised(model, seen, weights, convs, STYLES[style], METHODS[ranges]), job.trial)


# What each trained network has with all layers in 8 bits, dB, and how much more that is than naively.
QUALITY = {
    "sketch": {"ort": (37, 0.1), "openvino": (42, 0.1), "tensorrt": (40, 1)},
    "zebra": {"ort": (26.5, 0.2), "openvino": (36.3, 0.7), "tensorrt": (33.8, 1.5)},
}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", QUALITY)
def test_pictures_of_trained_networks(name: str, style: str, request: pytest.FixtureRequest) -> None:
    job: Job = request.getfixturevalue(f"{name}_job")
    least, better_by = QUALITY[name][style]
    reached = in_8_bits(job, style)
    assert reached > least
    assert reached > naively(job, style) + better_by


@pytest.mark.parametrize(("style", "shifted", "as_it_comes"), [("openvino", 51, 48.5), ("tensorrt", 51, 50)])
def test_the_first_convolution_alone(style: str, shifted: float, as_it_comes: float, zebra_job: Job) -> None:
    first = list(_prepared(zebra_job).layers)[:1]
    assert in_8_bits(zebra_job, style, first) > shifted
    assert naively(zebra_job, style, layers=1, ranges=STYLES[style].ranges) < as_it_comes


@pytest.mark.parametrize("method", METHODS)
def test_no_method_ruins_the_pictures(method: str, sketch_job: Job, tmp_path: Path) -> None:
    found = int8_graph(again(sketch_job, tmp_path, ranges=method, min_psnr=1.0), "openvino")
    assert decibels(onnx.load(str(found.path)), sketch_job.trial) > 40


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_compute_every_layer_in_8_bits(engine: str, sketch_job: Job) -> None:
    variant = int8_variant(sketch_job, engine, Requirements("any"))
    assert variant.files[0].path == f"{engine}-int8-64x64.onnx"
    path = sketch_job.folder / variant.files[0].path
    convs = len(Graph(onnx.load(str(path))).nodes("Conv"))
    with opened(path, engine) as running:
        assert running.precision == "int8"
        assert running.layers == {"int8": convs}
        parity = measure_parity(running, sketch_job.trial)
    assert parity.psnr == pytest.approx(in_8_bits(sketch_job, engine), abs=1.5)
    assert (variant.macs_in_precision, variant.precision_kept, variant.sensitivity) == (1.0, {}, {})


def recounted(path: Path) -> float:
    """The share of the multiplications between Q/DQ pairs in a written graph, counted from its shapes."""
    model = onnx.load(str(path))
    graph = Graph(model)
    shapes = graph.shapes()
    macs: Counter[bool] = Counter()
    for node in graph.nodes("Conv") + graph.nodes("ConvTranspose"):
        producer = graph.producer.get(node.input[1])
        weights = producer.input[0] if producer else node.input[1]
        positions = node.output[0] if node.op_type == "Conv" else node.input[0]
        per_position = np.prod(graph.value(weights).shape)
        in_8_bits = producer is not None and producer.op_type == "DequantizeLinear"
        macs[in_8_bits] += int(per_position * np.prod(shapes[positions][2:]))
    return macs[True] / macs.total()


@pytest.fixture(scope="module")
def fallen_back(zebra_job: Job, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Int8Graph]:
    """ONNX Runtime's graph as it is by default, OpenVINO's where more is asked than all layers can give."""
    scratch = tmp_path_factory.mktemp("scratch")
    return {
        "ort": int8_graph(zebra_job, "ort"),
        "openvino": int8_graph(again(zebra_job, scratch, min_psnr=38.0), "openvino"),
    }


@pytest.mark.parametrize("engine", ENGINES)
def test_layers_go_back_until_the_floor_holds(
    engine: str, zebra_job: Job, fallen_back: dict[str, Int8Graph]
) -> None:
    found, floor = fallen_back[engine], {"ort": 35.0, "openvino": 38.0}[engine]
    assert in_8_bits(zebra_job, engine) < floor
    with opened(found.path, engine) as running:
        parity = measure_parity(running, zebra_job.trial)
    assert parity.psnr >= floor and parity.frames == 12
    assert 2 / 3 <= found.macs_share < 0.95
    assert found.macs_share == pytest.approx(recounted(found.path), abs=1e-4)

    prepared = _prepared(zebra_job)
    macs = {layer: prepared.macs_of([layer]) for layer in prepared.layers}
    order = worst_first(found.sensitivity, macs)
    assert sorted(order) == sorted(prepared.layers)
    assert set(found.kept) == set(order[: len(found.kept)]) and len(found.kept) >= 1
    assert set(found.kept.values()) == {STYLES[engine].rest}
    assert {f"generator.{layer}.weight" for layer in found.kept} < set(zebra_job.module.state_dict())
    graph = Graph(onnx.load(str(found.path)))
    floats = [c for c in graph.nodes("Conv") if c.input[1] in graph.constants and attribute(c, "group") == 1]
    assert {conv.name for conv in floats} == set(prepared.convs(list(found.kept)))


def test_goals() -> None:
    """What Translator asks for, where two thirds stay in 8 bits for it; else the floor, or what is said."""
    best, floor = goals(None)
    assert (best.db, floor.db) == (35.0, 30.0) and best.least_share > floor.least_share
    (said,) = goals(33.0)
    assert said.db == 33.0 and said.least_share == floor.least_share


def test_the_floor_is_enough_where_more_would_cost_too_much(
    sketch_job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8, "DEFAULT_MIN_PSNR", 55.0)
    found = int8_graph(again(sketch_job, tmp_path), "ort")
    assert found.macs_share == 1 and not found.kept
    assert found.sensitivity  # it was tried


def test_too_little_in_8_bits_is_refused(sketch_job: Job, tmp_path: Path) -> None:
    said: list[str] = []
    job = replace(again(sketch_job, tmp_path, min_psnr=70.0), progress=said.append)
    with pytest.raises(
        ExportError,
        match=r"int8 for ort: 70 dB leave \d+% of the multiplications in 8 bits, at least 33% are needed",
    ):
        int8_graph(job, "ort")
    assert list(tmp_path.iterdir()) == []
    assert said[0] == "int8 ort: comparing on held-out frames"
    assert said[1:-1] == [f"sensitivity: layer {n} of 14" for n in range(1, 15)]
    assert said[-1] == "int8 ort: how many layers go back to fp32"


def test_a_graph_is_made_once(sketch_job: Job, tmp_path: Path) -> None:
    job = again(sketch_job, tmp_path)
    assert int8_graph(job, "tensorrt") is int8_graph(job, "tensorrt")
    assert int8_graph(job, "tensorrt").path != int8_graph(job, "openvino").path
