"""Bundles come from strangers, and writing one is all or nothing."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from known_bundles import ANSWERS, contents, describe, noise, save_graph, write_known

from i2i_sdk import Bundle, BundleError, Translator
from i2i_sdk.bundle import LARGEST_FILE, LARGEST_MANIFEST, write_bundle

Known = Callable[[str], Path]


@pytest.fixture
def bundle(known: Known, tmp_path: Path) -> Path:
    """A bundle that the test may break."""
    return Path(shutil.copytree(known("invert"), tmp_path / "invert.i2i"))


def _edit(bundle: Path, change: Callable[[Any], object]) -> None:
    file = bundle / "manifest.json"
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))


def _set_file(bundle: Path, **entry: object) -> None:
    """Change the file entry of the reference and of every variant alike."""

    def change(data: Any) -> None:
        for holder in [data["references"][0]["file"], *(v["files"][0] for v in data["variants"])]:
            holder.update(entry)

    _edit(bundle, change)


# reading


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
    _set_file(bundle, path="sub/reference.onnx")
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
    _set_file(bundle, path=path)
    with pytest.raises(BundleError, match="leaves the bundle; paths must be relative and inside"):
        Bundle.read(bundle)


@pytest.mark.parametrize("path", ["a" * 300 + ".onnx", "a/" * 3000 + "b.onnx"])
def test_paths_that_no_file_system_takes(bundle: Path, path: str) -> None:
    _set_file(bundle, path=path)
    with pytest.raises(BundleError, match=r"cannot be opened|not there"):
        Bundle.read(bundle)


@pytest.mark.parametrize("size", [LARGEST_FILE + 1, 2**62, -1])
def test_huge_claims(bundle: Path, size: int) -> None:
    _set_file(bundle, bytes=size)
    with pytest.raises(BundleError, match=rf"reference\.onnx claims {size} bytes; at most {LARGEST_FILE}"):
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
    _edit(bundle, lambda data: data["model"].update(trained_on="a" * LARGEST_MANIFEST))
    with pytest.raises(BundleError, match="larger than 4 MB"):
        Bundle.read(bundle)


def test_newer_bundles_say_so(bundle: Path) -> None:
    _edit(bundle, lambda data: data.update(schema=2))
    with pytest.raises(BundleError, match=r"invert\.i2i: the manifest has schema 2.*pip install -U i2i-sdk"):
        Translator(bundle)


def test_not_there_and_not_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"nowhere\.i2i: no such folder"):
        Bundle.read(tmp_path / "nowhere.i2i")
    with pytest.raises(BundleError, match=r"not a bundle: it has no manifest\.json.*i2i export"):
        Bundle.read(tmp_path)


# writing


@pytest.fixture(autouse=True)
def _nothing_left_behind(tmp_path: Path) -> Any:
    """Whatever a test does, no temporary folder stays beside the bundle."""
    yield
    assert [p.name for p in tmp_path.rglob("*partial*")] == []


def _names(bundle: Bundle) -> list[str]:
    return [v.name for v in bundle.manifest.variants]


def test_a_new_bundle_holds_exactly_its_files(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "new.i2i"
    bundle = write_known(out, "invert")
    assert bundle == Bundle.read(out)
    assert sorted(contents(out)) == ["manifest.json", "reference.onnx"]
    assert json.loads((out / "manifest.json").read_text())["model"]["name"] == "invert"


def test_adding_a_variant_keeps_the_others(tmp_path: Path) -> None:
    out = tmp_path / "x.i2i"
    write_known(out, "invert", engines=[("ort", "fp32")])
    bundle = write_known(out, "invert", engines=[("openvino", "fp32")])
    assert _names(bundle) == ["openvino-fp32-24x40", "ort-fp32-24x40"]
    assert all(bundle.files_of(v) for v in bundle.manifest.variants)


def test_a_variant_of_the_same_name_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "x.i2i"
    write_known(out, "invert", engines=[("ort", "fp32")], file="old.onnx")
    bundle = write_known(out, "invert", engines=[("ort", "fp32")], file="reference.onnx")
    assert _names(bundle) == ["ort-fp32-24x40"]
    assert sorted(contents(out)) == ["manifest.json", "reference.onnx"]  # the old graph is gone


def test_adding_another_size(tmp_path: Path) -> None:
    out = tmp_path / "x.i2i"
    write_known(out, "darken", engines=[("ort", "fp32")])
    bundle = write_known(out, "darken", engines=[("ort", "fp32")], size=(32, 16), file="reference_32x16.onnx")
    assert _names(bundle) == ["ort-fp32-32x16", "ort-fp32-24x40"]
    for variant in bundle.manifest.variants:
        assert str(variant.height) in bundle.reference_for(variant).name or variant.height == 24
        picture = noise(variant.height, variant.width, 3)
        with Translator(out, size=(variant.height, variant.width), color="rgb") as translate:
            assert (translate(picture) == ANSWERS["darken"].of(picture)).all()


def test_variants_that_share_a_changed_file_are_dropped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "x.i2i"
    write_known(out, "invert", engines=[("ort", "fp32"), ("openvino", "fp32")])
    with caplog.at_level(logging.WARNING):
        bundle = write_known(out, "identity", engines=[("ort", "fp32")])
    assert _names(bundle) == ["ort-fp32-24x40"]
    assert "dropped openvino-fp32-24x40: a file it shares has changed; export it again" in caplog.text


def test_an_unchanged_shared_file_drops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out = tmp_path / "x.i2i"
    write_known(out, "invert", engines=[("ort", "fp32"), ("openvino", "fp32")])
    assert len(write_known(out, "invert", engines=[("ort", "fp32")]).manifest.variants) == 2
    assert caplog.text == ""


def test_another_source_needs_force(tmp_path: Path) -> None:
    out = tmp_path / "x.i2i"
    write_known(out, "invert")
    before = contents(out)
    with pytest.raises(BundleError, match=r"another checkpoint.*\(invert\).*-o, or --force"):
        write_known(out, "swap", engines=[("ort", "fp32")], source="1" * 64)
    assert contents(out) == before
    bundle = write_known(out, "swap", engines=[("ort", "fp32")], source="1" * 64, force=True)
    assert _names(bundle) == ["ort-fp32-24x40"] and bundle.manifest.model.name == "swap"


def test_a_broken_bundle_needs_force(bundle: Path) -> None:
    (bundle / "manifest.json").write_text("{")
    before = contents(bundle)
    with pytest.raises(BundleError, match="--force replaces it"):
        write_known(bundle, "invert")
    assert contents(bundle) == before
    assert write_known(bundle, "invert", force=True).manifest.model.name == "invert"


def test_a_folder_that_is_no_bundle_is_never_touched(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "holiday.jpg").write_bytes(b"irreplaceable")
    for force in (False, True):
        with pytest.raises(BundleError, match="exists and is not a bundle; choose another name with -o"):
            write_known(folder, "invert", force=force)
    assert list(contents(folder)) == ["holiday.jpg"]


@pytest.mark.parametrize("text", ['{"name": "My web app", "icons": []}', "[]", "{", "[" * 100_000])
def test_a_web_sites_manifest_makes_no_bundle(tmp_path: Path, text: str) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "manifest.json").write_text(text)
    (site / "index.html").write_text("irreplaceable")
    before = contents(site)
    with pytest.raises(BundleError, match="exists and is not a bundle"):
        write_known(site, "invert", force=True)
    assert contents(site) == before


def test_a_file_is_never_replaced(tmp_path: Path) -> None:
    out = tmp_path / "x.i2i"
    out.write_text("irreplaceable")
    with pytest.raises(BundleError, match="exists and is not a bundle"):
        write_known(out, "invert", force=True)
    assert out.read_text() == "irreplaceable"


def test_a_missing_file_leaves_the_old_bundle(tmp_path: Path) -> None:
    out, built = tmp_path / "x.i2i", tmp_path / "built"
    write_known(out, "invert")
    before = contents(out)
    manifest = describe(built, save_graph(built / "other.onnx", "invert"), "invert")
    (built / "other.onnx").unlink()
    with pytest.raises(FileNotFoundError, match=r"other\.onnx"):
        write_bundle(out, manifest, built)
    assert contents(out) == before


def test_a_manifest_that_cannot_be_read_back_leaves_the_old_bundle(tmp_path: Path) -> None:
    out, built = tmp_path / "x.i2i", tmp_path / "built"
    write_known(out, "invert")
    before = contents(out)
    manifest = describe(built, save_graph(built / "reference.onnx", "invert"), "invert")
    with pytest.raises(BundleError, match="not possible"):
        write_bundle(out, replace(manifest, variants=(replace(manifest.variants[0], height=0),)), built)
    assert contents(out) == before


@pytest.mark.parametrize("calls", [1, 2])
def test_an_interrupt_while_copying_leaves_the_old_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    out = tmp_path / "x.i2i"
    write_known(out, "darken", engines=[("ort", "fp32")])
    before = contents(out)
    done: list[object] = []
    copyfile = shutil.copyfile

    def interrupted(source: Path, target: Path) -> None:
        done.append(copyfile(source, target))
        if len(done) == calls:
            raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copyfile", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_known(out, "darken", engines=[("ort", "fp32")], size=(32, 16), file="reference_32x16.onnx")
    assert contents(out) == before


@pytest.mark.parametrize("calls", [1, 2])
@pytest.mark.parametrize("before_the_call", [True, False])
def test_an_interrupt_while_moving_leaves_a_whole_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: int, before_the_call: bool
) -> None:
    """Between the two renames the name is free for a moment; the old bundle must not be lost then."""
    out = tmp_path / "x.i2i"
    write_known(out, "invert")
    before = contents(out)
    done: list[Path] = []
    rename = Path.rename

    def interrupted(path: Path, target: Path) -> Path:
        done.append(path)
        if len(done) == calls and before_the_call:
            raise KeyboardInterrupt
        result = rename(path, target)
        if len(done) == calls:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_known(out, "swap", source="1" * 64, force=True)
    monkeypatch.undo()
    complete = calls == 2 and not before_the_call
    assert Bundle.read(out).manifest.model.name == ("swap" if complete else "invert")
    assert complete or contents(out) == before


def test_a_name_that_cannot_be_taken_leaves_the_old_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "x.i2i"
    write_known(out, "invert")
    before = contents(out)
    rename = Path.rename

    def refused(path: Path, target: Path) -> Path:
        if path.name == "new":
            raise PermissionError("no")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(PermissionError):
        write_known(out, "invert")
    assert contents(out) == before
