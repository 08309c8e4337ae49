"""The description of a machine, and what a process had of it."""

from __future__ import annotations

import os
import platform
from functools import lru_cache
from importlib import metadata
from pathlib import Path

# What comes with an engine; another version of one makes measured latencies stale.
ENGINES = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-directml",
    "onnxruntime-qnn",
    "onnxruntime-ep-nv-tensorrt-rtx",
    "openvino",
    "tensorrt",
    "tensorrt-rtx",
    "torch-tensorrt",
    "coremltools",
    "ncnn",
)
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
PACKAGES = ("i2i-sdk", "numpy", "opencv-python", "av", *ENGINES, "cuda-python", "torch", "onnx")


def peak_memory() -> int | None:
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


def machine() -> dict[str, str | int | float]:
    """What a figure must be read with: processor, cores, system, versions, load."""
    facts: dict[str, str | int | float] = {
        "cpu": cpu_name(),
        "cores": os.cpu_count() or 1,
        "governor": governor(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
    }
    if "hypervisor" in cpu_flags():
        facts["virtual"] = "yes: a virtual machine, whose processor others may share"
    if environment := {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ}:
        facts["threads"] = ", ".join(f"{name}={value}" for name, value in environment.items())
    for package in PACKAGES:
        version = package_version(package)
        if version is not None:
            facts[package] = version
    if hasattr(os, "getloadavg"):
        facts["load_1min"] = round(os.getloadavg()[0], 2)
    return facts


def governor(sys: Path = Path("/sys")) -> str:
    """How Linux chooses the processor's clock: "performance", "powersave" …, or "not told"."""
    file = sys / "devices/system/cpu/cpu0/cpufreq/scaling_governor"
    return file.read_text().strip() if file.is_file() else "not told"


@lru_cache(maxsize=1)
def cpu_name() -> str:
    """The processor's name and, on Linux, the features that decide about low precision."""
    values = _cpu_info()
    name = values.get("model name") or values.get("Hardware") or platform.processor() or platform.machine()
    wanted = (
        "avx2",
        "avx512f",
        "avx512_vnni",
        "avx512_bf16",
        "amx_bf16",
        "amx_int8",
        "asimddp",
        "bf16",
        "i8mm",
    )
    return " ".join([name, *(f for f in wanted if f in cpu_flags())])


@lru_cache(maxsize=1)
def cpu_flags() -> frozenset[str]:
    """The processor's features as Linux calls them, for example "avx512_bf16"; none on other systems."""
    values = _cpu_info()
    return frozenset(values.get("flags", values.get("Features", "")).split())


def _cpu_info() -> dict[str, str]:
    """What Linux says of the first processor; nothing on other systems."""
    info = Path("/proc/cpuinfo")
    text = info.read_text(errors="replace") if info.is_file() else ""
    lines = [line.split(":", 1) for line in text.splitlines() if ":" in line]
    return {key.strip(): value.strip() for key, value in reversed(lines)}


def package_version(name: str) -> str | None:
    """Version of an installed distribution, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
