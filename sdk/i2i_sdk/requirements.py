"""Does this device have what a variant needs? Versions, systems and CPU features, as its manifest says."""

from __future__ import annotations

import operator
import re
import sys
from collections.abc import Callable

from i2i_sdk.manifest import Requirements
from i2i_sdk.measure import cpu_flags, package_version

# The distributions that bring an engine, where there are several of the same content.
DISTRIBUTIONS: dict[str, tuple[str, ...]] = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml"),
    "tensorrt-or-rtx": ("tensorrt", "tensorrt-cu13", "tensorrt-cu12", "tensorrt-rtx", "tensorrt-rtx-cu13"),
    "tensorrt": ("tensorrt", "tensorrt-cu13", "tensorrt-cu12", "tensorrt-lean", "tensorrt-cu13-bindings"),
}

# What the kernel calls the features that variants ask for, on x86 and ARM.
CPU_FEATURES: dict[str, frozenset[str]] = {"bf16": frozenset({"avx512_bf16", "amx_bf16", "bf16"})}

OPERATORS: dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}


def unmet(requires: Requirements) -> str | None:
    """What this device lacks of `requires`, with what to do; None if it has all.

    Not compared here: `compute_capabilities`, which the backend asks the GPU for.
    """
    return _wrong_os(requires.os) or _missing_feature(requires.cpu) or _wrong_engine(requires.engine)


def os_name() -> str:
    """This system as manifests write it: "linux", "macos", "windows"; others as Python calls them."""
    return {"darwin": "macos", "win32": "windows"}.get(sys.platform, sys.platform)


def _wrong_os(wanted: tuple[str, ...]) -> str | None:
    if not wanted or os_name() in wanted:
        return None
    return f"it is for {' and '.join(wanted)}; this is {os_name()}"


def _missing_feature(wanted: tuple[str, ...]) -> str | None:
    if unknown := [name for name in wanted if name not in CPU_FEATURES]:
        return f"it needs the CPU feature {unknown[0]!r}, unknown to this version: pip install -U i2i-sdk"
    flags = cpu_flags()
    if not flags:  # the system does not list them; the engine says when it lacks one
        return None
    lacking = [name for name in wanted if CPU_FEATURES[name].isdisjoint(flags)]
    return f"it needs a CPU with {', '.join(lacking)}" if lacking else None


def _wrong_engine(text: str) -> str | None:
    """`text`: a distribution's name and a version range, "openvino>=2025.0,<2027"."""
    match = re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(.*)", text)
    conditions = [part.strip() for part in match[2].split(",")] if match and match[2] else []
    parsed = [re.fullmatch(r"(>=|<=|==|!=|>|<)\s*([0-9]+(?:\.[0-9]+)*)", part) for part in conditions]
    if match is None or None in parsed:
        return (
            f"its engine is given as {text!r}, which this version cannot read; readable are a name and "
            f"{' '.join(OPERATORS)} with plain versions, as openvino>=2025.0,<2027"
        )
    name = match[1]
    versions = [package_version(d) for d in DISTRIBUTIONS.get(name, (name,))]
    version = next((v for v in versions if v is not None), None)
    if version is None:
        return f"it needs {text}, which is not installed"
    holds = all(_holds(version, found[1], found[2]) for found in parsed if found is not None)
    return None if holds else f"it needs {text}; installed is {version}"


def _holds(version: str, comparison: str, wanted: str) -> bool:
    """Compare two versions by their numbers alone: a pre-release or build counts as its release."""
    left, right = _numbers(version), _numbers(wanted)
    length = max(len(left), len(right))
    padded = [numbers + (0,) * (length - len(numbers)) for numbers in (left, right)]
    return OPERATORS[comparison](padded[0], padded[1])


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"[0-9]+(?:\.[0-9]+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()
