"""BF16 in OpenVINO reaches every layer of networks that end in transposed convolutions."""

from __future__ import annotations

from pathlib import Path

import pytest

from i2i_export.graph import write_onnx
from i2i_export.module import deployed, example_input
from i2i_export.options import ExportOptions
from i2i_export.pipeline import export_bundle
from i2i_export.wanted import parse_targets
from i2i_sdk.backends import backend_class, openvino
from i2i_training.checkpoint import load_generator, save_generator
from i2i_training.networks import DcganConfig, GeneratorSpec
from tests.export.conftest import make_generator

pytestmark = pytest.mark.skipif(
    openvino.OpenVinoEngine.missing("bf16") is not None, reason="this CPU has no BF16"
)


@pytest.fixture(scope="module")
def dcgan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = DcganConfig(latent=12, width=8, size=32)
    path = tmp_path_factory.mktemp("dcgan") / "latest_net_G.safetensors"
    return save_generator(path, make_generator(config), GeneratorSpec(config, "running_stats", steps=1))


def graph_of(checkpoint: Path, path: Path) -> Path:
    module, spec = load_generator(checkpoint)
    side = spec.config.multiple_of if spec.kind == "sampler" else 64
    write_onnx(deployed(module, spec), example_input(spec, side, side, batch=2), path)
    return path


@pytest.mark.parametrize("name", ["unet", "unet_instance", "resnet", "mobile", "dcgan"])
def test_every_layer_computes_in_bf16(
    name: str, checkpoints: dict[str, Path], dcgan: Path, tmp_path: Path
) -> None:
    graph = graph_of(dcgan if name == "dcgan" else checkpoints[name], tmp_path / "x.onnx")
    with backend_class("openvino")((graph,), "bf16") as engine:
        assert set(engine.layers) == {"bf16"}


@pytest.mark.parametrize("name", ["unet", "dcgan"])
def test_by_itself_openvino_leaves_the_decoder_in_fp32(
    name: str, checkpoints: dict[str, Path], dcgan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the change to the graph is for; a version that does without it fails here."""
    monkeypatch.setattr(openvino, "end_with_a_convolution", lambda _: False)
    graph = graph_of(dcgan if name == "dcgan" else checkpoints[name], tmp_path / "x.onnx")
    compiled = openvino._compiled(graph, "bf16", None)
    assert compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "bf16"  # it says so all the same
    assert openvino._layers(compiled)["fp32"] >= 4


def test_a_sampler_is_exported_in_bf16_by_default(dcgan: Path, tmp_path: Path) -> None:
    options = ExportOptions()
    exported = export_bundle(dcgan, parse_targets("openvino", options), tmp_path / "x.i2i", options)
    found = {c.variant.precision: c.variant.precision_found for c in exported.variants}
    assert found["bf16"] == "bf16" and found["fp32"] == "fp32"
