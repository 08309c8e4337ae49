"""A live server on a real port, in a thread of its own, and what its clients say."""

from __future__ import annotations

import json
import struct
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
from known_bundles import Image
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from i2i_sdk import Translator
from i2i_sdk.server.app import create_app
from i2i_sdk.server.models import open_models
from i2i_sdk.server.options import Limits, ServeOptions
from i2i_sdk.server.run import Server, bound

HANG = 30.0  # seconds; what takes longer hangs
RESULT = struct.Struct("<IIdffff")


def with_ort(source: str) -> Translator:
    return Translator(source, backend="ort")


class Slow(Translator):
    """Takes a while, as large networks do."""

    seconds = 0.05

    def __call__(self, image: Any) -> Any:
        time.sleep(self.seconds)
        return super().__call__(image)


def slow(source: str) -> Translator:
    return Slow(source, backend="ort")


@dataclass(frozen=True)
class Running:
    """Where it listens."""

    address: str  # "127.0.0.1:40123"
    server: Server

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def socket(self, **options: Any) -> Any:
        """A WebSocket, without a hello."""
        options = {"compression": None, "max_size": None, "open_timeout": HANG} | options
        return connect(f"ws://{self.address}/v1/stream", **options)

    @contextmanager
    def client(self, **hello: object) -> Generator[ClientConnection]:
        """A WebSocket after its hello."""
        with self.socket() as socket:
            say(socket, type="hello", **hello)
            assert heard(socket)["type"] == "ready"
            yield socket


@contextmanager
def running(
    sources: Sequence[Path],
    open_one: Callable[[str], Translator] = with_ort,
    *,
    limits: Limits | None = None,
    options: ServeOptions | None = None,
) -> Generator[Running]:
    """Serve bundles until the block ends."""
    options = replace(options or ServeOptions(port=0), limits=limits or Limits())
    with open_models([str(source) for source in sources], open_one) as models:
        listening, ready = bound(options.host, options.port), threading.Event()
        server = Server(create_app(models, options), options, ready.set)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            assert ready.wait(HANG)
            yield Running(f"127.0.0.1:{listening.getsockname()[1]}", server)
        finally:
            server.should_exit = True
            thread.join(HANG)
            assert not thread.is_alive()


# Talking with /v1/stream


def say(socket: ClientConnection, **message: object) -> None:
    socket.send(json.dumps(message))


def heard(socket: ClientConnection) -> dict[str, Any]:
    """The next message, which must be a text."""
    message = socket.recv(timeout=HANG)
    assert isinstance(message, str), "a picture came where a text was expected"
    return json.loads(message)


def send_frame(
    socket: ClientConnection, number: int, picture: bytes, time_ms: float = 0.0, zero: int = 0
) -> None:
    socket.send(struct.pack("<IId", number, zero, time_ms) + picture)


@dataclass(frozen=True)
class Result:
    """An answer, taken apart."""

    id: int
    dropped: int
    time: float
    stages: tuple[float, ...]
    picture: bytes

    @property
    def image(self) -> Image:
        return decoded(self.picture)


def result(message: str | bytes) -> Result:
    """A binary answer, taken apart."""
    assert isinstance(message, bytes), message
    number, dropped, sent, *stages = RESULT.unpack_from(message)
    return Result(number, dropped, sent, tuple(stages), message[RESULT.size :])


def answer(socket: ClientConnection) -> Result:
    """The next message, which must be a picture."""
    return result(socket.recv(timeout=HANG))


# Pictures


def encoded(image: Image, suffix: str = ".png", *options: int) -> bytes:
    return cv2.imencode(suffix, image, options)[1].tobytes()


def decoded(data: bytes) -> Image:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED), np.uint8)


def smooth(height: int = 48, width: int = 80) -> Image:
    """Colours that differ from each other and from place to place, and that JPEG keeps."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [200 - 100 * x / width, 60 + 100 * y / height, 30 + 60 * (x + y) / (width + height)]
    return np.stack(planes, axis=-1).astype(np.uint8)


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread will do."""
    end = time.monotonic() + HANG
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


LIMITS = Limits(max_body_bytes=300_000, max_frame_bytes=100_000, max_pixels=40_000)  # of the fixture `server`


def refusal(response: httpx.Response) -> tuple[int, str]:
    """Status and code of an error, whose message says something."""
    error = response.json()["error"]
    assert set(error) == {"code", "message"} and len(error["message"]) > 15
    return response.status_code, error["code"]


def closed(connection: object) -> tuple[int, str]:
    """Read until the server closes; the code and the last error before."""
    last = ""
    while True:
        try:
            message = connection.recv(timeout=HANG)  # type: ignore[attr-defined]
        except ConnectionClosed as error:
            assert error.rcvd is not None
            return error.rcvd.code, last
        if isinstance(message, str) and (parsed := json.loads(message))["type"] == "error":
            assert parsed["id"] is None and len(parsed["message"]) > 15
            last = parsed["code"]


def figure(server: Running, name: str) -> float:
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return float(next(line.split()[-1] for line in lines if line.startswith(f"{name} ")))


WHOLE = encoded(smooth(), ".jpg")
