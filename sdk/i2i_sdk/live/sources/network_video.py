"""RTSP cameras and other network streams, through PyAV.

OpenCV opens these too, but a pause of the sender that outlasts its read limit spoils its decoder for good,
and without a limit a stream that hangs could not be closed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, cast

import av
from av.container import InputContainer
from av.error import ExitError, FFmpegError, InvalidDataError
from av.packet import Packet
from av.video.stream import VideoStream

from i2i_sdk.errors import MediaError, redact_credentials
from i2i_sdk.live.sources.addresses import CONNECT_TIMEOUT_S, advise_encoding, encode_credentials
from i2i_sdk.live.sources.mjpeg_reader import STALL_TIMEOUT_S
from i2i_sdk.live.sources.reconnecting import ConnectionLostError, LiveSource
from i2i_sdk.live.sources.source import Captured
from i2i_sdk.media.decoded_frames import FrameConverter

PICTURE_TIMEOUT_S = 30.0  # without a picture, though packets come: some cameras send key frames that seldom
READ_TIMEOUT_S = 0.9  # how long a read may wait for data: closing a stream waits for it
# RTSP's pictures come over TCP where the server can: over UDP, lost packets smear the picture.
RTSP_OPTIONS = {"rtsp_flags": "prefer_tcp"}


class NetworkVideo(LiveSource):
    """RTSP, and whatever else FFmpeg opens by an address.

    Damaged packets are passed over and counted. The thread that reads ends within a second of `close`, or
    within five while it waits for a server that does not answer.
    """

    def __init__(self, url: str) -> None:
        super().__init__(redact_credentials(url))
        self.url = url
        self._container: InputContainer | None = None
        self._stream: VideoStream | None = None
        self._converter = FrameConverter()

    def open(self) -> None:
        """Ask for the stream. Raises MediaError."""
        options = RTSP_OPTIONS if self.url.lower().startswith("rtsp") else {}
        url, timeouts = encode_credentials(self.url), (CONNECT_TIMEOUT_S, READ_TIMEOUT_S)
        begun = time.perf_counter()
        try:
            self._container = av.open(url, options=options, timeout=timeouts)
        except (FFmpegError, UnicodeError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "this is not an address"
            if time.perf_counter() - begun >= CONNECT_TIMEOUT_S:  # FFmpeg has many names for it
                reason = f"no answer within {CONNECT_TIMEOUT_S:.0f} s"
            raise MediaError(  # without FFmpeg's own text, which has the password
                f"cannot open {self.name}: {reason}. Is the address right, does a player such as VLC show "
                "it? Name and password go into the address: rtsp://NAME:PASSWORD@HOST/…"
                f"{advise_encoding(url)}"
            ) from None
        if not self._container.streams.video:
            self.release()
            raise MediaError(f"{self.name} has no video")
        self._stream, self._converter = self._container.streams.video[0], FrameConverter()
        # Decoding several frames at once would hold back as many.
        self._stream.thread_type = "SLICE"

    def read(self) -> Iterator[Captured]:
        """Frames until it is lost. Raises ConnectionLostError."""
        assert self._container is not None and self._stream is not None
        heard = good = time.perf_counter()
        while not self.stopped.is_set():
            try:
                # All of its streams: sound alone must not keep this thread from being stopped.
                for packet in self._container.demux():
                    if packet.stream_index == self._stream.index:
                        heard = time.perf_counter()
                        for captured in self._decode(packet, heard):
                            yield captured
                            good = time.perf_counter()
                        if heard - good > PICTURE_TIMEOUT_S:
                            problem = f"no picture for {PICTURE_TIMEOUT_S:.0f} s, though it sends data"
                            raise ConnectionLostError(problem)
                    if self.stopped.is_set():
                        return
                    self._check_stalled(heard)
                raise ConnectionLostError("the sender ended it")
            except ExitError:  # nothing for READ_TIMEOUT_S; the next read goes on where this one stopped
                self._check_stalled(heard)
            except IndexError:  # PyAV's at the end, where a track appeared on the way
                raise ConnectionLostError("the sender ended it") from None
            except FFmpegError as error:
                raise ConnectionLostError(error.strerror or type(error).__name__) from None

    def release(self) -> None:
        """Only the thread that reads may do this: FFmpeg is not safe against others."""
        container, self._container, self._stream = self._container, None, None
        if container is not None:
            container.close()

    def _decode(self, packet: Packet[Any], arrived: float) -> Iterator[Captured]:
        try:
            pictures = cast("Packet[VideoStream]", packet).decode() if packet.size else []
        except InvalidDataError:
            self.undecodable += 1
            return
        for picture in pictures:
            for _, image in self._converter.push(picture):
                yield self.make_captured(image, arrived)

    def _check_stalled(self, last_packet_at: float) -> None:
        if time.perf_counter() - last_packet_at > STALL_TIMEOUT_S:
            raise ConnectionLostError(f"no data for {STALL_TIMEOUT_S:.0f} s")
