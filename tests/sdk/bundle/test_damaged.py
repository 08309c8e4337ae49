"""A missing or damaged file costs the variants that need it; `i2i bundle trim` removes variants."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from known_bundles import (
    RunCommand,
    edit_manifest,
    flip_bit,
    hash_files,
    make_file_entry,
    make_noise,
    write_known_bundle,
)

from i2i_sdk import Bundle, BundleError, Translator, verify
from i2i_sdk.bundle.folder import trim_bundle
from i2i_sdk.errors import InputError
from i2i_sdk.selection import load_latencies
from i2i_sdk.server.models import open_models

ORT, FP32, BF16 = (f"{name}-24x40" for name in ("ort-fp32", "openvino-fp32", "openvino-bf16"))
FILES = {ORT: "ort.onnx", FP32: "sub/deep/fp32.onnx", BF16: "sub/bf16.onnx"}


@pytest.fixture
def owned(folder: Path, working_folder: Path) -> Path:
    """A bundle whose variants have a file each, beside the reference's."""

    def change(data: Any) -> None:
        for variant in data["variants"]:
            file = folder / FILES[variant["name"]]
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / "reference.onnx", file)
            variant["files"] = [asdict(make_file_entry(folder, file))]

    return edit_manifest(folder, change)


@pytest.fixture
def portable(owned: Path) -> Path:
    """The same without BF16, which not every CPU has: OpenVINO's FP32 is the best of it anywhere."""
    trim_bundle(Bundle.read(owned), [BF16])
    return owned


def replace_with_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, "is listed in the manifest but not there"),
    "a folder": (replace_with_folder, "is listed in the manifest but not there"),
    "empty": (lambda file: file.write_bytes(b""), "has 0 bytes instead of 171"),
    "cut": (lambda file: file.write_bytes(file.read_bytes()[:-5]), "has 166 bytes instead of 171"),
    "one bit": (flip_bit, "is not what the manifest's SHA-256 says"),
}


def damage(folder: Path, *names: str, kind: str = "missing") -> None:
    for name in names:
        DAMAGE[kind][0](folder / FILES[name])


@pytest.mark.parametrize("kind", DAMAGE)
def test_the_next_best_variant_is_taken(kind: str, portable: Path, caplog: pytest.LogCaptureFixture) -> None:
    damage(portable, FP32, kind=kind)
    image = make_noise(24, 40, 3)
    with Translator(portable) as translate:
        assert translate.variant is not None and translate.variant.name == ORT
        assert (translate(image) == 255 - image).all()
    (said,) = (record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert said.startswith(f"{FP32} is damaged: {portable / FILES[FP32]}") and said.endswith(
        f"; taking {ORT}"
    )
    assert DAMAGE[kind][1] in said


def test_two_damaged_variants_leave_the_third(owned: Path) -> None:
    damage(owned, BF16, kind="cut")
    damage(owned, FP32)
    with Translator(owned) as translate:
        assert translate.variant is not None and translate.variant.name == ORT


@pytest.mark.parametrize("kind", ["missing", "one bit"])
@pytest.mark.parametrize("options", [{"backend": "ort"}, {"precision": "fp32", "backend": "ort"}])
def test_a_damaged_variant_that_is_named_is_an_error(options: dict[str, str], kind: str, owned: Path) -> None:
    damage(owned, ORT, kind=kind)
    with pytest.raises(BundleError, match=rf"^{ORT} is damaged: .*{DAMAGE[kind][1]}.*the bundle has: open"):
        Translator(owned, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", DAMAGE)
def test_where_none_is_left_every_reason_is_said(kind: str, portable: Path) -> None:
    damage(portable, ORT, FP32, kind=kind)
    with pytest.raises(BundleError) as caught:
        Translator(portable)
    for file in (FILES[ORT], FILES[FP32]):
        assert re.search(
            rf"{re.escape(str(portable / file))}: (its content )?{DAMAGE[kind][1][:12]}", str(caught.value)
        )


def test_reasons_of_those_that_cannot_run_here_are_said_too(portable: Path) -> None:
    edit_manifest(portable, lambda data: data["variants"][0].update(backend="abacus"))
    damage(portable, FP32, kind="empty")
    with pytest.raises(BundleError, match=rf"^{FP32} is damaged: .*\. Of the others: no variant .*'abacus'"):
        Translator(portable)


def test_another_size_is_taken_where_none_of_the_first_is_left(tmp_path: Path) -> None:
    out = tmp_path / "x.i2i"
    for size, file in (((24, 40), "reference.onnx"), ((32, 16), "other.onnx")):
        write_known_bundle(out, "invert", engines=[("ort", "fp32")], size=size, file=file)
    flip_bit(out / "reference.onnx")
    with Translator(out) as translate:
        assert (translate.height, translate.width) == (32, 16)
    with pytest.raises(BundleError, match=f"{ORT} is damaged.*no variant for"):
        Translator(out, size="24x40")


def test_commands_go_on_with_the_others(owned: Path, photos: Path, run_command: RunCommand) -> None:
    damage(owned, FP32)
    damage(owned, BF16, kind="one bit")
    rows = dict(line.split(maxsplit=1) for line in run_command("info", owned).out.splitlines() if line)
    assert [rows[name].split()[-1] for name in FILES] == ["runs", "damaged", "damaged"]
    out = run_command("info", owned).out
    assert "fp32.onnx: is listed" in out and f"i2i bundle trim {owned} {FP32} {BF16}" in out
    assert "holds 50 dB" in run_command("verify", owned, "--frames", photos, code=1).out
    assert f"{FP32} not run: " in run_command("tune", owned, "--frames", photos, "--rounds", 3).out
    quick = "--rounds", 6, "--seconds", 0, "--out", owned.parent / "x.json"
    out = run_command("bench", owned, *quick).out
    assert "openvino-bf16: not run" in out and re.search(r"ort-fp32 +\d", out)


def test_a_damaged_reference_leaves_nothing_to_compare_with(
    owned: Path, photos: Path, run_command: RunCommand, caplog: pytest.LogCaptureFixture
) -> None:
    (owned / "reference.onnx").unlink()
    said = f"{owned / 'reference.onnx'}: {DAMAGE['missing'][1]}"
    assert said in run_command("verify", owned, "--frames", photos, code=2).err
    assert (
        f"damaged: the reference of 24x40, which i2i verify compares with: {said}"
        in run_command("info", owned).out
    )
    assert "PSNR: as at export, since" in run_command("tune", owned, "--frames", photos, "--rounds", 3).out
    quick = "--rounds", 6, "--seconds", 0, "--out", owned.parent / "x.json", "--frames", photos
    assert "quality: as at export" in run_command("bench", owned, *quick).out
    assert "ONNX Runtime, default options is not measured" in caplog.text
    with open_models([str(owned)]) as models:  # browsers would be offered the reference
        assert models.find(None).files == {} and models.find(None).description.on_device == []


def test_one_reference_of_two_that_is_damaged(photos: Path, tmp_path: Path, run_command: RunCommand) -> None:
    out = tmp_path / "x.i2i"
    for size, file in (((24, 40), "reference.onnx"), ((32, 16), "other.onnx")):
        write_known_bundle(out, "invert", engines=[("ort", "fp32")], size=size, file=file)
    flip_bit(out / "other.onnx")
    said = run_command("verify", out, "--frames", photos, code=1).out
    assert "holds 50 dB" in said and "ort-fp32-32x16 broken: nothing to compare with: " in said


def test_a_damaged_bundle_is_not_extended(owned: Path) -> None:
    """And says so before anything is built."""
    damage(owned, BF16)
    before = hash_files(owned)
    with pytest.raises(
        BundleError,
        match=rf"bf16\.onnx.* i2i bundle trim \S+ {BF16} removes what is damaged; --force replaces",
    ):
        write_known_bundle(owned, "invert", engines=[("ort", "fp32")])
    assert hash_files(owned) == before
    trim_bundle(Bundle.read(owned), [BF16])
    names = [v.name for v in write_known_bundle(owned, "invert", engines=[("ort", "fp32")]).manifest.variants]
    assert names == [ORT, FP32]


# trim


def test_trim_removes_variants_and_their_files(owned: Path, run_command: RunCommand) -> None:
    out = run_command("bundle", "trim", owned, FP32, BF16).out
    assert out == f"removed {FP32}, {BF16}: 0.00 MB freed; left: {ORT}\n"
    assert sorted(hash_files(owned)) == ["manifest.json", "ort.onnx", "reference.onnx"]
    assert not (owned / "sub").exists()
    assert [v.name for v in Bundle.read(owned).manifest.variants] == [ORT]
    with Translator(owned) as translate:
        assert translate.variant is not None and translate.variant.name == ORT


def test_trim_counts_what_is_freed(owned: Path) -> None:
    assert trim_bundle(Bundle.read(owned), [FP32]) == 171
    damage(owned, BF16)
    assert trim_bundle(Bundle.read(owned), [BF16]) == 0


def test_trim_keeps_files_that_others_or_the_reference_need(folder: Path, run_command: RunCommand) -> None:
    assert trim_bundle(Bundle.read(folder), [FP32, BF16]) == 0  # all share the reference's file
    assert sorted(hash_files(folder)) == ["manifest.json", "reference.onnx"]
    Translator(folder).close()


@pytest.mark.parametrize("alias", ["./reference.onnx", ".//reference.onnx", "manifest.json"])
def test_trim_keeps_a_file_that_has_two_names(alias: str, folder: Path) -> None:
    entry = {"path": alias} | dict(zip(("sha256", "bytes"), ("0" * 64, 1), strict=True))
    edit_manifest(folder, lambda data: data["variants"][1].update(files=[entry]))
    trim_bundle(Bundle.read(folder), [FP32])
    assert sorted(hash_files(folder)) == ["manifest.json", "reference.onnx"]
    Translator(folder).close()


def test_trim_of_a_whole_size_takes_its_reference_along(tmp_path: Path, photos: Path) -> None:
    out = tmp_path / "x.i2i"
    for size, file in (((24, 40), "reference.onnx"), ((32, 16), "other.onnx")):
        write_known_bundle(out, "invert", engines=[("ort", "fp32")], size=size, file=file)
    size = (out / "reference.onnx").stat().st_size
    assert trim_bundle(Bundle.read(out), [ORT]) == size
    assert sorted(hash_files(out)) == ["manifest.json", "other.onnx"]
    assert [(r.height, r.width) for r in Bundle.read(out).manifest.references] == [(32, 16)]
    assert [o.parity.psnr for o in verify(out, frames=photos).values() if o.parity] == [120.0]


def test_what_was_tuned_of_a_damaged_bundle_is_not_remembered(owned: Path, run_command: RunCommand) -> None:
    whole = hash_files(owned)
    content = (owned / FILES[BF16]).read_bytes()
    damage(owned, BF16)
    said = run_command("tune", owned, "--rounds", 3).out
    assert f"not remembered, since {BF16} could not be measured: its files are damaged" in said
    (owned / FILES[BF16]).write_bytes(content)
    assert hash_files(owned) == whole and load_latencies(Bundle.read(owned)) == {}


def test_trim_leaves_files_that_are_not_the_bundles(owned: Path) -> None:
    (owned / "sub" / "notes.txt").write_text("mine")
    trim_bundle(Bundle.read(owned), [FP32, BF16])
    assert (owned / "sub" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{x}", "ort"], "no variant 'ort'; it has: ort-fp32-24x40, openvino-fp32-24x40, openvino-bf16"),
        (["{x}", ORT, FP32, BF16], "of its variants none would be left. Delete the folder instead"),
        (["{x}", ORT, FP32], f"of its variants only damaged ones: {BF16} would be left"),
        (["sketch", "ort-fp32-256x256"], "sketch is a model of the zoo, which stays as it was installed"),
        (["nowhere.i2i", ORT], "nowhere.i2i: no such folder"),
    ],
)
def test_trim_refuses(words: list[str], message: str, owned: Path, run_command: RunCommand) -> None:
    damage(owned, BF16)
    before = hash_files(owned)
    error = run_command("bundle", "trim", *(word.replace("{x}", str(owned)) for word in words), code=2).err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1
    assert hash_files(owned) == before


@pytest.mark.parametrize("name", ["replace", "unlink"])
def test_an_interrupted_trim_leaves_a_whole_bundle(
    name: str, owned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, call = Bundle.read(owned), getattr(Path, name)

    def interrupt(path: Path, *arguments: Any, **options: Any) -> None:
        if path.suffix == (".json" if name == "replace" else ".onnx"):
            raise KeyboardInterrupt
        call(path, *arguments, **options)

    monkeypatch.setattr(Path, name, interrupt)
    with pytest.raises(KeyboardInterrupt):
        trim_bundle(bundle, [FP32])
    monkeypatch.undo()
    found = Bundle.read(owned)
    assert len(found.manifest.variants) == (3 if name == "replace" else 2)
    assert not any(map(found.explain_damage, found.manifest.variants))
    assert not list(owned.rglob("*partial*"))


def test_trim_upgrades_an_old_manifest(owned: Path) -> None:
    def make_old(data: Any) -> None:
        model = data["model"]
        data |= {"schema": 1, "model": {**model, "kind": "translator", "licence": model.pop("license")}}
        del data["model"]["license"]

    edit_manifest(owned, make_old)
    trim_bundle(Bundle.read(owned), [ORT])
    assert json.loads((owned / "manifest.json").read_text())["model"]["license"] == "Apache-2.0"


@pytest.mark.parametrize("channels", [(2, 3), (4, 3), (3, 2), (3, 4), (3, 6), (0, 3), (1, 16)])
@pytest.mark.parametrize("command", ["info", "verify", "tune", "bench", "run"])
def test_other_channels_are_refused_by_every_command(
    command: str, channels: tuple[int, int], folder: Path, run_command: RunCommand, working_folder: Path
) -> None:
    """As versions before 0.3 exported them, and verified what never ran."""
    names = "in_channels", "out_channels"
    edit_manifest(folder, lambda data: data["input"].update(zip(names, channels, strict=True)))
    words = ("a.png", "-o", "b.png") if command == "run" else ()
    error = run_command(command, folder, *words, code=2).err
    said = f"its network takes {channels[0]} and gives {channels[1]} channels"
    assert error.startswith("error: ") and said in error and error.count("\n") == 1
    with pytest.raises((BundleError, InputError), match=said):
        Translator(folder)
