"""A screen without a monitor: Xvfb, typed and clicked on with xdotool; its pixels are read from memory."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

TIMEOUT_S = 60.0  # nothing here takes so long, however slow the machine


def wait_for(condition: Callable[[], Any], description: str) -> Any:
    """The first true value of `condition`, asked again and again."""
    value = poll(condition, TIMEOUT_S)
    assert value, f"waited {TIMEOUT_S:.0f} s for {description}"
    return value


def poll(condition: Callable[[], Any], seconds: float) -> Any:
    """The first true value of `condition` within a time, or its last one."""
    deadline = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return value


class Screen:
    """display: its name. It has no window manager: keys go to the window under the mouse."""

    def __init__(self, display: str, memory: Path) -> None:
        self.display, self._memory = display, memory
        self.environment = {k: v for k, v in os.environ.items() if k != "WAYLAND_DISPLAY"}
        self.environment["DISPLAY"] = display

    def read_pixels(self) -> NDArray[np.uint8]:
        """uint8 [H, W, 3] RGB: what the screen shows now, in the format of xwd."""
        data = self._memory.read_bytes()
        header = [int(word) for word in np.frombuffer(data, ">u4", 25)]
        width, height, row, start = header[4], header[5], header[12], header[0] + 12 * header[19]
        picture = np.frombuffer(data, np.uint8, height * row, start).reshape(height, -1, 4)
        return picture[:, :width, 2::-1]

    def run_xdotool(self, *arguments: object) -> str:
        """Run xdotool."""
        words = ["xdotool", *map(str, arguments)]
        return subprocess.run(
            words, env=self.environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        ).stdout

    def find_window(self, title: str, process: subprocess.Popen[str]) -> str:
        """Wait for a window whose title matches, go there with the mouse, and return its number."""

        def find_or_fail() -> list[str]:
            assert process.poll() is None, process.communicate()
            return self.run_xdotool("search", "--onlyvisible", "--name", title).split()

        window = wait_for(find_or_fail, title)[-1]
        # Without a window manager, Qt sometimes misses that its window has appeared, and never paints it.
        while not poll(lambda: self.is_painted(window), 3.0):
            self.run_xdotool("windowunmap", "--sync", window, "windowmap", window)
        self.run_xdotool("mousemove", "--window", window, 30, 30)
        return window

    def is_painted(self, window: str) -> bool:
        """Whether anything that is not black is where a window is."""
        width, height = self.read_window_size(window)
        return bool(self.read_pixels()[:height, :width].any(axis=2).mean() > 0.5)

    def read_window_size(self, window: str) -> tuple[int, int]:
        """Width and height of a window."""
        lines = self.run_xdotool("getwindowgeometry", "--shell", window).splitlines()
        facts = dict(line.split("=") for line in lines)
        return int(facts["WIDTH"]), int(facts["HEIGHT"])

    def press_keys(self, *keys: str) -> None:
        """Press keys, named as xdotool does."""
        self.run_xdotool("key", "--delay", 80, *keys)

    def request_close(self, window: str) -> None:
        """What a window manager does when the cross in the corner is clicked."""
        x11 = ctypes.CDLL("libX11.so.6")
        x11.XOpenDisplay.restype = ctypes.c_void_p
        x11.XInternAtom.restype = ctypes.c_ulong
        screen = ctypes.c_void_p(x11.XOpenDisplay(self.display.encode()))
        protocols = x11.XInternAtom(screen, b"WM_PROTOCOLS", 0)
        close = x11.XInternAtom(screen, b"WM_DELETE_WINDOW", 0)
        client_message, as_long = 33, 32
        # type, serial, send_event, display, window, message_type, format, data: XClientMessageEvent
        event = (ctypes.c_long * 24)(client_message, 0, 1, 0, int(window), protocols, as_long, close, 0)
        x11.XSendEvent(screen, ctypes.c_ulong(int(window)), 0, ctypes.c_long(0), event)
        x11.XCloseDisplay(screen)

    @contextmanager
    def run_python(self, *arguments: object, cwd: Path) -> Generator[subprocess.Popen[str]]:
        """Run Python with these arguments on this screen; it is gone afterwards."""
        with run_python(arguments, self.environment, cwd) as process:
            yield process


@contextmanager
def run_python(
    arguments: Sequence[object], environment: dict[str, str], cwd: Path
) -> Generator[subprocess.Popen[str]]:
    """Run Python with these arguments; it is gone afterwards."""
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env=environment,
        cwd=cwd,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def virtual_screen(folder: Path, size: str = "1024x768") -> Generator[Screen]:
    """A screen of its own; the test is skipped where there is no Xvfb."""
    for program in ("Xvfb", "xdotool"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}: apt-get install xvfb xdotool")
    words = ["Xvfb", "-displayfd", "1", "-screen", "0", f"{size}x24", "-nolisten", "tcp"]
    # -noreset: else it starts afresh between two programs, and refuses the second meanwhile.
    words += ["-noreset", "-fbdir", str(folder)]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        yield Screen(f":{server.stdout.readline().strip()}", folder / "Xvfb_screen0")
    finally:
        server.terminate()
        server.communicate()
