"""Video files, written as H.264 with the sound of another file: whole or not at all."""

from __future__ import annotations

import logging
import math
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.container import OutputContainer
from av.error import FFmpegError
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from i2i_sdk.errors import InputError, MediaError
from i2i_sdk.files import convert_errors, write_atomically
from i2i_sdk.media.audio import SoundTracks, encode, find_video_start

log = logging.getLogger(__name__)

ERRORS = (FFmpegError, OSError)
WRITABLE_VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov")

# Tags of a file that say how it was written; the others, such as its title and date, are kept.
CONTAINER_TAGS = ("encoder", "major_brand", "minor_version", "compatible_brands")

# For live and long videos on small CPUs: visually lossless, several times faster than the default preset.
H264_OPTIONS = {"preset": "veryfast", "crf": "18", "flags": "+frame_duration"}
# Numbers of FFmpeg, for which PyAV has names only since version 18, which needs Python 3.11.
BT709, LIMITED_RANGE = 1, 1
# SWS_AREA, SWS_FULL_CHR_H_INP, SWS_ACCURATE_RND: without the last two, swscale rounds down, and every
# generation of a video is darker than the one before.
SCALE_FLAGS = 0x20 | 0x4000 | 0x40000


class VideoWriter:
    """An H.264 video with the sound of another file. A context manager, for one thread.

    The file appears when the `with` block ends without an exception. After one, an interrupt included, an
    existing file stays as it was, and what was written so far is kept in `partial_path`, a video that plays.

    Args:
        path: .mp4, .mkv or .mov.
        width, height: of the frames that `write` takes, in pixels; an odd side is padded by one pixel.
        fps: nominal frames per second, above 0, at most 1000.
        audio_from: a file whose audio tracks are kept, in sync with its first video frame, and its title.
        sample_aspect: width of a pixel / its height.
        variable_rate: times will differ from those of fps. MP4 counts a video's duration from the times at
            which frames are decoded; only without B-frames, in larger files, these are those of showing.

    Attributes:
        notes: what the user should know about the file (padding, sound); complete after the `with` block.
        partial_path: "out.partial.mp4" beside "out.mp4".

    Raises:
        InputError: another suffix, size or fps.
        MediaError: writing fails, no frame was written, or audio_from cannot be read.

    Example:
        with VideoWriter(Path("out.mp4"), 640, 480, 30.0, audio_from=None) as writer:
            writer.write(np.zeros((480, 640, 3), np.uint8), time_ms=0.0)
    """

    def __init__(
        self,
        path: Path,
        width: int,
        height: int,
        fps: float,
        audio_from: Path | None,
        *,
        sample_aspect: Fraction = Fraction(1),
        variable_rate: bool = False,
    ) -> None:
        if path.suffix.lower() not in WRITABLE_VIDEO_SUFFIXES:
            allowed = ", ".join(WRITABLE_VIDEO_SUFFIXES)
            raise InputError(f"cannot write {path}: videos are written as {allowed}")
        if width < 1 or height < 1 or not 0 < fps <= 1000:
            raise InputError(f"a video needs a size and 0 < fps <= 1000; got {width}x{height} at {fps} fps")
        self.path, self.partial_path = path, path.with_suffix(f".partial{path.suffix}")
        self.width, self.height = width, height
        self.notes: list[str] = []
        self._audio_from = audio_from
        self._sample_aspect = sample_aspect
        self._encoder_options = H264_OPTIONS | ({"bf": "0"} if variable_rate else {})
        self._clock = _Clock(fps)
        self._reformatter = VideoReformatter()
        self._lifetime = self._open()

    def __enter__(self) -> VideoWriter:
        with convert_errors("write", self.path, ERRORS):
            self._lifetime.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        with convert_errors("write", self.path, ERRORS):
            self._lifetime.__exit__(*error)

    def write(self, image: NDArray[np.uint8], time_ms: float, duration_ms: float = 0.0) -> None:
        """Append a frame, uint8 [height, width, 3] BGR 0..255, shown `time_ms` after the first.

        duration_ms counts for the last frame, since others are shown until the next; 0 is one frame of fps.
        Times within a tenth of a frame of a multiple of 1/fps are moved onto it, so that a constant
        frame rate stays one; others are kept. A time that is not after the one before is replaced by
        one frame after it, and a note says so.

        Raises InputError for another shape or dtype, MediaError if encoding fails.
        """
        if image.shape != (self.height, self.width, 3) or image.dtype != np.uint8:
            expected = f"uint8 ({self.height}, {self.width}, 3) in BGR"
            raise InputError(f"a frame of {self.path.name} is {expected}; got {image.dtype} {image.shape}")
        with convert_errors("write", self.path, ERRORS):
            frame = self._to_yuv(image)
            frame.pts = self._clock.compute_pts(time_ms)
            frame.time_base = self._clock.time_base
            frame.duration = self._clock.compute_duration(duration_ms)
            encode(self._sink, self._stream, frame)
            if self._sound is not None:
                self._sound.copy_until(frame.pts * frame.time_base)

    def _to_yuv(self, image: NDArray[np.uint8]) -> av.VideoFrame:
        if self.width % 2 or self.height % 2:
            below, right = self.height % 2, self.width % 2
            image = np.asarray(cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE), np.uint8)
        return self._reformatter.reformat(
            av.VideoFrame.from_ndarray(image, format="bgr24"),
            format="yuv420p",
            dst_colorspace=BT709,
            dst_color_range=LIMITED_RANGE,
            interpolation=SCALE_FLAGS,
        )

    @contextmanager
    def _open(self) -> Generator[None]:
        """The writer's life: open everything, hand over to the caller, then finish or leave nothing."""
        # An absolute path, since FFmpeg takes "12:30.mp4" for a protocol called 12.
        with write_atomically(self.path.absolute()) as temporary, ExitStack() as opened:
            # The index goes to the front of MP4 and MOV, so that playing can start before the download ends.
            indexed = {} if temporary.suffix.lower() == ".mkv" else {"movflags": "+faststart"}
            self._sink = av.open(temporary, "w", container_options=indexed)
            opened.callback(_close_quietly, self._sink)
            self._stream = self._add_h264_stream()
            self._sound = self._open_sound_tracks(self._audio_from, opened) if self._audio_from else None
            try:
                yield
            except BaseException:
                if self._clock.has_frames:
                    self._keep_part(temporary)
                raise
            if not self._clock.has_frames:
                raise MediaError(f"cannot write {self.path}: not one frame was given")
            encode(self._sink, self._stream, None)
            self.notes += self._clock.collect_notes()
            if self._sound is not None:
                self._sound.copy_rest()
                self.notes += self._sound.collect_notes()
            self._sink.close()

    def _keep_part(self, temporary: Path) -> None:
        """Finish what was written so far, unless writing is what failed."""
        with suppress(FFmpegError, OSError):
            encode(self._sink, self._stream, None)
            self._sink.close()
            temporary.replace(self.partial_path)
            log.warning("the part that is finished is kept: %s", self.partial_path)

    def _add_h264_stream(self) -> av.VideoStream:
        stream = self._sink.add_stream("libx264", self._clock.rate, self._encoder_options)  # pyright: ignore[reportUnknownMemberType]
        stream.width, stream.height = self.width + self.width % 2, self.height + self.height % 2
        if (stream.width, stream.height) != (self.width, self.height):
            self.notes.append(
                f"padded from {self.width}x{self.height} to {stream.width}x{stream.height} by repeating the "
                "edge, because H.264 video needs even sides"
            )
        stream.pix_fmt = "yuv420p"
        stream.colorspace = stream.color_primaries = stream.color_trc = BT709
        stream.color_range = LIMITED_RANGE
        stream.sample_aspect_ratio = self._sample_aspect
        stream.codec_context.time_base = self._clock.time_base
        stream.thread_type = "AUTO"  # PyAV's default cuts frames into slices, which compresses worse
        return stream

    def _open_sound_tracks(self, source: Path, stack: ExitStack) -> SoundTracks:
        with convert_errors("read the sound of", source, ERRORS):
            # Titles in old files are not always UTF-8.
            file = stack.enter_context(av.open(source.absolute(), "r", metadata_errors="replace"))
            kept = {k: v for k, v in file.metadata.items() if k.lower() not in CONTAINER_TAGS}
            self._sink.metadata.update(kept)
            tracks = SoundTracks(file, self._sink, find_video_start(source))
        self._clock.start_later(tracks.video_delay)
        return tracks


class _Clock:
    """From a frame's time in milliseconds to its time stamp, a strictly increasing integer."""

    def __init__(self, fps: float) -> None:
        self.rate = Fraction(fps).limit_denominator(100_000)  # 29.97002997… becomes 30000/1001 again
        # Fine enough for real time stamps, and a whole number of ticks per frame for constant rates.
        ticks_per_second = self.rate.numerator * math.ceil(90_000 / self.rate.numerator)
        self.time_base = Fraction(1, ticks_per_second)
        self.frame_ticks = int(ticks_per_second / self.rate)
        # A tenth of a frame. At high rates a millisecond, since Matroska rounds to whole milliseconds.
        self._tolerance = min(max(0.1, float(self.rate) / 1000), 0.4)
        self._delay = 0
        self._last = -math.inf
        self._out_of_order = 0

    @property
    def has_frames(self) -> bool:
        return self._last > -math.inf

    def start_later(self, seconds: Fraction) -> None:
        self._delay = round(seconds / self.time_base)

    def compute_pts(self, time_ms: float) -> int:
        """The time stamp, in units of `time_base`."""
        frames = time_ms / 1000 * float(self.rate)
        pts = self._delay + round(frames) * self.frame_ticks
        if abs(frames - round(frames)) > self._tolerance or pts <= self._last:
            pts = self._delay + round(time_ms / 1000 / self.time_base)
        if pts <= self._last:
            pts = int(self._last) + self.frame_ticks
            self._out_of_order += 1
        self._last = pts
        return pts

    def compute_duration(self, milliseconds: float) -> int:
        """In units of `time_base`: one frame unless it differs from it by more than rounding."""
        ticks = round(milliseconds / 1000 / self.time_base)
        is_usual = ticks <= 0 or abs(ticks - self.frame_ticks) <= self._tolerance * self.frame_ticks
        return self.frame_ticks if is_usual else ticks

    def collect_notes(self) -> list[str]:
        if not self._out_of_order:
            return []
        step = f"{1000 / float(self.rate):.1f} ms"
        return [f"{self._out_of_order} frame(s) were not later than the frame before: shown {step} after it"]


def _close_quietly(sink: OutputContainer) -> None:
    """Close after a failure, whose own error is the one worth seeing. Does nothing when closed before."""
    with suppress(FFmpegError):
        sink.close()
