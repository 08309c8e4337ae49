"""Fixtures of the runtime's tests: bundles whose answers are known."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from known_bundles import write_known
from streams import SOON, ours

from i2i_sdk import Translator


@pytest.fixture(scope="session")
def known(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """known("invert") is the path of that bundle, written once; tests must not change it."""
    folder = tmp_path_factory.mktemp("known")

    def find(name: str) -> Path:
        path = folder / f"{name}.i2i"
        return path if path.exists() else write_known(path, name).path

    return find


@pytest.fixture
def invert(known: Callable[[str], Path]) -> Iterator[Translator]:
    """A translator that gives 255 - x."""
    with Translator(known("invert"), backend="ort") as translator:
        yield translator


@pytest.fixture
def no_thread_survives() -> Iterator[None]:
    """Fails a test whose stream leaves a thread behind."""
    yield
    deadline = time.perf_counter() + SOON
    while ours() and time.perf_counter() < deadline:
        time.sleep(0.01)
    assert not ours()
