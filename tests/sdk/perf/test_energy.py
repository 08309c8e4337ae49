"""Energy meters, on files as Linux has them."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import pytest

from i2i_sdk.perf.energy import (
    NvmlMeter,
    RailMeter,
    open_meters,
    open_rail_meters,
    open_rapl_meters,
    sum_joules,
)


def write_rapl_zone(folder: Path, name: str, microjoules: int, limit: int = 1_000_000) -> Path:
    zone = folder / "class/powercap" / name
    zone.mkdir(parents=True)
    (zone / "name").write_text("package-0\n")
    (zone / "energy_uj").write_text(f"{microjoules}\n")
    (zone / "max_energy_range_uj").write_text(f"{limit}\n")
    return zone / "energy_uj"


def test_rapl_counts_packages_and_goes_on_after_its_counter_starts_again(tmp_path: Path) -> None:
    energy = write_rapl_zone(tmp_path, "intel-rapl:0", 200_000, limit=999_999)
    write_rapl_zone(tmp_path, "intel-rapl:0:1", 5)  # a part
    (meter,) = open_rapl_meters(tmp_path)
    assert meter.name == "RAPL package-0" and meter.read_joules() == 0.0
    for counter, joules in ((900_000, 0.7), (100_000, 0.9), (300_000, 1.1)):
        energy.write_text(f"{counter}\n")
        assert meter.read_joules() == pytest.approx(joules)


def test_a_counter_that_may_not_be_read_is_no_meter(tmp_path: Path) -> None:
    write_rapl_zone(tmp_path, "intel-rapl:0", 0).unlink()
    assert open_meters(tmp_path) == [] or all("RAPL" not in m.name for m in open_meters(tmp_path))


def write_rail(folder: Path, label: str, channel: int = 1) -> Path:
    hwmon = folder / "bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
    hwmon.mkdir(parents=True, exist_ok=True)
    (hwmon / f"in{channel}_label").write_text(f"{label}\n")
    (hwmon / f"in{channel}_input").write_text("5000\n")
    (hwmon / f"curr{channel}_input").write_text("2000\n")
    return hwmon


def test_a_jetson_s_main_rail_is_summed_up(tmp_path: Path) -> None:
    write_rail(tmp_path, "VDD_CPU", 1)
    write_rail(tmp_path, "VDD_IN", 2)
    (meter,) = open_rail_meters(tmp_path)
    assert isinstance(meter, RailMeter) and meter.name == "rail VDD_IN"
    assert meter._read_watts() == 10.0
    while meter.read_joules() < 0.3:  # of 10 watts: at some time it is there
        pass
    meter.close()
    assert not meter._thread.is_alive()


def test_a_rail_that_does_not_tell(tmp_path: Path) -> None:
    (write_rail(tmp_path, "VDD_IN") / "curr1_input").unlink()
    assert open_rail_meters(tmp_path) == []


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    assert [meter for meter in open_meters(tmp_path) if "NVML" not in meter.name] == []
    assert sum_joules([]) is None  # and not zero


class FakeNvml:
    """The three functions that NVML offers for it, with a GPU that no machine of ours has."""

    def __init__(self, code: int = 0) -> None:
        self.code, self.is_shut_down = code, False

    def nvmlInit_v2(self) -> int:  # noqa: N802
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: int, device: Any) -> int:  # noqa: N802
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, device: Any, value: Any) -> int:  # noqa: N802
        ctypes.cast(value, ctypes.POINTER(ctypes.c_ulonglong))[0] = 2500
        return self.code

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.is_shut_down = True


def test_nvml_tells_millijoules() -> None:
    library = FakeNvml()
    meter = NvmlMeter(library)
    assert meter.read_joules() == 2.5
    meter.close()
    assert library.is_shut_down
    with pytest.raises(OSError, match="does not tell its energy"):
        NvmlMeter(FakeNvml(code=3))


def test_a_rail_that_stops_telling_is_no_energy(tmp_path: Path) -> None:
    hwmon = write_rail(tmp_path, "VDD_IN")
    (meter,) = open_rail_meters(tmp_path)
    assert isinstance(meter, RailMeter)
    (hwmon / "in1_input").unlink()
    meter._thread.join()
    with pytest.raises(OSError, match="cannot be read any more"):
        meter.read_joules()
