"""From a path to a loaded engine: a zoo name, a bundle, or an ONNX file."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from i2i_sdk import backends
from i2i_sdk.backends.base import Engine, Files, check_translator
from i2i_sdk.backends.external import ExternalContract, ExternalEngine
from i2i_sdk.backends.preference_table import AUTO_DEVICE, DEVICES
from i2i_sdk.bundle.folder import Bundle
from i2i_sdk.bundle.manifest import DEFAULT_FIT, MAX_BATCH, Variant
from i2i_sdk.errors import BackendError, BundleError, InputError, redact_credentials
from i2i_sdk.imaging import geometry
from i2i_sdk.selection import Sides, TunedLatency, VariantRequest, choose_variant, load_latencies, parse_size
from i2i_sdk.zoo import ZOO, describe_checkpoints, find_zoo_bundle

log = logging.getLogger(__name__)

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
        BundleError: the bundle is invalid, tampered with or too new, or all variants that suit are damaged.
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
        variant, files, request = _choose_variant(bundle, request)
        fit, max_batch, size = bundle.manifest.input.fit, variant.max_batch, (variant.height, variant.width)
        if (fit := request.fit or fit) not in geometry.FITS:
            raise InputError(f"{path}: its fit is {fit!r}; choose one: {', '.join(geometry.FITS)}")
        if fit == "tile" and bundle.manifest.model.options.get("global_places"):
            others = ", ".join(name for name in geometry.FITS if name != "tile")
            raise InputError(
                f"{path}: looks at the whole frame, so its tiles would not fit each other; fit: {others}"
            )
        open_engine = backends.load_backend_class(variant.backend)
        engine = open_engine(files, variant.precision, request.engine_options)
    try:
        height, width, channels = check_translator(engine, path, size)
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


def _choose_variant(bundle: Bundle, request: VariantRequest) -> tuple[Variant, Files, VariantRequest]:
    """The variant to load, its files, and the request with its provider; damaged variants are passed over.

    Raises InputError, BackendError, BundleError.
    """
    chosen: dict[str, str | None] = {}
    damaged: dict[str, str] = {}  # variant -> reason

    def explain_unsupported(variant: Variant) -> str | None:
        explain = partial(backends.explain_unsupported_variant, variant)
        provider, reason = backends.find_provider(request.device, variant.backend, request.provider, explain)
        chosen[variant.name] = provider
        return reason

    latencies, variants = _load_latencies(bundle, request), bundle.manifest.variants
    first = variants[0]  # whose size is the default as long as any of that size is left
    left = sorted(variants, key=lambda v: (v.height, v.width) != (first.height, first.width))
    while True:
        try:
            variant = choose_variant(left, request, latencies, explain_unsupported)
        except (InputError, BackendError) as error:
            if damaged:
                raise BundleError(f"{_describe_damage(damaged)}. Of the others: {error}") from error
            raise
        try:
            files = bundle.files_of(variant)
            break
        except BundleError as error:
            damaged[variant.name] = str(error)
            left.remove(variant)
            if not left:
                raise BundleError(f"{_describe_damage(damaged)}. No variant is left") from error
    if damaged:
        log.warning("%s; taking %s", _describe_damage(damaged), variant.name)
    return variant, files, replace(request, provider=chosen[variant.name])


def _describe_damage(damaged: Mapping[str, str]) -> str:
    return "; ".join(f"{name} is damaged: {reason}" for name, reason in damaged.items())


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
