"""Samplers: from a DCGAN checkpoint to a bundle and to a grid of pictures."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch

from i2i_export import pipeline
from i2i_export.options import ExportOptions
from i2i_export.pipeline import export_bundle
from i2i_sdk import ExportError, InputError, ParityError, Translator
from i2i_sdk.cli import main as i2i
from i2i_sdk.parity import FLOORS
from i2i_sdk.sampling import latents, sample_bundle
from i2i_training.checkpoint import load_generator, save_generator
from i2i_training.networks import (
    DcganConfig,
    EncoderDecoderConfig,
    GeneratorConfig,
    GeneratorSpec,
    UnitConfig,
)
from i2i_training.sample import sampled_pictures
from tests.export.conftest import make_generator

ALL = [("ort", "fp32"), ("openvino", "fp32")]
CONFIG = DcganConfig(latent=12, width=8, size=32)
Capture = pytest.CaptureFixture[str]


def saved(path: Path, config: GeneratorConfig) -> Path:
    spec = GeneratorSpec(config, "running_stats" if config.norm == "batch" else "none", steps=1, size=64)
    return save_generator(path, make_generator(config), spec)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("run") / "latest_net_G.safetensors", CONFIG)


@pytest.fixture(scope="module")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundles") / "dcgan.i2i"
    export_bundle(checkpoint, ALL, out)
    return out


@pytest.mark.parametrize(
    "config",
    [
        UnitConfig(width=4, blocks=1),
        UnitConfig(1, 3, width=4, blocks=1, norm="batch", upsample="bilinear"),
        EncoderDecoderConfig(width=16),
    ],
    ids=str,
)
def test_new_translators_keep_their_pictures(config: GeneratorConfig, tmp_path: Path) -> None:
    path = saved(tmp_path / "net.safetensors", config)
    exported = export_bundle(path, ALL, tmp_path / "x.i2i", ExportOptions(size=(32, 48)))
    for variant in (c.variant for c in exported.variants):
        assert variant.parity is not None and variant.parity.psnr >= FLOORS["fp32"]
        assert variant.parity.frames_from == "builtin"
    with Translator(tmp_path / "x.i2i", backend="ort") as translate:
        assert translate(np.zeros((50, 70, 3), np.uint8)).shape == (50, 70, 3)


def test_sampler_bundle_tells_what_it_is(checkpoint: Path, tmp_path: Path) -> None:
    exported = export_bundle(checkpoint, ALL, tmp_path / "x.i2i")
    manifest = exported.bundle.manifest
    assert (manifest.model.kind, manifest.model.architecture) == ("sampler", "dcgan")
    assert (manifest.input.in_channels, manifest.input.out_channels) == (12, 3)
    assert [v.name for v in manifest.variants] == ["ort-fp32-32x32", "openvino-fp32-32x32"]
    for variant in manifest.variants:
        assert variant.verified == "device" and variant.parity is not None
        assert variant.parity.psnr >= FLOORS["fp32"]
        assert (variant.parity.frames_from, variant.parity.frames) == ("latents", 32)
    graph = onnx.load(str(tmp_path / "x.i2i" / "reference.onnx")).graph
    (latent,), (image,) = graph.input, graph.output
    sides = [[d.dim_value or d.dim_param for d in v.type.tensor_type.shape.dim] for v in (latent, image)]
    assert sides == [["batch", 12], ["batch", 32, 32, 3]]
    kinds = [v.type.tensor_type.elem_type for v in (latent, image)]
    assert kinds == [onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8]
    assert "BatchNormalization" not in Counter(node.op_type for node in graph.node)


def test_a_wrong_sampler_is_caught(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parity compares with the unrewritten module on latents that make different pictures."""
    right = pipeline.deployed

    def brighter(module: torch.nn.Module, spec: GeneratorSpec) -> torch.nn.Module:
        wrong = right(module, spec)
        with torch.no_grad():
            wrong.generator.get_submodule("model.9").bias.add_(0.05)
        return wrong

    monkeypatch.setattr(pipeline, "deployed", brighter)
    with pytest.raises(ParityError, match=r"over 32 frames.*worst: seed 0, number \d+"):
        export_bundle(checkpoint, ALL, tmp_path / "x.i2i")
    assert list(tmp_path.iterdir()) == []


def test_options_for_images_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.i2i"
    with pytest.raises(ExportError, match="this sampler makes 32x32 only; leave --size out"):
        export_bundle(checkpoint, ALL, out, ExportOptions(size=(64, 64)))
    with pytest.raises(InputError, match="a sampler is compared on noise; leave --frames out"):
        export_bundle(checkpoint, ALL, out, ExportOptions(frames=tmp_path))
    export_bundle(checkpoint, ALL[:1], out, ExportOptions(size=(32, 32)))


def test_a_bundle_makes_the_checkpoints_pictures(checkpoint: Path, bundle: Path) -> None:
    module, spec = load_generator(checkpoint)
    expected = sampled_pictures(module, latents(20, spec.config.in_channels, seed=3))
    assert expected.shape == (20, 32, 32, 3) and expected.dtype == np.uint8
    different = [np.abs(expected[0].astype(int) - picture).max() for picture in expected[1:]]
    assert min(different) > 10  # the noise decides
    for backend in ("ort", "openvino"):
        made = sample_bundle(bundle, 20, 3, backend=backend)  # more than one batch
        assert np.abs(made.astype(int) - expected).max() <= 1


def test_sample_command(checkpoint: Path, bundle: Path, tmp_path: Path, capsys: Capture) -> None:
    def made(source: Path, *options: str) -> np.ndarray:
        out = tmp_path / "grid.png"
        assert i2i(["sample", str(source), "-o", str(out), *options]) == 0
        assert f"wrote {out}: " in capsys.readouterr().out
        image = cv2.imread(str(out))
        assert image is not None
        return image

    whole = made(bundle, "--backend", "ort")
    assert whole.shape == (8 * 34 - 2, 8 * 34 - 2, 3)
    assert np.array_equal(whole, made(bundle, "--backend", "ort", "--seed", "0"))
    assert not np.array_equal(whole, made(bundle, "--backend", "ort", "--seed", "1"))
    assert np.abs(whole.astype(int) - made(checkpoint)).max() <= 1  # RGB and BGR alike
    few = made(checkpoint, "--count", "5", "--columns", "3")
    assert few.shape == (2 * 34 - 2, 3 * 34 - 2, 3)
    assert np.abs(few[:32, :100].astype(int) - whole[:32, :100]).max() <= 1  # the same first ones
    assert (few[34:, 68:] == 255).all()


def test_samplers_and_translators_are_told_apart(
    checkpoints: dict[str, Path], bundle: Path, tmp_path: Path, capsys: Capture
) -> None:
    with pytest.raises(InputError, match=r"is a sampler, not a translator.*i2i sample .*dcgan\.i2i"):
        Translator(bundle)
    translator = tmp_path / "t.i2i"
    export_bundle(checkpoints["resnet_none"], ALL[:1], translator, ExportOptions(size=(32, 32)))
    for source, message in (
        (translator, "is a translator, not a sampler; translate with: i2i run"),
        (checkpoints["unet"], "is a translator (unet), not a sampler; next: i2i export"),
    ):
        assert i2i(["sample", str(source), "-o", str(tmp_path / "x.png")]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("arguments", [["--threads", "2"], ["--backend", "ort"], ["--precision", "fp32"]])
def test_engine_options_are_for_bundles(arguments: list[str], checkpoint: Path, capsys: Capture) -> None:
    assert i2i(["sample", str(checkpoint), *arguments]) == 2
    assert f"{arguments[0]} is for bundles" in capsys.readouterr().err


def test_commands_say_what_to_do_next(checkpoint: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "x.i2i"
    assert i2i(["export", str(checkpoint.parent), "--to", "ort", "-o", str(out)]) == 0
    assert f"next: i2i sample {out} -o OUT" in capsys.readouterr().out
    assert i2i(["info", str(out)]) == 0
    assert "(sampler), 12 random numbers -> 3 channels" in capsys.readouterr().out
    assert i2i(["tune", str(out), "--rounds", "3"]) == 0
    assert f"next: i2i sample {out} -o OUT" in capsys.readouterr().out
