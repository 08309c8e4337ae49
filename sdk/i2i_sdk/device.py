"""Device: facts of this machine and this process, and where the user's cache is."""

from __future__ import annotations

import os
import platform
import sys
from functools import lru_cache
from importlib import metadata
from pathlib import Path


def read_peak_memory() -> int | None:
    """Bytes of memory that this process had at most so far; None where the system does not tell."""
    status = Path("/proc/self/status")
    if status.is_file():  # ru_maxrss of a new process begins at what its parent had
        found = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(found[0]) * 1024 if found else None
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


# Features of processors that decide about low precision, as Linux calls them.
X86_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
ARM_FEATURES = ("asimddp", "bf16", "i8mm")


@lru_cache(maxsize=1)
def read_cpu_name() -> str:
    """The processor's name and, on Linux, the features that decide about low precision."""
    values = _read_cpu_info()
    name = values.get("model name") or values.get("Hardware") or platform.processor() or platform.machine()
    return " ".join([name, *(f for f in X86_FEATURES + ARM_FEATURES if f in read_cpu_flags())])


@lru_cache(maxsize=1)
def read_cpu_flags() -> frozenset[str]:
    """The processor's features as Linux calls them, for example "avx512_bf16"; none on other systems."""
    values = _read_cpu_info()
    return frozenset(values.get("flags", values.get("Features", "")).split())


def _read_cpu_info() -> dict[str, str]:
    """What Linux says of the first processor; nothing on other systems."""
    info = Path("/proc/cpuinfo")
    text = info.read_text(errors="replace") if info.is_file() else ""
    lines = [line.split(":", 1) for line in text.splitlines() if ":" in line]
    return {key.strip(): value.strip() for key, value in reversed(lines)}


def find_package_version(name: str) -> str | None:
    """Version of an installed distribution, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def get_os_name() -> str:
    """This system as manifests write it: "linux", "macos", "windows"; others as Python calls them."""
    return {"darwin": "macos", "win32": "windows"}.get(sys.platform, sys.platform)


def get_cache_dir() -> Path:
    """$I2I_CACHE_DIR, else the user's cache folder for i2i-sdk."""
    if chosen := os.environ.get("I2I_CACHE_DIR"):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "i2i-sdk"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "i2i-sdk"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "i2i-sdk"
