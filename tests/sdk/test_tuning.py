"""Tuned latencies belong to one device and one content of a bundle."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from known_bundles import contents

from i2i_sdk import Bundle, Translator, tuning
from i2i_sdk.backends import why_not
from i2i_sdk.cli import main
from i2i_sdk.tuning import cache_dir, load_latencies, save_latencies

MS = {"ort-fp32-24x40": 1.5, "openvino-fp32-24x40": 2.5}


@pytest.fixture
def bundle(known: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """A bundle of its own and an empty cache."""
    monkeypatch.setenv("I2I_CACHE_DIR", str(tmp_path / "cache"))
    return Bundle.read(Path(shutil.copytree(known("invert"), tmp_path / "x.i2i")))


def test_save_and_load(bundle: Bundle) -> None:
    before = contents(bundle.path)
    assert load_latencies(bundle) == {}
    path = save_latencies(bundle, MS)
    assert path.is_relative_to(cache_dir()) and path.is_file()
    assert load_latencies(bundle) == MS
    assert contents(bundle.path) == before  # never in the bundle


def test_the_later_measurement_counts(bundle: Bundle) -> None:
    assert save_latencies(bundle, MS) == save_latencies(bundle, {"ort-fp32-24x40": 9.0})
    assert load_latencies(bundle) == {"ort-fp32-24x40": 9.0}
    assert len(list(cache_dir().rglob("*.*"))) == 1


def test_a_copy_of_the_bundle_is_the_same_bundle(bundle: Bundle, tmp_path: Path) -> None:
    save_latencies(bundle, MS)
    assert load_latencies(Bundle.read(Path(shutil.copytree(bundle.path, tmp_path / "copy.i2i")))) == MS


def test_a_changed_bundle_is_another(bundle: Bundle) -> None:
    save_latencies(bundle, MS)
    file = bundle.path / "manifest.json"
    data = json.loads(file.read_text())
    data["variants"][0]["macs"] += 1
    file.write_text(json.dumps(data))
    assert load_latencies(Bundle.read(bundle.path)) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cpu_name", lambda: "another processor"),
        ("package_version", lambda name: "99.0" if name == "onnxruntime" else "1"),
    ],
)
def test_another_device_or_engine_measures_again(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    save_latencies(bundle, MS)
    monkeypatch.setattr(tuning, name, value)
    assert load_latencies(bundle) == {}
    save_latencies(bundle, {"ort-fp32-24x40": 9.0})
    monkeypatch.undo()


def test_another_number_of_cores_measures_again(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    save_latencies(bundle, MS)
    monkeypatch.setattr(tuning.os, "cpu_count", lambda: 4096)
    assert load_latencies(bundle) == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"median_ms": []}',
        '{"median_ms": {"a": "fast"}}',
        '{"median_ms": {"a": null}}',
    ],
)
def test_a_corrupt_file_is_ignored_with_a_warning(
    bundle: Bundle, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    path = save_latencies(bundle, MS)
    path.write_text(text)
    with caplog.at_level(logging.WARNING), Translator(bundle.path) as translate:
        assert translate.variant is not None
    assert f"{path}: not readable" in caplog.text and "run: i2i tune" in caplog.text
    assert save_latencies(bundle, MS) == path and load_latencies(bundle) == MS


def test_a_cache_that_is_no_folder_does_not_stop_a_translator(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("I2I_CACHE_DIR", str(tmp_path / "file"))
    with Translator(bundle.path) as translate:
        assert translate.variant is not None


@pytest.mark.parametrize("fastest", ["ort-fp32-24x40", "openvino-fp32-24x40"])
def test_a_translator_takes_the_fastest(bundle: Bundle, fastest: str) -> None:
    others = {v.name: 50.0 for v in bundle.manifest.variants}
    save_latencies(bundle, others | {fastest: 1.0})
    with Translator(bundle.path) as translate:
        assert translate.variant is not None and translate.variant.name == fastest
    with Translator(bundle.path, backend="ort") as translate:  # what is named stays binding
        assert translate.variant is not None and translate.variant.backend == "ort"


def test_tune_measures_what_runs_and_remembers_it(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(bundle.path)
    assert main(["tune", str(bundle.path), "--rounds", "3"]) == 0
    output = capsys.readouterr().out
    runs = {v.name for v in bundle.manifest.variants if why_not(v) is None}
    latencies = load_latencies(bundle)
    assert set(latencies) == runs and all(ms > 0 for ms in latencies.values())
    for name in runs:
        assert name in output
    assert f"next: i2i run {bundle.path} SOURCE -o OUT" in output
    assert contents(bundle.path) == before
    with Translator(bundle.path) as translate:
        assert translate.variant is not None
        assert translate.variant.name == min(latencies, key=lambda name: latencies[name])


def test_tune_with_other_threads_is_not_remembered(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", str(bundle.path), "--rounds", "3", "--threads", "1"]) == 0
    assert "not remembered" in capsys.readouterr().out
    assert load_latencies(bundle) == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--rounds", "2"], "--rounds 2: at least 3"), (["--threads", "0"], "threads is 0; allowed: 1 or more")],
)
def test_tune_refuses(
    bundle: Bundle, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["tune", str(bundle.path), *options]) == 2
    assert message in capsys.readouterr().err
    assert load_latencies(bundle) == {}


def test_a_cache_that_cannot_be_written_is_one_line(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("I2I_CACHE_DIR", str(tmp_path / "file"))
    assert main(["tune", str(bundle.path), "--rounds", "3"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and str(tmp_path / "file") in error and "Traceback" not in error


def test_the_cache_is_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("I2I_CACHE_DIR", str(tmp_path))
    assert cache_dir() == tmp_path
    monkeypatch.delenv("I2I_CACHE_DIR")
    monkeypatch.setattr(tuning.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "i2i-sdk"
    monkeypatch.setattr(tuning.sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert cache_dir() == tmp_path / "local" / "i2i-sdk"
