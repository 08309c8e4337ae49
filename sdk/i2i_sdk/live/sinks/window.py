"""A stream in a window of OpenCV, ruled by keys."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from i2i_sdk.errors import BackendError, MediaError
from i2i_sdk.imaging import compose, geometry
from i2i_sdk.live.processor import FrameProcessor
from i2i_sdk.live.results import Result
from i2i_sdk.live.sinks.display import find_display
from i2i_sdk.live.stream import Sink, Stream
from i2i_sdk.media.images import write_image

Image = NDArray[np.uint8]

DEFAULT_SCREEN = (1280, 720)  # where its size is not known: fits nearly every one
MAX_SCREEN_SHARE = 0.9  # of the screen that a window takes at most: frames and task bars need the rest
MIN_LEGIBLE_WIDTH = 640  # pixels: a narrower picture is enlarged, so that the line of keys can be read
SPLIT_STEP = 0.05  # of the width, by which a key moves the split
MESSAGE_S = 2.5  # how long a message stays

ESCAPE = 27
# As Qt and GTK, Windows, and macOS number them.
LEFT, RIGHT = (0xFF51, 0x250000, 0xF702), (0xFF53, 0x270000, 0xF703)
KEYS: dict[int, str] = {
    **dict.fromkeys((ord("q"), ESCAPE), "quit"),
    ord(" "): "pause",
    ord("v"): "view",
    ord("s"): "snapshot",
    ord("t"): "steady",
    ord("n"): "model",
    ord("h"): "help",
    **dict.fromkeys((ord("["), *LEFT), "left"),
    **dict.fromkeys((ord("]"), *RIGHT), "right"),
}


class WindowSink(Sink):
    """Shows the stream in a window; with several sources, one window for each.

    Keys, which the window lists: q or Esc quits, space pauses, v goes to the next view, s saves what is shown
    as a PNG, t turns steadying on and off, n takes the next of `translators`, h hides the list. In the split
    view the line follows the mouse while its button is held, the arrow keys, and [ and ]. Closing a window
    quits too.

    A window keeps the picture's proportions, may be resized, and starts no larger than the screen. It belongs
    to the main thread: call `Stream.run` there.

    Args:
        title: of the window.
        source: the only one of several that is shown; None shows all.
        translators: that the key n goes through.
        snapshots: the folder for PNGs, by default the current one.

    Raises:
        BackendError: no window can be shown.
    """

    def __init__(
        self,
        title: str = "i2i",
        source: int | None = None,
        *,
        translators: Sequence[FrameProcessor] = (),
        snapshots: str | os.PathLike[str] = ".",
    ) -> None:
        super().__init__(source)
        try:
            display = find_display()
        except BackendError as error:
            raise BackendError(
                f"no window can be shown: {error}. Without one: a page for browsers (i2i live --no-window "
                "--mjpeg 8080; MjpegServerSink) or a file (i2i live --no-window --record out.mp4; VideoSink)"
            ) from None
        self.title, self.translators, self.snapshots = title, tuple(translators), Path(snapshots)
        self._screen = (display.width, display.height) if display.width else DEFAULT_SCREEN
        self._windows: dict[int, _Window] = {}
        self._last: dict[int, Result] = {}
        self._message, self._message_ends = "", 0.0
        self._helps = True

    def open(self, stream: Stream) -> None:
        """Remember what the keys rule."""
        self._stream = stream

    def take(self, result: Result) -> None:
        """Show the picture."""
        source = result.source
        if source not in self._windows:
            self._windows[source] = _Window(self._format_title(source), self._screen, self._move_split)
        self._last[source] = result
        self._windows[source].show(result, self._format_caption())

    def idle(self) -> None:
        """Do what was typed and clicked, and show what that changes, also while no frame comes."""
        if not self._windows:  # OpenCV hears keys through a window only
            return
        key = cv2.waitKeyEx(1)
        if (action := find_action(key)) is not None:
            self._act(action)
        for source, window in self._windows.items():
            if window.is_closed:
                self._stream.close()
                return
            result = self._last[source]
            view_state = replace(self._stream.view_state, lines=result.view_state.lines)
            caption = self._format_caption()
            if (result.view_state, window.caption) != (view_state, caption):
                self._last[source] = result = replace(result, view_state=view_state)
                window.show(result, caption)

    def close(self) -> None:
        """Close the windows."""
        for window in self._windows.values():
            window.close()
        self._windows.clear()

    def show_message(self, message: str) -> None:
        """Show a line of text for a moment."""
        self._message, self._message_ends = message, time.perf_counter() + MESSAGE_S

    def _format_title(self, source: int) -> str:
        """Windows of OpenCV are told apart by their titles."""
        sources = self._stream.sources
        return self.title if len(sources) == 1 else f"{self.title} {source + 1}: {sources[source].name}"

    def _format_caption(self) -> str:
        """What stands at the bottom now."""
        shown = ["paused"] if self._stream.paused else []
        if time.perf_counter() < self._message_ends:
            shown.append(self._message)
        elif self._helps:
            models = ["n model"] if len(self.translators) > 1 else []
            split = ["[ ] or mouse: split"] if self._stream.view_state.view == "split" else []
            pause = "space go on" if self._stream.paused else "space pause"
            shown += ["q quit", pause, "v view", "s snapshot", "t steady", *models, *split, "h hide"]
        return "   ".join(shown)

    def _act(self, action: str) -> None:
        """Do what a key asks for."""
        stream, look, views = self._stream, self._stream.view_state, compose.VIEWS
        match action:
            case "quit":
                stream.close()
            case "pause":
                stream.paused = not stream.paused
            case "view":
                stream.view_state = replace(look, view=views[(views.index(look.view) + 1) % len(views)])
            case "left" | "right":
                self._move_split(look.position + (SPLIT_STEP if action == "right" else -SPLIT_STEP))
            case "steady":
                stream.stabilize = not stream.stabilize
                self.show_message(f"steady {'on' if stream.stabilize else 'off'}")
            case "model":
                self._use_next_model()
            case "snapshot":
                self._save_snapshots()
            case _:
                self._helps = not self._helps

    def _move_split(self, position: float) -> None:
        if self._stream.view_state.view == "split":
            self._stream.view_state = replace(self._stream.view_state, position=min(max(position, 0.0), 1.0))

    def _use_next_model(self) -> None:
        if len(self.translators) > 1:
            now = self._stream.translator
            at = next((i for i, translator in enumerate(self.translators) if translator is now), -1)
            new = self._stream.translator = self.translators[(at + 1) % len(self.translators)]
            self.show_message(new.name)

    def _save_snapshots(self) -> None:
        """A picture that cannot be written is told, but no reason to end the stream."""
        stamp = datetime.now().strftime("%Y%m%d_%H%M%S_%f")[:-3]
        for source, result in self._last.items():
            number = f"_{source + 1}" if len(self._last) > 1 else ""
            path = self.snapshots / f"i2i_{stamp}{number}.png"
            try:
                write_image(path, result.picture)
                self.show_message(f"saved {path}")
            except (MediaError, OSError) as error:
                self.show_message(str(error))


class _Window:
    """One window of OpenCV. caption: the text that it shows."""

    def __init__(self, name: str, screen: tuple[int, int], drag: Callable[[float], None]) -> None:
        self.caption = ""
        self._name, self._screen, self._drag = name, screen, drag
        self._shape: tuple[int, ...] = ()
        self._appeared = False
        # GUI_NORMAL: Qt's tool bar and its keys would be in the way of ours.
        cv2.namedWindow(name, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        cv2.setMouseCallback(name, self._on_mouse)

    def show(self, result: Result, caption: str) -> None:
        """Show a result, with `caption` over its lower edge."""
        canvas = draw_result(result, caption, self._screen)
        if canvas.shape != self._shape:  # first, and when the view changes: the user may have resized it
            self._shape = canvas.shape
            cv2.resizeWindow(self._name, canvas.shape[1], canvas.shape[0])
        self.caption = caption
        cv2.imshow(self._name, canvas)

    @property
    def is_closed(self) -> bool:
        """Whether it was on the screen and is no longer."""
        visible = cv2.getWindowProperty(self._name, cv2.WND_PROP_VISIBLE) >= 1
        self._appeared = self._appeared or visible
        return self._appeared and not visible

    def close(self) -> None:
        """Take it from the screen."""
        with suppress(cv2.error):  # closed with the mouse
            cv2.destroyWindow(self._name)
        cv2.waitKey(1)  # OpenCV does nothing outside of this

    def _on_mouse(self, event: int, x: int, y: int, flags: int, _: object) -> None:
        held = event == cv2.EVENT_MOUSEMOVE and flags & cv2.EVENT_FLAG_LBUTTON
        if (held or event == cv2.EVENT_LBUTTONDOWN) and self._shape:
            self._drag((x + 0.5) / self._shape[1])


def find_action(key: int) -> str | None:
    """What a key code of `cv2.waitKeyEx` asks for."""
    if key < 0:
        return None
    if key not in KEYS and key & 0xFFFF:
        key &= 0xFFFF  # GTK tells in the upper bits whether Num Lock and its like are on
    if ord("A") <= key <= ord("Z"):
        key += ord("a") - ord("A")
    return KEYS.get(key)


def draw_result(result: Result, caption: str, screen: tuple[int, int]) -> Image:
    """What a window shows of a result: its view at the window's own size, and text drawn at that size, so
    that it can be read however large the picture is.

    Args:
        result: with a picture uint8 [H, W, 3] BGR.
        caption: over the lower edge; "" is none.
        screen: width and height in pixels.

    Returns:
        uint8 [height, width, 3] BGR, of the size that `fit_window` gives.
    """
    look = result.view_state
    picture = replace(result, view_state=replace(look, lines=())).picture if look.lines else result.picture
    height, width = picture.shape[:2]
    scale = max(1.0, MIN_LEGIBLE_WIDTH / width)
    across, down = fit_window(round(width * scale), round(height * scale), screen)
    canvas = geometry.resize(picture, down, across)
    if look.lines:
        canvas = compose.draw_overlay(canvas, look.lines)
    return compose.draw_overlay(canvas, [caption], at_bottom=True) if caption else canvas


def fit_window(width: int, height: int, screen: tuple[int, int]) -> tuple[int, int]:
    """The size of a picture's window: its own, else the largest of the same proportions that fits.

    Args:
        width, height: of the picture, in pixels.
        screen: width and height in pixels.

    Returns:
        Width and height in pixels, at least 1.
    """
    scale = min(1.0, MAX_SCREEN_SHARE * screen[0] / width, MAX_SCREEN_SHARE * screen[1] / height)
    return max(1, round(width * scale)), max(1, round(height * scale))
