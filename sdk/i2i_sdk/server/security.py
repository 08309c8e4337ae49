"""Who may ask, and the headers of every answer.

A server on this machine can be reached by every page that its browser shows. So requests that change or cost
something must come from the server's own page (Origin) or from no page at all, and the server answers only
to names that are its own (Host): else a foreign page could have its name resolve to 127.0.0.1, "DNS
rebinding", and would count as our own.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import Mapping, Set
from contextlib import suppress

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from i2i_sdk.live.sinks.mjpeg_server import is_own_host
from i2i_sdk.server.prometheus import Metrics
from i2i_sdk.server.refusals import RefusedError, quote_value
from i2i_sdk.server.settings import DRAIN_SECONDS, ServeOptions

ANSWERS = ("http.response.start", "websocket.http.response.start", "websocket.accept")
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
OPEN_PATHS = ("/", "/healthz", "/v1/stream")  # the WebSocket shows its token in its first message

HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), display-capture=(), usb=()",
}
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'{sockets}; worker-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


class Guard:
    """The outermost layer: refuses what may not be asked, and puts its headers on every answer.

    Args:
        app: what it guards; a RefusedError of it is answered here.
        options: token and names.
        metrics: where refusals are counted.
    """

    def __init__(self, app: ASGIApp, options: ServeOptions, metrics: Metrics) -> None:
        self._app, self._options, self._metrics = app, options, metrics
        self._names = list_own_names() | {name.lower() for name in options.hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        own_host = ""
        # Who expects "100 Continue" sends nothing before that.
        has_body = scope.get("method", "GET") not in SAFE_METHODS and "expect" not in headers
        body = RequestBody(receive, has_body)
        receive = body.receive

        async def with_headers(message: Message) -> None:
            if message["type"] in ANSWERS:
                if message.get("status") != 408:  # that is waited for long enough
                    await body.drain()
                answer = MutableHeaders(scope=message)
                for name, value in make_security_headers(own_host).items():
                    answer[name] = value
            await send(message)

        try:
            check_host(headers.get("host", ""), self._names)
            own_host = headers.get("host", "")
            self._check(scope, headers)
            await self._app(scope, receive, with_headers)
        except RefusedError as refused:
            self._metrics.errors.labels(refused.code).inc()
            response = make_error_response(refused)
            if scope["type"] == "websocket":
                await WebSocket(scope, receive, with_headers).send_denial_response(response)
            else:
                await response(scope, receive, with_headers)

    def _check(self, scope: Scope, headers: Mapping[str, str]) -> None:
        websocket = scope["type"] == "websocket"
        if websocket or scope["method"] not in SAFE_METHODS:
            check_origin(headers.get("origin"), headers.get("host", ""))
        path: str = scope["path"]
        if path not in OPEN_PATHS and not path.startswith("/static/"):
            kind, _, token = headers.get("authorization", "").partition(" ")
            check_token(token.strip() if kind.lower() == "bearer" else None, self._options.token)


class RequestBody:
    """The body of a request; it knows whether something is left to read. is_left: of a new one."""

    def __init__(self, receive: Receive, is_left: bool) -> None:
        self._receive, self._is_left = receive, is_left

    async def receive(self) -> Message:
        """ASGI."""
        message = await self._receive()
        self._is_left = message.get("more_body", False)
        return message

    async def drain(self) -> None:
        """Read and drop what is left, for a while.

        Most clients read no answer before they have sent everything, and a connection that is closed on
        unread bytes is reset: the client would not see why it was refused.
        """

        until = time.monotonic() + DRAIN_SECONDS
        with suppress(asyncio.TimeoutError):
            while self._is_left:
                await asyncio.wait_for(self.receive(), until - time.monotonic())


def make_error_response(refused: RefusedError) -> JSONResponse:
    """The HTTP answer to what was refused."""
    extra = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "1"}}
    headers = extra.get(refused.status, {}) | refused.headers
    return JSONResponse(refused.to_json(), refused.status, headers)


def make_security_headers(own_host: str) -> dict[str, str]:
    """What every answer carries. own_host: this server's, which old Safaris need for WebSockets; or ""."""
    sockets = f" ws://{own_host} wss://{own_host}" if own_host else ""
    return {**HEADERS, "Content-Security-Policy": CONTENT_POLICY.format(sockets=sockets)}


def check_host(host: str, names: Set[str]) -> None:
    """Raise RefusedError unless `host` is an address or one of `names`."""
    if not is_own_host(host, names):
        problem = f"Host is {quote_value(host)}, which is not a name of this server"
        advice = "open it by its address, or start it with --allow-host NAME"
        raise RefusedError("forbidden_host", f"{problem}; {advice}")


def check_origin(origin: str | None, host: str) -> None:
    """Raise RefusedError if a page of another origin asks. Programs that are no browser send no Origin."""
    if origin is None:
        return
    scheme, _, authority = origin.lower().partition("://")
    default = {"http": ":80", "https": ":443"}.get(scheme)
    if default is not None and authority.removesuffix(default) == host.lower().removesuffix(default):
        return
    message = f"a page of {quote_value(origin)} asked; only this server's own page may"
    raise RefusedError("forbidden_origin", message)


def check_token(presented: object, token: str | None) -> None:
    """Raise RefusedError unless `presented` is the token, if there is one; in a time that tells nothing."""
    if token is None:
        return
    token_bytes = presented.encode(errors="replace") if isinstance(presented, str) else b""
    if not secrets.compare_digest(token_bytes, token.encode()):
        which = "another was shown" if token_bytes else "none was shown"
        message = f"this server asks for a token, {which}: Authorization: Bearer TOKEN"
        raise RefusedError("unauthorized", message)


def list_own_names() -> frozenset[str]:
    """Under which names this machine is reached without anyone's doing: localhost and its host name."""
    name = socket.gethostname().lower()
    short = name.partition(".")[0]
    return frozenset({"localhost", name, short, f"{short}.local"})
