"""The examples, run as their first lines say, with the zoo's own model."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from screen import TIMEOUT_S, Screen, run_python, virtual_screen, wait_for

Image = NDArray[np.uint8]

BLUE, ORANGE = (20, 60, 200), (230, 120, 20)


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    with virtual_screen(tmp_path_factory.mktemp("screen")) as made:
        yield made


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """320x240, a minute: from the second second on, orange moves over blue; no pixel is gray."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(10), options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for index in range(600):
            image = np.full((240, 320, 3), BLUE, np.uint8)
            if index >= 10:
                left = 20 + 4 * (index % 50)
                image[100:160, left : left + 60] = ORANGE
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def measure_gray_share(picture: Image) -> float:
    """The share of pixels without color: a drawing's, and none of the clip's."""
    return float((np.ptp(picture.astype(int), axis=2) < 12).mean())


def is_drawing(picture: Image) -> bool:
    """Whether it is a drawing, and neither the bare screen nor Qt's bare window."""
    return measure_gray_share(picture) > 0.95 and not np.isin(picture[..., 0], (0, 239)).mean() > 0.5


def collect_output(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=TIMEOUT_S)
    return process.returncode, out, err


def test_webcam(root: Path, screen: Screen, clip: Path, tmp_path: Path) -> None:
    script = root / "examples" / "webcam.py"
    assert len(script.read_text().splitlines()) < 30
    with screen.run_python(script, "sketch", clip, cwd=tmp_path) as process:
        screen.find_window("i2i: before and after", process)

        def is_split() -> bool:
            picture = screen.read_pixels()[60:420]  # below the figures, above the keys
            left, right = (measure_gray_share(picture[:, x : x + 280]) for x in (10, 350))
            return left < 0.01 and right > 0.95

        wait_for(is_split, "the clip on the left, a drawing on the right")
        screen.press_keys("q")
        code, out, err = collect_output(process)
    assert (code, err) == (0, "") and re.match(r"\d+\.\d fps, \d+ ms \(p95 \d+\)", out)


def test_two_cameras(root: Path, screen: Screen, clip: Path, tmp_path: Path) -> None:
    with screen.run_python(root / "examples" / "two_cameras.py", clip, clip, cwd=tmp_path) as process:
        screen.find_window("i2i 1: clip.mp4", process)
        second = screen.find_window("i2i 2: clip.mp4", process)

        def are_two_shown() -> bool:
            # Again and again: a window that is not drawn yet places itself afterwards.
            screen.run_xdotool("windowmove", second, 340, 260)
            picture = screen.read_pixels()
            return all(is_drawing(part) for part in (picture[60:240, 10:320], picture[500:680, 700:960]))

        wait_for(are_two_shown, "two drawings")
        screen.run_xdotool("mousemove", 700, 600)
        screen.press_keys("q")
        code, out, err = collect_output(process)
    assert (code, err) == (0, "")
    assert re.fullmatch(r"(clip\.mp4: received \d+\.\d frames/s, dropped \d+\n){2}", out)


def test_mask(root: Path, screen: Screen, clip: Path, tmp_path: Path) -> None:
    with screen.run_python(root / "examples" / "mask.py", clip, cwd=tmp_path) as process:
        screen.find_window("i2i", process)

        def is_partly_drawn() -> bool:
            picture = screen.read_pixels()[:, :640]
            return measure_gray_share(picture[200:320]) > 0.1 and measure_gray_share(picture[20:140]) < 0.01

        wait_for(is_partly_drawn, "a drawing of what moves, and nothing else")
        screen.press_keys("q")
        code, _, err = collect_output(process)
    assert (code, err) == (0, "")


@pytest.mark.parametrize("name", ["webcam", "two_cameras", "mask"])
def test_without_a_display_they_say_so(root: Path, tmp_path: Path, name: str) -> None:
    with run_python([root / "examples" / f"{name}.py"], {}, tmp_path) as process:
        code, out, err = collect_output(process)
    assert (code, out) == (1, "") and len(err.splitlines()) == 1
    assert err.startswith("error: no window can be shown: neither DISPLAY nor WAYLAND_DISPLAY is set")


def test_without_a_camera_it_says_so(root: Path, screen: Screen, tmp_path: Path) -> None:
    with screen.run_python(root / "examples" / "webcam.py", "sketch", 60, cwd=tmp_path) as process:
        code, out, err = collect_output(process)
    assert (code, out) == (1, "") and len(err.splitlines()) == 1
    assert err.startswith("error: camera 60 cannot be opened: ") and "Give a video file or an address" in err
