"""Fixtures of the runtime's tests: bundles whose answers are known."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from known_bundles import HEIGHT, WIDTH, FindBundle, OpenKnown, RunCommand, make_noise, write_known_bundle
from loopback_camera import serve_camera
from running_server import LIMITS, TIMEOUT_S, RunningServer, open_slow, run_server
from streams import DEADLINE_S, assert_no_threads_left

from benchmarks.support.loopback import CameraServer
from i2i_sdk import Bundle, Translator
from i2i_sdk.cli.main import main
from i2i_sdk.media.images import write_image


@pytest.fixture(scope="session")
def known(tmp_path_factory: pytest.TempPathFactory) -> FindBundle:
    """known("invert") is the path of that bundle, written once; tests must not change it."""
    folder = tmp_path_factory.mktemp("known")

    def find(name: str) -> Path:
        path = folder / f"{name}.i2i"
        return path if path.exists() else write_known_bundle(path, name).path

    return find


@pytest.fixture
def folder(known: FindBundle, tmp_path: Path) -> Path:
    """A bundle that the test may break."""
    return Path(shutil.copytree(known("invert"), tmp_path / "x.i2i"))


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the test runs, with an empty cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("I2I_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def bundle(folder: Path, working_folder: Path) -> Bundle:
    """A bundle of its own in the working folder."""
    return Bundle.read(folder)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of three pictures."""
    for index in range(3):
        write_image(tmp_path / "photos" / f"{index}.png", make_noise(HEIGHT, WIDTH, 3, seed=index))
    return tmp_path / "photos"


@pytest.fixture
def run_command(capsys: pytest.CaptureFixture[str]) -> RunCommand:
    """run_command("info", path, code=2) is what `i2i info path` says, on .out and .err."""

    def run(*words: object, code: int = 0) -> object:
        assert main([str(word) for word in words]) == code
        return capsys.readouterr()

    return run


@pytest.fixture
def invert(known: FindBundle) -> Iterator[Translator]:
    """A translator that gives 255 - x."""
    with Translator(known("invert"), backend="ort") as translator:
        yield translator


@pytest.fixture
def no_thread_survives() -> Iterator[None]:
    """Fails a test whose stream leaves a thread behind."""
    with assert_no_threads_left(DEADLINE_S):
        yield


@pytest.fixture
def identity(known: FindBundle) -> Iterator[Translator]:
    """A translator that gives what it gets."""
    with Translator(known("identity"), backend="ort") as translator:
        yield translator


@pytest.fixture
def camera() -> Iterator[CameraServer]:
    """An HTTP camera in this process."""
    with serve_camera() as server:
        yield server


@pytest.fixture(scope="module")
def server(known: FindBundle) -> Generator[RunningServer]:
    """A live server of four models, invert first, with small limits."""
    with run_server([known(name) for name in ("invert", "swap", "gray", "darken")], limits=LIMITS) as found:
        yield found


@pytest.fixture
def client(server: RunningServer) -> Generator[httpx.Client]:
    """Asks `server`."""
    with httpx.Client(base_url=server.url, timeout=TIMEOUT_S) as found:
        yield found


@pytest.fixture(scope="module")
def slow_server(known: FindBundle) -> Generator[RunningServer]:
    """A live server whose engine takes its time."""
    with run_server([known("invert")], open_slow) as found:
        yield found


@pytest.fixture(scope="module")
def open_known(known: FindBundle) -> Iterator[OpenKnown]:
    """open_known("swap", fit="pad") is a Translator that the whole module shares."""
    opened: dict[object, Translator] = {}

    def find(name: str, **options: Any) -> Translator:
        key = (name, *sorted(options.items()))
        if key not in opened:
            opened[key] = Translator(known(name), **options)
        return opened[key]

    yield find
    for translate in opened.values():
        translate.close()
