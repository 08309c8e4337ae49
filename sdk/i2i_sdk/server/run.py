"""From a socket to a clean exit: addresses to open, uvicorn, signals."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from urllib.parse import quote

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from i2i_sdk.errors import InputError
from i2i_sdk.live.sinks.mjpeg_server import is_loopback
from i2i_sdk.live.stop_signals import INTERRUPT, TERMINATE, handle_signals
from i2i_sdk.server.settings import MAX_CONNECTIONS, PING_SECONDS, ServeOptions
from i2i_sdk.server.tls import list_own_addresses


class LiveServer(uvicorn.Server):
    """uvicorn's, with a goodbye: its WebSockets close with 1001, and a signal is a normal end.

    `should_exit = True` stops it from another thread.

    Args:
        app: of `create_app`.
        options: certificates and limits.
        on_ready: called once it can be reached.
    """

    def __init__(self, app: FastAPI, options: ServeOptions, on_ready: Callable[[], None]) -> None:
        self._app, self._on_ready = app, on_ready
        super().__init__(_make_config(app, options))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the WebSockets with 1001 where uvicorn alone would use 1012, then the rest."""
        for server in self.servers:
            server.close()
        await self._app.state.streams.close_all()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Stop at a signal. uvicorn raises it again afterwards, which would make the exit code an error's."""
        with handle_signals(INTERRUPT + TERMINATE, self.handle_exit):
            yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ask for the end. It waits two seconds for clients at most, so a second signal changes nothing:
        uvicorn's own way out at once is to drop its tasks, each with a traceback."""
        self.should_exit = True


def format_addresses(options: ServeOptions, port: int) -> list[str]:
    """What to tell the user to open: here, and on a phone."""
    scheme = "https" if options.tls_cert else "http"
    secret = f"#token={quote(options.token, '')}" if options.token else ""

    def url(host: str) -> str:
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/{secret}"

    if options.host not in ("0.0.0.0", "::"):
        return [f"open {url(options.host)}"]
    others = [address for address in list_own_addresses() if not is_loopback(address)]
    return [f"open {url('localhost')}", *(f"from other devices: {url(other)}" for other in others)]


def list_warnings(options: ServeOptions) -> list[str]:
    """What should give pause: a server for others without a token or TLS."""
    if is_loopback(options.host):
        return []
    lines: list[str] = []
    if options.token is None:
        lines.append("warning: everyone who can reach this machine can use this server; --token asks for one")
    if options.tls_cert is None:
        lines.append(
            "warning: without TLS pictures travel in the clear, and browsers on other devices give no page "
            "their camera; --tls-self-signed makes a certificate"
        )
    return lines


def check_certificate(options: ServeOptions) -> None:
    """Raise InputError unless certificate and key are there and belong together."""
    if options.tls_cert is None:
        return
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(options.tls_cert, options.tls_key)
    except OSError as error:  # ssl.SSLError is one
        files = f"{options.tls_cert} and {options.tls_key}"
        raise InputError(f"{files} are not a PEM certificate and its key: {error}") from error


def _make_config(app: FastAPI, options: ServeOptions) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="h11",
        ws=WebSocketsSansIOProtocol,
        ws_per_message_deflate=False,  # frames are compressed already
        # A little too large costs a frame, more the connection.
        ws_max_size=2 * options.limits.max_frame_bytes,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PING_SECONDS,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=1,
        ssl_certfile=options.tls_cert,
        ssl_keyfile=options.tls_key,
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
    )
