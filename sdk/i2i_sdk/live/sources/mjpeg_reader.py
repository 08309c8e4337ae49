"""A camera that sends JPEGs over HTTP (multipart/x-mixed-replace), read so that the newest one wins.

OpenCV can read such a stream too, but it queues what it has not read, so that a slow consumer falls behind
without bound; a read that waits cannot be ended; and damaged JPEGs come out as pictures.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException, HTTPResponse

import numpy as np

from i2i_sdk.errors import MediaError, redact_credentials
from i2i_sdk.live.sources.addresses import open_url
from i2i_sdk.live.sources.reconnecting import ConnectionLostError, LiveSource
from i2i_sdk.live.sources.source import Captured, Image
from i2i_sdk.media.images import decode_image

STALL_TIMEOUT_S = 5.0  # without a byte: the connection is taken for lost
PICTURE_TIMEOUT_S = 10.0  # without a picture, though bytes come
READ_BYTES = 1 << 22  # bytes: more than a socket's buffer holds, so that one read empties it
MAX_PART_BYTES = 1 << 26  # bytes of one picture with its header
MAX_HEADER_BYTES = 1 << 18  # bytes, at most, from a boundary to the picture
END_OF_JPEG = b"\xff\xd9"
MAX_PADDING_BYTES = 64  # after it: some cameras pad
BLANK_LINE = re.compile(rb"\r?\n\r?\n")
CONTENT_LENGTH = re.compile(rb"(?i)content-length:[ \t]*(\d{1,9})(?!\d)")


class MultipartParser:
    """Cuts a multipart stream into its JPEGs, whatever the pieces in which it comes.

    A body ends where its length says, if a JPEG ends there: waiting for what follows would cost a frame's
    time. Else, and where a boundary comes sooner, it ends at that. After garbage it finds the next part.
    """

    def __init__(self, boundary: str) -> None:
        # Some cameras declare "--frame" and send "--frame", others declare "frame": look for what is common.
        self._boundary = (boundary.strip('"').lstrip("-") or "--").encode(errors="replace")
        header = rb"(?:--)?[ \t]*\r?\n(?:[!-9;-~]+:[^\r\n]*\r?\n)*\r?\n"
        self._part = re.compile(re.escape(self._boundary) + header)
        self._buffer = bytearray()
        self._searched = 0  # no boundary begins before this place in the first body

    def feed(self, data: bytes) -> list[bytes]:
        """The bodies that are complete with `data`. Raises MediaError if one grows beyond all bounds."""
        self._buffer += data
        bodies = list(iter(self._take_body, None))
        if len(self._buffer) > MAX_PART_BYTES:
            self._cut(len(self._buffer))
            raise MediaError(f"no picture ended within {MAX_PART_BYTES} bytes: this is no MJPEG stream")
        return bodies

    def _take_body(self) -> bytes | None:
        if (found := self._find_body()) is None or (end := self._find_end(*found)) is None:
            return None
        body = bytes(self._buffer[found[0] : end])
        self._cut(end)
        return body

    def _find_body(self) -> tuple[int, int] | None:
        """Where the first body begins, and where it ends by its header: there too if no length is said."""
        while (start := self._buffer.find(self._boundary)) >= 0:
            if (blank := BLANK_LINE.search(self._buffer, start)) is None:
                self._cut(max(start, len(self._buffer) - MAX_HEADER_BYTES))
                return None
            start = self._buffer.find(
                self._boundary, max(start, blank.start() - MAX_HEADER_BYTES), blank.start()
            )
            if start >= 0:
                lengths = CONTENT_LENGTH.findall(self._buffer, start, blank.end())
                return blank.end(), blank.end() + int(lengths[-1] if lengths else 0)
            self._cut(blank.start())
        self._cut(max(0, len(self._buffer) - len(self._boundary) + 1))  # it may have begun
        return None

    def _find_end(self, body: int, by_length: int) -> int | None:
        at, places = max(body, self._searched) - 1, list[int]()
        while (at := self._buffer.find(self._boundary, at + 1)) >= 0:
            places.append(at)
        self._searched = places[0] if places else max(body, len(self._buffer) - len(self._boundary) + 1)
        if body < by_length <= len(self._buffer):
            places.append(by_length)
        for place in sorted(places):
            end = self._buffer.rfind(END_OF_JPEG, max(body, place - MAX_PADDING_BYTES), place)
            if end >= 0:
                return end + len(END_OF_JPEG)
            # A damaged one, unless the boundary is a word in the picture: no header follows that.
            if self._part.match(self._buffer, place, place + MAX_HEADER_BYTES):
                return place
        return None

    def _cut(self, end: int) -> None:
        """Forget what stands before `end`."""
        del self._buffer[:end]
        self._searched = 0


class MjpegStream(LiveSource):
    """An HTTP camera. Damaged JPEGs are passed over and counted; when several wait, only the newest is
    decoded.
    """

    def __init__(self, url: str) -> None:
        super().__init__(redact_credentials(url))
        self.url = url
        self._socket: socket.socket | None = None
        self._response: HTTPResponse | None = None
        self._parts = MultipartParser("")

    def open(self) -> None:
        """Ask for the stream. Raises MediaError: not there, not a stream of JPEGs."""
        self._response = response = open_url(self.url, self._keep_socket)
        content = response.headers.get("Content-Type", "")
        boundary = response.headers.get_param("boundary")
        if not content.lower().startswith("multipart/"):
            problem = f"gives {content or 'no content type'}, not a stream of JPEGs"
        elif isinstance(boundary, str):
            self._parts = MultipartParser(boundary)
            return
        else:
            advice = "give another address of the camera, for example rtsp://…"
            problem = f"names no boundary between its pictures (Content-Type: {content}); {advice}"
        self.release()
        raise MediaError(f"{self.name} {problem}")

    def read(self) -> Iterator[Captured]:
        """Frames until the connection is lost. Raises ConnectionLostError."""
        good = time.perf_counter()
        while not self.stopped.is_set():
            bodies = self._parts.feed(self._receive())
            arrived = time.perf_counter()
            while bodies:
                image = _decode_jpeg(bodies.pop())
                if image is not None:
                    whole = sum(map(_is_whole, bodies))  # those that are cut off never were to be skipped
                    self.skipped += whole
                    self.undecodable += len(bodies) - whole
                    yield self.make_captured(image, arrived)
                    good = time.perf_counter()
                    break
                self.undecodable += 1
            if arrived - good > PICTURE_TIMEOUT_S:
                raise ConnectionLostError(f"no picture for {PICTURE_TIMEOUT_S:.0f} s, though it sends data")

    def _shut(self) -> None:
        """Shut the socket, which also ends a read that waits in another thread."""
        connected, self._socket = self._socket, None
        if connected is not None:
            with suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)
            connected.close()

    def release(self) -> None:
        """Free the socket."""
        self._shut()
        if self._response is not None:
            self._response.close()

    def close(self) -> None:
        """End at once."""
        super().close()
        self._shut()

    def _keep_socket(self, connected: socket.socket) -> None:
        """Keep a new connection, so that `close` ends whatever waits for it."""
        self._socket = connected
        connected.settimeout(STALL_TIMEOUT_S)
        if self.stopped.is_set():  # closed before there was a socket to shut
            self._shut()

    def _receive(self) -> bytes:
        assert self._response is not None
        try:
            data = self._response.read1(READ_BYTES)
        except (TimeoutError, ssl.SSLError, OSError, HTTPException, ValueError, AttributeError) as error:
            # ValueError, AttributeError: closed by another thread while this one waited in http.client.
            silent = f"no data for {STALL_TIMEOUT_S:.0f} s"
            raise ConnectionLostError(silent if isinstance(error, TimeoutError) else str(error)) from error
        if not data:
            raise ConnectionLostError("the server closed the connection")
        return data


def _is_whole(jpeg: bytes) -> bool:
    return END_OF_JPEG in jpeg[-MAX_PADDING_BYTES:]


def _decode_jpeg(jpeg: bytes) -> Image | None:
    """uint8 [H, W, 3] BGR, or None for a damaged one."""
    # Versions of OpenCV differ in whether one that is cut off decodes, with a gray rest.
    if _is_whole(jpeg):
        with suppress(MediaError):
            return decode_image(np.frombuffer(jpeg, np.uint8), "a picture")[:, :, :3]
    return None
