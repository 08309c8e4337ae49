"""web: what onnxruntime-web runs, small enough for a page, with the pictures of PyTorch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from i2i_export.job import Job
from i2i_export.pipeline import ExportResult
from i2i_export.targets import web
from i2i_sdk import BackendError, ExportError, Translator
from i2i_sdk.backends import explain_unsupported_variant
from tests.export.conftest import get_variants


def test_a_bundle_says_how_far_it_was_verified(sketch_export: ExportResult) -> None:
    variants = get_variants(sketch_export, "web")
    for variant in variants.values():
        assert (variant.verified, variant.verified_by) == ("graph", "ONNX Runtime, CPUExecutionProvider")
        assert variant.requires.engine.startswith("onnxruntime-web>=")
    full, half = variants["fp32"], variants["fp16"]
    assert full.files == (sketch_export.bundle.manifest.references[0].file,)
    assert (full.macs_in_precision, full.precision_kept) == (1.0, {})
    assert (half.macs_in_precision, half.precision_kept) == (0.0, {"arithmetic": "fp32"})
    assert half.files[0].path == "web-fp16-64x96.onnx"
    assert half.files[0].bytes < 0.53 * full.files[0].bytes
    assert full.parity is not None and half.parity is not None
    assert full.parity.psnr > 80 > half.parity.psnr > 60


def test_half_weights_are_stored_and_nothing_else_changes(sketch_export: ExportResult) -> None:
    folder = sketch_export.bundle.path
    full, half = (onnx.load(str(folder / f"{n}.onnx")).graph for n in ("reference", "web-fp16-64x96"))
    kernels = [t for t in full.initializer if len(t.dims) == 4]
    stored = {t.name: t for t in half.initializer}
    assert kernels and not {kernel.name for kernel in kernels} & stored.keys()
    assert all(stored[f"{kernel.name}_fp16"].data_type == TensorProto.FLOAT16 for kernel in kernels)
    others = [t for t in full.initializer if len(t.dims) != 4]
    assert all(stored[t.name] == t for t in others)
    assert list(half.node)[len(kernels) :] == list(full.node)
    assert (half.input, half.output) == (full.input, full.output)


def test_it_runs_in_a_browser_not_here(sketch_export: ExportResult) -> None:
    variant = get_variants(sketch_export, "web")["fp32"]
    assert explain_unsupported_variant(variant) == "it runs in a browser, see docs/mobile.md"
    with pytest.raises(BackendError, match=r"web-fp32-64x96: it runs in a browser, see docs/mobile\.md"):
        Translator(sketch_export.bundle.path, backend="web")


# what a page cannot take


def make_node_graph(kind: str) -> onnx.ModelProto:
    """One node between float tensors."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 8, 8]) for name in "xy")
    node = helper.make_node(kind, ["x"], ["y"], name="layer_7")
    weights = numpy_helper.from_array(np.zeros((2, 2), np.float32), "w")
    graph = helper.make_graph([node], "g", [x], [y], [weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def test_operators_that_are_not_known_are_named() -> None:
    web.check_supported(make_node_graph("Relu"))
    with pytest.raises(ExportError, match=r"not known to run .*-web: Det \(layer_7\)\. Known: Add, "):
        web.check_supported(make_node_graph("Det"))


def test_weights_that_half_precision_cannot_hold() -> None:
    model = make_node_graph("Relu")
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full((2, 2), 7e4, np.float32), "w"))
    with pytest.raises(ExportError, match=r"FP16 cannot hold the weights of w; take web:fp32"):
        web.store_half_weights(model)


def test_files_that_are_too_large(sketch_job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 0.8 and 0.4 MB the sketch model stands for a network fifty times as large."""
    job = replace(sketch_job, folder=tmp_path)
    for most, precision, message in (
        (600_000, "fp32", r"the fp32 file has 0\.8 MB, a page may load 1 MB; take web:fp16"),
        (300_000, "fp32", "the fp32 file has .*; train a narrower network"),
        (300_000, "fp16", "the fp16 file has .*; train a narrower network"),
    ):
        monkeypatch.setattr(web, "MAX_PAGE_BYTES", most)
        with pytest.raises(ExportError, match=message):
            web.export(job, precision)


def test_slow_networks_are_exported_and_say_so(
    sketch_job: Job, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    web.export(sketch_job, "fp32")
    assert not caplog.records
    monkeypatch.setattr(web, "MACS_PER_SECOND", 1e6)
    web.export(sketch_job, "fp32")
    assert "web: no live video in WebAssembly: 0.1 GMACs make about" in caplog.text
