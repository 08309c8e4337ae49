"""Cameras for tests: one that serves as it should, with faults on demand, and servers that misbehave."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import numpy as np

from benchmarks.support.loopback import CameraServer, draw_number, encode_jpegs, read_number
from i2i_sdk.live import MjpegStream

Size = tuple[int, int]  # width, height

SMALL: Size = (160, 120)
JPEG = encode_jpegs([draw_number(np.full((120, 160, 3), 90, np.uint8), 5)])[0]  # its number is 5


def serve_camera(*sizes: Size, fps: float = 60.0, port: int = 0, count: int = 50) -> CameraServer:
    """Serves numbered gray pictures of SMALL or the given sizes; close it, or use it as a context manager."""
    sets = [
        encode_jpegs([draw_number(np.full((height, width, 3), 90, np.uint8), i) for i in range(count)])
        for width, height in sizes or (SMALL,)
    ]
    return CameraServer(sets, fps, port)


class RawServer:
    """Answers each connection with what `answer(request)` gives, piece by piece, and closes it then.

    requests: what clients sent. An answer that does not end holds the connection open until `close`. tls:
    speak HTTPS.
    """

    def __init__(self, answer: Callable[[str], Iterator[bytes]], tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.requests: list[str] = []
        self._answer, self._stopped = answer, threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}/"
        self._threads = [threading.Thread(target=self._listen, name="raw-server")]
        self._threads[0].start()

    def close(self) -> None:
        """Stop."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def wait(self, seconds: float = 60.0) -> None:
        """For answers: hold the connection."""
        self._stopped.wait(seconds)

    def __enter__(self) -> RawServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self) -> None:
        while not self._stopped.is_set():
            with suppress(TimeoutError):
                client, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(client,), name="raw-server-client")
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        client.settimeout(2)
        with (
            suppress(OSError),
            client if self._tls is None else self._tls.wrap_socket(client, server_side=True) as client,
        ):
            request = b""
            while b"\r\n\r\n" not in request:
                got = client.recv(4096)
                if not got:
                    return
                request += got
            self.requests.append(request.decode())
            for piece in self._answer(request.decode()):
                if self._stopped.is_set():
                    return
                client.sendall(piece)


def read_first_numbers(source: MjpegStream, count: int = 1) -> list[int]:
    """The numbers of the first pictures; closes the source."""
    source.open()
    numbers: list[int] = []
    for captured in source.frames():
        numbers.append(read_number(captured.image))
        if len(numbers) == count:
            source.close()
    source.release()
    return numbers


def format_response(status: str, headers: Sequence[str] = (), body: bytes = b"") -> bytes:
    """An HTTP answer."""
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode() + body


def format_multipart_head(boundary: str = "frame") -> bytes:
    """The head of a stream of JPEGs."""
    return format_response("200 OK", [f"Content-Type: multipart/x-mixed-replace; boundary={boundary}"])


def format_part(body: bytes, boundary: str = "frame", *, has_length: bool = True) -> bytes:
    """One picture of such a stream."""
    size = f"Content-Length: {len(body)}\r\n" if has_length else ""
    return f"--{boundary}\r\nContent-Type: image/jpeg\r\n{size}\r\n".encode() + body + b"\r\n"
