"""What of the Core ML backend needs no Mac: reasons, the package's files, its description, images.

Loading and running a package is not tested: no machine of this project can.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from known_bundles import make_noise
from PIL import Image

from i2i_sdk.backends import EngineOptions, coreml, explain_unsupported_variant, open_variant
from i2i_sdk.backends.coreml import (
    CoreMlEngine,
    ImagePort,
    find_package,
    from_image,
    read_image_ports,
    silence_coremltools,
    to_image,
)
from i2i_sdk.bundle.manifest import Requirements, Variant
from i2i_sdk.errors import BackendError

BOTH = ["coremltools", "PIL"]


# whether it can run


@pytest.mark.skipif(sys.platform == "darwin", reason="a Mac runs Core ML")
def test_this_machine_cannot_and_says_why() -> None:
    reason = f"Core ML runs on macOS and iOS only, this is {sys.platform}; take a variant of another backend"
    for precision in ("fp16", "w8", "palette6"):
        assert CoreMlEngine.explain_unsupported(precision) == reason
    requires = Requirements("coremltools>=9.0", os=("macos", "ios"))
    variant = Variant("a", "coreml", "w8", "w8", 64, 64, 1, 1, (), requires, "graph")
    assert explain_unsupported_variant(variant) == reason
    with pytest.raises(BackendError, match="a cannot run here: Core ML runs on macOS and iOS only"):
        open_variant(variant, (Path("a.mlpackage/Manifest.json"),))


@pytest.mark.parametrize(
    ("version", "packages", "precision", "reason"),
    [
        *((version, BOTH, "fp16", None) for version in ("13.0", "13.6.1", "15.2", "26.1")),
        *(("15.2", BOTH, precision, None) for precision in ("w8", "palette6")),
        ("12.7.6", BOTH, "fp16", "it needs macOS 13 or newer, this is 12.7.6"),
        ("14.0", ["PIL"], "fp16", "coremltools missing: pip install 'i2i-sdk[coreml]'"),
        ("14.0", [], "fp16", "PIL and coremltools missing: pip install 'i2i-sdk[coreml]'"),
        ("14.0", BOTH, "int8", "Core ML packages hold fp16, w8, palette6, not int8"),
    ],
)
def test_what_a_mac_needs(
    monkeypatch: pytest.MonkeyPatch, version: str, packages: list[str], precision: str, reason: str | None
) -> None:
    monkeypatch.setattr(coreml, "sys", SimpleNamespace(platform="darwin"))
    monkeypatch.setattr(coreml.platform, "mac_ver", lambda: (version, ("", "", ""), "arm64"))
    monkeypatch.setattr(coreml.importlib.util, "find_spec", lambda name: name if name in packages else None)
    assert CoreMlEngine.explain_unsupported(precision) == reason


def test_an_unknown_provider_lists_the_known() -> None:
    with pytest.raises(BackendError, match="no provider 'cuda'; allowed: cpu, gpu, neural-engine"):
        CoreMlEngine((Path("x"),), "fp16", EngineOptions(provider="cuda"))


# the package


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, ...]:
    """The three files of a package, as a variant lists them."""
    return write_files(tmp_path / "a.mlpackage", "com.apple.CoreML/weights")


def write_files(package: Path, weights: str) -> tuple[Path, ...]:
    data = package / "Data" / "com.apple.CoreML"
    (data / "weights").mkdir(parents=True)
    model, numbers = data / "model.mlmodel", data / "weights" / "weight.bin"
    model.write_bytes(b"model")
    numbers.write_bytes(b"weights")
    items = {"1": {"path": "com.apple.CoreML/model.mlmodel"}, "2": {"path": weights}}
    listing = package / "Manifest.json"
    listing.write_text(json.dumps({"itemInfoEntries": items}), encoding="utf-8")
    return listing, model, numbers


def test_the_package_is_found_by_its_listing(files: tuple[Path, ...]) -> None:
    assert find_package(files) == files[0].parent
    with pytest.raises(BackendError, match=r"a Core ML variant begins with NAME\.mlpackage/Manifest\.json"):
        find_package(files[::-1])


def test_files_that_nobody_checked_are_refused(files: tuple[Path, ...], tmp_path: Path) -> None:
    stray = files[0].parent / "Data" / "com.apple.CoreML" / "weights" / "other.bin"
    for add in (stray.touch, lambda: stray.symlink_to(tmp_path, target_is_directory=True)):
        add()
        with pytest.raises(BackendError, match=r"other\.bin: is not listed in the bundle's manifest"):
            find_package(files)
        stray.unlink()


@pytest.mark.parametrize("weights", ["../../secret", "/etc", "com.apple.CoreML/../../../x"])
def test_listings_that_leave_the_package_are_refused(weights: str, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"Manifest\.json: .* leaves the package"):
        find_package(write_files(tmp_path / "a.mlpackage", weights))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"itemInfoEntries": [1]}', '{"itemInfoEntries": {"a": {}}}']
)
def test_listings_that_are_none(text: str, files: tuple[Path, ...]) -> None:
    files[0].write_text(text, encoding="utf-8")
    with pytest.raises(BackendError, match=r"Manifest\.json: is not the manifest of a Core ML package"):
        find_package(files)


# its description


def make_description(*spaces: tuple[str, str]) -> Any:
    """A model's specification with images named and colored so, the last one being its output."""
    with silence_coremltools():
        from coremltools import proto

    model = proto.Model_pb2.Model()
    for index, (name, space) in enumerate(spaces):
        side = model.description.output if index == len(spaces) - 1 else model.description.input
        feature = side.add(name=name)
        image = feature.type.imageType
        image.height, image.width, image.colorSpace = 48, 64, image.ColorSpace.Value(space)
    return model


def test_images_are_described_by_the_package() -> None:
    ports = read_image_ports(make_description(("image", "GRAYSCALE"), ("translated", "BGR")))
    assert ports == (ImagePort("image", 48, 64, "gray"), ImagePort("translated", 48, 64, "bgr"))
    assert [port.shape for port in ports] == [(1, 48, 64, 1), (1, 48, 64, 3)]


def test_other_descriptions_are_refused() -> None:
    two = make_description(("a", "RGB"), ("b", "RGB"), ("c", "RGB"))
    with pytest.raises(BackendError, match=r"one image in .* has a imageType, b imageType"):
        read_image_ports(two)
    numbers = make_description(("a", "RGB"), ("b", "RGB"))
    numbers.description.output[0].type.multiArrayType.shape.append(3)
    with pytest.raises(BackendError, match="has b multiArrayType"):
        read_image_ports(numbers)
    with pytest.raises(BackendError, match="a: colors are GRAYSCALE_FLOAT16; known: RGB, BGR, GRAYSCALE"):
        read_image_ports(make_description(("a", "GRAYSCALE_FLOAT16"), ("b", "RGB")))


# images


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_frames_become_images_and_images_frames(channels: int, mode: str) -> None:
    frame = make_noise(1, 5, 7, channels)[0]
    image = to_image(frame)
    assert (image.mode, image.size) == (mode, (7, 5))
    back = from_image(image, channels)
    assert (back == frame).all() and back.shape == (5, 7, channels)
    assert back.flags.writeable and back.flags.c_contiguous


def test_alpha_is_dropped_not_blended() -> None:
    """coremltools gives color as RGBA, whose alpha Core ML leaves at any value."""
    rgba = np.concatenate([make_noise(1, 4, 4, 3)[0], np.zeros((4, 4, 1), np.uint8)], axis=2)
    assert (from_image(Image.fromarray(rgba), 3) == rgba[:, :, :3]).all()


def test_only_coremltools_is_silenced_and_not_for_long(caplog: pytest.LogCaptureFixture) -> None:
    before = logging.getLogger("coremltools").level
    with pytest.raises(RuntimeError), silence_coremltools():
        logging.getLogger("coremltools").warning("of a PyTorch it was not tested on")
        logging.getLogger("another").warning("heard")
        logging.getLogger("coremltools").error("heard too")
        raise RuntimeError
    assert [record.message for record in caplog.records] == ["heard", "heard too"]
    assert logging.getLogger("coremltools").level == before
