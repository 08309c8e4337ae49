"""Reading images and videos as uint8 arrays in OpenCV's colour order (BGR or BGRA)."""

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

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
VIDEO_SUFFIXES = (
    *(".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts"),
    *(".mpg", ".mpeg", ".wmv", ".flv", ".3gp"),
)
JPEG = b"\xff\xd8"  # how every JPEG file begins
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # and every TIFF
END_OF_FILE_READS = 100  # failing reads in a row that end a video whose header promises no more frames


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an image file as BGR [H, W, 3], or BGRA [H, W, 4] when it has an alpha channel; uint8, 0..255.

    16-bit files are reduced to 8 bits (the high byte). The EXIF orientation is applied, except to images
    with alpha, which OpenCV reads as they are stored. Gray becomes BGR.

    Raises MediaError if the file is missing, unreadable, or a TIFF with alpha (see `_with_alpha`).
    """
    try:
        # Not cv2.imread: on Windows it cannot open names that are not ASCII.
        encoded = np.fromfile(path, np.uint8)
    except OSError as error:
        raise MediaError(f"cannot read {path}: {error.strerror or error}") from error
    return decode_image(encoded, str(path))


def decode_image(encoded: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """The bytes of an image file, uint8 [N], as `read_image` gives them; `name` is for errors.

    Raises MediaError if they are damaged, or a TIFF with alpha.
    """
    if encoded[:2].tobytes() != JPEG:  # a JPEG has no alpha, so the usual photo is decoded once
        stored = _decoded(name, encoded, cv2.IMREAD_UNCHANGED)
        if stored.ndim == 3 and stored.shape[2] == 4:
            return _with_alpha(name, stored, tiff=encoded[:4].tobytes() in TIFF)
    return np.asarray(_decoded(name, encoded, cv2.IMREAD_COLOR), np.uint8)


def _decoded(name: str, encoded: NDArray[np.uint8], mode: int) -> NDArray[np.generic]:
    try:
        image = cv2.imdecode(encoded, mode)
    except cv2.error:  # an empty file, or more pixels than OpenCV allows
        image = None
    if image is None:  # pyright: ignore[reportUnnecessaryComparison]  # OpenCV's stub is wrong
        raise MediaError(
            f"cannot decode {name} as an image: it is damaged, empty or of another format. "
            f"Readable are {', '.join(IMAGE_SUFFIXES)}"
        )
    return image


def _with_alpha(name: str, stored: NDArray[np.generic], *, tiff: bool) -> NDArray[np.uint8]:
    """BGRA [H, W, 4] uint8 of a uint8 or uint16 image."""
    if tiff:
        raise MediaError(
            f"{name} is a TIFF with an alpha channel, whose colours OpenCV may have multiplied by alpha. "
            "Convert it to PNG, or remove the alpha channel"
        )
    if stored.dtype == np.uint16:
        return (stored.astype(np.uint16) >> 8).astype(np.uint8)  # the high byte, as IMREAD_COLOR takes it
    return np.asarray(stored, np.uint8)


@dataclass(frozen=True)
class Frame:
    """One frame of a video.

    index: 0, 1, 2 … in the order of decoding. image: uint8 [H, W, 3] BGR, 0..255, upright.
    time_ms: when it is shown, in milliseconds after the first frame. It is what the container says;
    damaged and very old files have frames whose time is not after that of the frame before.
    """

    index: int
    image: NDArray[np.uint8]
    time_ms: float


class VideoReader:
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
        self._first: Frame | None = replace(first, time_ms=0.0)
        self._start_ms = first.time_ms  # not always 0, and not always what the header says
        self.height, self.width = first.image.shape[:2]
        self.fps = self._frame_rate()
        self.sample_aspect = self._sample_aspect()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        while (frame := self.read()) is not None:
            yield frame

    def read(self) -> Frame | None:
        """The next frame, or None at the end."""
        frame, self._first = self._first or self._decode(), None
        return frame

    def close(self) -> None:
        """Close the file. Reading afterwards gives None."""
        self._first = None
        self._capture.release()

    def _decode(self) -> Frame | None:
        # OpenCV gives False for a packet it cannot decode as well as at the end, and goes on after it. So
        # the end is where as many reads in a row fail as packets can be left.
        left = (self.frame_count_hint or 0) - self._index - self.undecodable
        for failed in range(max(left, END_OF_FILE_READS)):
            found, image = self._capture.read()
            if found:
                time_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC) - self._start_ms
                frame = Frame(self._index, np.asarray(image, np.uint8), time_ms)
                self._index += 1
                self.undecodable += failed
                return frame
        return None

    def _frame_rate(self) -> float:
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        if not (math.isfinite(fps) and fps > 0):
            raise MediaError(
                f"{self.path} does not say its frame rate (it reads as {fps}). "
                "`ffmpeg -i IN -r 30 OUT.mp4` makes a copy that does"
            )
        return fps

    def _sample_aspect(self) -> Fraction:
        across = int(self._capture.get(cv2.CAP_PROP_SAR_NUM))
        down = int(self._capture.get(cv2.CAP_PROP_SAR_DEN))
        if across <= 0 or down <= 0:  # 0:1 is FFmpeg's "not said", which everyone shows as square
            return Fraction(1)
        quarter_turn = int(self._capture.get(cv2.CAP_PROP_ORIENTATION_META)) % 180 != 0
        return Fraction(down, across) if quarter_turn else Fraction(across, down)
