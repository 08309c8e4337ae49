"""Whatever a stranger writes into a manifest: a Bundle or a BundleError, and nothing outside is touched."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_bundles import list_file_entries, make_file_entry, write_known_bundle

from i2i_sdk import Bundle, BundleError
from i2i_sdk.bundle.folder import trim_bundle
from i2i_sdk.errors import InputError

strangers = settings(settings.get_profile("strangers"))

PATHS = [
    *("../outside.onnx", "../../outside.onnx", "sub/../../outside.onnx", "/etc/hostname", "//etc/hostname"),
    *("./reference.onnx", "sub/./../reference.onnx", "manifest.json", "./manifest.json", ".", "", "sub", "/"),
    *("link/outside.onnx", "hard.onnx", "a" * 300, "sub/" * 3000 + "a", "C:\\x", "..\\outside.onnx", "~/x"),
    *("reference.onnx/x", "REFERENCE.ONNX", "\ud800", "a\0b", "\u202etxt.onnx", "ﬁ.onnx"),
]
NUMBERS = [10**400, -(10**400), 2**63, -1, 0, 1e308, float("nan"), float("inf"), -float("inf"), True]
SCALARS = st.none() | st.sampled_from(NUMBERS) | st.integers() | st.text(max_size=5) | st.sampled_from(PATHS)
VALUES = st.recursive(
    SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=5), v, max_size=3)
) | st.integers(1, 400).map(lambda depth: reduce(lambda inner, _: [inner], range(depth), []))
WATCHED: list[str] = []
is_watching = False


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    if is_watching and event in ("open", "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link"):
        paths = arguments[: 2 if event in ("os.rename", "os.link") else 1]
        WATCHED.extend(str(path) for path in paths if not isinstance(path, int))


sys.addaudithook(watch)


@contextmanager
def assert_stays_inside(folder: Path) -> Iterator[None]:
    """Whatever is opened, renamed or removed meanwhile is inside of the folder."""
    global is_watching
    WATCHED.clear()
    is_watching = True
    try:
        yield
    finally:
        is_watching = False
    assert [path for path in WATCHED if not f"{path}/".startswith(f"{folder}/")] == []


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a file for each variant, a link and a hard link to what is not its own."""
    folder = write_known_bundle(tmp_path_factory.mktemp("strangers") / "x.i2i", "invert").path
    outside = Path(shutil.copy(folder / "reference.onnx", folder.parent / "outside.onnx"))
    data = json.loads((folder / "manifest.json").read_text())
    (folder / "sub").mkdir()
    for variant, name in zip(data["variants"], ("a.onnx", "sub/b.onnx", "sub/c.onnx"), strict=True):
        shutil.copy(outside, folder / name)
        variant["files"] = [asdict(make_file_entry(folder, folder / name))]
    (folder / "manifest.json").write_text(json.dumps(data))
    (folder / "link").symlink_to(folder.parent, target_is_directory=True)
    (folder / "hard.onnx").hardlink_to(outside)
    return folder


def list_places(data: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    keys = list(data) if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else []
    return [path, *(place for key in keys for place in list_places(data[key], (*path, key)))]


def change_somewhere(draw: st.DataObject, data: Any) -> None:
    """Replace, remove or add at one place, or give a file another path."""
    if draw.draw(st.booleans()):
        entry = draw.draw(st.sampled_from(list_file_entries(data)))
        entry["path"] = draw.draw(st.sampled_from(PATHS))
        return
    path = draw.draw(st.sampled_from(list_places(data)[1:]))
    holder, value = reduce(getitem, path[:-1], data), draw.draw(VALUES)
    action = draw.draw(st.sampled_from(["replace", "remove", "add"]))
    if action == "remove":
        del holder[path[-1]]
    elif action == "add" and isinstance(holder, list):
        holder.insert(0, value)
    else:
        holder[draw.draw(st.text(max_size=8)) if action == "add" else path[-1]] = value


@strangers
@given(draw=st.data())
def test_any_manifest_is_a_bundle_or_a_bundle_error(bundle: Path, draw: st.DataObject) -> None:
    """Read, and where that succeeds checked file by file and trimmed."""
    manifest, outside = bundle / "manifest.json", bundle.parent / "outside.onnx"
    whole, graph = manifest.read_bytes(), outside.read_bytes()
    data = json.loads(whole)
    change_somewhere(draw, data)
    text = json.dumps(data).encode()
    if draw.draw(st.integers(0, 9)) == 0:
        cut = draw.draw(st.integers(0, len(text)))
        text = text[:cut] + draw.draw(st.binary(max_size=4)) + text[cut + 1 :]
    # Drawn before anything is watched: Hypothesis reads source files while it draws.
    trimmed = draw.draw(st.sampled_from([slice(0, 1), slice(0, 2), slice(1, 3)]))
    try:
        manifest.write_bytes(text)
        with assert_stays_inside(bundle):
            read_and_trim(bundle, trimmed)
    finally:
        manifest.write_bytes(whole)
        for name in ("reference.onnx", "a.onnx", "sub/b.onnx", "sub/c.onnx"):
            (bundle / name).parent.mkdir(exist_ok=True)
            if not (bundle / name).exists():
                (bundle / name).write_bytes(graph)
        if not (bundle / "hard.onnx").exists():
            (bundle / "hard.onnx").hardlink_to(outside)
    assert outside.read_bytes() == graph
    assert sorted(path.name for path in bundle.parent.iterdir()) == ["outside.onnx", "x.i2i", "x.i2i.built"]


def read_and_trim(folder: Path, some: slice) -> None:
    try:
        found = Bundle.read(folder)
        before = {v.name: found.explain_damage(v) is None for v in found.manifest.variants}
        trim_bundle(found, [v.name for v in found.manifest.variants[some]])
    except BundleError as error:
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", str(error))
        return
    except InputError:
        return
    left = Bundle.read(folder)
    after = {v.name: left.explain_damage(v) is None for v in left.manifest.variants}
    assert after.items() <= before.items() and any(after.values())
