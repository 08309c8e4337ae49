"""TensorRT: real engines of TensorRT for RTX, built without a GPU, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import ModelProto

from i2i_export.int8.builder import Int8Graph, write_graph
from i2i_export.job import Job
from i2i_export.options import ExportOptions
from i2i_export.passes.fp16 import HALF, cast_pixels_first, infer_element_types
from i2i_export.pipeline import ExportResult, export
from i2i_export.targets import trt
from i2i_export.targets.trt import choose_library, group_capabilities
from i2i_sdk import BackendError, ExportError, Translator
from i2i_sdk.backends import explain_unsupported_variant
from i2i_sdk.backends.tensorrt import cuda
from i2i_sdk.backends.tensorrt.flavors import Library, find_installed, parse_engine_name
from i2i_sdk.backends.tensorrt.trt_engine import TrtEngine
from i2i_sdk.quality.floors import PSNR_FLOORS
from tests.export.conftest import get_variants

pytest.importorskip("tensorrt_rtx", reason="needs the extra tensorrt-rtx")
pytestmark = pytest.mark.skipif(
    TrtEngine.explain_unsupported("fp16") is None,
    reason="where an engine runs variants are verified with it, see tests/sdk",
)

SIZE = ExportOptions(size=(64, 64), compute_capabilities=("86",))


@pytest.mark.parametrize(("precision", "groups"), [("fp16", 2), ("int8", 1)])
def test_a_variant_has_its_graph_and_an_engine_for_each_gpu(
    precision: str, groups: int, sketch_export: ExportResult, rtx: Library
) -> None:
    variant = get_variants(sketch_export, "trt")[precision]
    graph, *engines = (Path(f.path) for f in variant.files)
    assert graph.name == f"trt-{precision}-64x96.onnx" and len(engines) == groups
    read = [parse_engine_name(path) for path in engines]
    assert all(e and (e.flavor, e.version) == ("rtx", rtx.version) for e in read)
    found = [c for e in read if e for c in e.capabilities]
    assert sorted(found) == sorted(variant.requires.compute_capabilities)
    assert set(found) == set(rtx.capabilities) - ({"7.5"} if precision == "int8" else set())
    assert (variant.max_batch, variant.precision_found) == (8, precision)


def test_a_variant_is_verified_by_its_graph(sketch_export: ExportResult) -> None:
    variants = get_variants(sketch_export, "trt")
    for precision, variant in variants.items():
        assert variant.verified == "graph"
        assert variant.verified_by.startswith("ONNX Runtime ") and "rounded" in variant.verified_by
        assert variant.parity is not None and variant.parity.psnr >= PSNR_FLOORS[precision]
    assert variants["fp16"].parity is not None and variants["fp16"].parity.psnr >= 55
    assert variants["fp16"].macs_in_precision == 1.0 and variants["fp16"].calibration_sha256 is None
    assert variants["int8"].macs_in_precision > 1 / 3 and variants["int8"].calibration_sha256


def test_the_graph_in_the_bundle_has_the_types(sketch_export: ExportResult) -> None:
    for precision, variant in get_variants(sketch_export, "trt").items():
        model = onnx.load(str(sketch_export.bundle.path / variant.files[0].path))
        types = infer_element_types(model)
        convolutions = [n for n in model.graph.node if n.op_type == "Conv"]
        assert {types[name] for n in convolutions for name in (*n.input, *n.output)} == {HALF}
        quantized = {n.output[0] for n in model.graph.node if n.op_type == "DequantizeLinear"}
        in_8_bits = [n for n in convolutions if quantized.issuperset(n.input[:2])]
        assert bool(in_8_bits) == (precision == "int8")


def test_without_a_gpu_another_variant_runs(sketch_export: ExportResult) -> None:
    reason = str(TrtEngine.explain_unsupported("fp16"))
    variants = get_variants(sketch_export, "trt").values()
    assert all(str(explain_unsupported_variant(v)).startswith(reason) for v in variants)
    with Translator(sketch_export.bundle.path) as translator:
        assert translator.variant is not None and translator.variant.backend in ("ort", "openvino")


def test_networks_with_instance_norm(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    (checked,) = export(checkpoints["unet_instance"], [("trt", "fp16")], tmp_path / "x.i2i", SIZE).variants
    assert checked.timing is None and checked.variant.verified == "graph"


def keep_float(model: ModelProto) -> ModelProto:
    """What `convert_graph_to_half` would make if it typed nothing."""
    cast_pixels_first(model.graph)
    return model


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_float_graph_passed_off_as_another_is_caught(
    precision: str, sketch_checkpoint: Path, crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_float(job: Job, style: str) -> Int8Graph:
        return replace(write_graph(job, style), path=job.graph)

    monkeypatch.setattr(trt, "convert_graph_to_half", keep_float)
    monkeypatch.setattr(trt, "write_graph", write_float)
    message = rf"(asked|asks) for {precision}.* computes? in something else: node_conv2d fp32"
    with pytest.raises(BackendError, match=message):
        export(sketch_checkpoint, [("trt", precision)], tmp_path / "x.i2i", replace(SIZE, frames=crops))
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def rtx() -> Library:
    (library,) = find_installed(["rtx"])
    return library


def test_engines_are_grouped_by_what_slows_them(rtx: Library, caplog: pytest.LogCaptureFixture) -> None:
    assert group_capabilities(rtx, (), "fp16")[1:] == (("7.5",),)
    assert group_capabilities(rtx, ("75", "8.6", "89", "86"), "fp16") == (("8.6", "8.9"), ("7.5",))
    assert group_capabilities(rtx, ("75",), "fp16") == (("7.5",),)
    assert not caplog.records
    (all_of_them,) = group_capabilities(rtx, (), "int8")
    assert "trt int8: no engine for 7.5, which has the fp16 variant" in caplog.text
    assert set(all_of_them) == set(rtx.capabilities) - {"7.5"}


@pytest.mark.parametrize(
    ("wanted", "precision", "named"),
    [("87", "fp16", "8.7"), ("7.5", "int8", "7.5"), ("ampere", "fp16", "ampere")],
)
def test_gpus_that_cannot_be_built_for(wanted: str, precision: str, named: str, rtx: Library) -> None:
    message = rf"--compute-capability {named}: tensorrt-rtx [\d.]+ builds {precision} for .*8\.6"
    with pytest.raises(ExportError, match=message):
        group_capabilities(rtx, (wanted, "86"), precision)


def test_the_flavor_that_is_installed_is_taken(rtx: Library) -> None:
    assert choose_library("auto") == choose_library("rtx") == rtx
    message = r"--flavor tensorrt: no TensorRT of this kind .*: pip install 'i2i-sdk\[tensorrt-rtx\]'"
    with pytest.raises(ExportError, match=message):
        choose_library("tensorrt")


@pytest.mark.skipif(cuda.explain_missing_cuda() is None, reason="there is a CUDA device")
def test_a_flavor_that_needs_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT, of which a version is enough here: RTX is taken in its place, or it says what it needs."""
    (tmp_path / "tensorrt.py").write_text("__version__ = '11.4.0'")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert choose_library("auto").flavor.name == "rtx"
    with pytest.raises(ExportError, match=r"--flavor tensorrt: .* builds on the GPU .*; no CUDA device: "):
        choose_library("tensorrt")
