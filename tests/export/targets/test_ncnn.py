"""ncnn: every network keeps its pictures, in files that a phone can read."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from i2i_export.canonical import Uint8Translator
from i2i_export.job import Job
from i2i_export.options import ExportOptions
from i2i_export.pipeline import export
from i2i_export.targets import ncnn, parse_targets
from i2i_sdk import Bundle, ExportError, ParityError, Translator
from i2i_sdk.backends.ncnn.ncnn_files import WEIGHT_COUNTERS, read_layers
from i2i_sdk.quality.floors import PSNR_FLOORS
from i2i_sdk.quality.parity import ParityCase, read_inputs
from i2i_training.networks import GeneratorSpec
from tests.export.conftest import SMALL

BOTH = [("ncnn", "fp32"), ("ncnn", "fp16")]
SIZE = ExportOptions(size=(64, 64))
# Together they have every kind of padding, resizing, norm and convolution.
NETWORKS = ("resnet_batch", "resnet_none", "resnet_gray", "mobile", "unet_instance")


@pytest.fixture(scope="module")
def sketch(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sketch model, which is trained, with both variants."""
    out = tmp_path_factory.mktemp("ncnn") / "sketch.i2i"
    source = root / "models" / "sketch" / "latest_net_G.safetensors"
    export(source, [("ort", "fp32"), *BOTH], out, ExportOptions(size=(96, 128)))
    return out


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_keeps_its_pictures(name: str, checkpoints: dict[str, Path], tmp_path: Path) -> None:
    exported = export(checkpoints[name], [("ncnn", "fp32")], tmp_path / "x.i2i", SIZE)
    (variant,) = (c.variant for c in exported.variants)
    assert (variant.name, variant.verified, variant.max_batch) == ("ncnn-fp32-64x64", "device", 1)
    assert variant.parity is not None and variant.parity.psnr >= PSNR_FLOORS["fp32"]


def test_a_bundle_says_what_is_in_it(sketch: Path) -> None:
    variants = {v.precision: v for v in Bundle.read(sketch).manifest.variants if v.backend == "ncnn"}
    for precision, variant in variants.items():
        name = f"ncnn-{precision}-96x128"
        assert [f.path for f in variant.files] == [f"{name}.param", f"{name}.bin"]
        assert (variant.precision_found, variant.verified, variant.verified_by) == (precision, "device", "")
        assert variant.requires.engine.startswith("ncnn>=")
    full, half = variants["fp32"], variants["fp16"]
    assert (full.macs_in_precision, full.precision_kept) == (1.0, {})
    assert (half.macs_in_precision, half.precision_kept) == (0.0, {"arithmetic": "fp32"})
    assert half.files[1].bytes < 0.52 * full.files[1].bytes
    assert full.parity is not None and half.parity is not None
    assert full.parity.psnr > 80 > half.parity.psnr > 60  # FP16 weights show, far above their floor


def test_a_phone_reads_the_size_and_two_names(sketch: Path) -> None:
    lines = (sketch / "ncnn-fp16-96x128.param").read_text().splitlines()
    assert lines[2].split() == ["Input", "in0", "0", "1", "in0", "0=128", "1=96", "2=3"]
    assert "out0" in lines[-1].split()
    layers = read_layers(sketch / "ncnn-fp16-96x128.param")
    assert [layer.kind for layer in layers[-2:]] == ["UnaryOp", "Clip"]  # whole numbers, 0..255
    assert {layer.kind for layer in layers} <= set(WEIGHT_COUNTERS)


def test_a_batch_goes_one_by_one(sketch: Path) -> None:
    frames = list(np.random.default_rng(0).integers(0, 256, (3, 50, 60, 3), np.uint8))
    with (
        Translator(sketch, backend="ncnn", precision="fp32") as ncnn,
        Translator(sketch, backend="ort") as ort,
    ):
        for ours, theirs in zip(ncnn.batch(frames), ort.batch(frames), strict=True):
            assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_pnnx_prints_nothing(
    checkpoints: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    export(checkpoints["resnet"], BOTH, tmp_path / "x.i2i", SIZE)
    assert capfd.readouterr() == ("", "")
    assert sorted(path.name for path in (tmp_path / "x.i2i").iterdir()) == [
        *("manifest.json", "ncnn-fp16-64x64.bin", "ncnn-fp16-64x64.param"),
        *("ncnn-fp32-64x64.bin", "ncnn-fp32-64x64.param", "reference.onnx"),
    ]


def test_the_horse_to_zebra_generator(shared_data: Path, tmp_path: Path) -> None:
    """Depthwise convolutions, reflection, InstanceNorm, output padding: real weights on real photos."""
    source = shared_data / "checkpoints" / "gan_compression_horse2zebra" / "latest_net_G.pth"
    (tmp_path / "photos").mkdir()
    for photo in sorted((shared_data / "photos").iterdir())[:4]:
        (tmp_path / "photos" / photo.name).symlink_to(photo)
    options = ExportOptions(size=(96, 96), frames=tmp_path / "photos")
    exported = export(source, parse_targets("ncnn"), tmp_path / "h2z.i2i", options)
    found = {c.variant.precision: c.variant.parity for c in exported.variants}
    assert {precision: p.psnr >= PSNR_FLOORS[precision] for precision, p in found.items() if p} == {
        "fp32": True,
        "fp16": True,
    }


# what does not work


def make_job(folder: Path, generator: nn.Module, config_name: str = "resnet") -> Job:
    """A job for a network that no checkpoint can hold."""
    spec = GeneratorSpec(SMALL[config_name], steps=1)
    inputs = read_inputs(None, 32, 32, 3)
    folder.mkdir()
    (folder / "scratch").mkdir()
    module = Uint8Translator(generator).eval()
    trial = ParityCase(replace(inputs, arrays=inputs.arrays[:1]), ())
    graph = folder / "reference.onnx"
    return Job(
        *(module, spec, graph, folder, folder / "scratch", 32, 32, 8, 1, trial),
        *(ExportOptions(), lambda text: None),
    )


class Spectrum(nn.Module):
    """A layer that pnnx knows and ncnn lacks."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.fft2(x).abs()


class SortLayer(nn.Module):
    """A layer that pnnx does not know."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sort(x, dim=3)[0]


@pytest.mark.parametrize(
    ("network", "named"), [(Spectrum(), r"torch\.fft\.fft2 \("), (SortLayer(), "aten::sort")]
)
def test_layers_that_ncnn_lacks_are_named(network: nn.Module, named: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=f"ncnn cannot run this network: .*{named}"):
        ncnn.export(make_job(tmp_path / "job", network), "fp32")


def test_label_maps_are_refused(tmp_path: Path) -> None:
    """ncnn would convert them; what brings pixels to it knows gray and color."""
    job = make_job(tmp_path / "job", nn.Identity())
    job = replace(job, spec=replace(job.spec, config=replace(job.spec.config, in_channels=11)))
    with pytest.raises(ExportError, match=r"ncnn takes images of 1 or 3 channels, not of \[3, 11\]"):
        ncnn.export(job, "fp32")


def test_pnnx_that_fails_says_what_it_said(tmp_path: Path) -> None:
    job = make_job(tmp_path / "job", nn.Identity())
    (job.scratch / "ncnn.pt").write_bytes(b"no network")
    with pytest.raises(ExportError, match=r"pnnx cannot convert this network \(exit .*\): \S"):
        ncnn.export(job, "fp32")


@pytest.mark.parametrize("package", ["ncnn", "pnnx"])
def test_a_missing_package_names_the_extra(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ExportError, match=r"pip install 'i2i-sdk\[ncnn\]'"):
        ncnn.export(make_job(tmp_path / "job", nn.Identity()), "fp32")


def test_changed_weights_miss_the_floor(
    checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ncnn really makes of the files is compared, not what they were made of."""
    convert = ncnn._convert

    def export_damaged(*arguments: object) -> tuple[Path, Path]:
        param, weights = convert(*arguments)  # type: ignore[arg-type]
        data = np.fromfile(weights, np.float32)
        data[8:200] *= 1.5
        data.tofile(weights)
        return param, weights

    monkeypatch.setattr(ncnn, "_convert", export_damaged)
    with pytest.raises(ParityError, match=r"ncnn-fp32-64x64: .*--min-psnr changes the floor"):
        export(checkpoints["resnet"], [("ncnn", "fp32")], tmp_path / "x.i2i", SIZE)
    assert not (tmp_path / "x.i2i").exists()
