"""The live page when something is not as it should be: it says what, and what to do."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright import sync_api

from tests.sdk.known_bundles import KNOWN_MODELS
from tests.system.live_page_tools import (
    PHONE_HOST,
    TOLERANCE,
    LivePage,
    draw_blocks,
    find_free_port,
    launch_browser,
    make_pattern,
    measure_pattern_error,
    run_server,
    wait_until,
)

pytest_plugins = ["tests.system.live_page_fixtures"]
SWAP = KNOWN_MODELS["swap"].compute
NO_VALUE = "\N{EN DASH}"  # what a figure shows that there is none of


def open_and_lose_server(live: LivePage, model: Path, port: int) -> None:
    with run_server(model, port=port) as address:
        live.open(address).wait_for_model("swap", "server")
    live.page.get_by_text("The server is gone").wait_for()


def test_a_server_that_comes_back_is_found_again(browser: sync_api.Browser, models: list[Path]) -> None:
    live = LivePage(browser.new_page())
    page, port = live.page, find_free_port()
    open_and_lose_server(live, models[0], port)
    assert page.get_by_label("Engine in use").inner_text() == "Server: not connected"
    with run_server(models[0], port=port):
        wait_until(lambda: page.evaluate("document.body.dataset.engineState") == "ready", "connected again")
        live.check_translation(SWAP)
        assert not page.locator("#banner").is_visible()
    page.get_by_text("The server is gone").wait_for()
    with run_server(models[1], port=port):  # with another model this time
        live.wait_for_model("darken", "server")
        live.check_translation(KNOWN_MODELS["darken"].compute)
    assert all("WebSocket connection" in text or "ERR_CONNECTION" in text for text in live.errors)
    page.close()


def test_a_device_without_the_server_waits_for_it(browser: sync_api.Browser, models: list[Path]) -> None:
    """The worker and the model are the server's files: the device is not to blame."""
    live = LivePage(browser.new_page())
    page, port = live.page, find_free_port()
    open_and_lose_server(live, models[0], port)
    figures = [page.locator(name) for name in ("#fps", "#latency", "#dropped")]
    wait_until(lambda: all(f.inner_text() == NO_VALUE for f in figures), "figures of nothing are not shown")
    live.choose(engine="device")
    page.get_by_text("The server, which the model comes from, cannot be reached").wait_for()
    assert page.get_by_label("Engine in use").inner_text() == "This device: waiting for the server"
    assert not page.locator("#notice").is_visible()
    with run_server(models[0], port=port):
        live.wait_for_model("swap", "device")
        live.check_translation(SWAP)
    page.close()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A file of the first pattern."""
    cv2.imwrite(str(tmp_path / "p.png"), np.ascontiguousarray(draw_blocks(make_pattern(0))[:, :, ::-1]))
    return tmp_path / "p.png"


def test_who_is_sent_away_for_idleness_comes_back(
    browser: sync_api.Browser, models: list[Path], picture: Path
) -> None:
    """A still picture needs no frames; what changes it does."""
    with run_server(models[0], "--idle-seconds", "1") as address:
        live = LivePage(browser.new_page()).open(address)
        live.wait_for_model("swap", "server")
        live.page.locator("#file").set_input_files(picture)
        engine = live.page.get_by_label("Engine in use")
        wait_until(lambda: engine.inner_text() == "Server: paused", "sent away")
        assert measure_pattern_error(live.read_pixels(), SWAP, is_mirrored=False) <= TOLERANCE
        assert live.page.locator("#dropped").inner_text() in ("0", NO_VALUE)
        live.page.get_by_role("button", name="Mirror").click()
        wait_until(lambda: measure_pattern_error(live.read_pixels(), SWAP) <= TOLERANCE, "the turned picture")
        assert live.errors == []
        live.page.close()


def test_a_server_that_is_full_says_so(browser: sync_api.Browser, models: list[Path]) -> None:
    with run_server(models[0], "--max-clients", "1") as address:
        first, second = (LivePage(browser.new_page()) for _ in range(2))
        first.open(address).wait_for_model("swap", "server")
        second.open(address).wait_for_notice("The server is full")
        first.page.close()
        second.page.get_by_role("button", name="Try again").click()
        second.wait_for_model("swap", "server")
        assert second.errors == []
        second.page.close()


def test_a_token_is_asked_for_and_kept(browser: sync_api.Browser, models: list[Path]) -> None:
    with run_server(models[0], "--token", "correct-horse") as address:
        page = browser.new_page()
        live = LivePage(page).open(address.split("#")[0])
        live.wait_for_notice("A token is needed")
        page.get_by_label("Token").fill("wrong-horse")
        page.keyboard.press("Enter")
        live.wait_for_notice("That token is not right")
        page.get_by_label("Token").fill("correct-horse")
        page.keyboard.press("Enter")
        live.wait_for_model("swap", "server")
        live.choose(engine="device")  # whose files need it, too
        live.wait_for_model("swap", "device")
        page.reload()
        live.wait_for_model("swap", "server")
        page.goto("about:blank")
        live.open(address.replace("correct", "wrong")).wait_for_notice("That token is not right")
        assert all("401" in text for text in live.errors) and len(live.errors) == 3
        page.close()


@pytest.mark.parametrize(
    ("flags", "where", "title"),
    [
        (["--use-fake-device-for-media-stream", "--deny-permission-prompts"], "", "The camera is blocked"),
        (["--use-fake-ui-for-media-stream"], "", "No camera found"),
        ([f"--host-resolver-rules=MAP {PHONE_HOST} 127.0.0.1"], PHONE_HOST, "--tls-self-signed"),
    ],
    ids=["blocked", "none", "insecure"],
)
def test_without_a_camera_the_page_says_what_to_do(
    playwright: sync_api.Playwright, address: str, flags: list[str], where: str, title: str, picture: Path
) -> None:
    browser = launch_browser(playwright, *flags)
    live = LivePage(browser.new_page())
    live.open(address.replace("127.0.0.1", where) if where else address)
    start = live.page.get_by_role("button", name="Start the camera")
    wait_until(lambda: start.is_visible() or title in live.page.locator("#notice").inner_text(), "the page")
    if start.is_visible():
        start.click()
    live.wait_for_notice(title)
    live.page.locator("#file").set_input_files(picture)  # pictures work without one
    live.wait_for_model("swap", "server")
    assert measure_pattern_error(live.read_pixels(), SWAP, is_mirrored=False) <= TOLERANCE
    # Chromium's own remark on every http:// page of another machine that asks for isolation.
    assert [text for text in live.errors if "origin was untrustworthy" not in text] == []
    browser.close()
