"""TensorRT's builder: its kinds as data, what it built read back, and what is not what was asked for.

Everything is built by the real TensorRT for RTX, whose builder needs no GPU.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from known_bundles import save_text
from trt_graphs import save_swap

from i2i_sdk.backends.tensorrt.builder import build_engine, read_engine_layers, require_unchanged
from i2i_sdk.backends.tensorrt.flavors import (
    FLAVORS,
    Library,
    find_flavor,
    find_installed,
    format_engine_name,
    parse_capability,
    parse_engine_name,
)
from i2i_sdk.errors import BackendError

pytest.importorskip("tensorrt_rtx", reason="needs the extra tensorrt-rtx")

FLAVOR_BY_NAME = {(f.name, f.major): f for f in FLAVORS}


@pytest.fixture(scope="module")
def rtx() -> Library:
    (library,) = find_installed(["rtx"])
    return library


def test_what_is_said_of_rtx_stands_in_its_module(rtx: Library) -> None:
    trt, flavor = rtx.import_module(), rtx.flavor
    assert flavor == FLAVOR_BY_NAME["rtx", 1] and rtx.version == trt.__version__
    assert {"7.5", "8.0", "8.6", "8.9", "12.0"} <= set(rtx.capabilities)
    assert set(flavor.built_alone) | set(flavor.without_int8) <= set(rtx.capabilities)
    for name in flavor.builder_flags:
        assert name in trt.BuilderFlag.__members__
    assert flavor.compiles_lazily and trt.DynamicShapesKernelSpecializationStrategy.EAGER
    assert hasattr(trt.IRuntimeConfig, "dynamic_shapes_kernel_specialization_strategy")
    # Strongly typed with no flag at all, as TensorRT 11.
    network = trt.Builder(trt.Logger(trt.Logger.ERROR)).create_network(0)
    assert network.get_flag(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def test_a_version_finds_its_kind() -> None:
    assert find_flavor("tensorrt", "10.3.0") is FLAVOR_BY_NAME["tensorrt", 10]
    assert find_flavor("tensorrt", "11.4.0.106") is FLAVOR_BY_NAME["tensorrt", 11]
    for version in ("9.1", "12.0.1", "unknown"):
        with pytest.raises(BackendError, match=r"tensorrt .*major version is not known; known: 10, 11"):
            find_flavor("tensorrt", version)


def test_a_package_that_cannot_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the bindings alone, whose libraries come from another package."""
    (tmp_path / "tensorrt.py").write_text("raise OSError('libnvinfer.so.11: cannot open shared object file')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    with pytest.raises(BackendError, match=r"tensorrt is installed but cannot be imported: libnvinfer"):
        find_installed(["tensorrt"])


@given(st.lists(st.sampled_from(["7.5", "8.0", "8.9", "10.0", "12.1"]), min_size=1), st.sampled_from(FLAVORS))
def test_names_of_engines_are_read_back(capabilities: list[str], flavor: object) -> None:
    library = Library(flavor, "10.3.0.26")
    path = Path("x") / format_engine_name("trt-fp16-256x256", library, capabilities)
    read = parse_engine_name(path)
    assert read is not None and read.path == path
    assert (read.flavor, read.version) == (library.flavor.name, "10.3.0.26")
    assert read.capabilities == tuple(capabilities)


@pytest.mark.parametrize("name", ["trt-fp16-8x8.onnx", "x.rtx-1.7.engine", "x.rtx-1.7.sm.engine", "x.engine"])
def test_other_files_are_no_engines(name: str) -> None:
    assert parse_engine_name(Path(name)) is None


def test_capabilities_as_users_and_tensorrt_write_them() -> None:
    assert {parse_capability(text) for text in ("75", "7.5", "SM75")} == {"7.5"}
    assert {parse_capability(text) for text in ("120", "12.0", "SM120")} == {"12.0"}
    assert [parse_capability(text) for text in ("", "CURRENT", "NONE", "7", "SM7.", "7.5.1")] == [None] * 6


@pytest.mark.parametrize("kind", ["fp16", "int8"])
def test_engines_for_several_gpus_without_one(kind: str, tmp_path: Path, rtx: Library) -> None:
    chosen = [c for c in rtx.capabilities if c not in rtx.flavor.built_alone]
    built = build_engine(rtx, save_swap(tmp_path / "x.onnx", kind), kind, chosen)
    assert built.layers == {"swap": kind} and len(built.engine) > 1000


def test_a_fixed_batch_needs_no_profile(tmp_path: Path, rtx: Library) -> None:
    assert build_engine(rtx, save_swap(tmp_path / "x.onnx", "fp16", batch=1), "fp16", ["8.6"]).engine


@pytest.mark.parametrize(
    ("kind", "asked", "message"),
    [
        ("fp32", "fp16", r"x\.onnx: asked for fp16, but 1 of 1 convolutions compute in .*: swap fp32"),
        ("fp32", "int8", r"x\.onnx: asked for int8, but 1 of 1 convolutions compute in .*: swap fp32"),
        ("fp16", "int8", r"x\.onnx: asked for int8, but no convolution computes in it"),
        ("int8", "fp16", r"x\.onnx: asked for fp16, but 1 of 1 convolutions compute in .*: swap int8"),
    ],
)
def test_another_precision_passed_off(
    kind: str, asked: str, message: str, tmp_path: Path, rtx: Library
) -> None:
    with pytest.raises(BackendError, match=message):
        build_engine(rtx, save_swap(tmp_path / "x.onnx", kind), asked, ["8.6"])


FP16_INSTEAD = r"x\.onnx: asks for int8 in 1 of 1 convolutions that the engine computes in .*: swap fp16"


@pytest.mark.parametrize("capabilities", [["7.5"], ["7.5", "8.6"]])
def test_one_old_gpu_costs_all_of_them_their_int8(
    capabilities: list[str], tmp_path: Path, rtx: Library
) -> None:
    """Seen in the engine alone, its network says INT8: why there are Flavor.built_alone and without_int8."""
    assert set(rtx.flavor.built_alone) == set(rtx.flavor.without_int8) == {"7.5"}
    with pytest.raises(BackendError, match=FP16_INSTEAD):
        build_engine(rtx, save_swap(tmp_path / "x.onnx", "int8"), "int8", capabilities)


def test_int8_that_the_builder_drops_without_a_word(tmp_path: Path, rtx: Library) -> None:
    for options in ({"transposed": True}, {"scales": (1,)}):
        with pytest.raises(BackendError, match=FP16_INSTEAD):
            build_engine(rtx, save_swap(tmp_path / "x.onnx", "int8", **options), "int8", ["8.6"])


def test_a_node_that_tensorrt_cannot_take_is_named(tmp_path: Path, rtx: Library) -> None:
    text = "(float[1, 4, 4] x) => (float[1] y) { [my_determinant] y = Det (x) }"
    with pytest.raises(BackendError, match=r"x\.onnx: TensorRT cannot take Det my_determinant: "):
        build_engine(rtx, save_text(tmp_path / "x.onnx", text), "fp16", ["8.6"])


def test_a_file_that_is_no_graph(tmp_path: Path, rtx: Library) -> None:
    (tmp_path / "x.onnx").write_bytes(b"nothing")
    with pytest.raises(BackendError, match=r"x\.onnx: TensorRT cannot "):
        build_engine(rtx, tmp_path / "x.onnx", "fp16", ["8.6"])


def test_what_an_engine_does_not_show_is_said(caplog: pytest.LogCaptureFixture) -> None:
    assert read_engine_layers("a description of another kind") == {}
    require_unchanged({"a": "fp16", "b": "int8"}, {"a": "fp16"}, "x.onnx")
    assert "x.onnx: the engine does not show what it computes b in" in caplog.text


def test_layers_of_an_engines_description() -> None:
    """As TensorRT for RTX 1.7 writes them, shortened: what feeds a convolution names it too."""
    tensor = "[ {{ Name: t, Dimensions: [-1,4,8,8], Datatype: {}, Format: (NHWC) Channel major }}]"
    line = "Name: {}, LayerType: {}, Inputs: {}, Constants: [], Outputs: {}, TacticName: , Metadata: {}"
    half, int8 = tensor.format("Half"), tensor.format("Int8")
    layers = (
        ("__myl_Cast_myl0_0", "kgen", half, int8, "[ONNX Layer: a][ONNX Layer: cast]"),
        ("a_myl0_1", "correlation", int8, half, "[ONNX Layer: a]"),
        ("__myl_CorrMax_myl0_2", "runtime_fusion", half, half, "[ONNX Layer: b][ONNX Layer: relu]"),
    )
    text = "\n".join(["Layers:", *(line.format(*layer) for layer in layers)])
    assert read_engine_layers(text) == {"a": "int8", "b": "fp16", "relu": "fp16"}


@pytest.mark.parametrize(
    ("datatype", "found"),
    [
        ("Half", "fp16"),
        ("Channel major FP16 format where channel % 8 == 0", "fp16"),
        ("Thirty-two wide channel vectorized row major Int8 format", "int8"),
        ("Row major linear FP32", "fp32"),
    ],
)
def test_descriptions_of_tensorrt_10(datatype: str, found: str) -> None:
    """Its words, as published logs have them: other names, and types with the layout in front."""
    tensor = f"[ {{ Name: t, Location: Device, Dimensions: [1,64,56,56], Format/Datatype: {datatype} }}]"
    text = (
        "Layers:\n"
        f"Name: a + relu, LayerType: CaskConvolution, Inputs: {tensor}, Outputs: {tensor}, "
        'ParameterType: Convolution, Kernel: [3,3], Weights: {"Type": "Half", "Count": 36864}, StreamId: 0, '
        "Metadata: [ONNX Layer: a]\x1e[ONNX Layer: relu]"
    )
    assert read_engine_layers(text) == {"a": found, "relu": found}
