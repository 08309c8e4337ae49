"""What a variant needs is compared with what this device has; what cannot be read is refused, not skipped."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib import metadata

import pytest
from known_bundles import FindBundle

from i2i_sdk import Bundle
from i2i_sdk.backends import explain_unsupported_variant, requirements
from i2i_sdk.backends.requirements import explain_unmet
from i2i_sdk.bundle.manifest import Requirements
from i2i_sdk.device import get_os_name


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What is installed, in place of what really is."""
    installed = {"engine": "2026.4.1", "onnxruntime-gpu": "1.24.0"}
    monkeypatch.setattr(requirements, "find_package_version", installed.get)
    return installed


@pytest.mark.parametrize(
    "text",
    [
        *("engine", "engine>=2026.4.1", "engine>=2025", "engine >= 2025.0, < 2027", "engine==2026.4.1"),
        *("engine==2026.4.1.0", "engine<=2026.4.1,!=2026.4.2", "engine>2026.4,<2026.10"),
        *("engine~=2026.4", "engine==2026.*"),
        "onnxruntime>=1.20",  # the build for GPUs has the same content under another name
    ],
)
def test_versions_that_hold(versions: dict[str, str], text: str) -> None:
    assert explain_unmet(Requirements(text)) is None


@pytest.mark.parametrize(
    "text",
    [
        *("engine>=2026.10", "engine<2026.4.1", "engine==2026.4", "engine>=2025,<2026", "engine!=2026.4.1"),
        f"engine>={'9' * 5000}",
    ],
)
def test_versions_that_do_not_hold(versions: dict[str, str], text: str) -> None:
    assert explain_unmet(Requirements(text)) == f"it needs {text}; installed is 2026.4.1"


def test_pre_releases_and_builds_count_as_their_release(versions: dict[str, str]) -> None:
    for version in ("2.14.0rc1", "2.14.0.dev20261001", "2.14.0+cu130"):
        versions["engine"] = version
        assert explain_unmet(Requirements("engine>=2.14,<2.15")) is None


def test_an_installed_version_that_is_none_fits_nothing(versions: dict[str, str]) -> None:
    versions["engine"] = "built by hand"
    assert explain_unmet(Requirements("engine>=1")) == "it needs engine>=1; installed is built by hand"


def test_what_is_not_installed(versions: dict[str, str]) -> None:
    assert explain_unmet(Requirements("abacus>=1")) == "it needs abacus>=1, which is not installed"


@pytest.mark.parametrize(
    "text",
    [
        *("", "engine>=", "engine 2026", "a b", ">=1", "engine>=2026;os=='linux'", f"engine;{'(' * 10**5}"),
        *("engine>=2026;python_version<'3'", "engine[gpu]>=2026", "engine @ https://example.com/engine.whl"),
    ],
)
def test_what_cannot_be_read_is_refused(versions: dict[str, str], text: str) -> None:
    reason = explain_unmet(Requirements(text))
    assert reason is not None and f"given as {text!r}, which this version cannot read" in reason


def test_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert get_os_name() == "linux"
    assert explain_unmet(Requirements("numpy", os=("macos", "linux"))) is None
    apple = Requirements("numpy", os=("macos", "ios"))
    assert explain_unmet(apple) == "it is for macos and ios; this is linux"
    for platform, name in (("darwin", "macos"), ("win32", "windows"), ("android", "android")):
        monkeypatch.setattr(sys, "platform", platform)
        assert get_os_name() == name
        assert explain_unmet(Requirements("numpy", os=(name,))) is None


def test_cpu_features(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = Requirements("numpy", cpu=("bf16",))
    for flags in ({"avx2", "avx512_bf16"}, {"amx_bf16"}, {"asimd", "bf16"}):
        monkeypatch.setattr(requirements, "read_cpu_flags", lambda flags=flags: frozenset(flags))
        assert explain_unmet(needs) is None
    monkeypatch.setattr(requirements, "read_cpu_flags", lambda: frozenset({"avx2"}))
    assert explain_unmet(needs) == "it needs a CPU with bf16"
    assert explain_unmet(Requirements("numpy", cpu=("quantum",))) == (
        "it needs the CPU feature 'quantum', unknown to this version: pip install -U i2i-sdk"
    )
    # A system that lists none: the engine says.
    monkeypatch.setattr(requirements, "read_cpu_flags", frozenset)
    assert explain_unmet(needs) is None


def test_a_variant_of_a_newer_engine_does_not_run_here(known: FindBundle) -> None:
    variant = Bundle.read(known("invert")).manifest.variants[0]
    assert explain_unsupported_variant(variant) is None
    installed = metadata.version("onnxruntime")
    for needs in (Requirements("onnxruntime>=99"), Requirements("onnxruntime<1")):
        reason = explain_unsupported_variant(replace(variant, requires=needs))
        assert reason == f"it needs {needs.engine}; installed is {installed}"
    elsewhere = replace(variant, requires=Requirements("onnxruntime", os=("amiga",)))
    assert explain_unsupported_variant(elsewhere) == f"it is for amiga; this is {get_os_name()}"
