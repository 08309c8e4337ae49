"""Backends: open a variant with its engine, or say why it cannot run here. `preference_table.py` lists them.

A backend file has a class with `explain_unsupported(precision)`, which says why it cannot run here (or None),
and a constructor that loads a variant's files. It is imported when it is first needed, so that
`import i2i_sdk` loads no engine.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from i2i_sdk.backends.base import DEFAULT_OPTIONS, Backend, Engine, EngineOptions, Files
from i2i_sdk.backends.ort import providers
from i2i_sdk.backends.preference_table import AUTO_DEVICE, BACKENDS, DEVICES
from i2i_sdk.backends.requirements import explain_unmet
from i2i_sdk.bundle.manifest import Variant
from i2i_sdk.errors import BackendError, InputError


def load_backend_class(name: str) -> Backend:
    """The class of a backend. Raises BackendError for a name that is not in the list."""
    row = BACKENDS.get(name)
    if row is None or row.engine is None:
        known = ", ".join(name for name, row in BACKENDS.items() if row.engine)
        raise BackendError(f"backend {name!r} is not known to this version; known: {known}")
    module, attribute = row.engine.split(":")
    return getattr(importlib.import_module(f"{__name__}.{module}"), attribute)


def explain_unsupported_variant(variant: Variant, provider: str | None = None) -> str | None:
    """Why `variant` cannot run on this device, or None if it can.

    provider: one of ONNX Runtime's that is to run it (`providers.PROVIDERS`); InputError if it is not known.
    """
    if variant.backend not in BACKENDS:
        return f"backend {variant.backend!r} is not known to this version"
    if elsewhere := BACKENDS[variant.backend].elsewhere:
        return elsewhere
    reason = explain_unsupported_backend(variant.backend, variant.precision, provider)
    return reason or explain_unmet(variant.requires)


def explain_unsupported_backend(backend: str, precision: str, provider: str | None = None) -> str | None:
    """Why a backend cannot run a precision here.

    Args:
        backend: "ort", "openvino" … as `BACKENDS` names them.
        precision: "fp32", "bf16" … that is wanted.
        provider: as `explain_unsupported_variant` has it.

    Returns:
        The reason, with what to do; None if it can.

    Raises:
        BackendError: the backend is not known to this version.
        InputError: the provider is not known.
    """
    if backend == "ort":
        return providers.explain_unsupported_provider(provider or "cpu", precision)
    return load_backend_class(backend).explain_unsupported(precision)


def check_device(device: str, backend: str | None, provider: str | None) -> None:
    """Check that a device is known, and that the backend or provider does not contradict it.

    Args:
        device: "auto", which every backend and provider serves, or one of `DEVICES`.
        backend: as the caller named it; None if not.
        provider: likewise; of ONNX Runtime unless `backend` says another engine.

    Raises:
        InputError: it is not known, or excludes the backend or provider.
    """
    if device == AUTO_DEVICE:
        return
    if device not in DEVICES:
        raise InputError(f"device is {device!r}; allowed: {', '.join((AUTO_DEVICE, *DEVICES))}")
    row, engine = DEVICES[device], backend or "ort"
    if backend is not None and backend not in row:
        served = f"{device} is served by {', '.join(row)}; leave one of them out"
        raise InputError(f"device={device!r} excludes backend={backend!r}: {served}")
    if provider is not None and provider not in row.get(engine, ()):
        allowed = ", ".join(name for name in row.get(engine, ()) if name) or "none"
        served = f"for {device} the providers of {engine} are: {allowed}; leave one of them out"
        raise InputError(f"device={device!r} excludes provider={provider!r}: {served}")


def find_provider(
    device: str, backend: str, provider: str | None, explain_unsupported: Callable[[str | None], str | None]
) -> tuple[str | None, str | None]:
    """What to give `backend` as `EngineOptions.provider`, so that it runs on `device`.

    Args:
        device: "auto" or one of `DEVICES`, which `backend` serves; see `check_device`.
        backend: the engine that is to run.
        provider: the only one to try; None tries those of the device, in the table's order.
        explain_unsupported: gives the reason a provider cannot run here, or None.

    Returns:
        The first provider that runs here and None; if there is none, None and all reasons.
    """
    candidates = (provider,) if device == AUTO_DEVICE or provider else DEVICES[device][backend]
    reasons: list[str] = []
    for candidate in candidates:
        reason = explain_unsupported(candidate)
        if reason is None:
            return candidate, None
        reasons.append(reason)
    return None, "; ".join(dict.fromkeys(reasons))  # most engines give one for all providers


def check_threads(threads: int | None) -> None:
    """Raise InputError unless `threads` is None (the engine's default) or a whole number from 1."""
    value: Any = threads
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return
    raise InputError(f"threads is {value!r}; allowed: 1 or more, or None for the engine's default")


def open_variant(variant: Variant, files: Files, options: EngineOptions = DEFAULT_OPTIONS) -> Engine:
    """Load a variant's engine.

    Args:
        variant: of a bundle.
        files: all of its files, each of which was checked.
        options: threads and provider.

    Returns:
        The engine, which the caller closes.

    Raises:
        BackendError: it cannot run here or is not what was asked for.
    """
    if reason := explain_unsupported_variant(variant, options.provider):
        raise BackendError(f"{variant.name} cannot run here: {reason}")
    return load_backend_class(variant.backend)(files, variant.precision, options)
