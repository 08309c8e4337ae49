"""Fixtures of the live page's tests: models whose answers are known, a server, a browser with a camera."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright import sync_api

from tests.sdk.known_bundles import save_graph, write_known_bundle
from tests.system.live_page_tools import (
    CHROMIUM,
    PHONE_HOST,
    LivePage,
    draw_blocks,
    launch_browser,
    list_patterns,
    run_server,
    write_camera,
)

SIZE = (64, 96)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Models whose answers are known; the last one is a bare ONNX file, which only a server runs."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("swap", "darken", "identity"):
        write_known_bundle(folder / f"{name}.i2i", name, size=SIZE, engines=[("ort", "fp32")])
    save_graph(folder / "plain.onnx", "swap", SIZE, batch=1)
    return [*(folder / f"{name}.i2i" for name in ("swap", "darken", "identity")), folder / "plain.onnx"]


@pytest.fixture(scope="module")
def address(models: list[Path]) -> Iterator[str]:
    with run_server(*models, "--allow-host", PHONE_HOST) as address:
        yield address


@pytest.fixture(scope="module")
def playwright() -> Iterator[sync_api.Playwright]:
    if not CHROMIUM.exists():
        pytest.skip(f"needs Debian's chromium at {CHROMIUM}")
    with sync_api.sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("camera") / "patterns.mjpeg"
    return write_camera(path, [draw_blocks(pattern) for pattern in list_patterns()])


@pytest.fixture(scope="module")
def browser(playwright: sync_api.Playwright, camera: Path) -> Iterator[sync_api.Browser]:
    browser = launch_browser(playwright, camera=camera)
    yield browser
    browser.close()


@pytest.fixture
def live(browser: sync_api.Browser, address: str) -> Iterator[LivePage]:
    """The page on a desktop, whose camera is on; it must not complain."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    live = LivePage(context.new_page()).open(address)
    live.wait_for_model("swap", "server")
    yield live
    assert live.errors == []
    context.close()
