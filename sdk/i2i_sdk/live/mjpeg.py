"""A camera that sends JPEGs over HTTP (multipart/x-mixed-replace), read so that the newest one wins.

OpenCV can read such a stream too, but it queues what it has not read, so that a slow consumer falls behind
without bound; a read that waits cannot be ended; and damaged JPEGs come out as pictures.
"""

from __future__ import annotations

import base64
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

import cv2
import numpy as np

from i2i_sdk.errors import MediaError
from i2i_sdk.live.reconnecting import LiveSource, Lost
from i2i_sdk.live.sources import Captured

CONNECT_S = 5.0
STALLED_S = 5.0  # without a byte: the connection is taken for lost
AT_ONCE = 1 << 22  # bytes: more than a socket's buffer holds, so that one read empties it
LARGEST = 1 << 26  # bytes of one picture with its header
HEAD = 4096  # bytes, at most, from a boundary to the picture
REDIRECTS = 5
END_OF_JPEG = b"\xff\xd9"


class Parts:
    """Cuts a multipart stream into its bodies, whatever the pieces in which it comes.

    It finds its way back to the next boundary after garbage. Bodies without a length end at the next
    boundary.
    """

    def __init__(self, boundary: str) -> None:
        # Some cameras declare "--frame" and send "--frame", others declare "frame": look for what is common.
        self._boundary = (boundary.strip('"').lstrip("-") or "--").encode()
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The bodies that are complete with `data`. Raises MediaError if one grows beyond all bounds."""
        self._buffer += data
        bodies: list[bytes] = []
        while (body := self._next()) is not None:
            bodies.append(body)
        if len(self._buffer) > LARGEST:
            raise MediaError(f"no picture ended within {LARGEST} bytes: this is no MJPEG stream")
        return bodies

    def _next(self) -> bytes | None:
        while (start := self._buffer.find(self._boundary)) >= 0:
            head = re.search(rb"\r?\n\r?\n", self._buffer[start : start + HEAD])
            if head is not None:
                break
            if len(self._buffer) < start + HEAD:
                return None
            del self._buffer[: start + 1]  # what looks like a boundary, and is none
        else:
            del self._buffer[: max(0, len(self._buffer) - len(self._boundary) + 1)]  # it may have begun
            return None
        body = start + head.end()
        length = re.search(rb"(?i)content-length:\s*(\d+)", self._buffer[start:body])
        end = body + int(length[1]) if length else self._buffer.find(self._boundary, body)
        if end < body or end > len(self._buffer):
            return None
        found = bytes(self._buffer[body:end])
        del self._buffer[:end]
        return found if length else found.rstrip(b"-").rstrip(b"\r\n")


class MjpegStream(LiveSource):
    """An HTTP camera. Damaged JPEGs are passed over and counted; when several wait, only the newest is
    decoded.
    """

    def __init__(self, url: str) -> None:
        super().__init__(without_password(url))
        self.url = url
        self._socket: socket.socket | None = None
        self._response: HTTPResponse | None = None
        self._parts = Parts("")

    def connect(self) -> None:
        """Ask for the stream. Raises MediaError: not there, not a stream of JPEGs."""
        if self._response is not None:  # of a connection that was lost
            self._response.close()
        response = ask(self.url, self._hold)
        content = response.headers.get("Content-Type", "")
        boundary = response.headers.get_param("boundary")
        if not content.lower().startswith("multipart/") or not isinstance(boundary, str):
            response.close()
            self.disconnect()
            raise MediaError(f"{self.name} gives {content or 'no content type'}, not a stream of JPEGs")
        self._response, self._parts = response, Parts(boundary)

    def read(self) -> Iterator[Captured]:
        """Frames until the connection is lost. Raises Lost."""
        while not self.stopped.is_set():
            bodies = self._parts.feed(self._received())
            arrived = time.perf_counter()
            while bodies:
                image = decoded(bodies.pop())
                if image is not None:
                    self.skipped += len(bodies)
                    yield self.captured_at(image, arrived)
                    break
                self.undecodable += 1

    def disconnect(self) -> None:
        """Shut the socket, which also ends a read that waits in another thread."""
        connected, self._socket = self._socket, None
        if connected is not None:
            with suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)
            connected.close()

    def release(self) -> None:
        """Free the socket."""
        super().release()
        if self._response is not None:
            self._response.close()

    def close(self) -> None:
        """End at once."""
        super().close()
        self.disconnect()

    def _hold(self, connected: socket.socket) -> None:
        """Keep a new connection, so that `close` ends whatever waits for it."""
        self._socket = connected
        connected.settimeout(STALLED_S)
        if self.stopped.is_set():  # closed before there was a socket to shut
            self.disconnect()

    def _received(self) -> bytes:
        assert self._response is not None
        try:
            data = self._response.read1(AT_ONCE)
        except (TimeoutError, ssl.SSLError, OSError, HTTPException, ValueError, AttributeError) as error:
            # ValueError, AttributeError: closed by another thread while this one waited in http.client.
            raise Lost(
                f"nothing for {STALLED_S:.0f} s" if isinstance(error, TimeoutError) else str(error)
            ) from error
        if not data:
            raise Lost("the server closed the connection")
        return data


def ask(url: str, hold: Callable[[socket.socket], None] = lambda connected: None) -> HTTPResponse:
    """GET `url` -> the response, its body unread. Raises MediaError.

    hold: gets every socket as soon as it is connected; shutting it ends the wait for an answer.
    """
    response = _get(url, hold)
    for _ in range(REDIRECTS):
        if response.status not in (301, 302, 303, 307, 308):
            break
        response.close()
        url = _redirected(url, response.headers.get("Location", ""))
        response = _get(url, hold)
    if response.status != 200:
        response.close()
        hint = _unauthorized(url, response) if response.status == 401 else ""
        raise MediaError(f"{without_password(url)} answers {response.status} {response.reason}{hint}")
    return response


def _get(url: str, hold: Callable[[socket.socket], None]) -> HTTPResponse:
    name = without_password(url)
    try:
        parts = urlsplit(url)
        kind = {"http": HTTPConnection, "https": HTTPSConnection}[parts.scheme]
        if not parts.hostname:
            raise ValueError
        connection = kind(parts.hostname, parts.port, timeout=CONNECT_S)
    except (ValueError, KeyError, HTTPException):
        raise MediaError(f"{name} is no http address") from None
    headers = {"Accept": "multipart/x-mixed-replace, */*", "Connection": "close"}
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    try:
        connection.connect()
        hold(connection.sock)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        if connection.sock is not None:  # left open by a server that wants to go on; now the response's alone
            connection.sock.close()
        return response
    except (OSError, HTTPException, ValueError) as error:
        connection.close()
        raise MediaError(f"cannot reach {name}: {error or type(error).__name__}") from error


def _redirected(url: str, location: str) -> str:
    """The new address; name and password go along to the same server, and to no other."""
    old, new = urlsplit(url), urlsplit(urljoin(url, location))
    same = (old.scheme, old.netloc.rpartition("@")[2]) == (new.scheme, new.netloc)
    return urlunsplit(new._replace(netloc=old.netloc) if same else new)


def _unauthorized(url: str, response: HTTPResponse) -> str:
    """What to do about a 401."""
    scheme = response.headers.get("WWW-Authenticate", "").partition(" ")[0]
    if scheme and scheme.lower() != "basic":
        return f"; it wants {scheme} authentication, and only Basic is supported: change it in the camera"
    if urlsplit(url).username is not None:
        return "; name or password is wrong"
    return "; put the name and password into the address: http://NAME:PASSWORD@HOST/"


def decoded(jpeg: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]] | None:
    """uint8 [H, W, 3] BGR, or None for a damaged one; one that is cut off would decode, with a gray rest."""
    if END_OF_JPEG not in jpeg[-64:]:  # some cameras pad
        return None
    try:
        image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if image is None else np.asarray(image, np.uint8)  # pyright: ignore[reportUnnecessaryComparison]


def without_password(url: str) -> str:
    """`url` as it may be shown: without a name and password before the host or a password in the query."""
    # The second form is a password that has a "/" and ought to be quoted.
    named = r"(?<=://)(?:[^/?#\s]*@|[^/?#\s@]*:(?!\d*(?:[/?#]|$))\S*@)"
    return re.sub(r"(?i)((?:pwd|pass|passwd|password|token)=)[^&\s]+", r"\1…", re.sub(named, "", url))
