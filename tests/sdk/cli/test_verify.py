"""`i2i verify`: parity is measured again on this device, against the bundle's own reference."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from known_bundles import (
    HEIGHT,
    WIDTH,
    FindBundle,
    RunCommand,
    edit_manifest,
    flip_bit,
    give_own_graph,
    list_file_entries,
    make_file_entry,
    save_text,
)

from i2i_sdk import Bundle
from i2i_sdk.backends import explain_unsupported_variant
from i2i_sdk.quality.verify_bundle import verify_bundle


def test_every_variant_that_runs_here_is_compared(
    folder: Path, photos: Path, run_command: RunCommand
) -> None:
    bundle = Bundle.read(folder)
    found = verify_bundle(bundle, photos, None)
    runs = {v.name for v in bundle.manifest.variants if explain_unsupported_variant(v) is None}
    assert runs >= {f"ort-fp32-{HEIGHT}x{WIDTH}", f"openvino-fp32-{HEIGHT}x{WIDTH}"}
    assert runs == {name for name, outcome in found.items() if outcome.parity}
    parities = [outcome.parity for outcome in found.values() if outcome.parity and not outcome.is_broken]
    measured = [(parity.psnr, parity.frames, parity.frames_from) for parity in parities]
    assert measured == [(120.0, 3, "user")] * len(runs)
    out = run_command("verify", folder, "--frames", photos).out
    assert "holds 50 dB" in out and "3 frames (user)" in out
    assert "every variant that runs here is verified" in out
    out = run_command("verify", folder, "--frames", photos, "--min-psnr", 121, code=1).out
    assert "misses 121 dB" in out


def test_a_variant_with_another_picture_is_found(
    folder: Path, photos: Path, known: FindBundle, run_command: RunCommand
) -> None:
    """What a manifest says of a variant is not believed."""
    give_own_graph(folder, known("swap") / "reference.onnx")
    out = run_command("verify", folder, "--frames", photos, code=1).out
    assert "missed the floor: openvino-fp32-24x40" in out and "misses 50 dB" in out and "holds 50 dB" in out


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"backend": "abacus"}, "backend 'abacus' is not known"),
        ({"requires": {"engine": "openvino>=2099"}}, "it needs openvino>=2099; installed is"),
        ({"requires": {"engine": "openvino>=1", "os": ["amiga"]}}, "it is for amiga"),
    ],
)
def test_a_variant_that_cannot_run_here_says_why(
    folder: Path, photos: Path, run_command: RunCommand, change: dict[str, Any], reason: str
) -> None:
    edit_manifest(folder, lambda data: data["variants"][1].update(change))
    out = run_command("verify", folder, "--frames", photos).out
    assert f"not run: {reason}" in " ".join(out.split())


def test_a_tampered_reference_is_refused(folder: Path, photos: Path, run_command: RunCommand) -> None:
    flip_bit(folder / "reference.onnx", 40)
    assert "SHA-256" in run_command("verify", folder, "--frames", photos, code=2).err


def test_a_tampered_variant_is_broken_and_the_others_are_compared(
    folder: Path, photos: Path, run_command: RunCommand
) -> None:
    flip_bit(give_own_graph(folder, folder / "reference.onnx"))
    for command, code in (("verify", 1), ("tune", 0)):
        out = run_command(command, folder, "--frames", photos, code=code).out
        assert "openvino-fp32-24x40" in out and "SHA-256" in out and "ort-fp32-24x40" in out


def test_frames_that_are_not_there_are_refused(folder: Path, run_command: RunCommand) -> None:
    error = run_command("verify", folder, "--frames", folder / "absent", code=2).err
    assert "no such file or folder" in error


def test_what_was_only_verified_as_a_graph_says_so(
    folder: Path, photos: Path, run_command: RunCommand
) -> None:
    change = {"backend": "abacus", "verified": "graph", "verified_by": "ONNX Runtime"}
    edit_manifest(folder, lambda data: data["variants"][1].update(change))
    lines = run_command("verify", folder, "--frames", photos).out.splitlines()
    name = "openvino-fp32-24x40"
    row = next(line for line in lines if line.startswith(name)).split()
    assert row[1:] == ["60.0", "graph", "-", "-", "-", "not", "run"]
    reason = next(i for i, line in enumerate(lines) if line.startswith(f"{name} not run: backend 'abacus'"))
    assert lines[reason + 1] == "  at export its graph was verified by ONNX Runtime"


def test_a_missing_package_names_its_extra(
    folder: Path, photos: Path, run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else find(name))
    out = run_command("verify", folder, "--frames", photos).out
    assert "not run: the package is missing: pip install 'i2i-sdk[openvino]'" in out


def test_a_variant_that_is_not_what_it_claims_is_broken(
    folder: Path, photos: Path, run_command: RunCommand
) -> None:
    """An FP32 graph passed off as INT8: the others are compared all the same, and the exit code says it."""
    edit_manifest(folder, lambda data: data["variants"][0].update(precision="int8", name="false"))
    out = run_command("verify", folder, "--frames", photos, code=1).out
    assert "false broken: " in out and "asked ONNX Runtime for int8, it would compute in fp32" in out
    assert "holds 50 dB" in out


def test_a_reference_that_is_no_translator_is_refused(
    folder: Path, photos: Path, run_command: RunCommand
) -> None:
    """Whatever the manifest says: every variant agrees with it, and none can be run."""
    four = "<int64[4] order = {0, 1, 2, 0}> { y = Gather <axis = 3> (x, order) }"
    text = f"(uint8[n, 24, 40, 3] x) => (uint8[n, 24, 40, 4] y) {four}"
    entry = asdict(make_file_entry(folder, save_text(folder / "reference.onnx", text)))
    edit_manifest(folder, lambda data: [f.update(entry) for f in list_file_entries(data)])
    error = run_command("verify", folder, "--frames", photos, code=2).err
    assert "the engine gives (None, 24, 40, 4) for (None, 24, 40, 3); a translator gives pictures" in error
