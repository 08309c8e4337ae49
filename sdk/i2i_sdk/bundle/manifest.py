"""The manifest of a bundle: what a model is, which variants of it there are, and how each was verified.

Frozen dataclasses that mirror `manifest.json` key by key. Manifests come from strangers, so reading is
strict: unknown keys, missing keys and wrong types are errors that name the place.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from i2i_sdk.bundle.decoding import MAX_NUMBER, DecodeError, decode
from i2i_sdk.errors import BundleError

SAMPLER_ADVICE = (
    "it makes images of noise, and bundles hold networks that make images of images: "
    "i2i sample CHECKPOINT makes its images"
)
SCHEMA = 2  # raised when older readers would misunderstand a manifest
DEFAULT_FIT = "resize"  # how frames of other sizes are brought to the engine's size
PICTURE_CHANNELS = frozenset((1, 3))  # gray and RGB
MAX_SIDE = 16384  # pixels of a variant's height or width
MAX_BATCH = 8  # images at once that graphs and engines are made for
MAX_PAGE_BYTES = 30 * 10**6  # of one file in a web page: 12 s at 20 Mbit/s, twice onnxruntime-web's own 14 MB
VERIFICATION_LEVELS = ("device", "graph", "structure")


@dataclass(frozen=True)
class FileEntry:
    """One file of the bundle."""

    path: str  # relative, inside the bundle
    sha256: str  # 64 hex digits
    bytes: int


@dataclass(frozen=True)
class Parity:
    """How close a variant's pictures are to PyTorch's, on uint8 RGB, over real frames."""

    psnr: float  # dB, mean over frames; 120 means identical
    ssim: float | None  # mean over frames; None for pictures of less than 11 pixels a side
    max_abs: int  # largest difference of a single value, 0..255
    frames: int
    frames_from: str  # "user", or "builtin" for scikit-image's bundled photos
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
    architecture: str
    options: dict[str, Any]
    norm_mode: str
    recipe: str
    direction: str
    steps: int | None
    parameters: int
    source_sha256: str
    license: str
    trained_on: str
    repairs: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()


@dataclass(frozen=True)
class InputContract:
    """Every variant is one function: uint8 [N, H, W, C] RGB -> uint8 [N, H, W, C] RGB.

    Two kinds of files need their backend for it, which changes types and layout only: Core ML's take and give
    images, ncnn's float32 planes of 0..255.
    """

    in_channels: int  # 1 or 3
    out_channels: int  # 1 or 3
    multiple_of: int  # sides of an exported size divide by this
    fit: str = DEFAULT_FIT  # where the user says nothing


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

    def collect_files(self) -> dict[str, FileEntry]:
        """All files of the bundle by path."""
        return {entry.path: entry for entry in self.iterate_files()}

    def iterate_files(self) -> Iterator[FileEntry]:
        """Every mention of a file; variants may share files."""
        yield from (reference.file for reference in self.references)
        yield from (file for variant in self.variants for file in variant.files)


def _upgrade_schema(data: dict[str, Any]) -> dict[str, Any]:
    """Schema 1 as schema 2: a license had another key, and bundles of DCGAN were a kind of their own.

    Raises BundleError for such a one.
    """
    model: Any = data.get("model")
    if not isinstance(model, dict):
        return data
    entries = cast("dict[str, Any]", model)
    if (kind := entries.get("kind")) == "sampler":
        raise BundleError(SAMPLER_ADVICE)
    if kind != "translator":
        raise BundleError(f"manifest.model.kind: got {kind!r}, expected 'translator'")
    upgraded = {"license" if key == "licence" else key: entries[key] for key in entries if key != "kind"}
    return {**data, "schema": SCHEMA, "model": upgraded}


def read_manifest(data: object) -> Manifest:
    """Check parsed JSON and return it as a Manifest.

    Raises BundleError that names the place, for example `manifest.variants[0].height: got str, expected int`.
    """
    entries = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
    schema = entries.get("schema")
    if isinstance(schema, int) and SCHEMA < schema < MAX_NUMBER:
        raise BundleError(
            f"it has schema {schema}, this version reads up to {SCHEMA}: pip install -U i2i-sdk"
        )
    is_former = type(schema) is int and schema == 1  # True is no number
    try:
        manifest = decode(Manifest, _upgrade_schema(entries) if is_former else cast(object, data), "manifest")
    except DecodeError as error:
        raise BundleError(str(error)) from None
    _require(manifest.schema >= 1, f"manifest.schema: got {manifest.schema}, schemas are counted from 1")
    _require(bool(manifest.variants and manifest.references), "manifest: it has no variants or no reference")
    for index, reference in enumerate(manifest.references):
        _check_size(reference, f"manifest.references[{index}]")
    channels = manifest.input.in_channels, manifest.input.out_channels
    if problem := explain_channels(*channels):
        raise BundleError(f"manifest.input: {problem}")
    levels = ", ".join(VERIFICATION_LEVELS)
    for index, variant in enumerate(manifest.variants):
        where, verified, batch = f"manifest.variants[{index}]", variant.verified, variant.max_batch
        _check_size(variant, where)
        _require(verified in VERIFICATION_LEVELS, f"{where}.verified: got {verified!r}, allowed: {levels}")
        _require(batch >= 1, f"{where}.max_batch: got {batch}, at least 1 is needed")
        _require(bool(variant.files), f"{where}: it has no files")
    for name, count in Counter(variant.name for variant in manifest.variants).items():
        _require(count == 1, f"manifest.variants: two are named {name!r}")
    files = manifest.collect_files()
    for entry in manifest.iterate_files():
        problem = f"manifest: {entry.path} is listed with two different hashes or sizes"
        _require(files[entry.path] == entry, problem)
    return manifest


def explain_channels(in_channels: int, out_channels: int) -> str | None:
    """Why no translator can be made of a network with these channels; None if one can."""
    if {in_channels, out_channels} <= PICTURE_CHANNELS:
        return None
    return (
        f"its network takes {in_channels} and gives {out_channels} channels, and bundles hold those that "
        f"make pictures of pictures: 1 (gray) or 3 (RGB) on either side"
    )


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise BundleError(problem)


def _check_size(entry: Variant | Reference, where: str) -> None:
    is_possible = 0 < entry.height <= MAX_SIDE and 0 < entry.width <= MAX_SIDE
    _require(is_possible, f"{where}: its size {entry.height}x{entry.width} is not possible")
