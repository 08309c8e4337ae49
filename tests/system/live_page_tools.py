"""What the live page's tests stand on: a camera that shows known pictures, a server process, a browser."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Playwright

Image = NDArray[np.uint8]
TranslateFunction = Callable[[Image], Image]

CHROMIUM = Path("/usr/bin/chromium")
HEIGHT, WIDTH = 480, 640  # of the camera
GRID = 4  # a pattern has GRID x GRID blocks: 16 pixels are read, their middles
PATTERNS = 3
PHONE_HOST = "phone.test"  # a name that is no localhost: over http:// browsers call it insecure
TIMEOUT_S = 30.0  # seconds until something is said to hang
# Gray levels, where colors of different patterns or models differ by 76 and more at some pixel.
CAMERA_TOLERANCE = 24  # what Chromium's camera makes of a drawn color: 14 were seen
TOLERANCE = 12  # JPEG there and back

BROWSER_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
CAMERA_FLAGS = ("--use-fake-device-for-media-stream",)
CAMERA_ALLOWED_FLAGS = ("--use-fake-ui-for-media-stream",)


def make_pattern(number: int) -> Image:
    """Blocks [GRID, GRID, 3] RGB of colors that no two patterns share at the same place."""
    levels = np.random.default_rng(7).permutation(27)
    chosen = levels[(np.arange(GRID * GRID) + 9 * number) % 27]
    digits = np.stack([chosen // 9, chosen // 3 % 3, chosen % 3], axis=-1)
    return np.asarray(48 + 76 * digits, np.uint8).reshape(GRID, GRID, 3)


def list_patterns(is_mirrored: bool = False) -> list[Image]:
    patterns = [make_pattern(number) for number in range(PATTERNS)]
    return [pattern[:, ::-1] for pattern in patterns] if is_mirrored else patterns


def draw_blocks(blocks: Image, height: int = HEIGHT, width: int = WIDTH) -> Image:
    """[GRID, GRID, 3] -> [height, width, 3]."""
    return np.asarray(cv2.resize(blocks, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def write_camera(path: Path, pictures: Sequence[Image], frames_each: int = 12) -> Path:
    """A MJPEG file of RGB pictures that Chromium plays in a loop as its camera, 30 frames a second."""
    with path.open("wb") as file:
        for picture in pictures:
            bgr = np.ascontiguousarray(picture[:, :, ::-1])
            file.write(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes() * frames_each)
    return path


def find_free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def run_server(*arguments: str | Path, port: int | None = None, host: str = "127.0.0.1") -> Iterator[str]:
    """`i2i serve` as a process of its own -> the page's address."""
    command = [sys.executable, "-m", "i2i_sdk", "serve", *map(str, arguments)]
    process = subprocess.Popen(
        [*command, "--host", host, "--port", str(port or find_free_port())],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    said: list[str] = []
    try:
        for line in process.stdout:
            said.append(line)
            if line.startswith("open "):
                yield line.split()[1]
                break
        else:
            pytest.fail(f"i2i serve ended: {''.join(said)}")
    finally:
        process.terminate()
        process.communicate(timeout=TIMEOUT_S)


def launch_browser(playwright: Playwright, *flags: str, camera: Path | None = None) -> Browser:
    """Debian's Chromium, headless; with `camera` as its camera, allowed without a question."""
    if camera:
        flags += (*CAMERA_FLAGS, *CAMERA_ALLOWED_FLAGS, f"--use-file-for-fake-video-capture={camera}")
    return playwright.chromium.launch(executable_path=str(CHROMIUM), args=[*BROWSER_FLAGS, *flags])


def wait_until(condition: Callable[[], object], description: str) -> None:
    """Wait for a condition, asked from outside: the page's own policy forbids Playwright's polling in it."""
    end = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < end, f"not within {TIMEOUT_S:g} s: {description}"
        time.sleep(0.03)


class LivePage:
    """The page as a person sees it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        page.on("console", lambda m: m.type == "error" and self.errors.append(m.text))
        page.on("pageerror", lambda e: self.errors.append(str(e)))

    def open(self, address: str) -> LivePage:
        """Open the page; an allowed camera starts by itself."""
        self.page.goto(address)
        return self

    def wait_for_model(self, model: str, engine: str) -> None:
        """Wait until the picture on the page was made by this model, on "server" or "device"."""
        wanted = f"Translated by {model}, on {'the server' if engine == 'server' else 'this device'}"
        canvas = self.page.locator("#after")
        wait_until(lambda: canvas.is_visible() and canvas.get_attribute("aria-label") == wanted, wanted)

    def choose(self, model: str | None = None, engine: str | None = None) -> None:
        """Pick a model or an engine."""
        if model:
            self.page.get_by_label("Model").select_option(model)
        if engine:
            label = "Server" if engine == "server" else "This device"
            self.page.get_by_role("radio", name=label).check(force=True)

    def wait_for_notice(self, text: str) -> None:
        """Wait for a notice with this text in it."""
        self.page.locator("#notice", has_text=text).wait_for(timeout=1000 * TIMEOUT_S)

    def read_pixels(self, canvas: str = "after") -> Image:
        """A whole canvas, RGB."""
        address = self.page.locator(f"#{canvas}").evaluate("canvas => canvas.toDataURL('image/png')")
        return decode_image(base64.b64decode(address.partition(",")[2]))

    def read_blocks(self) -> tuple[Image, Image]:
        """The middles of the blocks in both canvases, read in one go: [GRID, GRID, 3] RGB each."""
        script = """(grid) => [before, after].map((canvas) => {
            const context = canvas.getContext("2d");
            const middle = (at, side) => Math.floor(((at + 0.5) / grid) * side);
            return Array.from({ length: grid * grid }, (_, i) => {
              const [x, y] = [middle(i % grid, canvas.width), middle(Math.floor(i / grid), canvas.height)];
              return [...context.getImageData(x, y, 1, 1).data.slice(0, 3)];
            });
        })"""
        before, after = self.page.evaluate(script, GRID)
        shape = (GRID, GRID, 3)
        return np.array(before, np.uint8).reshape(shape), np.array(after, np.uint8).reshape(shape)

    def check_translation(self, answer: TranslateFunction, is_mirrored: bool = True) -> None:
        """Read 16 pixels of three different frames: each is what `answer` makes of the frame beside it, which
        is a drawn pattern."""
        known, missing = list_patterns(is_mirrored), set(range(PATTERNS))
        end = time.monotonic() + TIMEOUT_S
        while missing:
            assert time.monotonic() < end, f"patterns {missing} were never shown"
            before, after = self.read_blocks()
            number = min(range(PATTERNS), key=lambda n: compute_distance(before, known[n]))
            distance = compute_distance(before, known[number])
            assert distance <= CAMERA_TOLERANCE, "the frame is no pattern of the camera"
            found = compute_distance(after, answer(before))
            assert found <= TOLERANCE, f"pattern {number}: a pixel is {found} gray levels off"
            missing.discard(number)


def decode_image(data: bytes) -> Image:
    """An encoded picture, RGB."""
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return np.ascontiguousarray(picture[:, :, ::-1], np.uint8)


def compute_distance(a: Image, b: Image) -> int:
    """The largest difference of any pixel and channel."""
    return int(np.abs(a.astype(int) - b.astype(int)).max())


def measure_pattern_error(picture: Image, answer: TranslateFunction, is_mirrored: bool = True) -> int:
    """How far the middles of the blocks of a picture are from what `answer` makes of the nearest pattern."""
    height, width = picture.shape[:2]
    rows, columns = (((2 * np.arange(4) + 1) * side // 8) for side in (height, width))
    read = picture[np.ix_(rows, columns)]
    return min(compute_distance(read, answer(pattern)) for pattern in list_patterns(is_mirrored))
