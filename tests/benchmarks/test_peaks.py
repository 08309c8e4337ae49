"""The probes of the device's peaks: what they compute in, how much, and that they really do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from benchmarks.reporting.roofline_limits import Ceilings
from benchmarks.support.peaks import (
    FULL,
    PRECISIONS,
    Peak,
    Peaks,
    Probe,
    ProbeSizes,
    find_peaks,
    get_rest_precision,
    write_probes,
)
from benchmarks.support.probe_files import Stack
from benchmarks.support.probe_openers import StackShape, open_engine
from i2i_export.passes.onnx_graph import OnnxGraph, count_conv_macs
from i2i_sdk.backends import explain_unsupported_backend, load_backend_class
from i2i_sdk.backends.base import Engine
from i2i_sdk.errors import BackendError, InputError
from i2i_sdk.perf.candidates import Candidate, compare
from i2i_training.networks import count_macs

# 16 channels: as many as a vector register holds, so engines have their usual kernels for it
SMALL = ProbeSizes(stack=StackShape(16, 2, 3, 16), weights=StackShape(64, 2, 1, 1), copy=1 << 16)
ENGINES = [
    (b, p) for b, all_of in PRECISIONS.items() for p in all_of if explain_unsupported_backend(b, p) is None
]


@pytest.fixture(scope="module")
def probes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Probe]:
    """Small ones of everything that runs here, by name."""
    written = write_probes(tmp_path_factory.mktemp("probes"), ENGINES, threads=1, sizes=SMALL)
    return {probe.candidate.name: probe for probe in written}


def open_probe_engine(probe: Probe) -> Engine:
    files = tuple(map(Path, probe.candidate.arguments["files"]))
    return load_backend_class(probe.backend)(files, probe.precision)


def make_noise(engine: Engine, seed: int) -> NDArray[np.generic]:
    shape = [side or 1 for side in engine.input_shape]
    return np.random.default_rng(seed).integers(0, 256, shape).astype(engine.input_dtype)


def test_every_precision_has_its_probe_and_every_engine_one_of_the_memory(probes: dict[str, Probe]) -> None:
    arithmetic = [(p.backend, p.precision) for p in probes.values() if p.kind == "arithmetic"]
    assert sorted(arithmetic) == sorted(ENGINES)
    memory = {p.backend for p in probes.values() if p.kind == "memory"}
    assert memory == {backend for backend, _ in arithmetic}


@pytest.mark.parametrize(("backend", "precision"), ENGINES)
def test_a_stack_computes_in_what_was_asked_for(
    backend: str, precision: str, probes: dict[str, Probe]
) -> None:
    with open_probe_engine(probes[f"peak {backend}-{precision}"]) as engine:
        assert engine.precision == precision
        if backend != "ncnn":  # which does not say; it is in FP32 always
            assert engine.layers == {precision: SMALL.stack.layers + 2}


@pytest.mark.parametrize(("backend", "precision"), ENGINES)
def test_a_stack_s_values_follow_its_input(backend: str, precision: str, probes: dict[str, Probe]) -> None:
    """Nothing was folded away: the picture that PyTorch makes comes out, within the precision's rounding."""
    with open_probe_engine(probes[f"peak {backend}-{precision}"]) as engine:
        shape = make_noise(engine, 0).shape
        black, white = (np.full(shape, level, np.uint8) for level in (0, 255))
        assert engine.run(white).mean() > engine.run(black).mean() + 50
        picture = make_noise(engine, 1)
        found = engine.run(picture).astype(float)
    with torch.no_grad():
        y = Stack(SMALL.stack)(torch.from_numpy(picture).permute(0, 3, 1, 2).float() / 127.5 - 1)
    expected = (y * 127.5 + 127.5).clamp(0, 255).permute(0, 2, 3, 1).numpy()
    assert expected.std() > 5
    assert np.abs(found - expected).max() <= {"fp32": 0.6, "fp16": 1, "bf16": 3, "int8": 6}[precision]


def test_the_integer_stack_has_integers_with_a_zero_point_of_0(probes: dict[str, Probe]) -> None:
    for backend in {b for b, p in ENGINES if p == "int8"}:
        graph = OnnxGraph(onnx.load(probes[f"peak {backend}-int8"].candidate.arguments["files"][0]))
        convs = graph.find_nodes("Conv")
        assert len(convs) == SMALL.stack.layers + 2
        for conv in convs:
            activation, weights = (graph.producer[name] for name in conv.input[:2])
            assert (activation.op_type, weights.op_type) == ("DequantizeLinear", "DequantizeLinear")
            zero, values, scales = (graph.get_value(n) for n in (activation.input[2], *weights.input[:2]))
            assert zero.dtype == np.uint8 and zero == 0
            assert values.dtype == np.int8 and scales.shape == (len(values),)  # per channel


@pytest.mark.parametrize("shape", [SMALL.stack, SMALL.weights, FULL.stack])
def test_multiplications_and_weights_are_counted_as_those_of_models(shape: StackShape) -> None:
    stack = Stack(shape)
    assert shape.macs == count_macs(stack, 3, shape.side, shape.side)
    assert shape.weights == sum(weight.numel() for weight in stack.parameters())


def test_a_file_s_multiplications_are_those_that_are_said(probes: dict[str, Probe]) -> None:
    probe = probes["peak ort-fp32"]
    model = onnx.load(probe.candidate.arguments["files"][0])
    assert sum(count_conv_macs(OnnxGraph(model)).values()) == probe.macs


def test_the_memory_probes_say_what_they_move(probes: dict[str, Probe]) -> None:
    for backend in ("ort", "openvino"):
        path = Path(probes[f"bandwidth {backend} weights"].candidate.arguments["files"][0])
        said = probes[f"bandwidth {backend} weights"].bytes
        stored = [4 * np.prod(w.dims) for w in onnx.load(str(path)).graph.initializer if len(w.dims) == 4]
        assert sum(stored) == said
    assert probes["bandwidth ort copy"].bytes == 2 * 4 * SMALL.copy
    assert 4 * FULL.weights.weights > 200e6 and 4 * FULL.copy > 200e6  # no cache holds them


def test_a_copy_writes_and_reads_the_whole_tensor(probes: dict[str, Probe]) -> None:
    with open_probe_engine(probes["bandwidth ort copy"]) as engine:
        for level in (3, 200):
            largest = engine.run(np.full((1, 1, 1), level, np.uint8))
            np.testing.assert_allclose(largest.ravel(), level * np.linspace(1, 2, 64), rtol=1e-6)


def test_they_are_measured_in_processes_of_their_own(probes: dict[str, Probe]) -> None:
    chosen = [probes["peak ort-fp32"], probes["bandwidth ort copy"]]
    comparison = compare([probe.candidate for probe in chosen], rounds=2)
    assert comparison.reasons == {}
    peaks = find_peaks(chosen, {name: measured.rounds for name, measured in comparison.timings.items()})
    ceilings = peaks.get_ceilings("ort", "fp32")
    assert ceilings is not None
    assert [len(values) for values in (ceilings.low, ceilings.rest, ceilings.bandwidth)] == [2, 2, 2]


def test_an_engine_s_process_has_no_pytorch_in_it() -> None:
    """Its memory and its threads would stand beside the engine's."""
    code = (
        "import sys, benchmarks.support.probe_openers; sys.exit(bool({'torch', 'onnx'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_openers_give_new_results_each_call(probes: dict[str, Probe]) -> None:
    run = open_engine(**probes["peak ort-fp32"].candidate.arguments)
    first, second = run(), run()
    assert first is not second
    np.testing.assert_array_equal(np.asarray(first), np.asarray(second))


def test_the_float_that_goes_with_a_precision_is_measured_too(probes: dict[str, Probe]) -> None:
    folder = Path(probes["peak openvino-int8"].candidate.arguments["files"][0]).parent
    written = write_probes(folder, [("openvino", "int8"), ("ort", "int8")], sizes=SMALL)
    beside = "bf16" if explain_unsupported_backend("openvino", "bf16") is None else "fp32"
    found = [(probe.backend, probe.precision) for probe in written if probe.kind == "arithmetic"]
    assert found == [("openvino", "int8"), ("openvino", beside), ("ort", "int8"), ("ort", "fp32")]
    others = ("openvino", "bf16"), ("ort", "int8"), ("ncnn", "fp16")
    assert {get_rest_precision(*key) for key in others} == {"fp32"}


def test_the_best_probe_is_the_peak_with_all_its_rounds() -> None:
    def probe(name: str, kind: str, macs: int, amount: int, key: tuple[str, str] = ("ort", "fp32")) -> Probe:
        return Probe(Candidate(name, "", {}), *key, kind, macs, amount)  # type: ignore[arg-type]

    probes = [
        probe("slow", "arithmetic", 1_000_000, 0),
        probe("fast", "arithmetic", 3_000_000, 0),
        probe("not run", "arithmetic", 9_000_000, 0, ("ncnn", "fp32")),
        probe("weights", "memory", 5_000_000, 4000),
        probe("copy", "memory", 0, 9000),
    ]
    rounds = {"slow": [[1.0, 1.0], [1.0]], "fast": [[2.0, 1.0, 9.0], [1.0]]}
    rounds |= {"weights": [[1.0], [0.25]], "copy": [[1.0], [1.0]]}
    peaks = find_peaks(probes, rounds)
    # milliseconds that divide without rounding: 2, 1 and 1, 0.25
    fast = Peak("fast", (1.5e9, 3e9))
    assert peaks.arithmetic == {("ort", "fp32"): fast}
    assert peaks.bandwidth == Peak("weights", (4e6, 16e6))
    assert fast.per_second == 2.25e9
    assert peaks.get_ceilings("ort", "fp32") == Ceilings(fast.rounds, fast.rounds, (4e6, 16e6))
    assert peaks.get_ceilings("ort", "int8") is None and peaks.get_ceilings("ncnn", "fp32") is None
    assert Peaks(peaks.arithmetic, None).get_ceilings("ort", "fp32") is None


def test_what_has_no_probe_or_does_not_run_here_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no probe shows the peak of coreml fp16; there are: ort fp32"):
        write_probes(tmp_path, [("coreml", "fp16")], sizes=SMALL)
    for backend, all_of in PRECISIONS.items():
        for precision in all_of:
            if explain_unsupported_backend(backend, precision):
                with pytest.raises(BackendError, match="cannot be shown here"):
                    write_probes(tmp_path, [(backend, precision)], sizes=SMALL)
    assert list(tmp_path.iterdir()) == []
