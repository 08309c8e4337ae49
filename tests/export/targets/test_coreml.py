"""Core ML packages: what is written, what is checked of them, and what the check catches."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from i2i_export.job import Job
from i2i_export.mil.interpreter import MilEngine
from i2i_export.options import ExportOptions
from i2i_export.pipeline import ExportResult
from i2i_export.targets import coreml
from i2i_sdk import ExportError, ParityError
from i2i_sdk.backends.coreml import find_weight_precision, read_layers, silence_coremltools
from i2i_sdk.quality.floors import PSNR_FLOORS
from i2i_training.checkpoint import load_generator
from tests.export.conftest import get_variants, make_job

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="a Mac verifies by running Core ML itself")


def load_spec(package: Path) -> Any:
    with silence_coremltools():
        import coremltools

        return coremltools.utils.load_spec(str(package))


# what is written


def test_every_precision_is_checked_by_the_interpreter(sketch_export: ExportResult) -> None:
    variants = get_variants(sketch_export, "coreml")
    assert list(variants) == ["fp16", "w8", "palette6"]
    for precision, variant in variants.items():
        assert variant.name == f"coreml-{precision}-64x96" and variant.precision_found == precision
        assert (variant.max_batch, variant.height, variant.width) == (1, 64, 96)
        interpreter = f"MIL interpreter, torch {torch.__version__}"
        assert (variant.verified, variant.verified_by) == ("graph", interpreter)
        assert variant.requires.os == ("macos", "ios")
        assert variant.parity is not None and variant.parity.psnr >= PSNR_FLOORS[precision]
    assert variants["fp16"].parity.psnr > variants["w8"].parity.psnr > variants["palette6"].parity.psnr  # type: ignore[union-attr]
    assert {c.timing for c in sketch_export.variants if c.variant.verified == "graph"} == {None}


def test_weights_take_the_bits_that_they_should(sketch_export: ExportResult) -> None:
    variants = get_variants(sketch_export, "coreml")
    sizes = {precision: sum(f.bytes for f in variant.files) for precision, variant in variants.items()}
    assert sizes["palette6"] < 0.8 * sizes["w8"] < 0.5 * sizes["fp16"]
    for variant in variants.values():
        spec = load_spec(sketch_export.bundle.path / f"{variant.name}.mlpackage")
        assert find_weight_precision(spec) == variant.precision
        layers = read_layers(spec)
        assert sum(layer.macs for layer in layers) == variant.macs  # counted by PyTorch
        min_weights = 0 if variant.precision == "fp16" else coreml.MIN_WEIGHTS
        small = {layer.name: layer.macs for layer in layers if layer.weight_count < min_weights}
        assert variant.precision_kept == dict.fromkeys(small, "fp16")
        left = sum(small.values()) / variant.macs
        assert variant.macs_in_precision == pytest.approx(1 - left, abs=1e-4)


def test_the_bundle_lists_the_packages_files_one_by_one(sketch_export: ExportResult) -> None:
    bundle = sketch_export.bundle
    for variant in get_variants(sketch_export, "coreml").values():
        package = f"{variant.name}.mlpackage"
        assert [f.path for f in variant.files] == [
            f"{package}/Manifest.json",
            f"{package}/Data/com.apple.CoreML/model.mlmodel",
            f"{package}/Data/com.apple.CoreML/weights/weight.bin",
        ]
        on_disk = {p for p in (bundle.path / package).rglob("*") if p.is_file()}
        files = bundle.files_of(variant)
        assert set(files) == on_disk
        listing = json.loads(files[0].read_text())
        assert listing["rootModelIdentifier"] in listing["itemInfoEntries"]
        # coremltools writes this file anew when it opens a package; the bundle has its SHA-256.
        MilEngine(files[0].parent).close()
        assert bundle.files_of(variant) == files


def test_the_package_says_what_it_is(sketch_export: ExportResult, sketch_checkpoint: Path) -> None:
    _, spec = load_generator(sketch_checkpoint)
    for variant in get_variants(sketch_export, "coreml").values():
        model = load_spec(sketch_export.bundle.path / f"{variant.name}.mlpackage")
        assert model.specificationVersion == 7  # iOS 16, macOS 13
        description = model.description
        for feature, name in ((description.input[0], "image"), (description.output[0], "translated")):
            image = feature.type.imageType
            assert feature.name == name and feature.shortDescription
            assert (image.height, image.width) == (64, 96)
            assert image.ColorSpace.Name(image.colorSpace) == "RGB"
        metadata = description.metadata
        assert (metadata.author, metadata.license) == ("i2i-sdk", "CC0")
        assert "64x96" in metadata.shortDescription
        assert metadata.userDefined["i2i.source_sha256"] == spec.source_sha256
        assert metadata.userDefined["i2i.trained_on"] == "drawn shapes"
        assert "rounding" in metadata.userDefined["i2i.contract"]


def test_a_package_has_the_same_bytes_again(
    sketch_export: ExportResult, sketch_checkpoint: Path, tmp_path: Path
) -> None:
    options = ExportOptions(license="CC0", trained_on="drawn shapes")
    job = make_job(sketch_checkpoint, tmp_path, (64, 96), options)
    for precision, before in get_variants(sketch_export, "coreml").items():
        assert coreml.export(job, precision).files == before.files


def test_gray_images_in_color_out(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    job = make_job(checkpoints["resnet_gray"], tmp_path)
    variant = coreml.export(job, "fp16")
    spec = load_spec(job.folder / f"{variant.name}.mlpackage")
    assert sum(layer.macs for layer in read_layers(spec)) == job.macs  # transposed ones among them
    description = spec.description
    spaces = [f.type.imageType for f in (description.input[0], description.output[0])]
    assert [s.ColorSpace.Name(s.colorSpace) for s in spaces] == ["GRAYSCALE", "RGB"]
    assert coreml.verify(variant, job).variant.verified == "graph"


@pytest.fixture
def job(sketch_checkpoint: Path, tmp_path: Path) -> Job:
    return make_job(sketch_checkpoint, tmp_path)


# what the check catches


def change_one_weight(package: Path) -> None:
    """The middle of the last convolution's first kernel; its place is where the specification says."""
    main = load_spec(package).mlProgram.functions["main"]
    operations = main.block_specializations[main.opset].operations
    makers = {output.name: operation for operation in operations for output in operation.outputs}
    name = [o.inputs["weight"].arguments[0].name for o in operations if o.type == "conv"][-1]
    offset = makers[name].attributes["val"].blobFileValue.offset
    (path,) = package.rglob("weight.bin")
    content = bytearray(path.read_bytes())
    sentinel, _, _, start = struct.unpack_from("<IIQQ", content, offset)
    assert sentinel == 0xDEADBEEF  # the head of a blob in MIL storage
    place = start + 2 * 24  # FP16, the center of a 7x7 kernel
    (before,) = struct.unpack_from("<e", content, place)
    struct.pack_into("<e", content, place, before + 4)
    path.write_bytes(content)


def declare_bgr(package: Path) -> None:
    """The output's colors, as a wrong layout in the conversion would declare them."""
    spec = load_spec(package)
    image = spec.description.output[0].type.imageType
    image.colorSpace = image.ColorSpace.Value("BGR")
    (package / "Data" / "com.apple.CoreML" / "model.mlmodel").write_bytes(spec.SerializeToString())


@pytest.mark.parametrize("tamper", [change_one_weight, declare_bgr])
def test_a_changed_package_is_caught(
    tamper: Callable[[Path], None], checkpoints: dict[str, Path], sketch_checkpoint: Path, tmp_path: Path
) -> None:
    is_weight = tamper is change_one_weight  # the colors of sketches, which are gray, cannot be seen
    checkpoint = sketch_checkpoint if is_weight else checkpoints["resnet"]
    job = make_job(checkpoint, tmp_path)
    variant = coreml.export(job, "fp16")
    assert coreml.verify(variant, job).variant.parity is not None
    tamper(job.folder / f"{variant.name}.mlpackage")
    with pytest.raises(ParityError, match=r"coreml-fp16-64x64: .* dB against PyTorch .*the floor is 40 dB"):
        coreml.verify(variant, job)


def test_missing_rounding_is_caught(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def forward_unrounded(self: coreml.ImageTranslator, image: Tensor) -> Tensor:
        return self.generator(image / 127.5 - 1) * 127.5 + 127.5

    monkeypatch.setattr(coreml.ImageTranslator, "forward", forward_unrounded)
    with pytest.raises(ExportError, match=r"not all of them whole numbers in 0\.\.255; .* rounding"):
        coreml.verify(coreml.export(job, "fp16"), job)


def test_another_precision_is_caught(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coreml, "_compress", lambda model, precision: model)
    with pytest.raises(ExportError, match="coreml-w8-64x64: coremltools stored the weights as fp16"):
        coreml.verify(coreml.export(job, "w8"), job)


# what is refused


def test_other_channels_are_refused(job: Job) -> None:
    job = replace(job, spec=replace(job.spec, config=replace(job.spec.config, out_channels=2)))
    with pytest.raises(ExportError, match=r"coreml: .*1 or 3 channels, this network maps 3 to 2.*leave"):
        coreml.export(job, "fp16")
    assert not any(job.folder.iterdir())


def test_without_coremltools_its_extra_is_named(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "coremltools", None)
    with pytest.raises(ExportError, match=r"coreml needs coremltools .*pip install 'i2i-sdk\[coreml\]'"):
        coreml.export(job, "fp16")


# palettes


@pytest.mark.parametrize("draw", ["normal", "laplace", "uniform"])
def test_palettes_beat_even_steps_and_quantiles(draw: str) -> None:
    weights = getattr(np.random.default_rng(0), draw)(size=(64, 32, 3, 3)).astype(np.float16)
    palette, indices = coreml.compute_palette(weights)
    assert palette.dtype == np.float16 and indices.dtype == np.uint8
    assert len(palette) == 64 and (np.diff(palette.astype(float)) > 0).all()
    numbers = weights.ravel().astype(float)

    def compute_error(entries: np.ndarray) -> float:
        return float(np.min((numbers[:, None] - entries[None, :]) ** 2, axis=1).mean())

    reached = float(((numbers - palette[indices].astype(float)) ** 2).mean())
    nearest = compute_error(palette.astype(float))
    assert reached == pytest.approx(nearest)
    even = compute_error(np.linspace(numbers.min(), numbers.max(), 64))
    quantiles = compute_error(np.quantile(numbers, (np.arange(64) + 0.5) / 64))
    assert reached < 1.001 * min(even, quantiles)
    assert (coreml.compute_palette(weights)[1] == indices).all()


def test_palettes_of_few_numbers() -> None:
    for weights in (np.zeros((4, 600), np.float16), np.tile(np.float16([-1, 0, 2]), 1000)):
        palette, indices = coreml.compute_palette(weights)
        assert np.abs(palette[indices].astype(float) - weights.ravel()).max() < 1e-2
