"""Fixtures of the runtime's tests: bundles whose answers are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from known_bundles import write_known


@pytest.fixture(scope="session")
def known(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """known("invert") is the path of that bundle, written once; tests must not change it."""
    folder = tmp_path_factory.mktemp("known")

    def find(name: str) -> Path:
        path = folder / f"{name}.i2i"
        return path if path.exists() else write_known(path, name).path

    return find
