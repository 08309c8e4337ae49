"""A stream on a web page, without any package: JPEGs over HTTP, as network cameras send them."""

from __future__ import annotations

import errno
import ipaddress
import logging
import re
import socket
import sys
import threading
from collections.abc import Set
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import numpy as np

from i2i_sdk.errors import InputError
from i2i_sdk.live.results import Result
from i2i_sdk.live.stream import Sink, Stream

log = logging.getLogger(__name__)

BOUNDARY = "frame"
SEND_TIMEOUT_S = 2.0  # a client that takes nothing for so long is let go
MAX_CLIENTS = 16  # that look; each costs a thread and what is sent to it
MAX_CONNECTIONS = 64  # those included that only ask for the page
BACKLOG = 128  # connections that wait to be accepted
UNHEARD_MS = 20_000  # ms: a client that acknowledges nothing for so long is given up; else it is minutes
HOST_PATTERN = re.compile(r"(?ai)(\[[0-9a-f:.]{2,45}\]|[a-z0-9_.-]{1,253})(?::[0-9]{1,5})?")
PAGE = b"""<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>i2i-sdk</title><body style="margin:0;background:#111;display:grid;place-items:center;min-height:100vh">
<img src="stream.mjpg" alt="live picture" style="max-width:100%;max-height:100vh">"""


class MjpegServerSink(Sink):
    """Serves what is shown at http://HOST:PORT/ and, for programs, as http://HOST:PORT/stream.mjpg.

    Each client gets the newest picture when it is ready for one, so that a slow one never holds up the
    stream; a picture is encoded once, and only while somebody looks. Anybody who reaches the port can look:
    it is this machine alone unless host says otherwise. On this machine alone it answers to localhost and
    addresses only, so that no web page can look under a name of its own ("DNS rebinding"). At most
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
        """Start to listen, also once more after `close`. Raises InputError: it cannot listen there, or serves
        another stream.
        """
        if self._server is not None:
            raise InputError(f"this sink serves another stream at port {self.port}; give each its own")
        self._server = _MjpegServer(open_socket(self.host, self.port))
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

    daemon_threads = False  # none survives `close`, which waits for them

    def __init__(self, listening: socket.socket) -> None:
        self.clients = 0
        self._jpeg, self._number, self._closed = b"", 0, False
        self._connections: set[socket.socket] = set()
        self._changed = threading.Condition()  # of all these
        super().__init__(listening.getsockname()[:2], _MjpegHandler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
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

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no error; anything else is one of ours."""
        if not isinstance(sys.exc_info()[1], OSError):
            log.exception("a request failed")


class _MjpegHandler(BaseHTTPRequestHandler):
    timeout = SEND_TIMEOUT_S
    server: _MjpegServer  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:  # the name that http.server looks for
        path = self.path.partition("?")[0]
        if self.server.local and not is_own_host(self.headers.get("Host", "localhost")):
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


def open_socket(host: str, port: int) -> socket.socket:
    """A listening socket. Raises InputError if the address is not ours or the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    try:
        listening = socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        reasons = {
            errno.EADDRINUSE: "the port is taken, perhaps by another i2i; choose another",
            errno.EADDRNOTAVAIL: "no address of this machine; 0.0.0.0 listens on all it has",
            socket.EAI_NONAME: "no address of this machine; 0.0.0.0 listens on all it has",
            errno.EACCES: "ports below 1024 need more rights; choose another",
        }
        reason = reasons.get(error.errno or 0, error.strerror or str(error))
        raise InputError(f"cannot listen on {host} port {port}: {reason}") from error
    # Connections inherit it; asyncio sets it only where the protocol's number was named. Else the body of an
    # answer waits 40 ms for the client to acknowledge the head.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNHEARD_MS)
    return listening


def is_loopback(host: str) -> bool:
    """Whether an address, or the name localhost, is this machine's for itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def is_own_host(host: str, names: Set[str] = frozenset({"localhost"})) -> bool:
    """Whether a Host header, with or without a port, is an address, which needs no resolving, or one of
    `names`; "DNS rebinding" comes under a foreign name.
    """
    match = HOST_PATTERN.fullmatch(host)
    name = match[1].strip("[]").lower().rstrip(".") if match else ""
    with suppress(ValueError):
        return name in names or bool(ipaddress.ip_address(name))
    return False
