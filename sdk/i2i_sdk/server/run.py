"""From a socket to a clean exit: addresses to open, uvicorn, signals."""

from __future__ import annotations

import errno
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
from i2i_sdk.server.app import create_app
from i2i_sdk.server.models import Models
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


def serve(models: Models, options: ServeOptions, listener: socket.socket, say: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        models: to be served; the caller closes them.
        options: who may ask for what.
        listener: a socket from `open_socket`.
        say: called with warnings and where to open it, once it can be.
    """
    port = listener.getsockname()[1]
    lines = [*list_warnings(options), *format_addresses(options, port), "stop it with Ctrl-C"]
    server = LiveServer(create_app(models, options), options, lambda: say("\n".join(lines)))
    server.run([listener])


def open_socket(host: str, port: int) -> socket.socket:
    """A listening socket. Raises InputError if the address is not ours or the port is taken."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        both = host == "::" and socket.has_dualstack_ipv6()
        listening = socket.create_server(
            (host, port), family=family, backlog=MAX_CONNECTIONS, dualstack_ipv6=both
        )
    except OSError as error:
        reasons = {
            errno.EADDRINUSE: "the port is taken, perhaps by another i2i serve; choose another with --port",
            errno.EADDRNOTAVAIL: "no address of this machine; 0.0.0.0 listens on all it has",
            socket.EAI_NONAME: "no address of this machine; 0.0.0.0 listens on all it has",
            errno.EACCES: "ports below 1024 need more rights; choose another with --port",
        }
        reason = reasons.get(error.errno or 0, error.strerror or str(error))
        raise InputError(f"cannot listen on {host} port {port}: {reason}") from error
    # Connections inherit it; asyncio sets it only where the protocol's number was named. Else the body of an
    # answer waits 40 ms for the client to acknowledge the head.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux: give up clients that take nothing any more; else minutes
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(2000 * PING_SECONDS))
    return listening


def format_addresses(options: ServeOptions, port: int) -> list[str]:
    """What to tell the user to open: here, and on a phone."""
    scheme = "https" if options.uses_tls else "http"
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
    if not options.uses_tls:
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
