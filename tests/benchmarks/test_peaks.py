"""The probes of the device's peaks: what they compute in, how much, and that they really do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from benchmarks.support import peaks
from benchmarks.support.peaks import (
    PRECISIONS,
    Probe,
    Work,
    compute_min_traffic,
    compute_shares,
    get_rest_precision,
    write_probes,
)
from benchmarks.support.probe_files import Stack
from benchmarks.support.probe_openers import StackShape
from i2i_export.passes.onnx_graph import OnnxGraph, count_conv_macs
from i2i_sdk.backends import explain_unsupported_backend, load_backend_class
from i2i_sdk.backends.base import Engine
from i2i_sdk.perf.candidates import compare
from i2i_training.networks import count_macs

# 16 channels: as many as a vector register holds, so engines have their usual kernels for it
STACK, WEIGHTS = StackShape(16, 2, 3, 16), StackShape(64, 2, 1, 1)
ENGINES = [
    (b, p) for b, all_of in PRECISIONS.items() for p in all_of if explain_unsupported_backend(b, p) is None
]


@pytest.fixture(scope="module")
def probes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Probe]:
    """Small ones of everything that runs here, by name."""
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        written = write_probes(tmp_path_factory.mktemp("probes"), ENGINES, threads=1)
    return {probe.candidate.name: probe for probe in written}


def make_small(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(peaks, "STACK", STACK)
    patch.setattr(peaks, "WEIGHTS", WEIGHTS)


def open_probe_engine(probe: Probe) -> Engine:
    files = tuple(map(Path, probe.candidate.arguments["files"]))
    return load_backend_class(probe.key[0])(files, probe.key[1])


def test_every_precision_has_its_probe_and_every_engine_one_of_the_memory(probes: dict[str, Probe]) -> None:
    arithmetic = [probe.key for probe in probes.values() if not probe.bytes]
    assert sorted(arithmetic) == sorted(ENGINES)
    memory = {probe.key for probe in probes.values() if probe.bytes}
    assert memory == {(backend, "fp32") for backend, _ in arithmetic}


@pytest.mark.parametrize(("backend", "precision"), ENGINES)
def test_a_stack_computes_what_was_asked_for(backend: str, precision: str, probes: dict[str, Probe]) -> None:
    """Nothing was folded away: the picture that PyTorch makes comes out, within the precision's rounding."""
    with open_probe_engine(probes[f"peak {backend}-{precision}"]) as engine:
        assert engine.precision == precision
        if backend != "ncnn":  # which does not say; it is in FP32 always
            assert engine.layers == {precision: STACK.layers + 2}
        shape = [side or 1 for side in engine.input_shape]
        picture = np.random.default_rng(1).integers(0, 256, shape).astype(engine.input_dtype)
        found = engine.run(picture).astype(float)
    with torch.no_grad():
        y = Stack(STACK)(torch.from_numpy(picture).permute(0, 3, 1, 2).float() / 127.5 - 1)
    expected = (y * 127.5 + 127.5).clamp(0, 255).permute(0, 2, 3, 1).numpy()
    assert expected.std() > 5
    assert np.abs(found - expected).max() <= {"fp32": 0.6, "fp16": 1, "bf16": 3, "int8": 6}[precision]


def test_the_integer_stack_has_integers_with_a_zero_point_of_0(probes: dict[str, Probe]) -> None:
    for backend in {b for b, p in ENGINES if p == "int8"}:
        graph = OnnxGraph(onnx.load(probes[f"peak {backend}-int8"].candidate.arguments["files"][0]))
        convs = graph.find_nodes("Conv")
        assert len(convs) == STACK.layers + 2
        for conv in convs:
            activation, weights = (graph.producer[name] for name in conv.input[:2])
            assert (activation.op_type, weights.op_type) == ("DequantizeLinear", "DequantizeLinear")
            zero, values, scales = (graph.get_value(n) for n in (activation.input[2], *weights.input[:2]))
            assert zero.dtype == np.uint8 and zero == 0
            assert values.dtype == np.int8 and scales.shape == (len(values),)  # per channel


@pytest.mark.parametrize("shape", [STACK, WEIGHTS, peaks.STACK])
def test_multiplications_and_weights_are_counted_as_those_of_models(shape: StackShape) -> None:
    stack = Stack(shape)
    assert shape.macs == count_macs(stack, 3, shape.side, shape.side)
    assert shape.weights == sum(weight.numel() for weight in stack.parameters())


def test_a_file_s_multiplications_are_those_that_are_said(probes: dict[str, Probe]) -> None:
    probe = probes["peak ort-fp32"]
    model = onnx.load(probe.candidate.arguments["files"][0])
    assert sum(count_conv_macs(OnnxGraph(model)).values()) == probe.macs


def test_the_memory_probes_say_what_they_move(probes: dict[str, Probe]) -> None:
    assert 4 * peaks.WEIGHTS.weights > 200e6  # no cache holds them
    for backend in ("ort", "openvino"):
        probe = probes[f"bandwidth {backend}"]
        graph = onnx.load(probe.candidate.arguments["files"][0]).graph
        assert sum(4 * np.prod(w.dims) for w in graph.initializer if len(w.dims) == 4) == probe.bytes


def test_they_are_measured_in_processes_of_their_own(probes: dict[str, Probe]) -> None:
    chosen = [probes["peak ort-fp32"], probes["bandwidth ort"]]
    comparison = compare([probe.candidate for probe in chosen], rounds=2)
    assert comparison.reasons == {}
    assert [len(found.rounds) for found in comparison.timings.values()] == [2, 2]


def test_an_engine_s_process_has_no_pytorch_in_it() -> None:
    """Its memory and its threads would stand beside the engine's."""
    code = (
        "import sys, benchmarks.support.probe_openers; sys.exit(bool({'torch', 'onnx'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_float_that_goes_with_a_precision_is_measured_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_small(monkeypatch)
    written = write_probes(tmp_path, [("openvino", "int8"), ("ort", "int8")])
    beside = "bf16" if explain_unsupported_backend("openvino", "bf16") is None else "fp32"
    found = [probe.key for probe in written if not probe.bytes]
    assert found == [("openvino", "int8"), ("openvino", beside), ("ort", "int8"), ("ort", "fp32")]
    others = ("openvino", "bf16"), ("ort", "int8"), ("ncnn", "fp16")
    assert {get_rest_precision(*key) for key in others} == {"fp32"}


def test_traffic_is_weights_in_their_precision_and_pictures_once() -> None:
    traffic = {name: compute_min_traffic(1000, name, 70) for name in ("fp32", "bf16", "fp16", "int8")}
    assert traffic == {"fp32": 4070, "bf16": 2070, "fp16": 2070, "int8": 1070}


# 1 G in the low precision takes 10 ms, in the rest 20 ms; 1 MB takes 1 ms
@pytest.mark.parametrize(
    ("work", "of_peak", "of_limit"),
    [
        (Work(1e9, 1.0, 0), 0.5, 0.5),
        (Work(1e9, 0.0, 0), 1.0, 1.0),
        (Work(1e9, 0.75, 0), 0.625, 0.625),
        (Work(1e9, 1.0, 5e6), 0.5, 0.5),
        (Work(1e9, 1.0, 15e6), 0.5, 0.75),  # memory is the nearer limit
        (Work(4e9, 1.0, 0), 2.0, 2.0),  # the peak was not shown
    ],
)
def test_shares_of_known_peaks(work: Work, of_peak: float, of_limit: float) -> None:
    assert compute_shares(work, [100e9], [50e9], 1e9, [20.0]) == pytest.approx((of_peak, of_limit))


def test_shares_are_taken_round_by_round() -> None:
    """A clock that halves in the middle halves the peak with the speed: the share stays as it is."""
    low, rest = [100e9, 100e9, 50e9, 50e9], [1.0] * 4
    shares = compute_shares(Work(1e9, 1.0, 0), low, rest, 1e9, [12.5, 12.5, 25.0, 25.0])
    assert shares == pytest.approx((0.8, 0.8))
    assert compute_shares(Work(1e9, 1.0, 0), [100e9], [1.0], 1e9, [20.0, 40.0, 10.0])[0] == pytest.approx(0.5)
