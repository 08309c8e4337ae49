"""Bundles come from strangers: what does not add up is refused before anything is loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from i2i_sdk import Bundle, BundleError, Translator
from i2i_sdk.bundle.folder import MAX_FILE_BYTES, MAX_MANIFEST_BYTES

FindBundle = Callable[[str], Path]


@pytest.fixture
def bundle(known: FindBundle, tmp_path: Path) -> Path:
    """A bundle that the test may break."""
    return Path(shutil.copytree(known("invert"), tmp_path / "invert.i2i"))


def _edit_manifest(bundle: Path, change: Callable[[Any], object]) -> None:
    file = bundle / "manifest.json"
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))


def _set_file_entry(bundle: Path, **entry: object) -> None:
    """Change the file entry of the reference and of every variant alike."""

    def change(data: Any) -> None:
        for holder in [data["references"][0]["file"], *(v["files"][0] for v in data["variants"])]:
            holder.update(entry)

    _edit_manifest(bundle, change)


def test_an_untouched_bundle_gives_its_files(bundle: Path) -> None:
    read = Bundle.read(str(bundle))
    variant = read.manifest.variants[0]
    assert read.files_of(variant) == (bundle / "reference.onnx",)
    assert read.reference_for(variant) == bundle / "reference.onnx"
    with pytest.raises(BundleError, match="no reference for 48x40"):
        read.reference_for(replace(variant, height=48))


@pytest.mark.parametrize("position", [0, 40, -1])
def test_one_flipped_bit_is_refused(bundle: Path, position: int) -> None:
    file = bundle / "reference.onnx"
    data = bytearray(file.read_bytes())
    data[position] ^= 1
    file.write_bytes(data)
    read = Bundle.read(bundle)
    for use in (lambda: read.files_of(read.manifest.variants[0]), lambda: Translator(bundle)):
        with pytest.raises(BundleError, match=r"reference\.onnx: its content is not what .*SHA-256 says"):
            use()


def test_wrong_size_is_refused(bundle: Path) -> None:
    with (bundle / "reference.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(BundleError, match=r"has \d+ bytes, the manifest says \d+; copy the bundle again"):
        Translator(bundle)


def test_missing_file(bundle: Path) -> None:
    (bundle / "reference.onnx").unlink()
    with pytest.raises(BundleError, match=r"reference\.onnx: is listed in the manifest but not there"):
        Bundle.read(bundle)


def test_a_folder_in_place_of_a_file(bundle: Path) -> None:
    (bundle / "reference.onnx").unlink()
    (bundle / "reference.onnx").mkdir()
    with pytest.raises(BundleError, match="is listed in the manifest but not there"):
        Bundle.read(bundle)


def test_links_are_refused(bundle: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.move(bundle / "reference.onnx", outside / "reference.onnx")
    (bundle / "reference.onnx").symlink_to(outside / "reference.onnx")
    with pytest.raises(BundleError, match=r"reference\.onnx: is a link; bundles hold plain files only"):
        Bundle.read(bundle)


def test_linked_folders_are_refused(bundle: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.move(bundle / "reference.onnx", outside / "reference.onnx")
    (bundle / "sub").symlink_to(outside, target_is_directory=True)
    _set_file_entry(bundle, path="sub/reference.onnx")
    with pytest.raises(BundleError, match=r"sub: is a link"):
        Bundle.read(bundle)


def test_a_linked_manifest_is_refused(bundle: Path, tmp_path: Path) -> None:
    shutil.move(bundle / "manifest.json", tmp_path / "manifest.json")
    (bundle / "manifest.json").symlink_to(tmp_path / "manifest.json")
    with pytest.raises(BundleError, match=r"manifest\.json: is a link"):
        Bundle.read(bundle)


def test_a_link_to_a_whole_bundle_is_the_users_own_business(bundle: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.i2i"
    link.symlink_to(bundle, target_is_directory=True)
    assert Bundle.read(link).manifest == Bundle.read(bundle).manifest


@pytest.mark.parametrize(
    "path",
    [
        "../reference.onnx",
        "sub/../../reference.onnx",
        "..",
        "/etc/hostname",
        "//server/share",
        "C:/Windows/system.ini",
        "C:system.ini",
        "reference.onnx:stream",
        "sub\\reference.onnx",
        "..\\reference.onnx",
        "",
        ".",
        "/",
    ],
)
def test_paths_that_leave_the_bundle(bundle: Path, path: str) -> None:
    (bundle.parent / "reference.onnx").write_bytes((bundle / "reference.onnx").read_bytes())
    _set_file_entry(bundle, path=path)
    with pytest.raises(BundleError, match="leaves the bundle; paths must be relative and inside"):
        Bundle.read(bundle)


@pytest.mark.parametrize("path", ["a" * 300 + ".onnx", "a/" * 3000 + "b.onnx"])
def test_paths_that_no_file_system_takes(bundle: Path, path: str) -> None:
    _set_file_entry(bundle, path=path)
    with pytest.raises(BundleError, match=r"cannot be opened|not there"):
        Bundle.read(bundle)


@pytest.mark.parametrize("size", [MAX_FILE_BYTES + 1, 2**62, -1])
def test_huge_claims(bundle: Path, size: int) -> None:
    _set_file_entry(bundle, bytes=size)
    with pytest.raises(BundleError, match=rf"reference\.onnx claims {size} bytes; at most {MAX_FILE_BYTES}"):
        Bundle.read(bundle)


@pytest.mark.parametrize(
    "text",
    ["", "{", "nonsense", "[]", "3", "null", '"text"', "{}", "\ufeff{}", "[" * 100_000, '{"a":' * 100_000],
)
def test_no_manifest_at_all(bundle: Path, text: str) -> None:
    (bundle / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(BundleError, match=r"invert\.i2i: "):
        Bundle.read(bundle)


def test_numbers_too_long_to_read(bundle: Path) -> None:
    (bundle / "manifest.json").write_text('{"schema": ' + "9" * 5000 + "}")
    with pytest.raises(BundleError, match=r"invert\.i2i: "):
        Bundle.read(bundle)


def test_bytes_that_are_no_text(bundle: Path) -> None:
    (bundle / "manifest.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BundleError, match="utf-8"):
        Bundle.read(bundle)


def test_manifest_too_large(bundle: Path) -> None:
    _edit_manifest(bundle, lambda data: data["model"].update(trained_on="a" * MAX_MANIFEST_BYTES))
    with pytest.raises(BundleError, match="larger than 4 MB"):
        Bundle.read(bundle)


def test_newer_bundles_say_so(bundle: Path) -> None:
    _edit_manifest(bundle, lambda data: data.update(schema=3))
    with pytest.raises(BundleError, match=r"invert\.i2i: the manifest has schema 3.*pip install -U i2i-sdk"):
        Translator(bundle)


def test_not_there_and_not_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"nowhere\.i2i: no such folder"):
        Bundle.read(tmp_path / "nowhere.i2i")
    with pytest.raises(BundleError, match=r"not a bundle: it has no manifest\.json.*i2i export"):
        Bundle.read(tmp_path)
