"""From a path to a loaded engine: a zoo name, a bundle, or an ONNX file."""

from __future__ import annotations

import math
import operator
import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from i2i_sdk import backends
from i2i_sdk.backends.base import Engine
from i2i_sdk.backends.external import ExternalContract, ExternalEngine
from i2i_sdk.backends.preference_table import AUTO_DEVICE, DEVICES
from i2i_sdk.bundle.folder import Bundle
from i2i_sdk.bundle.manifest import DEFAULT_FIT, MAX_BATCH, Variant
from i2i_sdk.errors import BackendError, InputError, redact_credentials
from i2i_sdk.imaging import geometry
from i2i_sdk.selection import Sides, TunedLatency, VariantRequest, choose_variant, load_latencies, parse_size
from i2i_sdk.zoo import ZOO, describe_checkpoints, find_zoo_bundle

Contract = dict[str, Any]  # the four conventions of a foreign ONNX file, None where not given


@dataclass(frozen=True)
class LoadedSource:
    """An engine that maps uint8 [N, height, width, channels] to uint8 [N, height, width, 1 or 3]."""

    engine: Engine
    bundle: Bundle | None  # None for an ONNX file
    variant: Variant | None
    height: int
    width: int
    channels: int  # 1 or 3
    fit: str
    max_batch: int


def open_source(source: str | os.PathLike[str], request: VariantRequest, contract: Contract) -> LoadedSource:
    """Find a source, choose a variant, load it, and check that it is a translator.

    Args:
        source: a zoo name, a bundle, or an ONNX file.
        request: what the caller asks for.
        contract: the four conventions of a foreign ONNX file, None where not given.

    Returns:
        The loaded engine, which the caller closes, and what it takes.

    Raises:
        InputError: an option is wrong, the source is not there, or is no translator of images.
        BundleError: the bundle is invalid, tampered with or too new.
        BackendError: no variant can run here, or the engine is not what was asked for.
    """
    if request.fit is not None and request.fit not in geometry.FITS:
        raise InputError(f"fit is {request.fit!r}; allowed: {', '.join(geometry.FITS)}")
    backends.check_threads(request.threads)
    backends.check_device(request.device, request.backend, request.provider)
    if request.max_ms is not None:
        _check_max_ms(request.max_ms, request.provider)
    if request.provider is not None and request.backend is None:
        request = replace(request, backend="ort")  # the engine that has providers
    path, size = find_source(source), None if request.size is None else parse_size(request.size)
    bundle = variant = None
    if path.suffix == ".onnx":
        fit, max_batch = request.fit or DEFAULT_FIT, MAX_BATCH
        engine = _open_onnx(path, request, size, contract)
    else:
        if options := [name for name, value in contract.items() if value is not None]:
            raise InputError(f"{', '.join(options)}: only for foreign ONNX files; a bundle says this itself")
        bundle = Bundle.read(path)
        variant, request = _choose_variant(bundle, request)
        fit, max_batch, size = bundle.manifest.input.fit, variant.max_batch, (variant.height, variant.width)
        if (fit := request.fit or fit) not in geometry.FITS:
            raise InputError(f"{path}: its fit is {fit!r}; choose one: {', '.join(geometry.FITS)}")
        open_engine = backends.load_backend_class(variant.backend)
        engine = open_engine(bundle.files_of(variant), variant.precision, request.engine_options)
    try:
        height, width, channels = _check_shape(engine, path, size)
    except InputError:
        engine.close()
        raise
    max_batch = engine.input_shape[0] or max_batch
    return LoadedSource(engine, bundle, variant, height, width, channels, fit, max_batch)


def find_source(source: str | os.PathLike[str]) -> Path:
    """The bundle or ONNX file that `source` names; zoo names come first. Raises InputError."""
    if (zoo := find_zoo_bundle(str(source))) is not None:
        return zoo
    path = Path(source)
    if path.is_dir() or (path.exists() and path.suffix == ".onnx"):
        return path
    if not path.exists():
        hint = f". {checkpoints}" if (checkpoints := describe_checkpoints()) else ""
        shown = redact_credentials(str(source))
        raise InputError(f"{shown}: no such bundle, and not in the zoo ({', '.join(ZOO)}){hint}")
    if path.suffix in (".pth", ".pt", ".safetensors", ".ckpt", ".tar"):
        raise InputError(f"{path} is a checkpoint; make a bundle of it first: i2i export {path}")
    raise InputError(f"{path}: a bundle (.i2i), an .onnx file or a zoo name is needed")


def _choose_variant(bundle: Bundle, request: VariantRequest) -> tuple[Variant, VariantRequest]:
    """The variant to load, and the request with its provider. Raises InputError, BackendError."""
    chosen: dict[str, str | None] = {}

    def explain_unsupported(variant: Variant) -> str | None:
        explain = partial(backends.explain_unsupported_variant, variant)
        provider, reason = backends.find_provider(request.device, variant.backend, request.provider, explain)
        chosen[variant.name] = provider
        return reason

    latencies = _load_latencies(bundle, request)
    variant = choose_variant(bundle.manifest.variants, request, latencies, explain_unsupported)
    return variant, replace(request, provider=chosen[variant.name])


def _load_latencies(bundle: Bundle, request: VariantRequest) -> dict[str, TunedLatency]:
    """What was tuned of variants that run here as they did then: without a provider, so ort on the CPU."""
    if request.provider is not None:
        return {}
    tuned, row = load_latencies(bundle), DEVICES.get(request.device)
    if row is None:
        return tuned
    same = {v.name for v in bundle.manifest.variants if row.get(v.backend, (None,))[0] in (None, "cpu")}
    return {name: latency for name, latency in tuned.items() if name in same}


def _check_max_ms(max_ms: float, provider: str | None) -> None:
    """Raise InputError unless `max_ms` is a time, and of what was measured."""
    value: Any = max_ms
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise InputError(f"max_ms is {value!r}; allowed: a number of milliseconds above 0")
    if provider is not None:
        measured = "what `i2i tune` measured, without a provider"
        raise InputError(f"max_ms chooses by {measured}: leave one of them out")


def _open_onnx(path: Path, request: VariantRequest, size: Sides | None, contract: Contract) -> Engine:
    """Load an ONNX file: ours by its uint8 input, another's by what the caller says of it."""
    backend, precision = request.backend or "ort", request.precision or "fp32"
    if request.max_ms is not None:
        raise InputError(f"max_ms chooses among the variants of a bundle; {path} is one ONNX file")
    explain = partial(backends.explain_unsupported_backend, backend, precision)
    provider, reason = backends.find_provider(request.device, backend, request.provider, explain)
    if reason is not None:
        where = "here" if request.device == AUTO_DEVICE else f"on device={request.device}"
        raise BackendError(f"{path}: {backend} cannot run it {where}: {reason}")
    options = replace(request, provider=provider).engine_options
    engine = backends.load_backend_class(backend)((path,), precision, options)
    try:
        if len(engine.input_shape) != 4:
            raise InputError(f"{path}: takes {engine.input_shape}; images have 4 dimensions")
        if engine.input_dtype == "uint8":
            if options := ", ".join(name for name, value in contract.items() if value is not None):
                problem = f"takes uint8 pictures, so {options} cannot be chosen"
                raise InputError(f"{path}: {problem}; leave them out")
            return engine
        if untold := [name for name, value in contract.items() if value is None]:
            raise InputError(
                f"{path}: takes {engine.input_dtype} {engine.input_shape} in a convention of its own; "
                f"give {', '.join(untold)}. For example: input_range=(0, 255), output_range=(-1, 1), "
                f"layout='nchw', channel_order='rgb'"
            )
        return ExternalEngine(engine, ExternalContract(**contract), size)
    except BaseException:
        engine.close()
        raise


def _check_shape(engine: Engine, path: Path, size: Sides | None) -> tuple[int, int, int]:
    """The engine's height, width and input channels. Raises InputError unless it keeps the engine contract.

    Files come from strangers: what a manifest or a caller says of one need not be true.
    """
    input_shape, output_shape = engine.input_shape, engine.output_shape
    height, width, channels = input_shape[1:] if len(input_shape) == 4 else (None, None, None)
    if height is None or width is None or channels not in (1, 3):
        needed = "a fixed size with 1 or 3 channels is needed"
        raise InputError(f"{path}: the engine takes {input_shape}; {needed}")
    if size not in (None, (height, width)):
        raise InputError(f"{path}: the engine works at {height}x{width} only, not at {size[0]}x{size[1]}")
    if (engine.input_dtype, engine.output_dtype) != ("uint8", "uint8"):
        types = f"takes {engine.input_dtype} and gives {engine.output_dtype}"
        raise InputError(f"{path}: the engine {types}; pictures are uint8 on both sides")
    allowed = ((None, height), (None, width), (None, 1, 3))
    suits = len(output_shape) == 4 and all(map(operator.contains, allowed, output_shape[1:]))
    if output_shape and not suits:
        raise InputError(
            f"{path}: the engine gives {output_shape} for {input_shape}; a translator gives pictures of the "
            f"size it takes, with 1 or 3 channels"
        )
    return height, width, channels
