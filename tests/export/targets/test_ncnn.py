"""ncnn: every network keeps its pictures, in files that a phone can read."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from i2i_export.canonical import Uint8Translator
from i2i_export.job import Job
from i2i_export.options import ExportOptions
from i2i_export.pipeline import ExportResult, export
from i2i_export.targets import ncnn, parse_targets
from i2i_sdk import ExportError
from i2i_sdk.backends.ncnn.ncnn_files import KNOWN_LAYERS, read_layers
from i2i_sdk.quality.floors import PSNR_FLOORS
from tests.export.conftest import get_variants, link_first_files, make_job

BOTH = [("ncnn", "fp32"), ("ncnn", "fp16")]
SIZE = ExportOptions(size=(64, 64))


def test_a_bundle_says_what_is_in_it(sketch_export: ExportResult) -> None:
    variants = get_variants(sketch_export, "ncnn")
    for precision, variant in variants.items():
        name = f"ncnn-{precision}-64x96"
        assert [f.path for f in variant.files] == [f"{name}.param", f"{name}.bin"]
        assert (variant.precision_found, variant.verified, variant.verified_by) == (precision, "device", "")
        assert variant.requires.engine.startswith("ncnn>=")
    full, half = variants["fp32"], variants["fp16"]
    assert (full.macs_in_precision, full.precision_kept) == (1.0, {})
    assert (half.macs_in_precision, half.precision_kept) == (0.0, {"arithmetic": "fp32"})
    assert half.files[1].bytes < 0.52 * full.files[1].bytes
    assert full.parity is not None and half.parity is not None
    assert full.parity.psnr > 80 > half.parity.psnr > 60  # FP16 weights show, far above their floor


def test_a_phone_reads_the_size_and_two_names(sketch_export: ExportResult) -> None:
    path = sketch_export.bundle.path / "ncnn-fp16-64x96.param"
    lines = path.read_text().splitlines()
    assert lines[2].split() == ["Input", "in0", "0", "1", "in0", "0=96", "1=64", "2=3"]
    assert "out0" in lines[-1].split()
    layers = read_layers(path)
    assert [layer.kind for layer in layers[-2:]] == ["UnaryOp", "Clip"]  # whole numbers, 0..255
    assert {layer.kind for layer in layers} <= set(KNOWN_LAYERS)


def test_pnnx_is_quiet(checkpoints: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    export(checkpoints["resnet"], BOTH, tmp_path / "x.i2i", SIZE)
    assert capfd.readouterr() == ("", "")
    expected = {f"ncnn-{p}-64x64.{suffix}" for p in ("fp16", "fp32") for suffix in ("bin", "param")}
    found = {path.name for path in (tmp_path / "x.i2i").iterdir()}
    assert found == expected | {"manifest.json", "reference.onnx"}


def test_the_zebra_generator(zebra_checkpoint: Path, shared_data: Path, tmp_path: Path) -> None:
    """Depthwise convolutions, reflection, InstanceNorm, output padding: real weights on real photos."""
    photos = link_first_files(4, shared_data / "photos", tmp_path / "photos")
    options = ExportOptions(size=(96, 96), frames=photos)
    exported = export(zebra_checkpoint, parse_targets("ncnn"), tmp_path / "h2z.i2i", options)
    found = {c.variant.precision: c.variant.parity for c in exported.variants}
    assert found.keys() == {"fp32", "fp16"}
    assert all(parity and parity.psnr >= PSNR_FLOORS[precision] for precision, parity in found.items())


# what does not work


@pytest.fixture
def job(checkpoints: dict[str, Path], tmp_path: Path) -> Job:
    return make_job(checkpoints["resnet"], tmp_path / "job", (32, 32))


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
def test_layers_that_ncnn_lacks_are_named(network: nn.Module, named: str, job: Job) -> None:
    with pytest.raises(ExportError, match=f"ncnn cannot run this network: .*{named}"):
        ncnn.export(replace(job, module=Uint8Translator(network).eval()), "fp32")


def test_label_maps_are_refused(job: Job) -> None:
    """ncnn would convert them; what brings pixels to it knows gray and color."""
    job = replace(job, spec=replace(job.spec, config=replace(job.spec.config, in_channels=11)))
    with pytest.raises(
        ExportError, match=r"ncnn: its images have 1 or 3 channels, this network maps 11 to 3; leave"
    ):
        ncnn.export(job, "fp32")


def test_pnnx_that_fails_says_what_it_said(job: Job) -> None:
    (job.scratch / "ncnn.pt").write_bytes(b"no network")
    with pytest.raises(ExportError, match=r"pnnx cannot convert this network \(exit .*\): \S"):
        ncnn.export(job, "fp32")


@pytest.mark.parametrize("package", ["ncnn", "pnnx"])
def test_a_missing_package_names_the_extra(package: str, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ExportError, match=r"pip install 'i2i-sdk\[ncnn\]'"):
        ncnn.export(job, "fp32")
