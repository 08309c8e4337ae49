"""BF16 in OpenVINO reaches every layer of networks that end in transposed convolutions."""

from __future__ import annotations

from pathlib import Path

import pytest

from i2i_export.options import ExportOptions
from i2i_export.pipeline import export
from i2i_export.targets import parse_targets
from i2i_sdk.backends import load_backend_class, openvino
from tests.cpu import needs_bf16
from tests.export.conftest import export_graph

pytestmark = needs_bf16


@pytest.mark.parametrize("name", ["unet", "unet_instance", "resnet", "mobile"])
def test_every_layer_computes_in_bf16(name: str, checkpoints: dict[str, Path], tmp_path: Path) -> None:
    export_graph(checkpoints[name], 64, tmp_path / "x.onnx")
    with load_backend_class("openvino")((tmp_path / "x.onnx",), "bf16") as engine:
        assert set(engine.layers) == {"bf16"}


def test_by_itself_openvino_leaves_the_decoder_in_fp32(
    checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the change to the graph is for; a version that does without it fails here."""
    monkeypatch.setattr(openvino, "append_identity_convolution", lambda _: False)
    export_graph(checkpoints["unet"], 64, tmp_path / "x.onnx")
    compiled = openvino._compile_model(tmp_path / "x.onnx", "bf16", None)
    assert compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "bf16"  # it says so all the same
    assert openvino._count_layers(compiled)["fp32"] >= 4


def test_bf16_is_exported_by_default(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    options = ExportOptions(size=(64, 64))
    exported = export(checkpoints["resnet_batch"], parse_targets("openvino"), tmp_path / "x.i2i", options)
    found = {c.variant.precision: c.variant.precision_found for c in exported.variants}
    assert found["bf16"] == "bf16" and found["fp32"] == "fp32"
