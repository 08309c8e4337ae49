"""Energy, where the device tells it: a processor's RAPL, NVIDIA's NVML, the rails of a Jetson. Never guessed.

RAPL and Jetson are files of Linux, tested with such files; NVML's call is tested where there is a GPU. None
of the machines that this project ran on had RAPL or such rails.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

NOT_AVAILABLE = "not available"
SAMPLE_INTERVAL_S = 0.02  # between two readings of a rail


class EnergyMeter:
    """Counts the joules of a part of the device."""

    name: str

    def read_joules(self) -> float:
        """So far, from any beginning. Raises OSError where it cannot be read any more."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop counting."""


def open_meters(sys: Path = Path("/sys")) -> list[EnergyMeter]:
    """Every meter that this device has and lets this process read."""
    found: list[EnergyMeter] = [*open_rapl_meters(sys), *open_rail_meters(sys)]
    nvml = open_nvml_meter()
    return [*found, nvml] if nvml else found


def sum_joules(meters: Sequence[EnergyMeter]) -> float | None:
    """Of all meters together; None without any."""
    return sum(meter.read_joules() for meter in meters) if meters else None


class RaplMeter(EnergyMeter):
    """A processor package, Intel's or AMD's: https://docs.kernel.org/power/powercap/powercap.html."""

    def __init__(self, zone: Path) -> None:
        self.name = f"RAPL {(zone / 'name').read_text().strip()}"
        self._file, self._range = zone / "energy_uj", int((zone / "max_energy_range_uj").read_text())
        self._last, self._sum = int(self._file.read_text()), 0

    def read_joules(self) -> float:
        now = int(self._file.read_text())
        self._sum += (now - self._last) % (self._range + 1)  # the counter starts again at its range
        self._last = now
        return self._sum / 1e6


def open_rapl_meters(sys: Path) -> list[EnergyMeter]:
    """One for each package: "intel-rapl:0", not its parts "intel-rapl:0:1"."""
    meters: list[EnergyMeter] = []
    for zone in sorted(sys.glob("class/powercap/intel-rapl:[0-9]*")):
        if zone.name.count(":") == 1:
            with suppress(OSError, ValueError):  # most kernels let only root read it
                meters.append(RaplMeter(zone))
    return meters


class RailMeter(EnergyMeter):
    """A power rail that tells volts and amperes, read again and again and summed up by a thread."""

    def __init__(self, name: str, millivolts: Path, milliamperes: Path) -> None:
        self.name = f"rail {name}"
        self._files, self._sum, self._ends = (millivolts, milliamperes), 0.0, threading.Event()
        self._read_watts()  # raises where it may not be read
        self._thread = threading.Thread(target=self._integrate, name="energy", daemon=True)
        self._thread.start()

    def read_joules(self) -> float:
        if not (self._thread.is_alive() or self._ends.is_set()):
            raise OSError(f"{self.name} cannot be read any more")
        return self._sum

    def close(self) -> None:
        self._ends.set()
        self._thread.join()

    def _read_watts(self) -> float:
        volts, amperes = (int(file.read_text()) / 1000 for file in self._files)
        return volts * amperes

    def _integrate(self) -> None:
        last = time.perf_counter()
        while not self._ends.wait(SAMPLE_INTERVAL_S):
            now = time.perf_counter()
            try:
                self._sum += self._read_watts() * (now - last)
            except (OSError, ValueError):  # `read_joules` says so
                return
            last = now


def open_rail_meters(sys: Path) -> list[EnergyMeter]:
    """The rail that feeds a whole Jetson board, by NVIDIA's names: VDD_IN, on older boards POM_5V_IN.

    https://docs.nvidia.com/jetson/archives/r36.4/DeveloperGuide/SD/PlatformPowerAndPerformance.html
    """
    for label in sorted(sys.glob("bus/i2c/drivers/ina3221*/*/hwmon/hwmon*/in*_label")):
        with suppress(OSError, ValueError):
            name, channel = label.read_text().strip(), label.name.removeprefix("in").removesuffix("_label")
            if name in ("VDD_IN", "POM_5V_IN"):
                files = (label.with_name(f"in{channel}_input"), label.with_name(f"curr{channel}_input"))
                return [RailMeter(name, *files)]
    return []


class NvmlMeter(EnergyMeter):
    """The first NVIDIA GPU, Volta or later, by its driver's library."""

    def __init__(self, library: Any) -> None:
        self.name, self._library, self._device = "NVML GPU 0", library, ctypes.c_void_p()
        if library.nvmlInit_v2() or library.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(self._device)):
            raise OSError("NVML finds no GPU")
        self.read_joules()

    def read_joules(self) -> float:
        millijoules = ctypes.c_ulonglong()
        if self._library.nvmlDeviceGetTotalEnergyConsumption(self._device, ctypes.byref(millijoules)):
            raise OSError("this GPU does not tell its energy")
        return millijoules.value / 1000

    def close(self) -> None:
        self._library.nvmlShutdown()


def open_nvml_meter() -> NvmlMeter | None:
    """None without NVIDIA's driver, or where the GPU does not tell."""
    try:
        return NvmlMeter(ctypes.CDLL("libnvidia-ml.so.1"))
    except (OSError, AttributeError):  # AttributeError: a driver from before Volta
        return None
