"""Does this device have what a variant needs? Versions, systems and CPU features, as its manifest says."""

from __future__ import annotations

from i2i_sdk.backends.preference_table import ALTERNATIVES
from i2i_sdk.bundle.manifest import Requirements
from i2i_sdk.device import find_package_version, get_os_name, read_cpu_flags

# What the kernel calls the features that variants ask for, on x86 and ARM.
CPU_FEATURES: dict[str, frozenset[str]] = {"bf16": frozenset({"avx512_bf16", "amx_bf16", "bf16"})}


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
    from packaging.requirements import Requirement
    from packaging.version import Version

    try:
        needs = Requirement(text)
    except (ValueError, RecursionError):  # the latter: of markers in thousands of parentheses
        needs = None
    if needs is None or needs.extras or needs.marker or needs.url:
        return (
            f"its engine is given as {text!r}, which this version cannot read; readable are a name and a "
            "version range as Python packages write it, without more: openvino>=2025.0,<2027"
        )
    names = ALTERNATIVES.get(needs.name, (needs.name,))
    version = next(filter(None, map(find_package_version, names)), None)
    if version is None:
        return f"it needs {text}, which is not installed"
    try:  # a pre-release or a build counts as its release
        holds = Version(version).base_version in needs.specifier
    except ValueError:  # no version, or a number of more than 4300 digits
        holds = False
    return None if holds else f"it needs {text}; installed is {version}"
