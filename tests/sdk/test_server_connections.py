"""The WebSocket of the live server: who may connect, for how long, and how it ends."""

from __future__ import annotations

import socket as sockets
import struct
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from running_server import (
    HANG,
    WHOLE,
    Running,
    answer,
    closed,
    figure,
    heard,
    running,
    say,
    send_frame,
    slow,
    until,
)
from websockets.exceptions import InvalidStatus

from i2i_sdk.server import stream
from i2i_sdk.server.options import Limits, ServeOptions

Known = Callable[[str], Path]

LIMITS = Limits(max_frame_bytes=50_000, max_pixels=40_000)


@pytest.fixture(scope="module")
def server(known: Known) -> Generator[Running]:
    with running([known("invert"), known("swap"), known("darken")], limits=LIMITS) as found:
        yield found


@pytest.mark.parametrize(
    "hello",
    [
        *("hello", "{}", '{"type": "ping", "t": 1}', b"binary", '{"type": "hello", "model": "nothing"}'),
        *('{"type": "hello", "format": "gif"}', '{"type": "hello", "quality": 1000}'),
    ],
)
def test_a_wrong_hello(server: Running, hello: str | bytes) -> None:
    with server.socket() as socket:
        socket.send(hello)
        code, error = closed(socket)
        assert code == 1008 and error in ("bad_request", "bad_option", "unknown_model")


def test_no_hello(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "HELLO_SECONDS", 0.1)
    with server.socket() as socket:
        assert closed(socket) == (1008, "timeout")


def test_a_token(known: Known) -> None:
    with running([known("invert")], options=ServeOptions(port=0, token="sesame")) as server:
        for token in (None, "", "sesame ", "öffne", "\ud800", 5, ["sesame"]):
            with server.socket() as socket:
                say(socket, type="hello", token=token)
                assert closed(socket) == (1008, "unauthorized")
        with server.client(token="sesame") as client:
            send_frame(client, 1, WHOLE)
            assert answer(client).id == 1


def test_other_sites_pages_are_refused(server: Running) -> None:
    for origin in (
        "https://evil.example",
        "null",
        "http://127.0.0.1",
        f"https://{server.address}.evil.example",
    ):
        with pytest.raises(InvalidStatus) as refused, server.socket(origin=origin):
            pass
        response = refused.value.response
        assert response.status_code == 403 and b"forbidden_origin" in (response.body or b"")
        assert response.headers["X-Content-Type-Options"] == "nosniff"
    for origin in (server.url, f"https://{server.address}", None):  # https: behind a proxy that ends TLS
        with server.socket(origin=origin) as socket:
            say(socket, type="hello")
            assert heard(socket)["type"] == "ready"


def test_other_names_are_refused(server: Running) -> None:
    """DNS rebinding: the page's origin and the host agree, but the name is not ours."""
    address, port = server.address.split(":")
    with sockets.create_connection((address, int(port)), HANG) as raw:
        raw.sendall(
            b"GET /v1/stream HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n"
            b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        assert raw.recv(4096).startswith(b"HTTP/1.1 403 ")


def test_idle_clients_are_sent_away(known: Known) -> None:
    with running([known("invert")], limits=Limits(idle_seconds=0.3)) as server, server.client() as client:
        say(client, type="ping", t=1)  # shows that it lives, not that it needs its place
        assert heard(client)["type"] == "pong"
        assert closed(client) == (1008, "idle")
        until(lambda: figure(server, "i2i_clients") == 0)


def test_at_most_so_many_clients(known: Known) -> None:
    with running([known("invert")], limits=Limits(max_clients=2)) as server:
        with server.client(), server.client() as second:
            with server.socket() as third:
                assert closed(third) == (1013, "too_many_clients")
            send_frame(second, 1, WHOLE)
            assert answer(second).id == 1
            assert figure(server, "i2i_clients") == 2
        until(lambda: figure(server, "i2i_clients") == 0)
        with server.client() as again:
            send_frame(again, 2, WHOLE)
            assert answer(again).id == 2


def test_clients_that_vanish_leave_nothing(slow_server: Running) -> None:
    for number in range(10):
        with slow_server.socket() as socket:
            say(socket, type="hello")
            assert heard(socket)["type"] == "ready"
            for more in range(number):
                send_frame(socket, more, WHOLE)
            # As when a process is killed or a cable pulled: no goodbye, but a reset.
            socket.socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
            socket.socket.close()
    until(lambda: figure(slow_server, "i2i_clients") == 0)
    with slow_server.client() as client:
        send_frame(client, 1, WHOLE)
        assert answer(client).id == 1


def test_stages_and_frames_are_counted(known: Known) -> None:
    with running([known("invert")]) as server:
        with server.client() as client:
            for number in range(5):
                send_frame(client, number, WHOLE)
                assert answer(client).id == number
            send_frame(client, 9, b"bad")
            assert heard(client)["type"] == "error"
        assert figure(server, 'i2i_frames_total{model="invert",transport="websocket"}') == 5
        assert figure(server, 'i2i_stage_seconds_count{model="invert",stage="engine"}') == 5
        assert figure(server, 'i2i_errors_total{code="unsupported_format"}') == 1


def test_stopping_says_goodbye(known: Known) -> None:
    with running([known("invert")], slow) as server, server.client() as idle, server.client() as busy:
        for number in range(5):
            send_frame(busy, number, WHOLE)
        server.server.should_exit = True
        assert closed(idle)[0] == closed(busy)[0] == 1001
