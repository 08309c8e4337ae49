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
    """What one client may cost. Bytes are of encoded pictures, pixels (width times height) of decoded ones.

    Of the pending POSTs one is being translated. help: of the command's options.
    """

    max_body_bytes: int = field(default=32_000_000, metadata={"help": "of a picture sent by POST"})
    max_frame_bytes: int = field(default=4_000_000, metadata={"help": "of a frame of live video"})
    max_pixels: int = field(default=25_000_000, metadata={"help": "of any picture, decoded"})
    max_clients: int = field(default=16, metadata={"help": "live at once"})
    max_pending: int = field(default=8, metadata={"help": "POSTs waiting at once"})
    idle_seconds: float = field(
        default=300.0, metadata={"help": "without a frame until a live client is sent away"}
    )


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
