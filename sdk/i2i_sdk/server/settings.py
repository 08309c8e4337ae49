"""What may be chosen of the server. Everything has a default that suits one machine at home."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

CREDIT = 2  # frames that a client may have under way: one being translated, one waiting or on the wire
HELLO_SECONDS = 5.0  # for the first message of a WebSocket
BODY_SECONDS = 30.0  # for the body of a POST
DRAIN_SECONDS = 10.0  # for how long a body is read on after it was refused
PING_SECONDS = 10.0  # between WebSocket pings, and for each answer: when a vanished client is noticed
GOODBYE_SECONDS = 0.5  # for clients to hear that the server stops
MAX_CONNECTIONS = 256  # open at once, idle ones of browsers included


@dataclass(frozen=True)
class Limits:
    """What one client may cost. Bytes are of encoded pictures, pixels of decoded ones."""

    max_body_bytes: int = 32_000_000  # of POST /v1/translate
    max_frame_bytes: int = 4_000_000  # of one frame on the WebSocket
    max_pixels: int = 25_000_000  # width times height
    max_clients: int = 16  # WebSockets at once
    max_pending: int = 8  # POSTs at once, the one being translated included
    idle_seconds: float = 300.0  # without a frame, until a WebSocket is closed


@dataclass(frozen=True)
class ServeOptions:
    """Where to listen and who may ask.

    token: what clients must show; None asks for nothing. hosts: names besides this machine's own under
    which browsers reach the server, for example behind a proxy.
    """

    host: str = "127.0.0.1"
    port: int = 8000  # 0: any that is free
    tls_cert: Path | None = None  # PEM; with tls_key
    tls_key: Path | None = None
    token: str | None = None
    hosts: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)

    @property
    def uses_tls(self) -> bool:
        """Is it served over https?"""
        return self.tls_cert is not None
