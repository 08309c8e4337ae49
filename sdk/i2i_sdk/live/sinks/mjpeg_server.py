"""A stream on a web page, without any package: JPEGs over HTTP, as network cameras send them."""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
import sys
import threading
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np

from i2i_sdk.errors import InputError, MediaError
from i2i_sdk.live.results import Result
from i2i_sdk.live.stream import Sink, Stream

log = logging.getLogger(__name__)

BOUNDARY = "frame"
SEND_TIMEOUT_S = 2.0  # a client that takes nothing for so long is let go
MAX_CLIENTS = 16  # that look; each costs a thread and what is sent to it
MAX_CONNECTIONS = 64  # those included that only ask for the page
PAGE = b"""<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>i2i-sdk</title><body style="margin:0;background:#111;display:grid;place-items:center;min-height:100vh">
<img src="stream.mjpg" alt="live picture" style="max-width:100%;max-height:100vh">"""


class MjpegServerSink(Sink):
    """Serves what is shown at http://HOST:PORT/ and, for programs, as http://HOST:PORT/stream.mjpg.

    Each client gets the newest picture when it is ready for one, so that a slow one never holds up the
    stream; a picture is encoded once, and only while somebody looks. Anybody who reaches the port can look:
    it is this machine alone unless host says otherwise. On this machine alone it answers to localhost and
    loopback addresses only, so that no web page can look under a name of its own ("DNS rebinding"). At most
    16 look at once; the next one gets 503. For cameras in phones and translation on request see `i2i serve`.

    Args:
        port: 0 takes a free one, which `port` says after `open`.
        host: address to listen on.
        quality: of the JPEGs, 1 to 100.
        source: the only one of several that is served; None takes a stream's one source.

    Raises:
        InputError: the quality is outside 1 to 100.
    """

    single = True

    def __init__(
        self, port: int = 8080, host: str = "127.0.0.1", quality: int = 85, source: int | None = None
    ) -> None:
        super().__init__(source)
        if not 1 <= quality <= 100:
            raise InputError(f"quality is {quality}; allowed: 1 to 100")
        self.host, self.port, self._quality = host, port, quality
        self._server: _MjpegServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def clients(self) -> int:
        """How many look at the moment."""
        server = self._server
        return 0 if server is None else server.clients

    def open(self, stream: Stream) -> None:
        """Start to listen, also once more after `close`. Raises MediaError, and InputError while it serves
        another stream.
        """
        if self._server is not None:
            raise InputError(f"this sink serves another stream at port {self.port}; give each its own")
        try:
            self._server = _MjpegServer((self.host, self.port))
        except OSError as error:
            advice = "another port"
            if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
                advice = "an address of this machine, or 0.0.0.0 for all of them"
            reason = f"{error.strerror or error}; give {advice}"
            raise MediaError(f"cannot serve at {self.host}:{self.port}: {reason}") from error
        self.port = self._server.server_address[1]
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, args=(0.1,), name="i2i-mjpeg-server")
        self._thread.start()

    def take(self, result: Result) -> None:
        """Encode the picture if anybody looks."""
        if self._server is not None and self._server.clients:
            options = [cv2.IMWRITE_JPEG_QUALITY, self._quality]
            _, jpeg = cv2.imencode(".jpg", result.picture, options)
            self._server.show(np.asarray(jpeg, np.uint8).tobytes())

    def close(self) -> None:
        """Let all clients go and stop listening."""
        server, self._server = self._server, None
        if server is not None and self._thread is not None:
            server.shutdown()
            server.disconnect()
            server.server_close()
            self._thread.join()


class _MjpegServer(ThreadingHTTPServer):
    """Holds the newest JPEG, for any number of waiting clients."""

    daemon_threads = False  # none survives `close`
    block_on_close = True
    allow_reuse_address = sys.platform != "win32"  # there it would take a port that another program serves

    def __init__(self, address: tuple[str, int]) -> None:
        self.clients = 0
        self._jpeg, self._number, self._closed = b"", 0, False
        self._connections: set[socket.socket] = set()
        self._changed = threading.Condition()  # of all these
        super().__init__(address, _MjpegHandler)
        self.local = is_loopback(str(self.server_address[0]))

    def show(self, jpeg: bytes) -> None:
        """Give it to everyone who is ready for one."""
        with self._changed:
            self._jpeg, self._number = jpeg, self._number + 1
            self._changed.notify_all()

    def wait_for_newer(self, number: int) -> tuple[bytes, int] | None:
        """The first picture newer than `number`, and its number; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._number > number)
            return None if self._closed else (self._jpeg, self._number)

    def add_client(self) -> int | None:
        """Count one more who looks: the number of the newest picture, which is past; None without room."""
        with self._changed:
            if self.clients >= MAX_CLIENTS:
                return None
            self.clients += 1
            return self._number

    def remove_client(self) -> None:
        """Count one less."""
        with self._changed:
            self.clients -= 1

    def verify_request(self, request: Any, client_address: object) -> bool:
        """Whether there is room for this connection, which is remembered then."""
        with self._changed:
            if len(self._connections) >= MAX_CONNECTIONS:
                return False
            self._connections.add(request)
            return True

    def disconnect(self) -> None:
        """End all connections, else a client that sends or takes a byte now and then would be waited for."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            for connection in self._connections:
                with suppress(OSError):  # gone already
                    connection.shutdown(socket.SHUT_RDWR)

    def shutdown_request(self, request: Any) -> None:
        """The end of a connection, in every case."""
        with self._changed:
            self._connections.discard(request)
        super().shutdown_request(request)

    def server_bind(self) -> None:
        """Without http.server's look-up of the own name, which may take seconds without a network."""
        TCPServer.server_bind(self)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no error; anything else is one of ours."""
        if not isinstance(sys.exc_info()[1], OSError):
            log.exception("a request failed")


class _MjpegHandler(BaseHTTPRequestHandler):
    timeout = SEND_TIMEOUT_S
    disable_nagle_algorithm = True  # else the end of a picture waits until the client has its beginning
    server: _MjpegServer  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:  # the name that http.server looks for
        path = self.path.partition("?")[0]
        if self.server.local and not is_own_name(self.headers.get("Host", "localhost")):
            self.send_error(HTTPStatus.FORBIDDEN, f"open http://localhost:{self.server.server_address[1]}/")
        elif path == "/":
            self._send_headers("text/html; charset=utf-8")
            self.wfile.write(PAGE)
        elif path == "/stream.mjpg":
            self._send_stream()
        else:
            self.send_error(HTTPStatus.NOT_FOUND, "there are / and /stream.mjpg")

    def log_message(self, format: str, *args: object) -> None:
        """Requests are nobody's business."""

    def _send_stream(self) -> None:
        if (number := self.server.add_client()) is None:
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, f"{MAX_CLIENTS} look already; try again later")
            return
        try:
            self._send_headers(f"multipart/x-mixed-replace; boundary={BOUNDARY}")
            while (found := self.server.wait_for_newer(number)) is not None:
                jpeg, number = found
                head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")
        finally:
            self.server.remove_client()

    def _send_headers(self, content: str) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", content)
        self.send_header("Connection", "close")
        self.end_headers()

    def end_headers(self) -> None:
        """With what every answer carries: no other page may show it, no cache keep it."""
        self.send_header("Cache-Control", "no-store")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()


def is_loopback(host: str) -> bool:
    """Whether an address, or the name localhost, is this machine's for itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def is_own_name(host: str) -> bool:
    """Whether a Host header, with or without a port, names this machine as only itself can; "DNS rebinding"
    comes under a foreign name.
    """
    try:
        return is_loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False
