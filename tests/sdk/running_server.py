"""A live server on a real port, in a thread of its own, and what its clients say."""

from __future__ import annotations

import json
import socket as sockets
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
from i2i_sdk.live.sinks.mjpeg_server import open_socket
from i2i_sdk.server.app import create_app
from i2i_sdk.server.models import open_models
from i2i_sdk.server.run import LiveServer
from i2i_sdk.server.settings import Limits, ServeOptions

TIMEOUT_S = 30.0  # seconds; what takes longer hangs
RESULT_HEADER = struct.Struct("<IIdffff")


def open_with_ort(source: str) -> Translator:
    return Translator(source, backend="ort")


class SlowTranslator(Translator):
    """Takes a while, as large networks do."""

    seconds = 0.05

    def __call__(self, image: Any) -> Any:
        time.sleep(self.seconds)
        return super().__call__(image)


def open_slow(source: str) -> Translator:
    return SlowTranslator(source, backend="ort")


@dataclass(frozen=True)
class RunningServer:
    """Where it listens."""

    address: str  # "127.0.0.1:40123"
    server: LiveServer

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.get(self.url + path, **options)

    def post(self, picture: bytes, **query: object) -> httpx.Response:
        return httpx.post(f"{self.url}/v1/translate", params=query, content=picture, timeout=TIMEOUT_S)

    def translate(self, image: Image, **query: object) -> Image:
        """What a POST makes of an image, without loss."""
        response = self.post(encode_image(image), format="png", **query)
        assert response.status_code == 200 and response.headers["content-type"] == "image/png"
        return decode_image(response.content)

    def connect_raw(self) -> sockets.socket:
        """A connection that does not speak HTTP yet."""
        address, port = self.address.split(":")
        return sockets.create_connection((address, int(port)), TIMEOUT_S)

    def connect_socket(self, **options: Any) -> StreamConnection:
        """A WebSocket, without a hello."""
        return connect_stream(f"ws://{self.address}/v1/stream", **options)

    @contextmanager
    def connect_client(self, **hello: object) -> Generator[StreamConnection]:
        """A WebSocket after its hello."""
        with self.connect_socket() as client:
            client.send_hello(**hello)
            yield client


@contextmanager
def run_server(
    sources: Sequence[Path],
    open_translator: Callable[[str], Translator] = open_with_ort,
    *,
    limits: Limits | None = None,
    options: ServeOptions | None = None,
) -> Generator[RunningServer]:
    """Serve bundles until the block ends."""
    options = replace(options or ServeOptions(port=0), limits=limits or Limits())
    with open_models([str(source) for source in sources], open_translator) as models:
        listening, ready = open_socket(options.host, options.port), threading.Event()
        server = LiveServer(create_app(models, options), options, ready.set)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            assert ready.wait(TIMEOUT_S)
            yield RunningServer(f"127.0.0.1:{listening.getsockname()[1]}", server)
        finally:
            server.should_exit = True
            thread.join(TIMEOUT_S)
            assert not thread.is_alive()


# Talking with /v1/stream


@dataclass(frozen=True)
class ResultMessage:
    """An answer, taken apart."""

    id: int
    dropped: int
    time: float
    stages: tuple[float, ...]
    picture: bytes

    @property
    def image(self) -> Image:
        return decode_image(self.picture)


def parse_result(message: str | bytes) -> ResultMessage:
    """A binary answer, taken apart."""
    assert isinstance(message, bytes), message
    number, dropped, sent, *stages = RESULT_HEADER.unpack_from(message)
    return ResultMessage(number, dropped, sent, tuple(stages), message[RESULT_HEADER.size :])


class StreamConnection(ClientConnection):
    """A WebSocket that knows the messages of /v1/stream."""

    def send_message(self, **message: object) -> None:
        self.send(json.dumps(message))

    def send_hello(self, **hello: object) -> None:
        """Say hello; the server must be ready then."""
        self.send_message(type="hello", **hello)
        assert self.receive_text()["type"] == "ready"

    def send_frame(self, number: int, picture: bytes, time_ms: float = 0.0, zero: int = 0) -> None:
        self.send(struct.pack("<IId", number, zero, time_ms) + picture)

    def receive_text(self) -> dict[str, Any]:
        """The next message, which must be a text."""
        message = self.recv(timeout=TIMEOUT_S)
        assert isinstance(message, str), "a picture came where a text was expected"
        return json.loads(message)

    def receive_result(self) -> ResultMessage:
        """The next message, which must be a picture."""
        return parse_result(self.recv(timeout=TIMEOUT_S))

    def translate_frame(self, picture: bytes, number: int = 1, time_ms: float = 0.0) -> ResultMessage:
        """Send a frame; the next message must be its translation."""
        self.send_frame(number, picture, time_ms)
        result = self.receive_result()
        assert result.id == number
        return result

    def read_until_closed(self) -> tuple[int, str]:
        """Read until the server closes; the code and the last error before."""
        last = ""
        while True:
            try:
                message = self.recv(timeout=TIMEOUT_S)
            except ConnectionClosed as error:
                assert error.rcvd is not None
                return error.rcvd.code, last
            if isinstance(message, str) and (parsed := json.loads(message))["type"] == "error":
                assert parsed["id"] is None and len(parsed["message"]) > 15
                last = parsed["code"]


def connect_stream(url: str, **options: Any) -> StreamConnection:
    """A WebSocket, without a hello."""
    options = {"compression": None, "max_size": None, "open_timeout": TIMEOUT_S} | options
    return connect(url, create_connection=StreamConnection, **options)  # type: ignore[return-value]


# Pictures


def encode_image(image: Image, suffix: str = ".png", *options: int) -> bytes:
    return cv2.imencode(suffix, image, options)[1].tobytes()


def decode_image(data: bytes) -> Image:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED), np.uint8)


def make_gradient(height: int = 48, width: int = 80) -> Image:
    """Colors that differ from each other and from place to place, and that JPEG keeps."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [200 - 100 * x / width, 60 + 100 * y / height, 30 + 60 * (x + y) / (width + height)]
    return np.stack(planes, axis=-1).astype(np.uint8)


LIMITS = Limits(max_body_bytes=300_000, max_frame_bytes=100_000, max_pixels=40_000)  # of the fixture `server`


def parse_error(response: httpx.Response) -> tuple[int, str]:
    """Status and code of an error, whose message says something."""
    error = response.json()["error"]
    assert set(error) == {"code", "message"} and len(error["message"]) > 15
    return response.status_code, error["code"]


def read_metric(server: RunningServer, name: str) -> float:
    lines = server.get("/metrics").text.splitlines()
    return float(next(line.split()[-1] for line in lines if line.startswith(f"{name} ")))


WHOLE_JPEG = encode_image(make_gradient(), ".jpg")
