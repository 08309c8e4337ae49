"""Where a stream's results go, besides a window (`window.py`) and a browser (`mjpeg_server.py`)."""

from __future__ import annotations

import os
from collections import deque
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from i2i_sdk.errors import BackendError, InputError
from i2i_sdk.imaging import geometry
from i2i_sdk.live.results import Result
from i2i_sdk.live.stream import Sink, Stream
from i2i_sdk.media.images import write_image
from i2i_sdk.media.video_writer import VideoWriter

Image = NDArray[np.uint8]

LIVE_FPS = 30.0  # nominal; a recording's real times are those of its frames


class NullSink(Sink):
    """Takes results and forgets them: for measuring."""

    def take(self, result: Result) -> None:
        """Forget."""


class MemorySink(Sink):
    """Keeps the last `max_results` results in `results`."""

    def __init__(self, max_results: int = 300, source: int | None = None) -> None:
        super().__init__(source)
        if max_results < 1:
            raise InputError(f"max_results is {max_results}; a memory keeps 1 or more results")
        self.results: deque[Result] = deque(maxlen=max_results)

    def take(self, result: Result) -> None:
        """Keep."""
        self.results.append(result)


class FolderSink(Sink):
    """Writes every picture into a folder, as 000000.png …; the number is the result's index, so each of
    several sources needs a folder of its own.

    Args:
        path: of the folder; it is made with the first picture.
        suffix: ".png", ".jpg", ".webp" …
        source: the only one of several whose pictures are written.

    Raises:
        InputError: the path is a file.
    """

    single = True

    def __init__(self, path: str | os.PathLike[str], suffix: str = ".png", source: int | None = None) -> None:
        super().__init__(source)
        self.path, self.suffix = Path(path), suffix
        if self.path.is_file():
            raise InputError(f"{self.path} is a file; give a folder for the pictures")

    def take(self, result: Result) -> None:
        """Write one file. Raises MediaError."""
        write_image(self.path / f"{result.index:06d}{self.suffix}", result.picture)


class VideoSink(Sink):
    """Records H.264 video (.mp4, .mkv, .mov) of what is shown, each picture at its own time.

    A recording of a camera keeps the times at which frames came, so a varying rate stays one. The file
    appears when the stream ends, however it ends; a recording that got no frame leaves none. A picture of
    another size than the first is scaled to it. Several sources are several files: VideoSink("left.mp4",
    source=0). is_finished: the file is there.

    Raises MediaError if writing fails.
    """

    single = True

    def __init__(self, path: str | os.PathLike[str], source: int | None = None) -> None:
        super().__init__(source)
        self.path = Path(path)
        self.notes: tuple[str, ...] = ()
        self.is_finished = False
        self._writer: VideoWriter | None = None
        self._fps, self._aspect = LIVE_FPS, Fraction(1)
        self._started_ms = 0.0
        # Refuses a suffix that cannot be written before anything is captured.
        VideoWriter(self.path, 2, 2, LIVE_FPS, audio_from=None)

    def open(self, stream: Stream) -> None:
        """Learn the frame rate, where the source has one as `fps`."""
        source = stream.sources[self.source or 0]
        self._fps = getattr(source, "fps", None) or LIVE_FPS
        self._aspect = getattr(source, "sample_aspect", self._aspect)

    def take(self, result: Result) -> None:
        """Append the picture."""
        picture = result.picture
        if self._writer is None:
            height, width = picture.shape[:2]
            how = (self.path, width, height, self._fps, None)
            self._writer = VideoWriter(*how, sample_aspect=self._aspect, variable_rate=True)
            self._writer.__enter__()
            self._started_ms = result.time_ms
        picture = geometry.resize(picture, self._writer.height, self._writer.width)
        self._writer.write(np.ascontiguousarray(picture), result.time_ms - self._started_ms)

    def close(self) -> None:
        """Finish the file."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.__exit__(None, None, None)
            self.notes, self.is_finished = tuple(writer.notes), True


class VirtualCameraSink(Sink):
    """A camera that other programs see (video calls, OBS), through pyvirtualcam.

    It needs a driver: v4l2loopback on Linux, OBS's virtual camera on Windows and macOS. The camera is made
    with the first picture, which raises BackendError where it cannot be.

    Args:
        fps: frames per second that the camera claims.
        device: of several, for example "/dev/video10".
        source: the only one of several that is shown.
    """

    single = True

    def __init__(self, fps: float = LIVE_FPS, device: str | None = None, source: int | None = None) -> None:
        super().__init__(source)
        self._fps, self._device = fps, device
        self._camera: Any = None

    def take(self, result: Result) -> None:
        """Show the picture."""
        picture = result.picture
        if self._camera is None:
            self._camera = self._open_camera(picture.shape[0], picture.shape[1])
        picture = geometry.resize(picture, self._camera.height, self._camera.width)
        self._camera.send(np.ascontiguousarray(picture))

    def close(self) -> None:
        """Take the camera away."""
        camera, self._camera = self._camera, None
        if camera is not None:
            camera.close()

    def _open_camera(self, height: int, width: int) -> Any:
        try:
            import pyvirtualcam  # pyright: ignore[reportMissingTypeStubs]
        except ImportError:
            advice = "pip install 'i2i-sdk[virtual-camera]'"
            raise BackendError(f"a virtual camera needs pyvirtualcam: {advice}") from None
        order = pyvirtualcam.PixelFormat.BGR
        try:
            return pyvirtualcam.Camera(width, height, self._fps, fmt=order, device=self._device)
        except (RuntimeError, ValueError) as error:
            reason = str(error).rstrip(".")
            raise BackendError(
                f"no virtual camera could be made: {reason}. On Linux: apt-get install v4l2loopback-dkms, "
                "then modprobe v4l2loopback; on Windows and macOS: install OBS"
            ) from error
