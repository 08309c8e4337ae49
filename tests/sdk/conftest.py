"""Fixtures of the runtime's tests: bundles whose answers are known."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import httpx
import pytest
from known_bundles import write_known_bundle
from loopback_camera import serve_camera
from running_server import LIMITS, TIMEOUT_S, RunningServer, open_slow, run_server
from streams import DEADLINE_S, list_sdk_threads

from benchmarks.support.loopback import CameraServer
from i2i_sdk import Translator


@pytest.fixture(scope="session")
def known(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """known("invert") is the path of that bundle, written once; tests must not change it."""
    folder = tmp_path_factory.mktemp("known")

    def find(name: str) -> Path:
        path = folder / f"{name}.i2i"
        return path if path.exists() else write_known_bundle(path, name).path

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
    deadline = time.perf_counter() + DEADLINE_S
    while list_sdk_threads() and time.perf_counter() < deadline:
        time.sleep(0.01)
    assert not list_sdk_threads()


@pytest.fixture
def identity(known: Callable[[str], Path]) -> Iterator[Translator]:
    """A translator that gives what it gets."""
    with Translator(known("identity"), backend="ort") as translator:
        yield translator


@pytest.fixture
def camera() -> Iterator[CameraServer]:
    """An HTTP camera in this process."""
    with serve_camera() as server:
        yield server


@pytest.fixture(scope="module")
def server(known: Callable[[str], Path]) -> Generator[RunningServer]:
    """A live server of four models, invert first, with small limits."""
    with run_server([known(name) for name in ("invert", "swap", "gray", "darken")], limits=LIMITS) as found:
        yield found


@pytest.fixture
def client(server: RunningServer) -> Generator[httpx.Client]:
    """Asks `server`."""
    with httpx.Client(base_url=server.url, timeout=TIMEOUT_S) as found:
        yield found


@pytest.fixture(scope="module")
def slow_server(known: Callable[[str], Path]) -> Generator[RunningServer]:
    """A live server whose engine takes its time."""
    with run_server([known("invert")], open_slow) as found:
        yield found
