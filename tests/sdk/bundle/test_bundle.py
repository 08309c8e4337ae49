"""Bundles come from strangers: what does not add up is refused before anything is loaded."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from known_bundles import edit_manifest, flip_bit, list_file_entries

from i2i_sdk import Bundle, BundleError, Translator
from i2i_sdk.bundle.folder import MAX_FILE_BYTES, MAX_MANIFEST_BYTES


def _set_file_entry(folder: Path, **entry: object) -> None:
    """Change the file entry of the reference and of every variant alike."""
    edit_manifest(folder, lambda data: [found.update(entry) for found in list_file_entries(data)])


def test_an_untouched_bundle_gives_its_files(folder: Path) -> None:
    read = Bundle.read(str(folder))
    variant = read.manifest.variants[0]
    assert read.files_of(variant) == (folder / "reference.onnx",)
    assert read.reference_for(variant) == folder / "reference.onnx"
    with pytest.raises(BundleError, match="no reference for 48x40"):
        read.reference_for(replace(variant, height=48))


@pytest.mark.parametrize("position", [0, 40, -1])
def test_one_flipped_bit_is_refused(folder: Path, position: int) -> None:
    flip_bit(folder / "reference.onnx", position)
    read = Bundle.read(folder)
    for use in (lambda: read.files_of(read.manifest.variants[0]), lambda: Translator(folder)):
        with pytest.raises(BundleError, match=r"reference\.onnx: its content is not what .*SHA-256 says"):
            use()


def test_wrong_size_is_refused(folder: Path) -> None:
    with (folder / "reference.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(BundleError, match=r"has \d+ bytes instead of \d+; copy the bundle again"):
        Translator(folder)


def test_a_missing_file_and_a_folder_in_its_place(folder: Path) -> None:
    file = folder / "reference.onnx"
    for change in (file.unlink, file.mkdir):
        change()
        with pytest.raises(BundleError, match=r"reference\.onnx: is listed in the manifest but not there"):
            Bundle.read(folder)


@pytest.mark.parametrize("name", ["reference.onnx", "manifest.json"])
def test_links_are_refused(folder: Path, tmp_path: Path, name: str) -> None:
    shutil.move(folder / name, tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    with pytest.raises(BundleError, match=rf"{re.escape(name)}: is a link; bundles hold plain files only"):
        Bundle.read(folder)


def test_linked_folders_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    shutil.move(folder / "reference.onnx", tmp_path / "outside" / "reference.onnx")
    (folder / "sub").symlink_to(tmp_path / "outside", target_is_directory=True)
    _set_file_entry(folder, path="sub/reference.onnx")
    with pytest.raises(BundleError, match=r"sub: is a link"):
        Bundle.read(folder)


def test_a_link_to_a_whole_bundle_is_the_users_own_business(folder: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.i2i"
    link.symlink_to(folder, target_is_directory=True)
    assert Bundle.read(link).manifest == Bundle.read(folder).manifest


@pytest.mark.parametrize(
    "path",
    [
        *("../reference.onnx", "sub/../../reference.onnx", "..", "/etc/hostname", "//server/share"),
        *("C:/Windows/system.ini", "C:system.ini", "reference.onnx:stream", "sub\\reference.onnx"),
        *("..\\reference.onnx", "", ".", "/"),
    ],
)
def test_paths_that_leave_the_bundle(folder: Path, path: str) -> None:
    (folder.parent / "reference.onnx").write_bytes((folder / "reference.onnx").read_bytes())
    _set_file_entry(folder, path=path)
    with pytest.raises(BundleError, match="leaves the bundle; paths must be relative and inside"):
        Bundle.read(folder)


@pytest.mark.parametrize("path", ["a" * 300 + ".onnx", "a/" * 3000 + "b.onnx"])
def test_paths_that_no_file_system_takes(folder: Path, path: str) -> None:
    _set_file_entry(folder, path=path)
    with pytest.raises(BundleError, match=r"cannot be opened|not there"):
        Bundle.read(folder)


@pytest.mark.parametrize("size", [MAX_FILE_BYTES + 1, 2**62, -1])
def test_huge_claims(folder: Path, size: int) -> None:
    _set_file_entry(folder, bytes=size)
    with pytest.raises(BundleError, match=rf"reference\.onnx claims {size} bytes; at most {MAX_FILE_BYTES}"):
        Bundle.read(folder)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"nonsense", b"[]", b"3", b"null", b'"text"', b"{}", b"\xef\xbb\xbf{}", b"\xff\xfe\x00"),
        *(b"[" * 100_000, b'{"a":' * 100_000, b'{"schema": ' + b"9" * 5000 + b"}"),
    ],
)
def test_no_manifest_at_all(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"x\.i2i: "):
        Bundle.read(folder)


def test_manifest_too_large(folder: Path) -> None:
    edit_manifest(folder, lambda data: data["model"].update(trained_on="a" * MAX_MANIFEST_BYTES))
    with pytest.raises(BundleError, match="larger than 4 MB"):
        Bundle.read(folder)


def test_not_there_and_not_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"nowhere\.i2i: no such folder"):
        Bundle.read(tmp_path / "nowhere.i2i")
    with pytest.raises(BundleError, match=r"not a bundle: it has no manifest\.json.*i2i export"):
        Bundle.read(tmp_path)
