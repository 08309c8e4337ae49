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
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

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
RunCommand = Callable[..., Any]  # the fixture `run_command`

HEIGHT, WIDTH = 24, 40
DISTRIBUTIONS = {"ort": "onnxruntime"}  # of backends that are not called as what they come in
PORTABLE_ENGINES = (("ort", "fp32"), ("openvino", "fp32"), ("openvino", "bf16"))


@dataclass(frozen=True)
class KnownModel:
    """Channels in and out, and the function of one RGB picture [H, W, C] that the graph computes."""

    in_channels: int
    out_channels: int
    compute: Callable[[Image], Image]


def _darken_lower_half(image: Image) -> Image:
    result = image.copy()
    result[image.shape[0] // 2 :] //= 2
    return result


KNOWN_MODELS = {
    "identity": KnownModel(3, 3, lambda x: x),
    "invert": KnownModel(3, 3, lambda x: 255 - x),
    "swap": KnownModel(3, 3, lambda x: x[..., ::-1]),  # red and blue
    "darken": KnownModel(3, 3, _darken_lower_half),
    "gray": KnownModel(1, 1, lambda x: 255 - x),
    "red": KnownModel(3, 1, lambda x: x[..., :1]),
    "color": KnownModel(1, 3, lambda x: np.concatenate([x, 255 - x, x // 2], axis=-1)),
}

Nodes = tuple[list[onnx.NodeProto], list[onnx.TensorProto]]


def _make_float_tensor(name: str, values: object) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.float32), name)


def _make_index_tensor(values: Sequence[int]) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), "indices")


def _make_nodes(name: str, height: int) -> Nodes:
    """The nodes from "x" to "y" and their constants."""
    node, u8 = helper.make_node, TensorProto.UINT8
    if name == "identity":
        return [node("Identity", ["x"], ["y"])], []
    if name in ("swap", "red"):
        order = [2, 1, 0] if name == "swap" else [0]
        return [node("Gather", ["x", "indices"], ["y"], axis=3)], [_make_index_tensor(order)]
    to_float = node("Cast", ["x"], ["f"], to=TensorProto.FLOAT)
    if name in ("invert", "gray"):
        steps = [to_float, node("Sub", ["white", "f"], ["i"]), node("Cast", ["i"], ["y"], to=u8)]
        return steps, [_make_float_tensor("white", 255)]
    if name == "darken":
        rows = np.where(np.arange(height) < height // 2, 1.0, 0.5).reshape(1, height, 1, 1)
        steps = [to_float, node("Mul", ["f", "rows"], ["m"]), node("Floor", ["m"], ["d"])]
        return [*steps, node("Cast", ["d"], ["y"], to=u8)], [_make_float_tensor("rows", rows)]
    assert name == "color"
    steps = [
        to_float,
        node("Sub", ["white", "f"], ["i"]),
        node("Mul", ["f", "half"], ["m"]),
        node("Floor", ["m"], ["h"]),
        node("Concat", ["f", "i", "h"], ["c"], axis=3),
        node("Cast", ["c"], ["y"], to=u8),
    ]
    return steps, [_make_float_tensor("white", 255), _make_float_tensor("half", 0.5)]


def save_onnx(
    path: Path,
    nodes: list[onnx.NodeProto],
    constants: list[onnx.TensorProto],
    inputs: Sequence[tuple[str, int, Sequence[int | str] | None]],
    outputs: Sequence[tuple[str, int, Sequence[int | str] | None]],
) -> Path:
    """Write a graph; inputs and outputs are (name, ONNX type, shape)."""
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    if all(shape is not None for _, _, shape in [*inputs, *outputs]):  # else the checker refuses
        onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


def save_graph(
    path: Path, name: str, size: tuple[int, int] = (HEIGHT, WIDTH), batch: int | str = "n"
) -> Path:
    """Write the known graph `name` with the engine contract of a bundle."""
    nodes, constants = _make_nodes(name, size[0])
    answer, u8 = KNOWN_MODELS[name], TensorProto.UINT8
    inputs = [("x", u8, [batch, *size, answer.in_channels])]
    return save_onnx(path, nodes, constants, inputs, [("y", u8, [batch, *size, answer.out_channels])])


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
    shape = [batch, 3, *size] if layout == "nchw" else [batch, *size, 3]
    per_channel = (1, 3, 1, 1) if layout == "nchw" else (1, 1, 1, 3)
    constants = [
        numpy_helper.from_array(np.array(values, np.float32).reshape(per_channel), name)
        for name, values in (("scale", scale), ("offset", offset))
    ]
    nodes = [helper.make_node("Mul", ["x", "scale"], ["s"]), helper.make_node("Add", ["s", "offset"], ["y"])]
    ports = [(name, TensorProto.FLOAT, shape) for name in "xy"]
    return save_onnx(path, nodes, constants, ports[:1], ports[1:])


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
