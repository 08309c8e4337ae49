"""Fixtures for every test: where the real images, clips and checkpoints are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# `make trials` tries thousands of random cases; `make test` a few, always the same.
settings.register_profile("sample", max_examples=40, deadline=None, derandomize=True)
settings.register_profile("trials", max_examples=2000, deadline=None)
settings.load_profile("trials" if "I2I_TRIALS" in os.environ else "sample")
# For what reads the bytes of strangers: @settings(settings.get_profile("strangers"))
count = 10_000 if "I2I_TRIALS" in os.environ else settings.default.max_examples
settings.register_profile("strangers", settings.default, max_examples=count)

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data in $I2I_SHARED_DATA, else ../shared/data; the test is skipped where there is none."""
    path = Path(os.environ.get("I2I_SHARED_DATA", ROOT.parent / "shared" / "data")).resolve()
    if not path.is_dir():
        pytest.skip(f"needs real images and checkpoints: {path} does not exist; set I2I_SHARED_DATA")
    return path


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests never read or change this device's tuned latencies."""
    os.environ["I2I_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT
