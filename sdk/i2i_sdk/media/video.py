"""Video files, read frame by frame in OpenCV's color order (BGR)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.error import FFmpegError, InvalidDataError
from av.packet import Packet
from av.video.frame import VideoFrame as DecodedFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from i2i_sdk.errors import MediaError
from i2i_sdk.files import Closing, convert_errors
from i2i_sdk.media.audio import RESTARTING_CONTAINERS
from i2i_sdk.media.decoded_frames import FrameConverter

VIDEO_SUFFIXES = (
    *(".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".m2t"),
    *(".mpg", ".mpeg", ".vob", ".mxf", ".dv", ".wmv", ".flv", ".3gp"),
)

TIMED_CONTAINERS = ("matroska,webm", "flv")  # they say how long, not how many frames
UNKNOWN_FPS, MAX_FPS = 25.0, 1000  # where a file does not say it; where it says nonsense
MAX_RATE_ERROR = 0.02  # of rates that are the same
# Milliseconds from frame to frame: from where a frame ahead of the next is damaged, and a clock begins anew.
MAX_DAMAGED_JUMP_MS, MAX_JUMP_MS = 1000.0, 10_000.0
HDR_TRANSFERS = (16, 18)  # FFmpeg's numbers of PQ and HLG
ALPHA_FORMAT = re.compile(r"yuva|ya\d|gbrap|rgba|bgra|argb|abgr")  # in FFmpeg's names of pixel formats
MAX_MISSING_S = 1.0  # seconds by which they may be wrong


@dataclass(frozen=True)
class VideoFrame:
    """One frame of a video.

    index: 0, 1, 2 … in the order of decoding. image: uint8 [H, W, 3] BGR, 0..255, upright, progressive.
    time_ms: when it is shown, in milliseconds after the first frame. It is what the container says;
    damaged and very old files have frames whose time is not after that of the frame before.
    duration_ms: for how long, in milliseconds, as the container says; 0 where it does not.
    """

    index: int
    image: NDArray[np.uint8]
    time_ms: float
    duration_ms: float = 0.0


class VideoReader(Closing):
    """Every frame of a video file that decodes, in order, one at a time. For one thread.

    Interlaced video is deinterlaced: as many frames come out as are in the file.

    width, height: of the frames as delivered, in pixels, after the rotation that the file asks for. Should
    the size change on the way, frames are scaled to that of the first.
    fps: frames per second as the container says; an average when the frame rate varies.
    has_variable_rate: whether frames seem to be shown for different times.
    frame_count_hint: number of frames as the container says, often off by a few; None when unknown.
    sample_aspect: width of a pixel / its height; 1 nearly always.
    undecodable: number of damaged frames passed over so far.
    damaged: number of frames delivered so far that show blocks or smears.

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
        self.undecodable = self.damaged = self._frames_read = self._packets_read = 0
        self._end_s = 0.0  # of what was read, in seconds of the file's clock
        self._is_at_end, self._jumps = False, 0
        self._rotation, self._is_hdr = 0, False  # degrees; of the newest frame
        try:
            # An absolute path, since FFmpeg takes "12:30.mp4" for a protocol called 12. Titles in old files
            # are not always UTF-8.
            self._file = av.open(path.absolute(), metadata_errors="replace")
        except FFmpegError as error:
            raise MediaError(
                f"{path} cannot be opened as a video: {error.strerror}. It is damaged, empty or "
                "something else, or it breaks off before its index, as a recording that did not end well"
            ) from None
        try:
            self._open_track()
        except BaseException:
            self.close()
            raise

    def _open_track(self) -> None:
        track = self._file.streams.best("video")  # the film, not its cover picture
        if not isinstance(track, VideoStream):
            raise self._make_unreadable_error()
        self._track = track
        self._track.thread_type = "AUTO"
        self.fps = self._read_frame_rate()
        self.has_variable_rate = abs((self._track.base_rate or 0) / self.fps - 1) > MAX_RATE_ERROR
        # VP9 and VP8 have it in data of their own, which FFmpeg's decoders pass over.
        said = self._track.metadata.get("alpha_mode") == "1"
        self._has_alpha = said or ALPHA_FORMAT.match(self._track.pix_fmt or "") is not None
        self._is_timed = self._file.format.name in TIMED_CONTAINERS
        self._packet_count, self._duration_s = self._read_packet_count(), self._read_duration()
        self.frame_count_hint = self._packet_count or round(self._duration_s * self.fps) or None
        self._frames = self._repair_times(self._read_frames())
        # The first frame is decoded here, so that what is reported is what comes, not what a header claims.
        self._first = next(self._frames, None)
        if self._first is None:
            raise self._make_unreadable_error()
        self.height, self.width = self._first.image.shape[:2]
        self.sample_aspect = self._read_sample_aspect()

    def __iter__(self) -> Iterator[VideoFrame]:
        return iter(self.read, None)

    def read(self) -> VideoFrame | None:
        """The next frame, or None at the end. Raises MediaError if one cannot be converted."""
        frame, self._first = self._first or next(self._frames, None), None
        return frame

    def close(self) -> None:
        """Close the file. Reading afterwards gives None."""
        self._first, self._frames = None, cast("Iterator[VideoFrame]", iter(()))
        self._file.close()

    def collect_notes(self) -> list[str]:
        """What the user should know about the file; complete at its end."""
        notes, name = list[str](), self.path.name
        if self.undecodable:
            notes.append(f"{self.undecodable} damaged frame(s) of {name} could not be decoded")
        if self.damaged:
            notes.append(f"{self.damaged} frame(s) of {name} are damaged and may show blocks or smears")
        if self._is_hdr:
            notes.append(f"{name} is HDR (PQ or HLG), whose colors are read as if it were not: pale")
        if self._has_alpha:
            notes.append(f"the alpha of {name} is left out")
        if self._jumps:
            notes.append(f"the clock of {name} jumps {self._jumps} time(s): frames are shown without the gap")
        if self._breaks_off():
            found, promised = self._frames_read, self.frame_count_hint
            notes.append(f"{name} breaks off: {found} of {promised} frames are there")
        return notes

    def _read_frames(self) -> Iterator[VideoFrame]:
        converter, step_ms = FrameConverter(), 1000 / self.fps
        start_ms, time_ms = math.nan, -step_ms
        with convert_errors("convert a frame of", self.path, (FFmpegError,)):
            for decoded in self._decode():
                for frame, image in converter.push(decoded):
                    # A frame without a time comes one frame after the one before.
                    time_ms = time_ms + step_ms if frame.pts is None else frame.time * 1000
                    # The first one's is not always what the header says.
                    start_ms = time_ms if math.isnan(start_ms) else start_ms
                    duration_ms = float((frame.duration or 0) * (frame.time_base or 0) * 1000)
                    self._rotation, self._is_hdr = frame.rotation, frame.color_trc in HDR_TRANSFERS
                    self._frames_read += 1
                    yield VideoFrame(self._frames_read - 1, image, time_ms - start_ms, duration_ms)

    def _repair_times(self, frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
        """After a jump that damage or a new clock explains, a frame follows the one before."""
        restarts, step_ms = self._file.format.name in RESTARTING_CONTAINERS, 1000 / self.fps
        shift_ms = last_ms = 0.0
        frame = next(frames, None)
        while frame is not None:
            following = next(frames, None)
            jump_ms = frame.time_ms + shift_ms - last_ms
            returns = following is not None and following.time_ms < frame.time_ms
            if frame.index and (
                (jump_ms > MAX_DAMAGED_JUMP_MS and returns)
                or (restarts and not -MAX_DAMAGED_JUMP_MS <= jump_ms <= MAX_JUMP_MS)
            ):
                shift_ms += step_ms - jump_ms
                self._jumps += 1
            last_ms = frame.time_ms + shift_ms
            yield replace(frame, time_ms=last_ms)
            frame = following

    def _decode(self) -> Iterator[DecodedFrame | None]:
        """Every frame that decodes, then None."""
        for packet in self._demux():
            try:
                frames = self._track.decode(packet)  # pyright: ignore[reportUnknownMemberType]
            except InvalidDataError:
                self.undecodable += 1
                continue
            for frame in frames:
                frame.time_base = self._track.time_base
                self.damaged += frame.is_corrupt
                yield frame
        yield None

    def _demux(self) -> Iterator[Packet[VideoStream] | None]:
        """The packets of the picture, then None, which makes the decoder give the rest."""
        # Where the file breaks off; PyAV's IndexError at the end, where damage made a track up on the way.
        with suppress(FFmpegError, IndexError):
            # Of all tracks: a file is whole if any of them reaches its end.
            for packet in self._file.demux():
                if packet.pts is not None:
                    end_s = (packet.pts + (packet.duration or 0)) * packet.time_base
                    self._end_s = max(self._end_s, float(end_s))
                if packet.stream_index == self._track.index and packet.size:
                    self._packets_read += 1
                    yield cast("Packet[VideoStream]", packet)
        self._is_at_end = True
        yield None

    def _breaks_off(self) -> bool:
        if not self._is_at_end:
            return False
        if self._is_timed:
            return self._end_s < self._duration_s - MAX_MISSING_S
        return self._packets_read < self._packet_count

    def _read_packet_count(self) -> int:
        """How many frames the container says there are; 0 where it does not."""
        if self._file.format.name.startswith("mov"):
            return len(self._track.index_entries)  # fewer than `frames`, where an editor left some out
        return self._track.frames

    def _read_duration(self) -> float:
        """What the container says, in seconds; 0 where it does not."""
        if self._track.duration and self._track.time_base:
            return float(self._track.duration * self._track.time_base)
        return (self._file.duration or 0) / av.time_base

    def _read_frame_rate(self) -> float:
        """Of what the container says, the first that can be meant."""
        rates = (self._track.average_rate, self._track.guessed_rate)
        return next((float(rate) for rate in rates if rate and 0 < rate <= MAX_FPS), UNKNOWN_FPS)

    def _read_sample_aspect(self) -> Fraction:
        aspect = self._track.sample_aspect_ratio
        if not aspect or aspect < 0:  # FFmpeg's "not said", which everyone shows as square
            return Fraction(1)
        return 1 / aspect if self._rotation % 180 else Fraction(aspect)

    def _make_unreadable_error(self) -> MediaError:
        return MediaError(
            f"no frame of {self.path} can be decoded: it is damaged, holds no video, or uses a codec that "
            "this FFmpeg does not have. `ffmpeg -i IN -c:v libx264 OUT.mp4` converts most files"
        )
