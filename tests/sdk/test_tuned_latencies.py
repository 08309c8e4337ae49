"""Tuned latencies belong to one device and one content of a bundle."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
from known_bundles import RunCommand, edit_manifest, hash_files

from i2i_sdk import Bundle, Translator, device
from i2i_sdk.device import get_cache_dir
from i2i_sdk.selection import TunedLatency, load_latencies, save_latencies

ORT, OPENVINO = "ort-fp32-24x40", "openvino-fp32-24x40"
TUNED_LATENCIES = {ORT: TunedLatency(1.5, 1.75, 90.0), OPENVINO: TunedLatency(2.5, 3.0, 60.25)}
LATER_LATENCIES = {ORT: TunedLatency(9.0, 9.5, 90.0)}


def test_what_is_kept_belongs_to_the_content_of_a_bundle(bundle: Bundle, tmp_path: Path) -> None:
    before = hash_files(bundle.path)
    assert load_latencies(bundle) == {}
    assert save_latencies(bundle, LATER_LATENCIES) == save_latencies(bundle, TUNED_LATENCIES)
    assert load_latencies(bundle) == TUNED_LATENCIES
    assert len(list(get_cache_dir().rglob("*.*"))) == 1
    assert hash_files(bundle.path) == before  # never in the bundle
    copy = Bundle.read(Path(shutil.copytree(bundle.path, tmp_path / "copy.i2i")))
    assert load_latencies(copy) == TUNED_LATENCIES
    changed = edit_manifest(bundle.path, lambda data: data["variants"][0].update(macs=1))
    assert load_latencies(Bundle.read(changed)) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("read_cpu_name", lambda: "another processor"),
        ("find_package_version", lambda name: "99.0" if name == "onnxruntime" else "1"),
        ("os.cpu_count", lambda: 4096),
    ],
)
def test_another_device_or_engine_measures_again(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    save_latencies(bundle, TUNED_LATENCIES)
    monkeypatch.setattr(f"i2i_sdk.selection.{name}", value)
    assert load_latencies(bundle) == {}
    save_latencies(bundle, LATER_LATENCIES)


VALUES = {"median_ms": 1, "p95_ms": 1, "psnr": 50}


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", "{}", "[" * 100_000),
        *(
            json.dumps({"version": version, "bundle": "x", "variants": variants})
            for version, variants in (
                *((3, []), (3, {"a": 3}), (3, {"a": {"median_ms": 1}}), (3, {"a": VALUES | {"fps": 1}})),
                *((3, {"a": VALUES | {"median_ms": ms}}) for ms in ("fast", None, float("nan"))),
                (4, {"a": VALUES}),
            )
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_ignored_with_a_warning(
    bundle: Bundle, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    path = save_latencies(bundle, TUNED_LATENCIES)
    path.write_text(text)
    with caplog.at_level(logging.WARNING), Translator(bundle.path) as translate:
        assert translate.variant is not None
    assert f"{path}: not readable" in caplog.text and "run: i2i tune" in caplog.text
    assert save_latencies(bundle, TUNED_LATENCIES) == path and load_latencies(bundle) == TUNED_LATENCIES


def test_a_cache_that_is_no_folder_does_not_stop_a_translator(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("I2I_CACHE_DIR", str(tmp_path / "file"))
    with Translator(bundle.path) as translate:
        assert translate.variant is not None


@pytest.mark.parametrize("fastest", [ORT, OPENVINO])
def test_a_translator_takes_the_fastest(bundle: Bundle, fastest: str) -> None:
    others = {v.name: TunedLatency(50.0, 50.0, 60.0) for v in bundle.manifest.variants}
    save_latencies(bundle, others | {fastest: TunedLatency(1.0, 1.0, 60.0)})
    with Translator(bundle.path) as translate:
        assert translate.variant is not None and translate.variant.name == fastest
    with Translator(bundle.path, backend="ort") as translate:  # what is named stays binding
        assert translate.variant is not None and translate.variant.backend == "ort"


def test_a_translator_takes_the_best_that_is_fast_enough(
    bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    save_latencies(bundle, TUNED_LATENCIES)
    for max_ms, backend in ((10, "ort"), (2, "ort"), (1, "ort")):
        with Translator(bundle.path, max_ms=max_ms) as translate:
            assert translate.variant is not None and translate.variant.backend == backend
    assert "no variant of this quality takes at most 1 ms here" in caplog.text
    with Translator(bundle.path, max_ms=10, backend="openvino") as translate:
        assert translate.variant is not None and translate.variant.name == OPENVINO


def test_tune_with_other_threads_is_not_remembered(bundle: Bundle, run_command: RunCommand) -> None:
    assert "not remembered" in run_command("tune", bundle.path, "--rounds", 3, "--threads", 1).out
    assert load_latencies(bundle) == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--rounds", "2"], "--rounds 2: at least 3"), (["--threads", "0"], "threads is 0; allowed: 1 or more")],
)
def test_tune_refuses(bundle: Bundle, run_command: RunCommand, options: list[str], message: str) -> None:
    assert message in run_command("tune", bundle.path, *options, code=2).err
    assert load_latencies(bundle) == {}


def test_a_cache_that_cannot_be_written_is_one_line(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_command: RunCommand
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("I2I_CACHE_DIR", str(tmp_path / "file"))
    error = run_command("tune", bundle.path, "--rounds", 3, code=2).err
    assert error.startswith("error: ") and str(tmp_path / "file") in error and "Traceback" not in error


def test_the_cache_is_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("I2I_CACHE_DIR", str(tmp_path))
    assert get_cache_dir() == tmp_path
    monkeypatch.delenv("I2I_CACHE_DIR")
    monkeypatch.setattr(device.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert get_cache_dir() == tmp_path / "xdg" / "i2i-sdk"
    monkeypatch.setattr(device.sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert get_cache_dir() == tmp_path / "local" / "i2i-sdk"
