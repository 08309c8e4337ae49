"""Video files, read frame by frame in OpenCV's color order (BGR)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from i2i_sdk.errors import MediaError
from i2i_sdk.files import Closing

VIDEO_SUFFIXES = (
    *(".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts"),
    *(".mpg", ".mpeg", ".wmv", ".flv", ".3gp"),
)

MAX_FAILED_READS = 100  # failing reads in a row that end a video whose header promises no more frames


@dataclass(frozen=True)
class VideoFrame:
    """One frame of a video.

    index: 0, 1, 2 … in the order of decoding. image: uint8 [H, W, 3] BGR, 0..255, upright.
    time_ms: when it is shown, in milliseconds after the first frame. It is what the container says;
    damaged and very old files have frames whose time is not after that of the frame before.
    """

    index: int
    image: NDArray[np.uint8]
    time_ms: float


class VideoReader(Closing):
    """Every frame of a video file that decodes, in order, one at a time. For one thread.

    width, height: of the frames as delivered, in pixels, after the rotation that the file asks for. Should
    the size change on the way, OpenCV scales to that of the first frame.
    fps: frames per second as the container says; an average when the frame rate varies.
    frame_count_hint: number of frames as the container says, often off by a few; None when unknown.
    sample_aspect: width of a pixel / its height; 1 nearly always.
    undecodable: number of damaged frames passed over so far.

    Raises MediaError if the file is missing or holds no frame that can be decoded.

    Example:
        with VideoReader(path) as video:
            for frame in video:
                print(frame.index, frame.time_ms, frame.image.shape)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise MediaError(f"there is no video file {path}")
        # An absolute path, since FFmpeg takes "12:30.mp4" for a protocol called 12.
        self._capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.frame_count_hint = int(count) if count > 0 else None
        self.undecodable = 0
        self._index = 0
        self._start_ms = 0.0
        first = self._decode()
        if first is None:
            self._capture.release()
            raise MediaError(
                f"no frame of {path} can be decoded: it is damaged, holds no video, or uses a codec that "
                "this OpenCV does not have. `ffmpeg -i IN -c:v libx264 OUT.mp4` converts most files"
            )
        # The first frame is decoded here, so that what is reported is what comes, not what a header claims.
        self._first: VideoFrame | None = replace(first, time_ms=0.0)
        self._start_ms = first.time_ms  # not always 0, and not always what the header says
        self.height, self.width = first.image.shape[:2]
        self.fps = self._read_frame_rate()
        self.sample_aspect = self._read_sample_aspect()

    def __iter__(self) -> Iterator[VideoFrame]:
        return iter(self.read, None)

    def read(self) -> VideoFrame | None:
        """The next frame, or None at the end."""
        frame, self._first = self._first or self._decode(), None
        return frame

    def close(self) -> None:
        """Close the file. Reading afterwards gives None."""
        self._first = None
        self._capture.release()

    def _decode(self) -> VideoFrame | None:
        # OpenCV gives False for a packet it cannot decode as well as at the end, and goes on after it. So
        # the end is where as many reads in a row fail as packets can be left.
        left = (self.frame_count_hint or 0) - self._index - self.undecodable
        for failed in range(max(left, MAX_FAILED_READS)):
            found, image = self._capture.read()
            if found:
                time_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC) - self._start_ms
                frame = VideoFrame(self._index, np.asarray(image, np.uint8), time_ms)
                self._index += 1
                self.undecodable += failed
                return frame
        return None

    def _read_frame_rate(self) -> float:
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        if not (math.isfinite(fps) and fps > 0):
            raise MediaError(
                f"{self.path} does not say its frame rate (it reads as {fps}). "
                "`ffmpeg -i IN -r 30 OUT.mp4` makes a copy that does"
            )
        return fps

    def _read_sample_aspect(self) -> Fraction:
        across = int(self._capture.get(cv2.CAP_PROP_SAR_NUM))
        down = int(self._capture.get(cv2.CAP_PROP_SAR_DEN))
        if across <= 0 or down <= 0:  # 0:1 is FFmpeg's "not said", which everyone shows as square
            return Fraction(1)
        quarter_turn = int(self._capture.get(cv2.CAP_PROP_ORIENTATION_META)) % 180 != 0
        return Fraction(down, across) if quarter_turn else Fraction(across, down)
