"""Writing a bundle is all or nothing, and never at the cost of something else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from known_bundles import (
    KNOWN_MODELS,
    flip_bit,
    hash_files,
    make_manifest,
    make_noise,
    save_graph,
    write_known_bundle,
)

from i2i_sdk import Bundle, BundleError, Translator
from i2i_sdk.bundle.folder import write_bundle

ORT, OPENVINO = [("ort", "fp32")], [("openvino", "fp32")]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where the bundle goes that a test writes."""
    return tmp_path / "x.i2i"


@contextmanager
def assert_unchanged(folder: Path) -> Iterator[None]:
    """Every file of the folder is afterwards what it was before."""
    before = hash_files(folder)
    yield
    assert hash_files(folder) == before


@pytest.fixture(autouse=True)
def _nothing_left_behind(tmp_path: Path) -> Any:
    """Whatever a test does, no temporary folder stays beside the bundle."""
    yield
    assert [p.name for p in tmp_path.rglob("*partial*")] == []


def _list_names(bundle: Bundle) -> list[str]:
    return [v.name for v in bundle.manifest.variants]


def test_a_new_bundle_holds_exactly_its_files(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "new.i2i"
    bundle = write_known_bundle(out, "invert")
    assert bundle == Bundle.read(out)
    assert sorted(hash_files(out)) == ["manifest.json", "reference.onnx"]
    assert json.loads((out / "manifest.json").read_text())["model"]["name"] == "invert"


def test_adding_a_variant_keeps_the_others(out: Path) -> None:
    write_known_bundle(out, "invert", engines=ORT)
    bundle = write_known_bundle(out, "invert", engines=OPENVINO)
    assert _list_names(bundle) == ["ort-fp32-24x40", "openvino-fp32-24x40"]
    assert all(bundle.files_of(v) for v in bundle.manifest.variants)


def test_a_variant_of_the_same_name_is_replaced(out: Path) -> None:
    write_known_bundle(out, "invert", engines=ORT, file="old.onnx")
    bundle = write_known_bundle(out, "invert", engines=ORT, file="reference.onnx")
    assert _list_names(bundle) == ["ort-fp32-24x40"]
    assert sorted(hash_files(out)) == ["manifest.json", "reference.onnx"]  # the old graph is gone


def test_adding_another_size(out: Path) -> None:
    write_known_bundle(out, "darken", engines=ORT)
    bundle = write_known_bundle(out, "darken", engines=ORT, size=(32, 16), file="reference_32x16.onnx")
    # the first variant's size is the default, and adding another does not change what programs get
    assert _list_names(bundle) == ["ort-fp32-24x40", "ort-fp32-32x16"]
    with Translator(out) as translate:
        assert (translate.height, translate.width) == (24, 40)
    for variant in bundle.manifest.variants:
        assert str(variant.height) in bundle.reference_for(variant).name or variant.height == 24
        picture = make_noise(variant.height, variant.width, 3)
        with Translator(out, size=(variant.height, variant.width)) as translate:
            assert (translate(picture, "rgb") == KNOWN_MODELS["darken"].compute(picture)).all()


def test_variants_that_share_a_changed_file_are_dropped(out: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_known_bundle(out, "invert", engines=ORT + OPENVINO)
    assert len(write_known_bundle(out, "invert", engines=ORT).manifest.variants) == 2  # the same graph
    assert caplog.text == ""
    bundle = write_known_bundle(out, "identity", engines=ORT)
    assert _list_names(bundle) == ["ort-fp32-24x40"]
    assert "dropped openvino-fp32-24x40: a file it shares has changed; export it again" in caplog.text


def test_another_source_needs_force(out: Path) -> None:
    write_known_bundle(out, "invert")
    other = {"engines": ORT, "source_sha256": "1" * 64}
    message = r"another checkpoint.*\(invert\).*-o, or --force"
    with assert_unchanged(out), pytest.raises(BundleError, match=message):
        write_known_bundle(out, "swap", **other)
    bundle = write_known_bundle(out, "swap", **other, force=True)
    assert _list_names(bundle) == ["ort-fp32-24x40"] and bundle.manifest.model.name == "swap"


def test_a_broken_bundle_needs_force(folder: Path) -> None:
    (folder / "manifest.json").write_text("{")
    with assert_unchanged(folder), pytest.raises(BundleError, match="--force replaces it"):
        write_known_bundle(folder, "invert")
    assert write_known_bundle(folder, "invert", force=True).manifest.model.name == "invert"


def test_a_folder_that_is_no_bundle_is_never_touched(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "holiday.jpg").write_bytes(b"irreplaceable")
    for force in (False, True):
        with pytest.raises(BundleError, match="exists and is not a bundle; choose another name with -o"):
            write_known_bundle(folder, "invert", force=force)
    assert list(hash_files(folder)) == ["holiday.jpg"]


@pytest.mark.parametrize("text", ['{"name": "My web app", "icons": []}', "[]", "{", "[" * 100_000])
def test_a_web_sites_manifest_makes_no_bundle(tmp_path: Path, text: str) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "manifest.json").write_text(text)
    (site / "index.html").write_text("irreplaceable")
    with assert_unchanged(site), pytest.raises(BundleError, match="exists and is not a bundle"):
        write_known_bundle(site, "invert", force=True)


def test_a_file_is_never_replaced(out: Path) -> None:
    out.write_text("irreplaceable")
    with pytest.raises(BundleError, match="exists and is not a bundle"):
        write_known_bundle(out, "invert", force=True)
    assert out.read_text() == "irreplaceable"


def test_a_missing_file_leaves_the_old_bundle(out: Path, tmp_path: Path) -> None:
    built = tmp_path / "built"
    write_known_bundle(out, "invert")
    manifest = make_manifest(built, save_graph(built / "other.onnx", "invert"), "invert")
    (built / "other.onnx").unlink()
    with assert_unchanged(out), pytest.raises(FileNotFoundError, match=r"other\.onnx"):
        write_bundle(out, manifest, built)


def test_a_manifest_that_cannot_be_read_back_leaves_the_old_bundle(out: Path, tmp_path: Path) -> None:
    built = tmp_path / "built"
    write_known_bundle(out, "invert")
    manifest = make_manifest(built, save_graph(built / "reference.onnx", "invert"), "invert")
    flat = replace(manifest.variants[0], height=0)
    with assert_unchanged(out), pytest.raises(BundleError, match="not possible"):
        write_bundle(out, replace(manifest, variants=(flat,)), built)


@pytest.mark.parametrize("before_the_call", [True, False])
@pytest.mark.parametrize(
    ("module", "name", "calls"),
    [(shutil, "copyfile", 1), (shutil, "copyfile", 2), (Path, "rename", 1), (Path, "rename", 2)],
)
def test_an_interrupt_leaves_a_whole_bundle(
    out: Path, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, calls: int, before_the_call: bool
) -> None:
    """Between two renames the name is free for a moment; the old bundle must not be lost then."""
    write_known_bundle(out, "darken", engines=ORT)
    before, done = hash_files(out), []
    call = getattr(module, name)

    def interrupt(source: Path, target: Path) -> object:
        done.append(source)
        if len(done) == calls and before_the_call:
            raise KeyboardInterrupt
        result = call(source, target)
        if len(done) == calls:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(module, name, interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_known_bundle(out, "darken", engines=ORT, size=(32, 16), file="reference_32x16.onnx")
    monkeypatch.undo()
    complete = (name, calls, before_the_call) == ("rename", 2, False)
    assert len(Bundle.read(out).manifest.variants) == (2 if complete else 1)
    assert complete or hash_files(out) == before


def test_a_tampered_file_gets_no_fresh_manifest(out: Path) -> None:
    """Adding a size to a bundle whose other files were changed must not bless them."""
    write_known_bundle(out, "invert", engines=ORT, file="old.onnx")
    flip_bit(out / "old.onnx")
    with assert_unchanged(out), pytest.raises(BundleError, match=r"old\.onnx"):
        write_known_bundle(out, "invert", engines=OPENVINO, file="reference.onnx")
