"""Whether a window can be shown here, and how large. OpenCV's Qt aborts the process where none can."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache

from i2i_sdk.errors import BackendError

PROBE_TIMEOUT_S = 20
# Asks for a window that draws with OpenGL: most builds refuse that, but only after they reached the display,
# so that nothing flashes on the screen.
PROBE_SCRIPT = """
import cv2
try:
    cv2.namedWindow("i2i", cv2.WINDOW_OPENGL)
except cv2.error as error:
    if "OpenGL" not in str(error):
        raise SystemExit(str(error))
print("reached")
"""


@dataclass(frozen=True)
class Display:
    """Where windows appear. toolkit: what OpenCV draws them with. width, height: of the screen in pixels, 0
    where that is not known.
    """

    toolkit: str
    name: str
    width: int = 0
    height: int = 0

    def __str__(self) -> str:
        return f"{self.toolkit} on {self.name}" + (f", {self.width}x{self.height}" if self.width else "")


def find_display() -> Display:
    """The display, which was really reached. Raises BackendError with the reason why there is none."""
    gui = _find_toolkit()
    if gui in ("", "NONE"):
        advice = "in its place: pip install opencv-python"
        raise BackendError(f"this OpenCV is built without windows (opencv-python-headless); {advice}")
    if not sys.platform.startswith("linux"):
        return Display(gui, sys.platform)
    names = {name: os.environ.get(name, "") for name in ("DISPLAY", "WAYLAND_DISPLAY")}
    if not any(names.values()):
        raise BackendError(f"neither DISPLAY nor WAYLAND_DISPLAY is set (OpenCV has {gui})")
    return _connect_display(gui, **names)


def _find_toolkit() -> str:
    """What this OpenCV shows windows with, as its build says."""
    import cv2

    lines = (line.split(":", 1) for line in cv2.getBuildInformation().splitlines() if "GUI:" in line)
    return next((value.strip() for _, value in lines), "")


@cache
def _connect_display(gui: str, DISPLAY: str, WAYLAND_DISPLAY: str) -> Display:  # noqa: N803  # as they are called
    """Connect, then let another process try a window, since one that fails does not survive it."""
    only = f"of displays only WAYLAND_DISPLAY={WAYLAND_DISPLAY} is set"
    setting = f"DISPLAY is {DISPLAY}" if DISPLAY else only
    size = _query_screen_size() if DISPLAY else ()
    if size is None:
        raise BackendError(f"{setting}, where no X server answers or it lets nobody in")
    found = Display(gui, DISPLAY or WAYLAND_DISPLAY, *size)
    if getattr(sys, "frozen", False) or not sys.executable:  # a program made of this: it would start itself
        return found
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROBE_SCRIPT],
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BackendError(f"{setting}, which did not answer within {PROBE_TIMEOUT_S} s") from None
    if "reached" not in done.stdout:
        said = [*done.stderr.strip().splitlines(), f"exit code {done.returncode}"]
        raise BackendError(f"{setting}, but OpenCV's {gui} fails there: {said[0]}")
    return found


def _query_screen_size() -> tuple[int, ...] | None:
    """Width and height in pixels, nothing where Xlib is not there, None where no server answers.

    The connection stays open. An X server that nothing else uses, such as Xvfb, starts afresh when its last
    client leaves, and refuses everybody meanwhile: Qt would meet that after the process that tries has ended.
    """
    try:
        x11 = ctypes.CDLL("libX11.so.6")
    except OSError:
        return ()
    x11.XOpenDisplay.restype = ctypes.c_void_p
    screen = ctypes.c_void_p(x11.XOpenDisplay(None))
    return (x11.XDisplayWidth(screen, 0), x11.XDisplayHeight(screen, 0)) if screen else None
