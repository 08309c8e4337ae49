"""`i2i doctor`: what works here, and of the rest why not."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from known_bundles import FindBundle, RunCommand

from i2i_sdk.backends.ort.providers import PROVIDERS, list_available
from i2i_sdk.backends.preference_table import BACKENDS, BackendRow
from i2i_sdk.cli import doctor

pytestmark = pytest.mark.usefixtures("working_folder")


@pytest.fixture
def zoo(known: FindBundle, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The doctor examines a bundle whose answers are known in place of the zoo's first."""
    monkeypatch.setattr(doctor, "find_zoo_bundle", lambda _: known("invert"))
    return known("invert")


def test_doctor_as_json(zoo: Path, run_command: RunCommand) -> None:
    facts = json.loads(run_command("doctor", "--json").out)
    assert list(facts) == ["machine", "engines", "providers of ort", "devices", "files"]
    assert facts["machine"]["numpy"] == np.__version__
    engines = facts["engines"]
    assert engines["ort fp32"] == "works, computes in fp32 on CPUExecutionProvider"
    assert engines["openvino fp32"] == "works, computes in fp32 on CPU"
    assert engines["openvino bf16"].startswith(("works, computes in bf16", "no: this CPU has no BF16"))
    assert engines["ort int8"].startswith("ready")
    assert {name.split()[0] for name in engines} == {name for name, row in BACKENDS.items() if row.engine}
    assert "tuned bundles" in facts["files"]["cache"]
    assert re.fullmatch(r"none: .+|.+, compute capability \d+\.\d", facts["devices"]["nvidia gpu"])


def test_doctor_lists_every_provider_with_what_brings_it(zoo: Path, run_command: RunCommand) -> None:
    found = json.loads(run_command("doctor", "--json").out)["providers of ort"]
    assert set(found) == set(PROVIDERS)
    assert found["cpu"] == "works, computes in fp32 on CPUExecutionProvider"
    for name in set(PROVIDERS) - set(list_available()):
        assert found[name].startswith("no: ")


def test_doctor_says_once_what_keeps_a_whole_backend_from_running(monkeypatch: pytest.MonkeyPatch) -> None:
    row = BackendRow("x:y", ("fp32", "int8"), ())
    monkeypatch.setattr(doctor, "BACKENDS", {"a": row, "b": row})
    reasons = {("b", "int8"): None}
    monkeypatch.setattr(doctor, "explain_unsupported_backend", lambda n, p, _: reasons.get((n, p), "no GPU"))
    assert doctor.probe_engines() == {
        "a": "no: no GPU",
        "b fp32": "no: no GPU",
        "b int8": "ready; not tried, as the zoo has no such model",
    }


def test_doctor_for_people(zoo: Path, run_command: RunCommand) -> None:
    output = run_command("doctor").out
    assert output.startswith("machine\n") and "works, computes in fp32" in output


def test_doctor_survives_a_backend_that_cannot_be_imported(
    zoo: Path, monkeypatch: pytest.MonkeyPatch, run_command: RunCommand
) -> None:
    row = replace(BACKENDS["openvino"], engine="i2i_sdk.backends.nowhere:Engine")
    monkeypatch.setitem(BACKENDS, "openvino", row)
    engines = json.loads(run_command("doctor", "--json").out)["engines"]
    assert engines["openvino fp32"].startswith("broken: ModuleNotFoundError")
    assert "works" in engines["ort fp32"]


def test_doctor_never_opens_a_window_without_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert doctor.describe_display().startswith("none: ")
