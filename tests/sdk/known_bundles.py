"""Bundles whose answers are known: tiny ONNX graphs with the engine contract, and what each must give.

Every graph is uint8 [N, H, W, C] RGB in and out. The size is not square and not a power of two, so that
mixed-up axes and rounded sizes show.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx.checker
import onnx.parser
from numpy.typing import NDArray
from onnx import TensorProto, helper

from i2i_sdk.bundle.folder import Bundle, make_file_entry, write_bundle
from i2i_sdk.bundle.manifest import (
    SCHEMA,
    FileEntry,
    InputContract,
    Manifest,
    ModelInfo,
    Parity,
    Reference,
    Requirements,
    Variant,
)
from i2i_sdk.files import hash_file

Image = NDArray[np.uint8]
FindBundle = Callable[[str], Path]  # the fixture `known`
OpenKnown = Callable[..., Any]  # a Translator of a known model
RunCommand = Callable[..., Any]  # the fixture `run_command`

HEIGHT, WIDTH = 24, 40
DISTRIBUTIONS = {"ort": "onnxruntime"}  # of backends that are not called as what they come in
PORTABLE_ENGINES = (("ort", "fp32"), ("openvino", "fp32"), ("openvino", "bf16"))


@dataclass(frozen=True)
class KnownModel:
    """Channels in and out, the function of one RGB picture [H, W, C], and the graph that computes it.

    The graph is ONNX text from "x" to "y", constants first. HALVES is 1 in its upper half and 0.5 below.
    """

    in_channels: int
    out_channels: int
    compute: Callable[[Image], Image]
    graph: str


def _darken_lower_half(image: Image) -> Image:
    result = image.copy()
    result[image.shape[0] // 2 :] //= 2
    return result


INVERT = "<float white = {255}> { f = Cast <to = 1> (x) i = Sub (white, f) y = Cast <to = 2> (i) }"
DARKEN = "<HALVES> { f = Cast <to = 1> (x) m = Mul (f, halves) d = Floor (m) y = Cast <to = 2> (d) }"
COLOR = """<float white = {255}, float half = {0.5}> {
    f = Cast <to = 1> (x)  i = Sub (white, f)  m = Mul (f, half)  h = Floor (m)
    c = Concat <axis = 3> (f, i, h)  y = Cast <to = 2> (c)
}"""
KNOWN_MODELS = {
    "identity": KnownModel(3, 3, lambda x: x, "{ y = Identity (x) }"),
    "invert": KnownModel(3, 3, lambda x: 255 - x, INVERT),
    # Red and blue.
    "swap": KnownModel(
        3, 3, lambda x: x[..., ::-1], "<int64[3] order = {2, 1, 0}> { y = Gather <axis = 3> (x, order) }"
    ),
    "darken": KnownModel(3, 3, _darken_lower_half, DARKEN),
    "gray": KnownModel(1, 1, lambda x: 255 - x, INVERT),
    "red": KnownModel(
        3, 1, lambda x: x[..., :1], "<int64[1] order = {0}> { y = Gather <axis = 3> (x, order) }"
    ),
    "color": KnownModel(1, 3, lambda x: np.concatenate([x, 255 - x, x // 2], axis=-1), COLOR),
}


def save_text(path: Path, text: str) -> Path:
    """Write a graph that is given in ONNX's own text: "(float[1,3] x) => (float[1,3] y) { y = Neg (x) }"."""
    model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 17]> graph {text}')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


def save_graph(
    path: Path, name: str, size: tuple[int, int] = (HEIGHT, WIDTH), batch: int | str = "n"
) -> Path:
    """Write the known graph `name` with the engine contract of a bundle."""
    (height, width), model = size, KNOWN_MODELS[name]
    x, y = (f"uint8[{batch}, {height}, {width}, {c}]" for c in (model.in_channels, model.out_channels))
    values = ", ".join(["1.0"] * (height // 2) + ["0.5"] * (height - height // 2))
    nodes = model.graph.replace("HALVES", f"float[1, {height}, 1, 1] halves = {{{values}}}")
    return save_text(path, f"({x} x) => ({y} y) {nodes}")


def save_affine(
    path: Path,
    scale: Sequence[float],
    offset: Sequence[float],
    *,
    layout: str = "nchw",
    size: tuple[int | str, int | str] = (HEIGHT, WIDTH),
    batch: int | str = 1,
) -> Path:
    """A foreign graph, float in and out: scale * x + offset, per channel in the graph's own order."""
    height, width = size
    shape, axes = {
        "nchw": (f"{batch}, 3, {height}, {width}", "1, 3, 1, 1"),
        "nhwc": (f"{batch}, {height}, {width}, 3", "1, 1, 1, 3"),
    }[layout]
    scales, offsets = (", ".join(f"{float(value)!r}" for value in values) for values in (scale, offset))
    constants = f"float[{axes}] scale = {{{scales}}}, float[{axes}] offset = {{{offsets}}}"
    nodes = "{ s = Mul (x, scale) y = Add (s, offset) }"
    return save_text(path, f"(float[{shape}] x) => (float[{shape}] y) <{constants}> {nodes}")


def save_nodes(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    constants: Sequence[onnx.TensorProto],
    batch: int | str,
    opset: int = 17,
) -> Path:
    """Write nodes from "x" to "y", uint8 [batch, HEIGHT, WIDTH, 3] both."""
    shape = [batch, HEIGHT, WIDTH, 3]
    x, y = (helper.make_tensor_value_info(name, TensorProto.UINT8, shape) for name in "xy")
    graph = helper.make_graph(nodes, "graph", [x], [y], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())
    return path


def make_variant(
    backend: str,
    precision: str,
    size: tuple[int, int] = (HEIGHT, WIDTH),
    parity: Parity | None = None,
    file: FileEntry = FileEntry("a", "0" * 64, 1),  # noqa: B008  # it is frozen
) -> Variant:
    """A variant of a bundle, verified on a device."""
    return Variant(
        name=f"{backend}-{precision}-{size[0]}x{size[1]}",
        backend=backend,
        precision=precision,
        precision_found=precision,
        height=size[0],
        width=size[1],
        max_batch=4,
        macs=123_456,
        files=(file,),
        requires=Requirements(f"{DISTRIBUTIONS.get(backend, backend)}>=1"),
        verified="device",
        parity=parity,
    )


def make_manifest(
    folder: Path,
    graph: Path,
    name: str,
    engines: Sequence[tuple[str, str]] = PORTABLE_ENGINES,
    size: tuple[int, int] = (HEIGHT, WIDTH),
) -> Manifest:
    """The manifest of a bundle in which all `engines` share `graph`, a file inside `folder`."""
    entry, answer = make_file_entry(folder, graph), KNOWN_MODELS[name]
    parity = Parity(60.0, 0.9991, 1, 6, "builtin", "astronaut", 55.5)
    variants = tuple(make_variant(*engine, size, parity, entry) for engine in engines)
    model = ModelInfo(
        name=name,
        architecture="known",
        options={"widths": [1, 2], "norm": "none"},
        norm_mode="running_stats",
        recipe="none",
        direction="AtoB",
        steps=1,
        parameters=0,
        source_sha256="0" * 64,
        license="Apache-2.0",
        trained_on="nothing",
        assumptions=("none was needed",),
    )
    contract = InputContract(answer.in_channels, answer.out_channels, multiple_of=4)
    return Manifest(SCHEMA, "tests", model, contract, (Reference(*size, entry),), variants)


def write_known_bundle(
    out: Path,
    name: str,
    *,
    engines: Sequence[tuple[str, str]] = PORTABLE_ENGINES,
    size: tuple[int, int] = (HEIGHT, WIDTH),
    file: str = "reference.onnx",
    source_sha256: str = "0" * 64,
    batch: int | str = "n",
    force: bool = False,
) -> Bundle:
    """Write or extend the bundle `out` with the known graph `name`, as an export does."""
    built = out.parent / f"{out.name}.built"
    graph = save_graph(built / file, name, size, batch)
    manifest = make_manifest(built, graph, name, engines, size)
    manifest = replace(manifest, model=replace(manifest.model, source_sha256=source_sha256))
    return write_bundle(out, manifest, built, force=force)


def edit_manifest(folder: Path, change: Callable[[Any], object]) -> Path:
    """Change the manifest of a bundle as JSON, unchecked."""
    file = folder / "manifest.json"
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))
    return folder


def list_file_entries(data: Any) -> list[dict[str, Any]]:
    """Every file entry of a manifest's JSON: the references', then the variants'."""
    references = [reference["file"] for reference in data["references"]]
    return references + [file for variant in data["variants"] for file in variant["files"]]


def give_own_graph(folder: Path, graph: Path) -> Path:
    """The second variant gets a copy of `graph` that no other shares."""
    other = Path(shutil.copy(graph, folder / "other.onnx"))
    entry = asdict(make_file_entry(folder, other))
    edit_manifest(folder, lambda data: data["variants"][1].update(files=[entry]))
    return other


def flip_bit(file: Path, position: int = -1) -> None:
    data = bytearray(file.read_bytes())
    data[position] ^= 1
    file.write_bytes(data)


def hash_files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file under `folder`, by relative path: equal before and after means untouched."""
    return {p.relative_to(folder).as_posix(): hash_file(p) for p in folder.rglob("*") if p.is_file()}


def make_noise(*shape: int, seed: int = 0) -> Image:
    """Random uint8 values: nothing that goes wrong with places or colors stays hidden in them."""
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
