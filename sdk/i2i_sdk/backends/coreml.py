"""Core ML on macOS, through coremltools.

Loading and running were never executed by this project, which has no Mac: they are written against what
coremltools 9 documents (`MLModel(path, compute_units=…)`, `predict({name: PIL image})`). What needs no Mac
(finding the package, reading its description, arrays to images and back) runs and is tested everywhere, and
the export evaluates the same package's program with PyTorch.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false
# coremltools ships no type information.

from __future__ import annotations

import importlib.util
import json
import logging
import math
import platform
import sys
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from i2i_sdk.backends.base import DEFAULT_OPTIONS, Engine, EngineOptions, Files
from i2i_sdk.errors import BackendError, get_first_line

PRECISIONS = ("fp16", "w8", "palette6")
MIN_MACOS_VERSION = 13  # whose Core ML reads what the export writes, iOS 16's specification
# What `provider` may name, and coremltools' word for it: the CPU takes what the other unit cannot.
COMPUTE_UNITS = {None: "ALL", "cpu": "CPU_ONLY", "gpu": "CPU_AND_GPU", "neural-engine": "CPU_AND_NE"}


class CoreMlEngine(Engine):
    """An .mlpackage in Core ML, one image at a time. `threads` means nothing to it: Core ML decides."""

    _engine_name = "Core ML"

    def __init__(self, files: Files, precision: str, options: EngineOptions = DEFAULT_OPTIONS) -> None:
        if options.provider not in COMPUTE_UNITS:
            allowed = ", ".join(name for name in COMPUTE_UNITS if name)
            raise BackendError(f"Core ML has no provider {options.provider!r}; allowed: {allowed}")
        package, units = find_package(files), COMPUTE_UNITS[options.provider]
        with silence_coremltools():
            import coremltools

            try:
                chosen = coremltools.ComputeUnit[units]
                self._native = coremltools.models.MLModel(str(package), compute_units=chosen)
            except Exception as error:  # Core ML's errors share no base class
                raise BackendError(f"{package}: Core ML cannot load it: {get_first_line(error)}") from error
        spec = self._native.get_spec()
        self._input_port, self._output_port = read_image_ports(spec)
        self.input_shape, self.output_shape = self._input_port.shape, self._output_port.shape
        self.input_dtype = self.output_dtype = "uint8"
        self.precision = find_weight_precision(spec)
        if self.precision != precision:
            raise BackendError(f"{package}: asked for {precision}, its weights are {self.precision}")
        self.provider = f"CoreML {self._native.compute_unit.name}"

    @staticmethod
    def explain_unsupported(precision: str) -> str | None:
        system, macos = sys.platform, platform.mac_ver()[0]
        if precision not in PRECISIONS:
            return f"Core ML packages hold {', '.join(PRECISIONS)}, not {precision}"
        if system != "darwin":
            return f"Core ML runs on macOS and iOS only, this is {system}; take a variant of another backend"
        if int(macos.split(".")[0]) < MIN_MACOS_VERSION:
            return f"it needs macOS {MIN_MACOS_VERSION} or newer, this is {macos}"
        if lacking := [name for name in ("PIL", "coremltools") if importlib.util.find_spec(name) is None]:
            return f"{' and '.join(lacking)} missing: pip install 'i2i-sdk[coreml]'"
        return None

    def _run(self, batch: NDArray[Any]) -> NDArray[Any]:
        source, target = self._input_port, self._output_port
        picture = self._native.predict({source.name: to_image(batch[0])})[target.name]
        return from_image(picture, target.channels)[None]


@contextmanager
def silence_coremltools() -> Generator[None]:
    """Without its warnings: of libraries that only macOS has, of every PyTorch that it was not tested on."""
    log = logging.getLogger("coremltools")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def find_package(files: Files) -> Path:
    """The .mlpackage that a variant's files make up; the first is its Manifest.json.

    Raises BackendError when the folder holds what the bundle does not list, or its own manifest points
    outside: only what was checked may be loaded.
    """
    package = files[0].parent
    if files[0].name != "Manifest.json" or package.suffix != ".mlpackage":
        raise BackendError(f"{files[0]}: a Core ML variant begins with NAME.mlpackage/Manifest.json")
    if stray := sorted({p for p in package.rglob("*") if p.is_symlink() or not p.is_dir()} - set(files)):
        raise BackendError(f"{stray[0]}: is not listed in the bundle's manifest; copy the bundle again")
    try:
        items = json.loads(files[0].read_text(encoding="utf-8"))["itemInfoEntries"].values()
        paths = [PurePosixPath(item["path"]) for item in items]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise BackendError(f"{files[0]}: is not the manifest of a Core ML package") from error
    if leaving := [path for path in paths if path.is_absolute() or ".." in path.parts]:
        raise BackendError(f"{files[0]}: {leaving[0]} leaves the package")
    return package


@dataclass(frozen=True)
class ImagePort:
    """An image that a Core ML model takes or gives."""

    name: str
    height: int
    width: int
    order: str  # of the channels inside of the program: "rgb", "bgr", "gray"

    @property
    def channels(self) -> int:
        """1 or 3"""
        return 1 if self.order == "gray" else 3

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """As an engine's: (1, height, width, channels)."""
        return (1, self.height, self.width, self.channels)


def read_image_ports(spec: Any) -> tuple[ImagePort, ImagePort]:
    """The one image that a model takes and the one it gives, from its specification. Raises BackendError."""
    ports: list[ImagePort] = []
    for features in (spec.description.input, spec.description.output):
        if [f.type.WhichOneof("Type") for f in features] != ["imageType"]:
            names = ", ".join(f"{f.name} {f.type.WhichOneof('Type')}" for f in features)
            raise BackendError(f"one image in and one image out are needed; the Core ML package has {names}")
        image = features[0].type.imageType
        space = image.ColorSpace.Name(image.colorSpace)
        orders = {"RGB": "rgb", "BGR": "bgr", "GRAYSCALE": "gray"}
        if space not in orders:
            raise BackendError(f"{features[0].name}: colors are {space}; known: {', '.join(orders)}")
        ports.append(ImagePort(features[0].name, image.height, image.width, orders[space]))
    return ports[0], ports[1]


@dataclass(frozen=True)
class CoreMlLayer:
    """A convolution of a Core ML program."""

    name: str  # of its weights
    precision: str  # that these are stored in: "fp32", "fp16", "w8", "palette6" …
    weight_count: int  # how many weights
    macs: int  # multiplications for one image; a transposed one's at the size of its input


def find_weight_precision(spec: Any) -> str:
    """What most of a model's weights are stored in; "none" where it has none."""
    numbers: Counter[str] = Counter()
    for layer in read_layers(spec):
        numbers[layer.precision] += layer.weight_count
    return numbers.most_common(1)[0][0] if numbers else "none"


def read_layers(spec: Any) -> list[CoreMlLayer]:
    """Every convolution of a model of fixed size, from its specification."""
    main = spec.mlProgram.functions["main"]
    operations = list(main.block_specializations[main.opset].operations)
    makers = {output.name: operation for operation in operations for output in operation.outputs}
    layers: list[CoreMlLayer] = []
    for operation in operations:
        if operation.type not in ("conv", "conv_transpose"):
            continue
        maker = makers[operation.inputs["weight"].arguments[0].name]
        at = operation if operation.type == "conv" else makers[operation.inputs["x"].arguments[0].name]
        name, count = maker.outputs[0].name, math.prod(_read_shape(maker))
        macs = count * math.prod(_read_shape(at)[2:])
        layers.append(CoreMlLayer(name, _read_weight_precision(maker), count, macs))
    return layers


def _read_shape(operation: Any) -> list[int]:
    """The shape of what an operation gives."""
    return [side.constant.size for side in operation.outputs[0].type.tensorType.dimensions]


def _read_weight_precision(maker: Any) -> str:
    """How the operation that makes a weight stores it."""
    if maker.type == "constexpr_affine_dequantize":
        return "w8"
    if maker.type == "constexpr_lut_to_dense":
        entries = maker.attributes["lut"].type.tensorType.dimensions[0].constant.size
        return f"palette{(entries - 1).bit_length()}"
    kind = maker.outputs[0].type.tensorType.dataType
    types = {10: "fp16", 11: "fp32"}  # DataType of MIL.proto
    return types.get(kind, f"{maker.type} of MIL type {kind}")


def to_image(frame: NDArray[np.uint8]) -> Any:
    """uint8 [H, W, 1 or 3] gray or RGB -> a PIL image of mode L or RGB, which is what `predict` takes."""
    from PIL import Image

    return Image.fromarray(frame[:, :, 0] if frame.shape[2] == 1 else frame)


def from_image(picture: Any, channels: int) -> NDArray[np.uint8]:
    """What `predict` gives (RGBA, for color) -> uint8 [H, W, channels] gray or RGB."""
    array = np.asarray(picture.convert("L" if channels == 1 else "RGB"))
    return array.reshape(*array.shape[:2], channels).copy()
