"""Make docs/live.png: the live page on a desktop and on a phone, with the zoo's sketch model.

The cameras are scikit-image's photos. Run it from the checkout, with nothing else on the machine, because the
page shows how fast it is: .venv/bin/python docs/make_live_picture.py
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw
from playwright.sync_api import Playwright, ViewportSize, sync_playwright
from skimage import data

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.system.live_page_tools import Image as Pixels  # noqa: E402
from tests.system.live_page_tools import LivePage, launch_browser, run_server, wait_until, write_camera  # noqa: E402

DESKTOP: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}
SETTLE_MS = 6000  # ms until the figures are those of a running page
GAP, EDGE = 24, (74, 79, 92)


def make_camera_picture(photo: Pixels, height: int, width: int, left: float) -> Pixels:
    """The largest part of `photo` of this aspect, enlarged to [height, width, 3]; left in 0..1.

    Args:
        photo: uint8 [H, W, 3].
        height: of the result.
        width: of the result.
        left: 0..1: which part, from left to right.

    Returns:
        uint8 [height, width, 3].
    """
    scale = min(photo.shape[0] / height, photo.shape[1] / width)
    rows, columns = round(height * scale), round(width * scale)
    column = round(left * (photo.shape[1] - columns))
    part = np.ascontiguousarray(photo[:rows, column : column + columns])
    return np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def take_screenshot(
    playwright: Playwright, address: str, photo: Pixels, viewport: ViewportSize, engine: str
) -> Image.Image:
    """The page with this picture as its camera, running.

    Args:
        playwright: that runs.
        address: of the page.
        photo: the camera's picture, uint8 [H, W, 3].
        viewport: in pixels.
        engine: "server" or "device".

    Returns:
        The picture, RGBA.
    """
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
        shot = Image.open(io.BytesIO(page.screenshot()))
        browser.close()
    return shot.convert("RGBA")


def paste_framed(canvas: Image.Image, shot: Image.Image, place: tuple[int, int], radius: int) -> None:
    """Paste with round corners and an edge.

    Args:
        canvas: RGBA, changed.
        shot: RGBA.
        place: left and top, in pixels.
        radius: of the corners, in pixels.
    """
    mask = Image.new("L", shot.size, 0)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, shot.width - 1, shot.height - 1), radius, fill=255)
    canvas.paste(shot, place, mask)
    box = (place[0] - 1, place[1] - 1, place[0] + shot.width, place[1] + shot.height)
    ImageDraw.Draw(canvas).rounded_rectangle(box, radius + 1, outline=EDGE, width=3)


def main() -> None:
    """Write docs/live.png."""
    wide = make_camera_picture(data.chelsea(), 480, 640, 0.3)
    tall = make_camera_picture(data.astronaut(), 640, 400, 0.35)
    with run_server("sketch") as address, sync_playwright() as playwright:
        desktop = take_screenshot(playwright, address, wide, DESKTOP, "server")
        phone = take_screenshot(playwright, address, tall, PHONE, "device")
    size = (DESKTOP["width"] + PHONE["width"] + 3 * GAP, PHONE["height"] + 2 * GAP)
    picture = Image.new("RGBA", size)  # its ground is the reader's page, dark or light
    paste_framed(picture, desktop, (GAP, (size[1] - desktop.height) // 2), 14)
    paste_framed(picture, phone, (desktop.width + 2 * GAP, GAP), 30)
    out = ROOT / "docs" / "live.png"
    picture.save(out, optimize=True)
    print(f"wrote {out.relative_to(ROOT)}: {size[0]}x{size[1]}, {out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
