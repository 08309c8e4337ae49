"""From a trained network to a graph in INT8: its pictures, what runs it, and what it says of itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from i2i_export.int8.builder import (
    Int8Graph,
    list_goals,
    make_int8_variant,
    measure_psnr,
    prepare,
    rank_layers,
    read_calibration_inputs,
    write_graph,
)
from i2i_export.int8.calibrate import RANGE_METHODS, observe
from i2i_export.int8.qdq import (
    STYLES,
    find_eligible_layers,
    list_observed_tensors,
    quantize_all_weights,
    quantize_graph,
)
from i2i_export.job import Job
from i2i_export.passes.onnx_graph import OnnxGraph, get_attribute
from i2i_sdk import ExportError
from i2i_sdk.backends import load_backend_class
from i2i_sdk.backends.base import Engine
from i2i_sdk.backends.ort.saturation import is_u8s8_saturating
from i2i_sdk.bundle.manifest import Requirements
from i2i_sdk.quality.parity import measure_parity

ENGINES = ["ort", "openvino"]
# What OpenVINO's engine loses of the graph's dB where weights have 7 bits: on a CPU without VNNI.
LOST_TO_7_BITS = 6.5 if is_u8s8_saturating() else 0.0


def copy_job(job: Job, scratch: Path, progress: Any = None, **options: Any) -> Job:
    """The same job with other options."""
    changed = replace(job.options, **options)
    return replace(job, options=changed, scratch=scratch, progress=progress or job.progress)


prepare_once = cache(prepare)  # several jobs take turns here


def open_int8_engine(path: Path, engine: str) -> Engine:
    kind = load_backend_class(engine)
    if reason := kind.explain_unsupported("int8"):
        pytest.skip(reason)
    return kind((path,), "int8")


def measure_int8_psnr(job: Job, style: str, layers: Sequence[str] | None = None) -> float:
    """dB of the job's network with all layers that may be in 8 bits, or these."""
    p = prepare_once(job)
    convs = p.list_convs(list(p.layers) if layers is None else layers)
    ranges = RANGE_METHODS[STYLES[style].range_method]
    model = quantize_graph(p.model, p.observations, p.weights, convs, STYLES[style], ranges)
    return measure_psnr(model, job.parity_case)


def measure_naive_psnr(job: Job, style: str, layers: int | None = None, ranges: str = "minmax") -> float:
    """dB of it as it comes: the picture off the grid, uneven channels, no biases corrected."""
    model = onnx.load(str(job.scratch / "int8-float.onnx"))
    seen = observe(model, list_observed_tensors(model), read_calibration_inputs(job))
    weights = quantize_all_weights(model)
    for name, w in weights.items():
        weights[name] = replace(w, rounding_loss=np.zeros_like(w.rounding_loss))
    convs = [conv for names in list(find_eligible_layers(model).values())[:layers] for conv in names]
    rounded = quantize_graph(model, seen, weights, convs, STYLES[style], RANGE_METHODS[ranges])
    return measure_psnr(rounded, job.parity_case)


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
    assert measure_int8_psnr(job, style) > max(least, measure_naive_psnr(job, style) + better_by)


@pytest.mark.parametrize(("style", "shifted", "as_it_comes"), [("openvino", 51, 49), ("tensorrt", 51, 50)])
def test_the_first_convolution_alone(style: str, shifted: float, as_it_comes: float, zebra_job: Job) -> None:
    first = list(prepare_once(zebra_job).layers)[:1]
    assert measure_int8_psnr(zebra_job, style, first) > shifted
    assert measure_naive_psnr(zebra_job, style, layers=1, ranges=STYLES[style].range_method) < as_it_comes


@pytest.mark.parametrize("method", RANGE_METHODS)
def test_no_method_ruins_the_pictures(method: str, sketch_job: Job, tmp_path: Path) -> None:
    found = write_graph(
        copy_job(sketch_job, tmp_path, ranges=method, min_psnr=1.0), "openvino", prepare_once(sketch_job)
    )
    assert measure_psnr(onnx.load(str(found.path)), sketch_job.parity_case) > 40


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_compute_every_layer_in_8_bits(engine: str, sketch_job: Job) -> None:
    variant = make_int8_variant(sketch_job, engine, Requirements("any"))
    assert variant.files[0].path == f"{engine}-int8-64x64.onnx"
    path = sketch_job.folder / variant.files[0].path
    convs = len(OnnxGraph(onnx.load(str(path))).find_nodes("Conv"))
    with open_int8_engine(path, engine) as running:
        assert (running.precision, running.layers) == ("int8", {"int8": convs})
        parity = measure_parity(running, sketch_job.parity_case)
    lost = LOST_TO_7_BITS if engine == "openvino" else 0
    assert parity.psnr == pytest.approx(measure_int8_psnr(sketch_job, engine) - lost, abs=1.5)
    assert (variant.macs_in_precision, variant.precision_kept, variant.sensitivity) == (1.0, {}, {})


@pytest.fixture(scope="module")
def fallen_back(zebra_job: Job, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Int8Graph]:
    """ONNX Runtime's graph as it is by default, OpenVINO's where more is asked than all layers can give."""
    scratch, prepared = tmp_path_factory.mktemp("scratch"), prepare_once(zebra_job)
    return {
        "ort": write_graph(zebra_job, "ort", prepared),
        "openvino": write_graph(copy_job(zebra_job, scratch, min_psnr=38.0), "openvino", prepared),
    }


@pytest.mark.parametrize("engine", ENGINES)
def test_layers_go_back_until_it_holds(
    engine: str, zebra_job: Job, fallen_back: dict[str, Int8Graph]
) -> None:
    found, floor = fallen_back[engine], {"ort": 35.0, "openvino": 38.0}[engine]
    assert measure_int8_psnr(zebra_job, engine) < floor
    with open_int8_engine(found.path, engine) as running:
        parity = measure_parity(running, zebra_job.parity_case)
    lost = LOST_TO_7_BITS if engine == "openvino" else 0
    assert parity.psnr >= floor - lost and parity.frames == 12
    assert 2 / 3 <= found.macs_in_precision < 0.95
    prepared = prepare_once(zebra_job)
    macs = {layer: prepared.count_macs([layer]) for layer in prepared.layers}
    order = rank_layers(found.sensitivity, macs)
    assert sorted(order) == sorted(prepared.layers)
    kept = list(found.precision_kept)
    assert kept and set(kept) == set(order[: len(kept)])
    assert set(found.precision_kept.values()) == {STYLES[engine].fallback_precision}
    assert {f"generator.{layer}.weight" for layer in kept} < set(zebra_job.module.state_dict())
    graph = OnnxGraph(onnx.load(str(found.path)))
    floats = [conv for conv in graph.find_nodes("Conv") if conv.input[1] in graph.constants]
    names = {conv.name for conv in floats if get_attribute(conv, "group") == 1}
    assert names == set(prepared.list_convs(kept))
    in_8_bits = sum(macs for conv, macs in prepared.macs.items() if conv not in {c.name for c in floats})
    assert found.macs_in_precision == pytest.approx(in_8_bits / sum(prepared.macs.values()), abs=1e-4)


def test_goals() -> None:
    """What Translator asks for, where two thirds stay in 8 bits for it; else the floor, or what is said."""
    best, floor = list_goals(None)
    assert (best.db, floor.db) == (35.0, 30.0) and best.min_share > floor.min_share
    (said,) = list_goals(33.0)
    assert said.db == 33.0 and said.min_share == floor.min_share


def test_the_floor_is_enough_where_more_would_cost_too_much(
    sketch_job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("i2i_export.int8.builder.DEFAULT_MIN_PSNR", 55.0)
    found = write_graph(copy_job(sketch_job, tmp_path), "ort", prepare_once(sketch_job))
    assert found.macs_in_precision == 1 and not found.precision_kept
    assert found.sensitivity  # it was tried


def test_too_little_in_8_bits_is_refused(sketch_job: Job, tmp_path: Path) -> None:
    said: list[str] = []
    job = copy_job(sketch_job, tmp_path, said.append, min_psnr=70.0)
    message = r"int8 for ort: 70 dB leave \d+% of the multiplications in 8 bits, at least 33% are needed"
    with pytest.raises(ExportError, match=message):
        write_graph(job, "ort", prepare_once(sketch_job))
    assert list(tmp_path.iterdir()) == []
    assert said[0] == "int8 ort: comparing on 12 held-out frames"
    assert said[1:-1] == [f"int8: sensitivity of 14 layers, {n} of 14" for n in range(1, 15)]
    assert said[-1] == "int8 ort: how many layers go back to fp32"


def test_targets_share_the_calibration(sketch_job: Job) -> None:
    assert prepare(sketch_job) is prepare(sketch_job)
