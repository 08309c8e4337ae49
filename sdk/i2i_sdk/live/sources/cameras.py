"""Cameras and pipelines that OpenCV opens."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2

from i2i_sdk.errors import InputError, MediaError, redact_credentials
from i2i_sdk.imaging.geometry import check_frame
from i2i_sdk.live.sources.mjpeg_reader import STALL_TIMEOUT_S
from i2i_sdk.live.sources.reconnecting import ConnectionLostError, LiveSource
from i2i_sdk.live.sources.source import Captured

# OpenCV reads this when it first waits for a V4L2 device: how many seconds a read of a camera that hangs may
# take. Its default is 10.
os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "1")

IMMEDIATE_FAILURE_S = 0.4  # a read that fails sooner has not waited for the device: it is gone
PROBE_COUNT = 4  # camera numbers that are tried when the wanted one is not there


@dataclass(frozen=True)
class CameraOptions:
    """What a camera is asked for when it is opened; None leaves it to the driver, which may also refuse
    silently.

    fourcc: "MJPG" gives most USB cameras their full frame rate; "YUYV" is uncompressed and slower to
    transfer.
    """

    width: int | None = None
    height: int | None = None
    fps: float | None = None
    fourcc: str | None = None

    def to_parameters(self) -> list[int]:
        """As OpenCV takes them at opening. Raises InputError."""
        if self.fourcc is not None and len(self.fourcc) != 4:
            raise InputError(f"fourcc is {self.fourcc!r}; it has four letters, as MJPG")
        for name in ("width", "height", "fps"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 100_000:
                raise InputError(f"the camera's {name} is {value}; it must be more than 0")
        properties = {
            # The format first: drivers choose sizes and rates among those of the format.
            cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*self.fourcc) if self.fourcc else None,
            cv2.CAP_PROP_FRAME_WIDTH: self.width,
            cv2.CAP_PROP_FRAME_HEIGHT: self.height,
            cv2.CAP_PROP_FPS: self.fps,
        }
        chosen = [(key, int(value)) for key, value in properties.items() if value is not None]
        return [number for pair in chosen for number in pair]


class CaptureSource(LiveSource):
    """What `cv2.VideoCapture` reads. A subclass opens it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._capture: cv2.VideoCapture | None = None

    def read(self) -> Iterator[Captured]:
        """Frames until it is lost. Raises ConnectionLostError."""
        assert self._capture is not None
        good = time.perf_counter()
        while not self.stopped.is_set():
            begun = time.perf_counter()
            grabbed = self._capture.grab()
            arrived = time.perf_counter()
            found, image = self._capture.retrieve() if grabbed else (False, None)
            if found and image is not None:  # OpenCV 5 finds an empty picture where converting failed
                good = arrived
                yield self.make_captured(check_frame(image), arrived)
            elif arrived - good > STALL_TIMEOUT_S or (not grabbed and arrived - begun < IMMEDIATE_FAILURE_S):
                raise ConnectionLostError("reading a frame failed")
            else:  # one damaged picture, or a pause
                self.undecodable += grabbed

    def release(self) -> None:
        """Release the device. Only the thread that reads may do this: OpenCV is not safe against others."""
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.release()


class Camera(CaptureSource):
    """A camera of this machine, by its number."""

    def __init__(self, index: int, options: CameraOptions | None = None) -> None:
        super().__init__(f"camera {index}")
        self.index, self.options = index, options or CameraOptions()
        self._parameters = self.options.to_parameters()

    def open(self) -> None:
        """Open it. Raises MediaError, which names the devices that are there."""
        # Everything is asked for at once: setting it afterwards restarts the device, or does nothing.
        self._capture = open_capture(self.index, cv2.CAP_ANY, self._parameters)
        if self._capture is not None:
            self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
            return
        there = ", ".join(map(str, list_cameras())) or "none"
        tried = f"; of the numbers 0 to {PROBE_COUNT - 1}, {there} can be opened"
        if sys.platform == "linux":
            listed = ", ".join(sorted(map(str, Path("/dev").glob("video*"))))
            tried += f"; devices: {listed or 'no /dev/video*'}"
        raise MediaError(
            f"camera {self.index} cannot be opened: it is not there, in use by another program, or not "
            f"allowed{tried}. Give a video file or an address (rtsp://…) instead, or another number"
        )


class GStreamer(CaptureSource):
    """A GStreamer pipeline that ends in an appsink."""

    def __init__(self, pipeline: str) -> None:
        shown = redact_credentials(pipeline)
        super().__init__(shown if len(shown) <= 60 else f"{shown[:57]}…")
        self.pipeline = pipeline

    def open(self) -> None:
        """Start it. Raises MediaError; mostly: pip's OpenCV has no GStreamer."""
        self._capture = open_capture(self.pipeline, cv2.CAP_GSTREAMER)
        if self._capture is None and not has_gstreamer():
            raise MediaError(
                "this OpenCV is built without GStreamer, as every opencv-python from pip. Jetson's and "
                "Debian's python3-opencv have it; without it use a camera number, a file or an address"
            )
        if self._capture is None:
            advice = "try it with gst-launch-1.0. It must end in appsink"
            raise MediaError(f"GStreamer cannot start {redact_credentials(self.pipeline)!r}; {advice}")


def open_capture(target: int | str, api: int, parameters: Sequence[int] = ()) -> cv2.VideoCapture | None:
    """Open a capture without OpenCV's own warnings: the caller says it better.

    Args:
        target: a camera's number, or a pipeline.
        api: one of OpenCV's CAP_ values.
        parameters: properties and their values, in turn.

    Returns:
        The capture, which the caller releases; None where it did not open.
    """
    with _silence, suppress(cv2.error):
        capture = cv2.VideoCapture(target, api, parameters)  # pyright: ignore[reportCallIssue, reportArgumentType]
        return capture if capture.isOpened() else None
    return None


class _Silence:
    """OpenCV logs nothing meanwhile. Its level is one for all threads: the last that leaves restores it."""

    def __init__(self) -> None:
        self._lock, self._inside, self._before = threading.Lock(), 0, 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                cv2.utils.logging.setLogLevel(self._before)


_silence = _Silence()


def list_cameras() -> list[int]:
    """The numbers of cameras that can be opened now, of the first few."""
    found: list[int] = []
    for index in range(PROBE_COUNT):
        if (capture := open_capture(index, cv2.CAP_ANY)) is not None:
            found.append(index)
            capture.release()
    return found


def has_gstreamer() -> bool:
    """Whether this OpenCV was built with it."""
    lines = [line for line in cv2.getBuildInformation().splitlines() if "GStreamer:" in line]
    return any("YES" in line for line in lines)
