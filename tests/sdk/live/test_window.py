"""The stream in a window: real keys, a real (virtual) screen, its pixels; and what happens without one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest
from known_bundles import FindBundle, Image
from screen import TIMEOUT_S, Screen, virtual_screen, wait_for

from i2i_sdk import BackendError
from i2i_sdk.imaging import compose
from i2i_sdk.live import Latency, Result, ViewState, WindowSink
from i2i_sdk.live.sinks import display
from i2i_sdk.live.sinks.window import draw_result, find_action, fit_window

WIDTH, HEIGHT = 320, 240  # of the clip; so small a picture is shown 640 pixels wide
RED, GREEN = 200, 60  # of every frame of the clip; its blue tells which frame it is


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    with virtual_screen(tmp_path_factory.mktemp("screen")) as made:
        yield made


def write_clip(path: Path, frames: Iterable[Image]) -> Path:
    """RGB frames, ten a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(10), options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two minutes of one color, of which the blue goes up and down."""
    blues = [60 + 6 * abs(index % 40 - 20) for index in range(1200)]
    frames = (np.full((HEIGHT, WIDTH, 3), (RED, GREEN, blue), np.uint8) for blue in blues)
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", frames)


@contextmanager
def run_live(screen: Screen, folder: Path, *arguments: object) -> Generator[subprocess.Popen[str]]:
    words = ["-m", "i2i_sdk", "live", "--backend", "ort", "--no-overlay", *arguments]
    with screen.run_python(*words, cwd=folder) as process:
        yield process


def collect_output(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    out, err = process.communicate(timeout=TIMEOUT_S)
    return process.returncode, out, err


def make_color_check(screen: Screen, x: int, red: int, green: int, y: int = 100) -> Callable[[], bool]:
    """Whether the screen has this red and green at (x, y), as exactly as video keeps them."""
    return lambda: bool(np.abs(screen.read_pixels()[y, x, :2].astype(int) - (red, green)).max() <= 6)


def test_views_and_the_split(known: FindBundle, screen: Screen, clip: Path, tmp_path: Path) -> None:
    """The clip inverted: 55, 195."""
    left, right, inverted = 100, 540, (255 - RED, 255 - GREEN)
    with run_live(screen, tmp_path, known("invert"), "--source", clip) as process:
        window = screen.find_window("i2i", process)
        wait_for(make_color_check(screen, left, *inverted), "the translation")
        assert make_color_check(screen, right, *inverted)()
        assert screen.read_window_size(window) == (640, 480)
        screen.press_keys("v")  # split
        wait_for(make_color_check(screen, left, RED, GREEN), "the input on the left")
        assert make_color_check(screen, right, *inverted)()
        screen.press_keys(*["bracketright"] * 4, *["Right"] * 4)
        wait_for(make_color_check(screen, right, RED, GREEN), "the line beyond the right probe")
        screen.run_xdotool("mousemove", "--window", window, 400, 200, "mousedown", 1)
        screen.run_xdotool("mousemove", "--window", window, 50, 200, "mouseup", 1)
        wait_for(make_color_check(screen, left, *inverted), "the line where the mouse let it go")
        screen.press_keys("v")  # side by side: twice as wide
        wait_for(lambda: screen.read_window_size(window) == (640, 240), "a wider window")
        wait_for(make_color_check(screen, 300, RED, GREEN), "the input in the left half")
        wait_for(make_color_check(screen, 340, *inverted), "the translation in the right half")
        screen.press_keys("v")  # input
        wait_for(lambda: screen.read_window_size(window) == (640, 480), "the old size")
        wait_for(make_color_check(screen, right, RED, GREEN), "the input everywhere")
        screen.press_keys("v", "Q")
        code, out, err = collect_output(process)
    assert (code, err) == (0, "")
    assert " frames, " in out and " ms (p95 " in out


def test_pause_holds_and_keys_still_work(
    known: FindBundle, screen: Screen, clip: Path, tmp_path: Path
) -> None:
    def read_blue() -> int:
        return int(screen.read_pixels()[100, 100, 2])

    def make_difference_check(before: int) -> Callable[[], bool]:
        return lambda: abs(read_blue() - before) > 10

    with run_live(screen, tmp_path, known("invert"), "--source", clip) as process:
        screen.find_window("i2i", process)
        wait_for(make_color_check(screen, 100, 255 - RED, 255 - GREEN), "the translation")
        first = read_blue()
        wait_for(make_difference_check(first), "another frame")
        bar = screen.read_pixels()[430:, :, 0].astype(int)
        screen.press_keys("space")
        changed = lambda: (np.abs(screen.read_pixels()[430:, :, 0] - bar) > 60).sum()  # noqa: E731
        wait_for(lambda: changed() > 200, "the word paused")
        held = read_blue()
        for _ in range(20):
            # The window hears this, and has nothing new to show.
            screen.run_xdotool("mousemove_relative", 1, 1)
            time.sleep(0.05)
            assert read_blue() == held
        screen.press_keys("v")
        wait_for(make_color_check(screen, 100, RED, GREEN), "the split of the held picture")
        assert abs(255 - read_blue() - held) <= 6
        screen.press_keys("space")
        wait_for(make_difference_check(read_blue()), "the next frames")
        screen.press_keys("Escape")
        assert collect_output(process)[0] == 0


def test_snapshot_steady_model_and_help(
    known: FindBundle, screen: Screen, clip: Path, tmp_path: Path
) -> None:
    def is_dark() -> int:
        """Pixels of the plate behind text, at the bottom; the line of the split has a few too."""
        return int((screen.read_pixels()[430:480, :640].max(axis=2) < 65).sum())

    models = [known("invert"), known("identity"), known("swap")]
    options = ("--source", clip, "--snapshots", tmp_path / "shots", "--view", "split")
    with run_live(screen, tmp_path, *models, *options) as process:
        screen.find_window("i2i", process)
        wait_for(make_color_check(screen, 540, 255 - RED, 255 - GREEN), "the translation")
        wait_for(lambda: is_dark() > 5000, "the line of keys")
        screen.press_keys("s")
        path = wait_for(lambda: next((tmp_path / "shots").glob("i2i_*.png"), None), "the snapshot")
        shot = cv2.imread(str(path))
        assert shot is not None and shot.shape == (HEIGHT, WIDTH, 3)
        for part, red, green in ((shot[:, :140], RED, GREEN), (shot[:, 180:], 255 - RED, 255 - GREEN)):
            assert np.abs(part[..., 1:].astype(int) - (green, red)).max() <= 6  # BGR; no text in it
        screen.press_keys("t")
        wait_for(lambda: 500 < is_dark() < 4000, "a short message")
        screen.press_keys("n")
        wait_for(make_color_check(screen, 540, RED, GREEN), "identity")
        screen.press_keys("n")
        wait_for(lambda: screen.read_pixels()[100, 540, 2] > 190, "red and blue swapped")
        screen.press_keys("n")
        wait_for(make_color_check(screen, 540, 255 - RED, 255 - GREEN), "the first model again")
        screen.press_keys("h")
        wait_for(lambda: is_dark() < 500, "no text")
        screen.press_keys("q")
        code, _, err = collect_output(process)
    assert (code, err) == (0, "")


def test_two_sources_in_two_windows(known: FindBundle, screen: Screen, clip: Path, tmp_path: Path) -> None:
    """Closing one with the mouse ends it all."""
    sources = ["--source", clip, "--source", clip]
    with run_live(screen, tmp_path, known("invert"), *sources, "--record", tmp_path / "out.mp4") as process:
        first, second = (screen.find_window(f"i2i {number}: clip.mp4", process) for number in (1, 2))
        assert first != second
        is_there = make_color_check(screen, 900, 255 - RED, 255 - GREEN, y=600)

        def is_moved() -> bool:
            # Again and again: a window that is not drawn yet places itself afterwards.
            screen.run_xdotool("windowmove", second, 340, 300)
            return is_there()

        wait_for(is_moved, "the second window there")
        assert make_color_check(screen, 100, 255 - RED, 255 - GREEN)()
        screen.request_close(first)
        code, out, err = collect_output(process)
    assert (code, err) == (0, "")
    files = [tmp_path / "out_1.mp4", tmp_path / "out_2.mp4"]
    assert f"; recorded {files[0]}, {files[1]}" in out
    assert sorted(tmp_path.iterdir()) == files


CAMERA = """
import sys
import cv2

real, clip = cv2.VideoCapture, sys.argv.pop(1)
cv2.VideoCapture = lambda *what: real(clip) if what[:1] == (0,) else real(*what)
from i2i_sdk.cli.main import main
sys.exit(main())
"""


def test_camera_0_is_a_mirror_with_figures(known: FindBundle, screen: Screen, tmp_path: Path) -> None:
    """A file stands in for the camera. It ends, so the camera is lost and comes back."""
    half = np.zeros((240, 320, 3), np.uint8)
    half[..., 0], half[:, :160, 1] = RED, 200  # green on the left
    path = write_clip(tmp_path / "camera.mp4", [half] * 100)
    words = ["live", known("identity"), "--backend", "ort", "--width", 320]
    with screen.run_python("-c", CAMERA, path, *words, cwd=tmp_path) as process:
        screen.find_window("i2i", process)
        wait_for(make_color_check(screen, 540, RED, 200), "green on the right")
        assert make_color_check(screen, 100, RED, 0)()
        wait_for(lambda: (screen.read_pixels()[7:30, 60:300] > 200).all(axis=2).any(), "light text")
        assert process.stderr is not None
        assert process.stderr.readline() == "camera 0 is lost: reading a frame failed\n"
        assert process.stderr.readline().startswith("camera 0 is back after ")
        screen.press_keys("q")
        code, out, _ = collect_output(process)
    assert code == 0 and re.search(r", [1-9]\d* reconnected\n", out)


IDLE = """
import sys, threading
import numpy as np
from i2i_sdk import Translator
from i2i_sdk.live import Frames, WindowSink

def frames():
    yield np.full((24, 40, 3), (0, 60, 200), np.uint8)
    threading.Event().wait()

with Translator(sys.argv[1], backend="ort") as translate:
    stream = translate.stream(Frames(frames(), live=True), sinks=[WindowSink("stuck camera")])
    print(stream.run().presented)
"""


def test_keys_work_while_no_frame_comes(known: FindBundle, screen: Screen, tmp_path: Path) -> None:
    """And a picture of 40x24 becomes large enough to read its keys."""
    with screen.run_python("-c", IDLE, known("invert"), cwd=tmp_path) as process:
        window = screen.find_window("stuck camera", process)
        wait_for(make_color_check(screen, 100, 255 - RED, 255 - GREEN), "the translation")
        assert screen.read_window_size(window) == (640, 384)
        screen.press_keys("v")
        wait_for(make_color_check(screen, 100, RED, GREEN), "the split")
        screen.press_keys("q")
        code, out, err = collect_output(process)
    assert (code, out) == (0, "1\n")
    assert err == "i2i-capture-0 still waits for its source; it ends with the next frame\n"


# without a display


def read_display_error(known: FindBundle, folder: Path, **names: str) -> str:
    """What `i2i live` says where these variables are all that is set of displays."""
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")} | names
    words = [sys.executable, "-m", "i2i_sdk", "live", str(known("invert")), "--source", "clip.mp4"]
    pipes = {"capture_output": True, "text": True, "timeout": TIMEOUT_S, "check": False}
    done = subprocess.run(words, env=environment, cwd=folder, **pipes)
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    return done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="displays have names on Linux only")
@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ({}, "neither DISPLAY nor WAYLAND_DISPLAY is set (OpenCV has QT5). "),
        ({"DISPLAY": ":7777"}, "DISPLAY is :7777, where no X server answers or it lets nobody in. "),
        (
            {"WAYLAND_DISPLAY": "wayland-7"},
            "only WAYLAND_DISPLAY=wayland-7 is set, but OpenCV's QT5 fails there: ",
        ),
    ],
)
def test_no_display_is_one_clear_error(
    known: FindBundle, tmp_path: Path, names: dict[str, str], reason: str
) -> None:
    error = read_display_error(known, tmp_path, **names)
    assert error.startswith("error: no window can be shown: ") and reason in error
    assert "i2i live --no-window --mjpeg 8080" in error and "--record out.mp4" in error


def test_an_opencv_without_windows_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cv2.getBuildInformation", lambda: "  GUI:                           NONE\n")
    with pytest.raises(BackendError, match=r"built without windows.*opencv-python\. Without one"):
        WindowSink()


def test_a_display_is_asked_for_its_size(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", screen.display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    found = display.find_display()
    assert (found.name, found.width, found.height) == (screen.display, 1024, 768)
    assert str(found) == f"{found.toolkit} on {screen.display}, 1024x768"


def test_other_systems_and_frozen_programs_are_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cv2.getBuildInformation", lambda: "  GUI:                           COCOA\n")
    monkeypatch.setattr("subprocess.run", None)
    monkeypatch.setenv("DISPLAY", ":5")
    monkeypatch.setattr("sys.frozen", True, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(display, "_query_screen_size", lambda: (800, 600))
    assert display.find_display() == display.Display("COCOA", ":5", 800, 600)
    monkeypatch.setattr("sys.platform", "darwin")
    assert str(display.find_display()) == "COCOA on darwin"


# parts


@pytest.mark.parametrize(
    ("code", "action"),
    [
        *((-1, None), (0, None), (ord("x"), None), (ord("q"), "quit"), (27, "quit")),
        *((ord("V"), "view"), (32, "pause")),
        (0xFF51, "left"),
        (0x10FF53, "right"),  # GTK with Num Lock
        (0x100000 | ord("s"), "snapshot"),
        (0x250000, "left"),  # Windows
        (0x270000, "right"),
        (0x260000, None),
        (0xF703, "right"),  # macOS
    ],
)
def test_key_codes(code: int, action: str | None) -> None:
    assert find_action(code) == action


def test_text_is_drawn_at_the_size_of_the_window() -> None:
    """Side by side is wider than the screen: text that shrank with it could not be read."""
    gray = np.full((720, 1280, 3), 128, np.uint8)
    state = ViewState("side", lines=("30.0 fps, 21 ms",))
    result = Result(gray, gray, 0, 0, 0.0, Latency(0, 0, 0, 0, 0), view_state=state)
    canvas = draw_result(result, "paused", (1024, 768))
    assert canvas.shape == (259, 922, 3)
    plain = np.full((259, 922, 3), 128, np.uint8)
    lettered = compose.draw_overlay(plain, state.lines)
    expected = compose.draw_overlay(lettered, ["paused"], at_bottom=True)
    np.testing.assert_array_equal(canvas, expected)


def test_paused_stays_while_a_message_shows(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", screen.display)
    window = WindowSink()
    window.open(SimpleNamespace(paused=True))  # type: ignore[arg-type]
    window.show_message("saved x.png")
    assert window._format_caption() == "paused   saved x.png"


@pytest.mark.parametrize(
    ("picture", "size"),
    [
        *(((640, 480), (640, 480)), ((900, 648), (900, 648)), ((1920, 1080), (900, 506))),
        *(((480, 4000), (78, 648)), ((1280, 480), (900, 338)), ((100000, 10), (900, 1))),
    ],
)
def test_a_window_fits_its_screen(picture: tuple[int, int], size: tuple[int, int]) -> None:
    assert fit_window(*picture, (1000, 720)) == size
