"""The engines. One file each; this dict is the whole list.

A backend file has a class with `missing(precision)`, which says why it cannot run here (or None), and
a constructor that loads a variant's files. It is imported when it is first needed, so that
`import i2i_sdk` loads no engine.
"""

from __future__ import annotations

import importlib
from typing import Any

from i2i_sdk.backends import providers
from i2i_sdk.backends.base import DEFAULT_OPTIONS, Backend, Engine, EngineOptions, Files
from i2i_sdk.errors import BackendError, InputError
from i2i_sdk.manifest import Variant
from i2i_sdk.requirements import unmet

BACKENDS: dict[str, str] = {
    "coreml": "i2i_sdk.backends.coreml:CoreMlEngine",
    "ncnn": "i2i_sdk.backends.ncnn:NcnnEngine",
    "openvino": "i2i_sdk.backends.openvino:OpenVinoEngine",
    "ort": "i2i_sdk.backends.ort:OrtEngine",
    "torch-trt": "i2i_sdk.backends.torch_trt:TorchTrtEngine",
    "trt": "i2i_sdk.backends.trt:TrtEngine",
}

# Backends whose variants run where there is no Python.
ELSEWHERE = {"web": "it runs in a browser, see docs/mobile.md"}

# Which variant is taken where nothing was tuned: usually the fastest first.
PREFERENCE = (
    ("trt", "int8"),
    ("trt", "fp16"),
    ("torch-trt", "fp16"),
    ("coreml", "fp16"),
    ("coreml", "w8"),
    ("coreml", "palette6"),
    ("openvino", "int8"),
    ("openvino", "bf16"),
    ("openvino", "fp32"),
    ("ort", "int8"),
    ("ort", "fp32"),
    ("ncnn", "fp32"),
    ("ncnn", "fp16"),
)


def backend_class(name: str) -> Backend:
    """The class of a backend. Raises BackendError for a name that is not in the list."""
    if name not in BACKENDS:
        raise BackendError(f"backend {name!r} is not known to this version; known: {', '.join(BACKENDS)}")
    module, attribute = BACKENDS[name].split(":")
    found: Any = getattr(importlib.import_module(module), attribute)
    return found


def why_not(variant: Variant, provider: str | None = None) -> str | None:
    """Why `variant` cannot run on this device, or None if it can.

    provider: one of ONNX Runtime's that is to run it (`providers.PROVIDERS`); InputError if it is not known.
    """
    if variant.backend in ELSEWHERE:
        return ELSEWHERE[variant.backend]
    if variant.backend not in BACKENDS:
        return f"backend {variant.backend!r} is not known to this version"
    return missing(variant.backend, variant.precision, provider) or unmet(variant.requires)


def missing(backend: str, precision: str, provider: str | None = None) -> str | None:
    """Why a backend cannot run `precision` here, or None if it can; provider as in `why_not`."""
    if backend == "ort":
        return providers.missing(provider or "cpu", precision)
    return backend_class(backend).missing(precision)


def check_threads(threads: int | None) -> None:
    """Raise InputError unless `threads` is None (the engine's default) or a whole number from 1."""
    given: Any = threads
    if given is None or (isinstance(given, int) and not isinstance(given, bool) and given >= 1):
        return
    raise InputError(f"threads is {given!r}; allowed: 1 or more, or None for the engine's default")


def open_variant(variant: Variant, files: Files, options: EngineOptions = DEFAULT_OPTIONS) -> Engine:
    """Load a variant's engine. Raises BackendError when it cannot run here or is not what was asked for."""
    reason = why_not(variant, options.provider)
    if reason is not None:
        raise BackendError(f"{variant.name} cannot run here: {reason}")
    return backend_class(variant.backend)(files, variant.precision, options)
