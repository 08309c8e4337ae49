"""`i2i verify`: parity is measured again on this device, against the bundle's own reference."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from known_bundles import HEIGHT, WIDTH

from i2i_sdk import Bundle
from i2i_sdk.cli.main import main
from i2i_sdk.files import hash_file
from i2i_sdk.media.images import write_image
from i2i_sdk.quality.verification import verify_bundle


@pytest.fixture
def bundle(known: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(known("invert"), tmp_path / "x.i2i"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for index in range(3):
        picture = random.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
        write_image(tmp_path / "photos" / f"{index}.png", picture)
    return tmp_path / "photos"


def edit_manifest(bundle: Path, change: Callable[[dict], None]) -> None:
    file = bundle / "manifest.json"
    manifest = json.loads(file.read_text())
    change(manifest)
    file.write_text(json.dumps(manifest))


def test_every_variant_that_runs_here_is_measured(bundle: Path, photos: Path) -> None:
    found = verify_bundle(Bundle.read(bundle), photos, None)
    assert set(found) >= {f"ort-fp32-{HEIGHT}x{WIDTH}", f"openvino-fp32-{HEIGHT}x{WIDTH}"}
    for outcome in found.values():
        parity = outcome.parity
        assert parity is not None and not outcome.is_broken
        assert (parity.psnr, parity.frames, parity.frames_from) == (120.0, 3, "user")


def test_the_command_says_what_holds(bundle: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(bundle), "--frames", str(photos)]) == 0
    out = capsys.readouterr().out
    assert "holds 50 dB" in out and "3 frames (user)" in out
    assert "every variant that runs here is verified" in out
    assert main(["verify", str(bundle), "--frames", str(photos), "--min-psnr", "121"]) == 1
    assert "misses 121 dB" in capsys.readouterr().out


def test_a_variant_with_another_picture_is_found(
    bundle: Path, photos: Path, known: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """What a manifest says of a variant is not believed."""
    other = shutil.copy(known("swap") / "reference.onnx", bundle / "other.onnx")
    entry = {"path": "other.onnx", "sha256": hash_file(Path(other)), "bytes": Path(other).stat().st_size}

    def change(manifest: dict) -> None:
        manifest["variants"][1]["files"] = [entry]

    edit_manifest(bundle, change)
    assert main(["verify", str(bundle), "--frames", str(photos)]) == 1
    out = capsys.readouterr().out
    name = Bundle.read(bundle).manifest.variants[1].name
    assert f"missed the floor: {name}" in out and "misses 50 dB" in out and "holds 50 dB" in out


def test_a_variant_that_cannot_run_here_says_why(
    bundle: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(manifest: dict) -> None:
        manifest["variants"][1]["backend"] = "abacus"

    edit_manifest(bundle, change)
    assert main(["verify", str(bundle), "--frames", str(photos)]) == 0
    assert "not run: backend 'abacus' is not known" in " ".join(capsys.readouterr().out.split())


def test_nothing_that_runs_is_an_error(
    bundle: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(manifest: dict) -> None:
        for variant in manifest["variants"]:
            variant["backend"] = "abacus"

    edit_manifest(bundle, change)
    assert main(["verify", str(bundle), "--frames", str(photos)]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "no variant can run on this device: " in said and "backend 'abacus' is not known" in said


def test_a_tampered_reference_is_refused(
    bundle: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = bundle / "reference.onnx"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert main(["verify", str(bundle), "--frames", str(photos)]) == 2
    assert "SHA-256" in capsys.readouterr().err


def test_a_tampered_variant_is_broken_and_the_others_are_compared(
    bundle: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = Path(shutil.copy(bundle / "reference.onnx", bundle / "other.onnx"))
    entry = {"path": "other.onnx", "sha256": hash_file(copied), "bytes": copied.stat().st_size}

    def change(manifest: dict) -> None:
        manifest["variants"][1]["files"] = [entry]

    edit_manifest(bundle, change)
    name = Bundle.read(bundle).manifest.variants[1].name
    data = bytearray(copied.read_bytes())
    data[len(data) // 2] ^= 1
    copied.write_bytes(data)
    for command in (["verify", str(bundle), "--frames", str(photos)], ["tune", str(bundle), "--rounds", "3"]):
        code = main(command)
        out = capsys.readouterr().out
        assert code == (1 if command[0] == "verify" else 0)
        assert name in out and "SHA-256" in out and f"ort-fp32-{HEIGHT}x{WIDTH}" in out


def test_frames_that_are_not_there_are_refused(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(bundle), "--frames", str(bundle / "absent")]) == 2
    assert "no such file or folder" in capsys.readouterr().err


def test_what_was_only_verified_as_a_graph_says_so(
    bundle: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(manifest: dict) -> None:
        manifest["variants"][1] |= {"backend": "abacus", "verified": "graph", "verified_by": "ONNX Runtime"}

    edit_manifest(bundle, change)
    assert main(["verify", str(bundle), "--frames", str(photos)]) == 0
    lines = capsys.readouterr().out.splitlines()
    name = "openvino-fp32-24x40"
    row = next(line for line in lines if line.startswith(name)).split()
    assert row[1:] == ["60.0", "graph", "-", "-", "-", "not", "run"]
    reason = next(i for i, line in enumerate(lines) if line.startswith(f"{name} not run: backend 'abacus'"))
    assert lines[reason + 1] == "  at export its graph was verified by ONNX Runtime"


def test_requirements_that_this_device_has_not(
    bundle: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(manifest: dict) -> None:
        manifest["variants"][0]["requires"]["engine"] = "onnxruntime>=99"
        manifest["variants"][1]["requires"]["os"] = ["amiga"]

    edit_manifest(bundle, change)
    assert main(["verify", str(bundle), "--frames", str(photos)]) == 0
    out = capsys.readouterr().out
    assert "not run: it needs onnxruntime>=99; installed is" in out and "not run: it is for amiga" in out


def test_a_missing_package_names_its_extra(
    bundle: Path, photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else find(name))
    assert main(["verify", str(bundle), "--frames", str(photos)]) == 0
    assert "not run: the package is missing: pip install 'i2i-sdk[openvino]'" in capsys.readouterr().out


def test_a_variant_that_is_not_what_it_claims_is_broken(
    bundle: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An FP32 graph passed off as INT8: the others are compared all the same, and the exit code says it."""

    def change(manifest: dict) -> None:
        manifest["variants"][0] |= {"precision": "int8", "name": "false"}

    edit_manifest(bundle, change)
    assert main(["verify", str(bundle), "--frames", str(photos)]) == 1
    out = capsys.readouterr().out
    assert "false broken: " in out and "asked ONNX Runtime for int8, it would compute in fp32" in out
    assert "holds 50 dB" in out
