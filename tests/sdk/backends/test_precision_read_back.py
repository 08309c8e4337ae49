"""An engine computes in what was asked for, layer by layer, or it is an error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from known_bundles import HEIGHT, WIDTH, make_noise
from numpy.typing import NDArray
from small_convolutions import save_convolutions

from i2i_sdk.backends import load_backend_class, openvino
from i2i_sdk.backends.ort.onnx_layers import find_engine_precision, read_layers
from i2i_sdk.errors import BackendError
from tests.cpu import needs_bf16


def count_engine_layers(backend: str, path: Path, precision: str) -> dict[str, int]:
    with load_backend_class(backend)((path,), precision) as engine:
        assert engine.precision == precision
        return dict(engine.layers)


def run_engine(backend: str, path: Path, precision: str) -> NDArray[np.int_]:
    """What an engine makes of two frames of noise."""
    with load_backend_class(backend)((path,), precision) as engine:
        return engine.run(make_noise(2, HEIGHT, WIDTH, 3)).astype(int)


# what a file says


def test_layers_are_read_without_the_package_onnx(tmp_path: Path) -> None:
    plain = read_layers(save_convolutions(tmp_path / "a.onnx"))
    assert plain.count_by_precision() == {"fp32": 2} and plain.dequantized_count == 0
    assert not plain.has_fp16_weights and not plain.is_quantized
    assert plain.nodes == {"Transpose": 2, "Cast": 2, "Mul": 2, "Conv": 2, "Relu": 1, "Clip": 1}
    half = read_layers(save_convolutions(tmp_path / "b.onnx", half=True))
    assert half.has_fp16_weights and half.count_by_precision() == {"fp16": 2}
    for quantized, count in (("inputs", 2), ("both", 4)):
        found = read_layers(save_convolutions(tmp_path / f"{quantized}.onnx", quantized))
        assert found.is_quantized and found.dequantized_count == 2
        assert found.nodes["QuantizeLinear"] == count


def test_large_weights_are_skipped_not_read(tmp_path: Path) -> None:
    """As those of a real network: what lies between the fields that matter may be anything."""
    path = save_convolutions(tmp_path / "a.onnx")
    field = bytes([(14 << 3) | 2, 0xE0, 0xA7, 0x12]) + b"\xff" * 300_000  # field 14 of the model
    path.write_bytes(field + path.read_bytes() + field)
    assert read_layers(path).count_by_precision() == {"fp32": 2}


@pytest.mark.parametrize("data", [b"", b"\x08", b"\x3a\xff", b"nonsense", b"\xff" * 40])
def test_what_is_no_onnx_file(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.onnx").write_bytes(data)
    with pytest.raises(ValueError):
        read_layers(tmp_path / "x.onnx")
    cut = save_convolutions(tmp_path / "cut.onnx")
    cut.write_bytes(cut.read_bytes()[:-1])
    with pytest.raises(ValueError, match="longer than the message"):
        read_layers(cut)


def test_most_of_what_is_typed_int8_has_to_be_int8() -> None:
    assert find_engine_precision({"int8": 3, "fp32": 9}, 4, "fp32") == "int8"
    assert find_engine_precision({"int8": 2, "fp32": 2}, 4, "fp32") == "mixed"
    assert find_engine_precision({"fp32": 4}, 4, "fp32") == "fp32"
    # Integer layers that need no Q/DQ around them.
    assert find_engine_precision({"int8": 4}, 0, "fp32") == "int8"


# INT8


@pytest.mark.parametrize(
    ("backend", "quantized"), [("ort", "both"), ("openvino", "both"), ("openvino", "inputs")]
)
def test_int8_is_computed_in_int8(tmp_path: Path, backend: str, quantized: str) -> None:
    path = save_convolutions(tmp_path / "x.onnx", quantized)
    assert count_engine_layers(backend, path, "int8") == {"int8": 2}
    exact = run_engine(backend, save_convolutions(tmp_path / "exact.onnx"), "fp32")
    difference = np.abs(run_engine(backend, path, "int8") - exact)
    assert 0 < difference.max() <= 3  # rounded to 8 bits on the way: close, and not the same


def test_onnx_runtime_leaves_convolutions_in_floats_whose_output_is_not_quantized(tmp_path: Path) -> None:
    """The trap: the file has Q/DQ, so it seems to be INT8, and every other convolution computes in FP32."""
    path = save_convolutions(tmp_path / "x.onnx", "inputs")
    message = r"asked ONNX Runtime for int8, it would compute in mixed(?=.*'int8': 1)(?=.*'fp32': 1)"
    with pytest.raises(BackendError, match=message):
        load_backend_class("ort")((path,), "int8")


@pytest.mark.parametrize("backend", ["ort", "openvino"])
def test_an_fp32_network_passed_off_as_int8(tmp_path: Path, backend: str) -> None:
    path = save_convolutions(tmp_path / "x.onnx")
    with pytest.raises(BackendError, match=r"for int8, it would compute in (fp32|bf16)"):
        load_backend_class(backend)((path,), "int8")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_int8_network_passed_off_as_something_better(tmp_path: Path, precision: str) -> None:
    if reason := openvino.OpenVinoEngine.explain_unsupported(precision):
        pytest.skip(reason)
    path = save_convolutions(tmp_path / "x.onnx", "both")
    with pytest.raises(BackendError, match=rf"for {precision}, it would compute in int8"):
        load_backend_class("openvino")((path,), precision)


@pytest.mark.parametrize("quantized", ["inputs", "both"])
def test_onnx_runtime_evaluates_q_dq_in_floats_when_asked_to(tmp_path: Path, quantized: str) -> None:
    """What an engine that is not here would make of the graph: its rounding, and nothing else."""
    path = save_convolutions(tmp_path / "x.onnx", quantized)
    assert count_engine_layers("ort", path, "fp32") == {"fp32": 2}
    result = run_engine("ort", path, "fp32")
    assert np.abs(result - run_engine("openvino", path, "int8")).max() <= 1
    assert (result != run_engine("ort", save_convolutions(tmp_path / "exact.onnx"), "fp32")).any()


def test_beside_int8_openvino_computes_in_the_best_that_the_cpu_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = "bf16" if openvino.OpenVinoEngine.explain_unsupported("bf16") is None else "fp32"
    assert openvino.PRECISION_NAMES[openvino.choose_float_precision("int8")] == best
    monkeypatch.setattr(openvino, "query_cpu_capabilities", lambda: ("FP32", "INT8"))
    assert openvino.choose_float_precision("int8") == "f32"
    path = save_convolutions(tmp_path / "x.onnx", "both")
    assert count_engine_layers("openvino", path, "int8") == {"int8": 2}


# BF16 and FP16


@needs_bf16
def test_bf16_reaches_a_transposed_convolution_at_the_end(tmp_path: Path) -> None:
    path = save_convolutions(tmp_path / "x.onnx", transposed=1)
    assert set(count_engine_layers("openvino", path, "bf16")) == {"bf16"}
    assert count_engine_layers("openvino", path, "fp32") == {"fp32": 2}
    difference = np.abs(run_engine("openvino", path, "bf16") - run_engine("openvino", path, "fp32"))
    assert difference.max() <= 1


@needs_bf16
def test_a_network_that_bf16_does_not_reach_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What OpenVINO makes of a DCGAN by itself: its property says BF16, its layers compute in FP32."""
    monkeypatch.setattr(openvino, "append_identity_convolution", lambda _: False)
    path = save_convolutions(tmp_path / "x.onnx", transposed=2)
    with pytest.raises(BackendError, match=r"asked OpenVINO for bf16, it would compute in fp32"):
        load_backend_class("openvino")((path,), "bf16")
    monkeypatch.undo()
    assert set(count_engine_layers("openvino", path, "bf16")) == {"bf16"}


def test_fp16_files_are_not_for_cpus(tmp_path: Path) -> None:
    path = save_convolutions(tmp_path / "x.onnx", half=True)
    with pytest.raises(BackendError, match="is typed FP16, which a CPU computes in FP32 between casts"):
        load_backend_class("ort")((path,), "fp32")
