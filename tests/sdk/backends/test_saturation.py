"""INT8 gives the same picture where a CPU adds products of bytes in 16 bits: x86 without VNNI."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest
from known_bundles import HEIGHT, WIDTH, make_noise
from numpy.typing import NDArray
from small_convolutions import save_convolutions

from i2i_sdk.backends import load_backend_class, openvino
from i2i_sdk.backends.ort import saturation
from i2i_sdk.backends.ort.saturation import EXACT_PRODUCTS, is_u8s8_saturating

WHITE = np.full((1, HEIGHT, WIDTH, 3), 255, np.uint8)


def pretend(monkeypatch: pytest.MonkeyPatch, saturates: bool) -> None:
    for module in (saturation, openvino):
        monkeypatch.setattr(module, "is_u8s8_saturating", lambda: saturates)


def run_engine(backend: str, path: Path, precision: str, frames: NDArray[np.uint8]) -> NDArray[np.int_]:
    with load_backend_class(backend)((path,), precision) as engine:
        return engine.run(frames).astype(int)


@pytest.mark.parametrize(("backend", "allowed"), [("ort", 1), ("openvino", 2)])
def test_the_largest_products_are_not_cut_off(backend: str, allowed: int, tmp_path: Path) -> None:
    """White, and weights up to 127. OpenVINO's tolerance is of weights in 7 bits."""
    path = save_convolutions(tmp_path / "x.onnx", "both")
    exact = run_engine("ort", path, "fp32", WHITE)
    assert exact.max() > 60
    assert np.abs(run_engine(backend, path, "int8", WHITE) - exact).max() <= allowed


@pytest.mark.parametrize("saturates", [True, False])
def test_onnx_runtime_is_exact_where_it_would_not_be_and_fast_elsewhere(
    saturates: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, saturates)
    path = save_convolutions(tmp_path / "x.onnx", "both")
    with load_backend_class("ort")((path,), "int8") as engine:
        options = engine._native.get_session_options()
        assert dict(engine.layers) == {"int8": 2}
    if saturates:
        assert options.get_session_config_entry(EXACT_PRODUCTS) == "1"
    else:
        with pytest.raises(RuntimeError, match=EXACT_PRODUCTS):
            options.get_session_config_entry(EXACT_PRODUCTS)


def test_a_cpu_with_wrong_sums_is_recognized(monkeypatch: pytest.MonkeyPatch) -> None:
    class Saturating:
        def __init__(self, *_: object, **__: object) -> None: ...

        def run(self, _: object, inputs: dict[str, NDArray[np.int8]]) -> list[NDArray[np.int32]]:
            a, b = (inputs[name].astype(np.int32) for name in "ab")
            pairs = (a[:, :, None] * b[None]).reshape(len(a), -1, 2, b.shape[1]).sum(2)
            return [np.minimum(pairs, 32767).sum(1)]

    monkeypatch.setattr("onnxruntime.InferenceSession", Saturating)
    assert is_u8s8_saturating.__wrapped__()


def test_openvino_rounds_weights_to_7_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path, frames = save_convolutions(tmp_path / "x.onnx", "both"), make_noise(2, HEIGHT, WIDTH, 3)
    model = ov.Core().read_model(str(path))
    assert openvino.round_weights_to_7_bits(model) == 2
    weights = [op.data for op in model.get_ops() if is_weights(op)]
    assert len(weights) == 2 and all(60 <= np.abs(values).max() <= 64 for values in weights)
    pretend(monkeypatch, False)
    usual = run_engine("openvino", path, "int8", frames)
    assert caplog.text == ""
    pretend(monkeypatch, True)
    with caplog.at_level(logging.WARNING, "i2i_sdk"):
        rounded = run_engine("openvino", path, "int8", frames)
    assert "x.onnx: this CPU has no VNNI; its INT8 weights are rounded to 7 bits" in caplog.text
    assert np.abs(rounded - usual).max() <= 3 and (is_u8s8_saturating() or (rounded != usual).any())


def is_weights(op: ov.Node) -> bool:
    return op.get_type_name() == "Constant" and op.get_element_type() == ov.Type.i8 and op.data.ndim == 4


@pytest.mark.parametrize(("zero", "changed"), [(0, 1), (3, 0)])
def test_weights_with_a_zero_point_stay_as_they_are(zero: int, changed: int) -> None:
    x = ops.parameter([1, 2, 8, 8], np.float32, name="x")
    weights = ops.convert(ops.constant(np.full((2, 2, 1, 1), 126, np.int8)), "f32")
    shifted = ops.subtract(weights, ops.constant(np.full((2, 1, 1, 1), zero, np.float32)))
    scaled = ops.multiply(shifted, ops.constant(np.full((2, 1, 1, 1), 0.01, np.float32)))
    y = ops.convolution(x, scaled, [1, 1], [0, 0], [0, 0], dilations=[1, 1])
    model = ov.Model([y], [x])
    picture = np.random.default_rng(0).uniform(0, 1, (1, 2, 8, 8)).astype(np.float32)
    before = ov.Core().compile_model(model, "CPU")(picture)[0].copy()
    assert openvino.round_weights_to_7_bits(model) == changed
    np.testing.assert_allclose(ov.Core().compile_model(model, "CPU")(picture)[0], before, rtol=0.02)
