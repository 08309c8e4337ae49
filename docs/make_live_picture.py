"""Make docs/live.png: the live page on a desktop and on a phone, with the zoo's sketch model.

The cameras are scikit-image's photos. Run it from the checkout, with nothing else on the machine, because the
page shows how fast it is: .venv/bin/python docs/make_live_picture.py
"""

from __future__ import annotations

import base64
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from playwright.sync_api import Playwright, ViewportSize, sync_playwright
from skimage import data

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.system.live_page_tools import Image as Pixels  # noqa: E402
from tests.system.live_page_tools import LivePage, launch_browser, run_server, wait_until, write_camera  # noqa: E402

DESKTOP: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}
SETTLE_MS = 6000  # ms until the figures are those of a running page
# The ground is the reader's page, dark or light.
SHEET = """<style>
body { margin: 24px; display: inline-flex; align-items: center; gap: 24px; }
img { border: 3px solid rgb(74, 79, 92); border-radius: 20px; }
</style>"""


def make_camera_picture(photo: Pixels, height: int, width: int, left: float) -> Pixels:
    """The largest part of `photo` of this aspect, enlarged to [height, width, 3]; left in 0..1."""
    return np.asarray(ImageOps.fit(Image.fromarray(photo), (width, height), centering=(left, 0)))


def take_screenshot(
    playwright: Playwright, address: str, photo: Pixels, viewport: ViewportSize, engine: str
) -> bytes:
    """A PNG of the page with this picture as its camera, running."""
    with tempfile.TemporaryDirectory() as folder:
        browser = launch_browser(playwright, camera=write_camera(Path(folder) / "camera.mjpeg", [photo]))
        page = browser.new_page(viewport=viewport, color_scheme="dark")
        live = LivePage(page).open(address)
        live.choose(engine=engine)
        live.wait_for_model("sketch", engine)
        page.get_by_role("button", name="Mirror").click()
        page.mouse.move(0, 0)
        page.wait_for_timeout(SETTLE_MS)
        wait_until(lambda: page.locator("#fps").inner_text() != "\u2013", "figures")
        print(engine, page.locator("#engine").inner_text(), *page.locator(".figures").inner_text().split())
        shot = page.screenshot()
        browser.close()
    return shot


def join_screenshots(playwright: Playwright, shots: list[bytes], out: Path) -> None:
    """Write PNGs side by side, with round corners and an edge, on a transparent ground."""
    images = "".join(f'<img src="data:image/png;base64,{base64.b64encode(shot).decode()}">' for shot in shots)
    browser = launch_browser(playwright)
    page = browser.new_page(viewport={"width": 2000, "height": 1000})
    page.set_content(SHEET + images)
    page.locator("body").screenshot(path=out, omit_background=True)
    browser.close()


def main() -> None:
    """Write docs/live.png."""
    wide = make_camera_picture(data.chelsea(), 480, 640, 0.3)
    tall = make_camera_picture(data.astronaut(), 640, 400, 0.35)
    out = ROOT / "docs" / "live.png"
    with run_server("sketch") as address, sync_playwright() as playwright:
        desktop = take_screenshot(playwright, address, wide, DESKTOP, "server")
        phone = take_screenshot(playwright, address, tall, PHONE, "device")
        join_screenshots(playwright, [desktop, phone], out)
    print(f"wrote {out.relative_to(ROOT)}: {out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
