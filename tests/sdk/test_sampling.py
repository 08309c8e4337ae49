"""Latents, grids, and sampler bundles that are not what they say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from known_bundles import describe, save_graph, save_onnx
from onnx import TensorProto, helper, numpy_helper

from i2i_sdk.bundle import write_bundle
from i2i_sdk.errors import BackendError, I2IError, InputError
from i2i_sdk.manifest import InputContract
from i2i_sdk.sampling import grid, latents, sample_bundle

H, W, Z = 3, 5, 4


def sampler_graph(path: Path, batch: int | str) -> Path:
    """Pixel p of channel 0, 1, 2 is 50 + 20 * latent p % Z, plus the channel's number."""
    weights = np.zeros((Z, H * W * 3), np.float32)
    for index in range(H * W * 3):
        weights[index // 3 % Z, index] = 20.0
    offset = 50 + np.arange(H * W * 3, dtype=np.float32) % 3
    constants = [
        numpy_helper.from_array(weights, "w"),
        numpy_helper.from_array(offset, "o"),
        numpy_helper.from_array(np.array([-1, H, W, 3], np.int64), "shape"),
        numpy_helper.from_array(np.float32(0), "low"),
        numpy_helper.from_array(np.float32(255), "high"),
    ]
    nodes = [
        helper.make_node("MatMul", ["z", "w"], ["m"]),
        helper.make_node("Add", ["m", "o"], ["a"]),
        helper.make_node("Clip", ["a", "low", "high"], ["c"]),
        helper.make_node("Round", ["c"], ["r"]),
        helper.make_node("Cast", ["r"], ["u"], to=TensorProto.UINT8),
        helper.make_node("Reshape", ["u", "shape"], ["y"]),
    ]
    inputs = [("z", TensorProto.FLOAT, [batch, Z])]
    return save_onnx(path, nodes, constants, inputs, [("y", TensorProto.UINT8, [batch, H, W, 3])])


def known_sampler(out: Path, batch: int | str = "n", numbers: int = Z, graph: str = "sampler") -> Path:
    built = out.parent / "built"
    path = built / "reference.onnx"
    if graph == "sampler":
        sampler_graph(path, batch)
    else:
        save_graph(path, graph, (H, W), batch)
    manifest = describe(built, path, "identity", (("ort", "fp32"), ("openvino", "fp32")), (H, W))
    model = replace(manifest.model, kind="sampler")
    write_bundle(out, replace(manifest, model=model, input=InputContract(numbers, 3, H)), built)
    return out


def expected(values: np.ndarray) -> np.ndarray:
    places = np.arange(H * W) % Z
    pixels = 50 + 20 * values[:, places, None] + np.arange(3)
    return np.clip(np.rint(pixels), 0, 255).reshape(-1, H, W, 3)


@pytest.mark.parametrize("backend", ["ort", "openvino"])
@pytest.mark.parametrize("batch", ["n", 1, 3])
def test_batches_of_any_and_of_fixed_size(tmp_path: Path, backend: str, batch: int | str) -> None:
    bundle = known_sampler(tmp_path / "x.i2i", batch)
    for count in (1, 3, 10):  # the manifest allows 4 at once
        made = sample_bundle(bundle, count, seed=2, backend=backend)
        assert made.dtype == np.uint8 and made.shape == (count, H, W, 3)
        assert np.abs(made - expected(latents(count, Z, 2))).max() <= 1


def test_latents_are_normal_and_the_same_everywhere() -> None:
    values = latents(1000, 50, seed=5)
    assert values.dtype == np.float32 and values.shape == (1000, 50)
    assert abs(values.mean()) < 0.02 and abs(values.std() - 1) < 0.02
    assert np.array_equal(values, latents(1000, 50, seed=5))
    assert not np.array_equal(values, latents(1000, 50, seed=6))
    np.testing.assert_allclose(latents(1, 3)[0], [1.7640524, 0.4001572, 0.978738], rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 3, 0), "0 pictures; possible are 1 to 10000"),
        ((10_001, 3, 0), "10001 pictures"),
        ((1, 3, -1), "seed is -1; allowed: 0 to 4294967295"),
        ((1, 3, 2**32), "seed is 4294967296"),
    ],
)
def test_impossible_latents(arguments: tuple[int, int, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        latents(*arguments)


def test_grid_is_row_by_row_on_white() -> None:
    pictures = np.stack([np.full((2, 3, 1), 10 * n, np.uint8) for n in range(5)])
    sheet = grid(pictures, columns=2)
    assert sheet.shape == (3 * 4 - 2, 2 * 5 - 2, 1)
    assert [int(sheet[r * 4, c * 5, 0]) for r in range(3) for c in range(2)] == [0, 10, 20, 30, 40, 255]
    assert (sheet[2:4] == 255).all() and (sheet[:, 3:5] == 255).all()
    assert np.array_equal(grid(pictures[:1], columns=8), pictures[0])  # no wider than what there is
    with pytest.raises(InputError, match="0 columns; at least 1"):
        grid(pictures, columns=0)


@pytest.mark.parametrize("backend", ["ort", "openvino"])
@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({"graph": "identity"}, r"takes uint8 \(None, 3, 5, 3\).*a sampler takes float32 \[N, 4\]"),
        ({"numbers": 100}, r"takes float32 \(None, 4\).*a sampler takes float32 \[N, 100\]"),
        ({"numbers": -1}, r"a sampler takes float32 \[N, -1\]"),
    ],
)
def test_a_graph_that_is_no_sampler(made: dict[str, Any], message: str, backend: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        sample_bundle(known_sampler(tmp_path / "x.i2i", **made), 1, backend=backend)


@pytest.mark.parametrize("backend", ["ort", "openvino"])
def test_a_size_that_the_graph_does_not_make(backend: str, tmp_path: Path) -> None:
    bundle = known_sampler(tmp_path / "x.i2i")
    file = bundle / "manifest.json"
    data = json.loads(file.read_text())
    for each in (*data["variants"], *data["references"]):
        each["height"] = 99
    file.write_text(json.dumps(data))
    with pytest.raises(InputError, match=r"gives \(None, 3, 5, 3\); needed are pictures of 99x5"):
        sample_bundle(bundle, 1, backend=backend)


def test_choices_are_binding(tmp_path: Path) -> None:
    bundle = known_sampler(tmp_path / "x.i2i")
    with pytest.raises(InputError, match="no variant for backend=trt"):
        sample_bundle(bundle, 1, backend="trt")
    with pytest.raises(InputError, match="threads is 0"):
        sample_bundle(bundle, 1, threads=0)
    (bundle / "reference.onnx").write_bytes(b"x" * (bundle / "reference.onnx").stat().st_size)
    with pytest.raises(I2IError, match="do not use it") as caught:
        sample_bundle(bundle, 1)
    assert not isinstance(caught.value, BackendError)  # refused before an engine saw it
