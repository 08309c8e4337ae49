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

from i2i_sdk.errors import MediaError
from i2i_sdk.live.sources.addresses import open_url, redact_credentials
from i2i_sdk.live.sources.reconnecting import ConnectionLostError, LiveSource
from i2i_sdk.live.sources.source import Captured, Image
from i2i_sdk.media.images import decode_image

STALL_TIMEOUT_S = 5.0  # without a byte: the connection is taken for lost
READ_BYTES = 1 << 22  # bytes: more than a socket's buffer holds, so that one read empties it
MAX_PART_BYTES = 1 << 26  # bytes of one picture with its header
MAX_HEADER_BYTES = 4096  # bytes, at most, from a boundary to the picture
END_OF_JPEG = b"\xff\xd9"
MAX_PADDING_BYTES = 64  # after it: some cameras pad


class MultipartParser:
    """Cuts a multipart stream into its JPEGs, whatever the pieces in which it comes.

    It finds its way back to the next boundary after garbage. A body ends where its length says, if a JPEG
    ends there: waiting for what follows would cost a frame's time. Else it ends at the next boundary.
    """

    def __init__(self, boundary: str) -> None:
        # Some cameras declare "--frame" and send "--frame", others declare "frame": look for what is common.
        self._boundary = (boundary.strip('"').lstrip("-") or "--").encode()
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The bodies that are complete with `data`. Raises MediaError if one grows beyond all bounds."""
        self._buffer += data
        bodies: list[bytes] = []
        while (body := self._next_body()) is not None:
            bodies.append(body)
        if len(self._buffer) > MAX_PART_BYTES:
            raise MediaError(f"no picture ended within {MAX_PART_BYTES} bytes: this is no MJPEG stream")
        return bodies

    def _next_body(self) -> bytes | None:
        while (start := self._buffer.find(self._boundary)) >= 0:
            head = re.search(rb"\r?\n\r?\n", self._buffer[start : start + MAX_HEADER_BYTES])
            if head is not None:
                break
            if len(self._buffer) < start + MAX_HEADER_BYTES:
                return None
            del self._buffer[: start + 1]  # what looks like a boundary, and is none
        else:
            del self._buffer[: max(0, len(self._buffer) - len(self._boundary) + 1)]  # it may have begun
            return None
        body = start + head.end()
        length = re.search(rb"(?i)content-length:\s*(\d+)", self._buffer[start:body])
        end = body + int(length[1]) if length else body
        if end > len(self._buffer):
            return None
        if END_OF_JPEG in self._buffer[max(body, end - MAX_PADDING_BYTES) : end]:
            found = bytes(self._buffer[body:end])
        elif (end := self._buffer.find(self._boundary, body)) >= 0:  # no length was said, or a wrong one
            found = bytes(self._buffer[body:end]).rstrip(b"-").rstrip(b"\r\n")
        else:
            return None
        del self._buffer[:end]
        return found


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
        while not self.stopped.is_set():
            bodies = self._parts.feed(self._receive())
            arrived = time.perf_counter()
            while bodies:
                image = _decode_jpeg(bodies.pop())
                if image is not None:
                    self.skipped += len(bodies)
                    yield self.make_captured(image, arrived)
                    break
                self.undecodable += 1

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


def _decode_jpeg(jpeg: bytes) -> Image | None:
    """uint8 [H, W, 3] BGR, or None for a damaged one."""
    # Versions of OpenCV differ in whether one that is cut off decodes, with a gray rest.
    if END_OF_JPEG in jpeg[-MAX_PADDING_BYTES:]:
        with suppress(MediaError):
            return decode_image(np.frombuffer(jpeg, np.uint8), "a picture")[:, :, :3]
    return None
