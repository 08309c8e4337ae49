"""Machine: what a measured figure must be read with."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from i2i_sdk.backends.preference_table import PACKAGES
from i2i_sdk.device import find_package_version, read_cpu_flags, read_cpu_name

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
OTHER_PACKAGES = ("cuda-python", "torch", "onnx")


def describe_machine() -> dict[str, str | int | float]:
    """What a figure must be read with: processor, cores, system, versions, load."""
    facts: dict[str, str | int | float] = {
        "cpu": read_cpu_name(),
        "cores": os.cpu_count() or 1,
        "governor": read_governor(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
    }
    if "hypervisor" in read_cpu_flags():
        facts["virtual"] = "yes: a virtual machine, whose processor others may share"
    if environment := {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ}:
        facts["threads"] = ", ".join(f"{name}={value}" for name, value in environment.items())
    for package in ("i2i-sdk", "numpy", "opencv-python", "av", *PACKAGES, *OTHER_PACKAGES):
        version = find_package_version(package)
        if version is not None:
            facts[package] = version
    if hasattr(os, "getloadavg"):
        facts["load_1min"] = round(os.getloadavg()[0], 2)
    return facts


def read_governor(sys: Path = Path("/sys")) -> str:
    """How Linux chooses the processor's clock: "performance", "powersave" …, or "not told"."""
    file = sys / "devices/system/cpu/cpu0/cpufreq/scaling_governor"
    return file.read_text().strip() if file.is_file() else "not told"
