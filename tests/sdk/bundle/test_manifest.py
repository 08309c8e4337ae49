"""Reading a manifest is strict: what it accepts it reproduces, everything else is a BundleError."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from known_bundles import make_manifest, save_graph

from i2i_sdk.bundle.folder import Bundle
from i2i_sdk.bundle.manifest import SCHEMA, Manifest, Requirements, read_manifest
from i2i_sdk.errors import BundleError


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """With every optional key filled in."""
    folder = tmp_path_factory.mktemp("manifest")
    made = make_manifest(folder, save_graph(folder / "reference.onnx", "identity"), "identity")
    first, *others = made.variants
    needs = Requirements("onnxruntime>=1", cpu=("bf16",), os=("linux",), compute_capabilities=("8.6",))
    kept, levels = {"head": "fp32"}, {"head": 20.5}
    first = replace(first, requires=needs, precision_kept=kept, sensitivity=levels, calibration_sha256="a")
    return replace(made, variants=(first, *others))


@pytest.fixture
def data(manifest: Manifest) -> dict[str, Any]:
    """The manifest as its JSON file holds it; a test may change it."""
    return json.loads(json.dumps(manifest.to_json()))


def test_optional_keys_may_be_left_out(data: dict[str, Any]) -> None:
    first, second = data["variants"][:2]
    for key in ("parity", "precision_kept", "calibration_sha256"):
        del first[key]
    second["parity"] |= {"ssim": None, "psnr": 120}  # of tiny pictures, and a whole number for a float
    del data["model"]["repairs"], data["input"]["fit"]
    manifest = read_manifest(data)
    assert manifest.variants[0].parity is None and manifest.variants[0].precision_kept == {}
    assert manifest.model.repairs == () and manifest.input.fit == "resize"
    parity = manifest.variants[1].parity
    assert parity is not None and parity.ssim is None and isinstance(parity.psnr, float)


def find_place(data: Any, path: str) -> tuple[Any, Any]:
    """The holder and the key of one place of the JSON: "variants.0.height"."""
    *above, last = [int(k) if k.isdigit() else k for k in path.split(".")]
    for key in above:
        data = data[key]
    return data, last


REFUSED: list[tuple[str, object, str]] = [
    ("color", 1, r"manifest: unknown key 'color'.*newer"),
    ("variants.0.speed", 1, r"manifest.variants\[0\]: unknown key 'speed'"),
    ("variants.1.height", "24", r"manifest.variants\[1\].height: got str, expected int"),
    ("variants.0.height", True, r"manifest.variants\[0\].height: got bool, expected int"),
    ("variants.0.height", 24.0, r"manifest.variants\[0\].height: got float, expected int"),
    ("variants.0.height", None, r"manifest.variants\[0\].height: got null, expected int"),
    ("variants.0.height", 0, r"variants\[0\]: its size 0x40 is not possible"),
    ("variants.0.width", 16385, r"variants\[0\]: its size 24x16385 is not possible"),
    ("references.0.height", -24, r"references\[0\]: its size -24x40 is not possible"),
    ("variants.0.max_batch", 0, r"max_batch: got 0, at least 1"),
    ("variants.0.macs", 10**400, r"variants\[0\].macs: got a number that is .*beyond"),
    ("variants.0.parity.psnr", float("nan"), r"parity.psnr: got a number"),
    ("variants.0.parity.psnr", "60", r"parity.psnr: got str, expected float"),
    ("variants.0.parity", [], r"variants\[0\].parity: got list, expected an object"),
    ("variants.0.verified", "trust me", r"verified: got 'trust me', allowed: device, graph, structure"),
    ("variants.0.files", [], r"variants\[0\]: it has no files"),
    ("variants.0.files.0", "reference.onnx", r"files\[0\]: got str, expected an object"),
    ("variants.0.precision_kept", [], r"precision_kept: got list, expected dict"),
    ("variants.0.precision_kept", {"head": 32}, r"precision_kept.head: got int, expected str"),
    ("variants.0.requires.cpu", "bf16", r"requires.cpu: got str, expected list"),
    ("variants", [], r"no variants"),
    ("references", [], r"no reference"),
    ("schema", 0, r"manifest.schema: got 0"),
    ("schema", "1", r"manifest.schema: got str, expected int"),
    ("model", None, r"manifest.model: got null, expected an object"),
    ("model.name", "a\x1b[31mred", r"manifest.model.name: '\\x1b' may not stand in a text"),
    ("model.name", "\ud800", r"manifest.model.name: '\\ud800' may not"),
    ("model.options", {"a\nb": 1}, r"manifest.model.options: '\\n' may not"),
    ("model.options", {"a": [{"b": "c\x07"}]}, r"manifest.model.options.a.b: '\\x07' may not"),
    ("model.options", {"a": float("nan")}, r"manifest.model.options.a: got a number"),
    ("model.options", {"a": [[[[[[[[[[1]]]]]]]]]]}, r"options.a: is nested more than 8 deep"),
]


@pytest.mark.parametrize(("path", "value", "message"), REFUSED)
def test_refused_with_the_place(data: dict[str, Any], path: str, value: object, message: str) -> None:
    holder, key = find_place(data, path)
    holder[key] = value
    with pytest.raises(BundleError, match=message) as caught:
        read_manifest(data)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("path", ["schema", "model.name", "variants.0.requires.engine", "references.0.file"])
def test_missing_key(data: dict[str, Any], path: str) -> None:
    holder, key = find_place(data, path)
    del holder[key]
    with pytest.raises(BundleError, match=f"the key '{key}' is missing"):
        read_manifest(data)


def test_newer_schema_says_how_to_read_it(data: dict[str, Any]) -> None:
    data |= {"schema": SCHEMA + 1, "something new": {}}
    message = rf"schema {SCHEMA + 1}.*reads up to {SCHEMA}.*pip install -U i2i-sdk"
    with pytest.raises(BundleError, match=message):
        read_manifest(data)


@pytest.fixture
def schema_1() -> dict[str, Any]:
    """The sketch model's manifest as version 0.1 wrote it."""
    return json.loads((Path(__file__).parents[2] / "fixtures" / "manifest_schema_1.json").read_text())


def test_a_manifest_of_schema_1(schema_1: dict[str, Any], root: Path) -> None:
    manifest = read_manifest(schema_1)
    assert (manifest.schema, manifest.model.name, manifest.model.license) == (SCHEMA, "sketch", "Apache-2.0")
    assert manifest.variants == Bundle.read(root / "sdk" / "i2i_sdk" / "zoo" / "sketch.i2i").manifest.variants
    assert read_manifest(json.loads(json.dumps(manifest.to_json()))) == manifest


def test_a_bundle_that_makes_images_of_noise_is_refused(schema_1: dict[str, Any]) -> None:
    schema_1["model"]["kind"] = "sampler"
    with pytest.raises(BundleError, match=r"makes images of noise.*i2i sample CHECKPOINT"):
        read_manifest(schema_1)


@pytest.mark.parametrize("kind", [None, "other", 1, ["translator"]])
def test_other_models_of_schema_1(schema_1: dict[str, Any], kind: object) -> None:
    with pytest.raises(BundleError, match=r"manifest\.model"):
        read_manifest(schema_1 | {"model": kind})
    schema_1["model"]["kind"] = kind
    with pytest.raises(BundleError, match=r"manifest\.model\.kind: got .*, expected 'translator'"):
        read_manifest(schema_1)


@pytest.mark.parametrize("value", [None, [], 1, "manifest", True, 1.5])
def test_no_object(value: object) -> None:
    with pytest.raises(BundleError, match=r"manifest: got \w+, expected an object"):
        read_manifest(value)


@pytest.mark.parametrize("change", [{"sha256": "f" * 64}, {"bytes": 1}])
def test_two_hashes_for_one_path(data: dict[str, Any], change: dict[str, Any]) -> None:
    data["variants"][1]["files"][0] |= change
    with pytest.raises(BundleError, match=r"reference.onnx is listed with two different hashes"):
        read_manifest(data)


def test_two_variants_of_one_name(data: dict[str, Any]) -> None:
    data["variants"][1]["name"] = data["variants"][0]["name"]
    with pytest.raises(BundleError, match="two are named 'ort-fp32-24x40'"):
        read_manifest(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def _list_places(data: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every place of a JSON document, its root included."""
    keys = list(data) if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else []
    return [path, *(place for key in keys for place in _list_places(data[key], (*path, key)))]


@given(draw=st.data())
def test_any_change_is_valid_or_a_bundle_error(manifest: Manifest, draw: st.DataObject) -> None:
    """One place is replaced, removed or gets a neighbor: the result reads back as it is, or is refused."""
    data: Any = json.loads(json.dumps(manifest.to_json()))
    assert read_manifest(data) == manifest
    path = draw.draw(st.sampled_from(_list_places(data)))
    value = draw.draw(JSON)
    action = draw.draw(st.sampled_from(["replace", "remove", "add"]))
    if not path:
        data = value
    else:
        holder = reduce(getitem, path[:-1], data)
        if action == "replace":
            holder[path[-1]] = value
        elif action == "remove":
            del holder[path[-1]]
        elif isinstance(holder, list):
            holder.insert(int(path[-1]), value)
        else:
            holder[draw.draw(st.text(max_size=8))] = value
    before = copy.deepcopy(data)
    try:
        changed = read_manifest(data)
    except BundleError as error:
        assert str(error)
        return
    written = json.loads(json.dumps(changed.to_json(), allow_nan=False))
    assert _contains(written, before)
    assert read_manifest(written) == changed


def _contains(whole: Any, part: Any) -> bool:
    """Is `whole` the document `part`, but for keys that a reader fills in?"""
    if isinstance(part, dict):
        return all(key in whole and _contains(whole[key], value) for key, value in part.items())
    if isinstance(part, list):
        return len(whole) == len(part) and all(map(_contains, whole, part))
    return whole == part
