"""Does this device have what a variant needs? Versions, systems and CPU features, as its manifest says."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from itertools import zip_longest

from i2i_sdk.backends.preference_table import ALTERNATIVES
from i2i_sdk.bundle.manifest import Requirements
from i2i_sdk.device import find_package_version, get_os_name, read_cpu_flags

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


def explain_unmet(requires: Requirements) -> str | None:
    """What this device lacks of `requires`, with what to do; None if it has all.

    Not compared here: `compute_capabilities`, which the backend asks the GPU for.
    """
    if requires.os and get_os_name() not in requires.os:
        return f"it is for {' and '.join(requires.os)}; this is {get_os_name()}"
    return _explain_missing_feature(requires.cpu) or _explain_wrong_engine(requires.engine)


def _explain_missing_feature(required: tuple[str, ...]) -> str | None:
    if unknown := [name for name in required if name not in CPU_FEATURES]:
        return f"it needs the CPU feature {unknown[0]!r}, unknown to this version: pip install -U i2i-sdk"
    flags = read_cpu_flags()
    if not flags:  # the system does not list them; the engine says when it lacks one
        return None
    lacking = [name for name in required if CPU_FEATURES[name].isdisjoint(flags)]
    return f"it needs a CPU with {', '.join(lacking)}" if lacking else None


def _explain_wrong_engine(text: str) -> str | None:
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
    version = next(filter(None, map(find_package_version, ALTERNATIVES.get(name, (name,)))), None)
    if version is None:
        return f"it needs {text}, which is not installed"
    holds = all(_satisfies(version, found[1], found[2]) for found in parsed if found is not None)
    return None if holds else f"it needs {text}; installed is {version}"


def _satisfies(version: str, comparison: str, required: str) -> bool:
    """Compare two versions by their numbers alone: a pre-release or build counts as its release."""
    pairs = zip_longest(_parse_version(version), _parse_version(required), fillvalue=0)
    left, right = zip(*pairs, strict=True)
    return OPERATORS[comparison](left, right)


def _parse_version(version: str) -> tuple[int, ...]:
    match = re.match(r"[0-9]+(?:\.[0-9]+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()
