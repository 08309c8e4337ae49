"""Which TensorRT engine a device loads, builds or refuses. Pure functions: no GPU is asked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from i2i_sdk.backends.tensorrt.cuda import Device
from i2i_sdk.backends.tensorrt.flavors import EngineFile, Library
from i2i_sdk.device import get_cache_dir
from i2i_sdk.errors import BackendError

INSTALL_HINT = "pip install 'i2i-sdk[tensorrt]', or 'i2i-sdk[tensorrt-rtx]' for RTX GPUs"


@dataclass(frozen=True)
class EnginePlan:
    """Where an engine comes from: a file of the bundle, or a build on this device."""

    library: Library
    engine: Path | None  # of the bundle; None: one is built here
    reason: str  # why none of the bundle is loaded


def plan_engine(
    engines: Sequence[EngineFile], libraries: Sequence[Library], device: Device, precision: str
) -> EnginePlan:
    """The first engine that an installed library can load on a device, else the library that can build one.

    Args:
        engines: of the bundle.
        libraries: that are installed, the preferred first.
        device: the GPU.
        precision: "fp16" or "int8".

    Returns:
        Which engine to load, or what to build one with.

    Raises:
        BackendError: no library can, with the reason of each.
    """
    reasons = [explain_unusable(library, device, precision) for library in libraries]
    able = [library for library, reason in zip(libraries, reasons, strict=True) if reason is None]
    if not able:
        listed = "; ".join(filter(None, reasons)) or "no TensorRT is installed"
        # What is there already is not named.
        advice = "pip install 'i2i-sdk[tensorrt]'. Or take an ort variant: backend='ort', provider='cuda'"
        raise BackendError(f"{listed}. Install what this GPU needs: {advice if libraries else INSTALL_HINT}")
    for library in able:
        for engine in engines:
            same = (engine.flavor, engine.version) == (library.flavor.name, library.version)
            if same and device.capability in engine.capabilities:
                return EnginePlan(library, engine.path, "")
    listed = ", ".join(f"{e.flavor} {e.version} on {'/'.join(e.capabilities)}" for e in engines) or "none"
    library = able[0]
    here = f"{library.flavor.name} {library.version} on {device.capability}"
    return EnginePlan(library, None, f"the bundle has engines for {listed}; here is {here}")


def explain_unusable(library: Library, device: Device, precision: str) -> str | None:
    """Why a library cannot make an engine for a device.

    Args:
        library: that is installed.
        device: the GPU.
        precision: "fp16" or "int8".

    Returns:
        The reason; None if it can.
    """
    flavor = library.flavor
    if library.capabilities and device.capability not in library.capabilities:
        return (
            f"{flavor.package} {library.version} builds for compute capabilities "
            f"{', '.join(library.capabilities)}; {device.name} has {device.capability}"
        )
    if precision == "int8" and device.capability in flavor.without_int8:
        return f"{flavor.package} has no INT8 convolutions for {device.capability}; take the fp16 variant"
    return None


def locate_cached_engine(graph_sha256: str, library: Library, device: Device) -> Path:
    """Where an engine that was built on this device is kept: one per graph, TensorRT version and GPU.

    Args:
        graph_sha256: of the ONNX file, 64 hex digits.
        library: the TensorRT that built it.
        device: the GPU.

    Returns:
        A path in the cache folder, whether or not there is a file.
    """
    parts = (graph_sha256, library.flavor.name, library.version, device.name, device.capability)
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]
    return get_cache_dir() / "tensorrt" / f"{key}.engine"
