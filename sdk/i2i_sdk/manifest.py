"""The manifest of a bundle: what a model is, which variants of it there are, and how each was verified.

Frozen dataclasses that mirror `manifest.json` key by key. Manifests come from strangers, so reading is
strict: unknown keys, missing keys and wrong types are errors that name the place.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
import unicodedata
from dataclasses import dataclass, field
from typing import Any, TypeVar

from i2i_sdk.errors import BundleError

T = TypeVar("T")

SCHEMA = 1  # raised when older readers would misunderstand a manifest

VERIFIED = ("device", "graph", "structure")

LARGEST_NUMBER = 2**63  # a count beyond this is no count, and would not survive a division
DEEPEST_OPTION = 8  # an architecture's options are scalars and short lists


@dataclass(frozen=True)
class FileEntry:
    """One file of the bundle."""

    path: str  # relative, inside the bundle
    sha256: str  # 64 hex digits
    bytes: int


@dataclass(frozen=True)
class Parity:
    """How close a variant's pictures are to PyTorch's, on uint8 RGB, over real frames or seeded latents."""

    psnr: float  # dB, mean over frames; 120 means identical
    ssim: float | None  # mean over frames; None for pictures of less than 11 pixels a side
    max_abs: int  # largest difference of a single value, 0..255
    frames: int
    frames_from: str  # "user", "builtin" for scikit-image's bundled photos, "latents" for a sampler's noise
    worst_frame: str
    worst_psnr: float


@dataclass(frozen=True)
class Requirements:
    """What a device needs for a variant."""

    engine: str  # name and version range, for example "onnxruntime>=1.20"
    cpu: tuple[str, ...] = ()  # features, for example "bf16"
    os: tuple[str, ...] = ()  # "macos", "linux", "windows"; none named: any
    compute_capabilities: tuple[str, ...] = ()  # of NVIDIA GPUs that the engine in the bundle is built for


@dataclass(frozen=True)
class Variant:
    """One way to run the model: an engine, a precision, a size."""

    name: str  # "openvino-bf16-256x256"
    backend: str
    precision: str  # asked for
    precision_found: str  # read back from the engine that was measured
    height: int
    width: int
    max_batch: int
    macs: int  # multiply-accumulates of one image at this size
    files: tuple[FileEntry, ...]
    requires: Requirements
    verified: str  # "device": this variant ran; "graph": its graph ran elsewhere; "structure": only built
    parity: Parity | None = None
    verified_by: str = ""  # the engine that gave `parity` where it is not the variant's own
    macs_in_precision: float = 1.0  # share of the multiplications done in `precision`, 0..1
    precision_kept: dict[str, str] = field(default_factory=dict[str, str])  # layer group -> higher precision
    sensitivity: dict[str, float] = field(
        default_factory=dict[str, float]
    )  # layer -> dB with it alone in int8
    calibration_sha256: str | None = None  # of the frames' values, never the frames


@dataclass(frozen=True)
class Reference:
    """The FP32 graph at one size: what a device without PyTorch compares with."""

    height: int
    width: int
    file: FileEntry


@dataclass(frozen=True)
class ModelInfo:
    """What was trained, on what, and what was taken for granted when its file was read."""

    name: str
    kind: str  # "translator", or "sampler" for noise -> image
    architecture: str
    options: dict[str, Any]
    norm_mode: str
    recipe: str
    direction: str
    steps: int | None
    parameters: int
    source_sha256: str
    licence: str
    trained_on: str
    repairs: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()


@dataclass(frozen=True)
class InputContract:
    """Every variant is one function: uint8 [N, H, W, C] RGB -> uint8 [N, H, W, C] RGB.

    A sampler's are float32 [N, z] from N(0, 1) -> uint8 [N, H, W, C] RGB: `in_channels` is z, and `fit`
    means nothing.

    Two kinds of files need their backend for it, which changes types and layout only: Core ML's take and give
    images, ncnn's float32 planes of 0..255.
    """

    in_channels: int  # 1 or 3; a sampler's: how many numbers a latent has
    out_channels: int
    multiple_of: int  # sides of an exported size divide by this
    fit: str = "resize"  # how frames of other sizes are brought to the engine's size by default


@dataclass(frozen=True)
class Manifest:
    """All of `manifest.json`."""

    schema: int
    created_by: str
    model: ModelInfo
    input: InputContract
    references: tuple[Reference, ...]
    variants: tuple[Variant, ...]

    def to_json(self) -> dict[str, Any]:
        """A plain dict for JSON; `read_manifest` reads it back."""
        return dataclasses.asdict(self)

    def files(self) -> dict[str, FileEntry]:
        """All files of the bundle by path; variants may share files."""
        entries = [*(r.file for r in self.references), *(f for v in self.variants for f in v.files)]
        return {entry.path: entry for entry in entries}


def read_manifest(data: object) -> Manifest:
    """Check parsed JSON and return it as a Manifest.

    Raises BundleError that names the place, for example `manifest.variants[0].height: got str, expected int`.
    """
    schema = typing.cast("dict[str, Any]", data).get("schema") if isinstance(data, dict) else None
    if isinstance(schema, int) and SCHEMA < schema < LARGEST_NUMBER:
        raise BundleError(
            f"the manifest has schema {schema}, this version reads up to {SCHEMA}: pip install -U i2i-sdk"
        )
    manifest = _decode(Manifest, typing.cast(object, data), "manifest")
    if manifest.schema < 1:
        raise BundleError(f"manifest.schema: got {manifest.schema}, schemas are counted from 1")
    if not manifest.variants or not manifest.references:
        raise BundleError("manifest: it has no variants or no reference")
    for index, reference in enumerate(manifest.references):
        _check_size(reference, f"manifest.references[{index}]")
    for index, variant in enumerate(manifest.variants):
        where = f"manifest.variants[{index}]"
        _check_size(variant, where)
        if variant.verified not in VERIFIED:
            raise BundleError(f"{where}.verified: got {variant.verified!r}, allowed: {', '.join(VERIFIED)}")
        if variant.max_batch < 1:
            raise BundleError(f"{where}.max_batch: got {variant.max_batch}, at least 1 is needed")
        if not variant.files:
            raise BundleError(f"{where}: it has no files")
    names = [variant.name for variant in manifest.variants]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise BundleError(f"manifest.variants: two are named {twice[0]!r}")
    hashes: dict[str, FileEntry] = {}
    for entry in [*(r.file for r in manifest.references), *(f for v in manifest.variants for f in v.files)]:
        if hashes.setdefault(entry.path, entry) != entry:
            raise BundleError(f"manifest: {entry.path} is listed with two different hashes or sizes")
    return manifest


def _check_size(of: Variant | Reference, where: str) -> None:
    if not (0 < of.height <= 16384 and 0 < of.width <= 16384):
        raise BundleError(f"{where}: its size {of.height}x{of.width} is not possible")


def _decode(kind: type[T], data: object, where: str) -> T:
    """Build the dataclass `kind` from a dict, checking every key and type."""
    if not isinstance(data, dict):
        raise BundleError(f"{where}: got {_kind_name(data)}, expected an object")
    values = typing.cast("dict[str, Any]", data)
    fields = {f.name: f for f in dataclasses.fields(typing.cast(Any, kind))}
    required = {
        name
        for name, f in fields.items()
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    if unknown := sorted(set(values) - set(fields)):
        raise BundleError(f"{where}: unknown key {unknown[0]!r}; was it written by a newer version?")
    if missing := sorted(required - set(values)):
        raise BundleError(f"{where}: the key {missing[0]!r} is missing")
    hints = typing.get_type_hints(kind)
    return kind(**{name: _value(hints[name], value, f"{where}.{name}") for name, value in values.items()})


def _value(hint: Any, value: object, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        _check_plain(value, where, 0)
        return value
    if origin in (typing.Union, types.UnionType):
        return None if value is None else _value(arguments[0], value, where)
    if dataclasses.is_dataclass(hint):
        return _decode(typing.cast("type[Any]", hint), value, where)
    if origin is tuple and isinstance(value, list | tuple):
        items = typing.cast("list[object]", value)
        return tuple(_value(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(items))
    if origin is dict and isinstance(value, dict):
        entries = typing.cast("dict[str, object]", value)
        return {_text(k, where): _value(arguments[1], v, f"{where}.{k}") for k, v in entries.items()}
    if isinstance(value, int | float) and not isinstance(value, bool):
        _check_number(value, where)
        value = float(value) if hint is float else value
    expected: type = list if origin is tuple else origin or hint
    if not isinstance(value, expected) or isinstance(value, bool) is not (expected is bool):
        raise BundleError(f"{where}: got {_kind_name(value)}, expected {expected.__name__}")
    return _text(value, where) if isinstance(value, str) else value


def _kind_name(value: object) -> str:
    return "null" if value is None else type(value).__name__


def _check_number(value: float, where: str) -> None:
    possible = abs(value) < LARGEST_NUMBER if isinstance(value, int) else math.isfinite(value)
    if not possible:
        raise BundleError(f"{where}: got a number that is infinite, not a number or beyond 2^63")


def _text(value: str, where: str) -> str:
    """Return a text that a terminal can show: commands print what strangers wrote into a manifest."""
    if bad := [c for c in value if unicodedata.category(c) in ("Cc", "Cs")]:
        raise BundleError(f"{where}: {bad[0]!a} may not stand in a text")
    return value


def _check_plain(value: object, where: str, depth: int) -> None:
    """Check that an option of any type can be printed, compared and written again."""
    if depth > DEEPEST_OPTION:
        raise BundleError(f"{where}: is nested more than {DEEPEST_OPTION} deep")
    if isinstance(value, int | float):
        _check_number(value, where)
    elif isinstance(value, str):
        _text(value, where)
    elif isinstance(value, list | tuple):
        for item in typing.cast("list[object]", value):
            _check_plain(item, where, depth + 1)
    elif isinstance(value, dict):
        for key, item in typing.cast("dict[str, object]", value).items():
            _check_plain(item, f"{where}.{_text(key, where)}", depth + 1)
