"""The WebSocket of the live server: who may connect, for how long, and how it ends."""

from __future__ import annotations

import socket as sockets
import struct
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from running_server import (
    TIMEOUT_S,
    WHOLE_JPEG,
    RunningServer,
    open_slow,
    read_metric,
    read_until_closed,
    receive_result,
    receive_text,
    run_server,
    send_frame,
    send_message,
    wait_until,
)
from websockets.exceptions import InvalidStatus

from i2i_sdk.server import client_session
from i2i_sdk.server.settings import Limits, ServeOptions

FindBundle = Callable[[str], Path]

LIMITS = Limits(max_frame_bytes=50_000, max_pixels=40_000)


@pytest.fixture(scope="module")
def server(known: FindBundle) -> Generator[RunningServer]:
    with run_server([known("invert"), known("swap"), known("darken")], limits=LIMITS) as found:
        yield found


@pytest.mark.parametrize(
    "hello",
    [
        *("hello", "{}", '{"type": "ping", "t": 1}', b"binary", '{"type": "hello", "model": "nothing"}'),
        *('{"type": "hello", "format": "gif"}', '{"type": "hello", "quality": 1000}'),
    ],
)
def test_a_wrong_hello(server: RunningServer, hello: str | bytes) -> None:
    with server.connect_socket() as socket:
        socket.send(hello)
        code, error = read_until_closed(socket)
        assert code == 1008 and error in ("bad_request", "bad_option", "unknown_model")


def test_no_hello(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_session, "HELLO_SECONDS", 0.1)
    with server.connect_socket() as socket:
        assert read_until_closed(socket) == (1008, "timeout")


def test_a_token(known: FindBundle) -> None:
    with run_server([known("invert")], options=ServeOptions(port=0, token="sesame")) as server:
        for token in (None, "", "sesame ", "öffne", "\ud800", 5, ["sesame"]):
            with server.connect_socket() as socket:
                send_message(socket, type="hello", token=token)
                assert read_until_closed(socket) == (1008, "unauthorized")
        with server.connect_client(token="sesame") as client:
            send_frame(client, 1, WHOLE_JPEG)
            assert receive_result(client).id == 1


def test_other_sites_pages_are_refused(server: RunningServer) -> None:
    for origin in (
        "https://evil.example",
        "null",
        "http://127.0.0.1",
        f"https://{server.address}.evil.example",
    ):
        with pytest.raises(InvalidStatus) as refused, server.connect_socket(origin=origin):
            pass
        response = refused.value.response
        assert response.status_code == 403 and b"forbidden_origin" in (response.body or b"")
        assert response.headers["X-Content-Type-Options"] == "nosniff"
    for origin in (server.url, f"https://{server.address}", None):  # https: behind a proxy that ends TLS
        with server.connect_socket(origin=origin) as socket:
            send_message(socket, type="hello")
            assert receive_text(socket)["type"] == "ready"


def test_other_names_are_refused(server: RunningServer) -> None:
    """DNS rebinding: the page's origin and the host agree, but the name is not ours."""
    address, port = server.address.split(":")
    with sockets.create_connection((address, int(port)), TIMEOUT_S) as raw:
        raw.sendall(
            b"GET /v1/stream HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n"
            b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        assert raw.recv(4096).startswith(b"HTTP/1.1 403 ")


def test_idle_clients_are_sent_away(known: FindBundle) -> None:
    with (
        run_server([known("invert")], limits=Limits(idle_seconds=0.3)) as server,
        server.connect_client() as client,
    ):
        send_message(client, type="ping", t=1)  # shows that it lives, not that it needs its place
        assert receive_text(client)["type"] == "pong"
        assert read_until_closed(client) == (1008, "idle")
        wait_until(lambda: read_metric(server, "i2i_clients") == 0)


def test_at_most_so_many_clients(known: FindBundle) -> None:
    with run_server([known("invert")], limits=Limits(max_clients=2)) as server:
        with server.connect_client(), server.connect_client() as second:
            with server.connect_socket() as third:
                assert read_until_closed(third) == (1013, "too_many_clients")
            send_frame(second, 1, WHOLE_JPEG)
            assert receive_result(second).id == 1
            assert read_metric(server, "i2i_clients") == 2
        wait_until(lambda: read_metric(server, "i2i_clients") == 0)
        with server.connect_client() as again:
            send_frame(again, 2, WHOLE_JPEG)
            assert receive_result(again).id == 2


def test_clients_that_vanish_leave_nothing(slow_server: RunningServer) -> None:
    for number in range(10):
        with slow_server.connect_socket() as socket:
            send_message(socket, type="hello")
            assert receive_text(socket)["type"] == "ready"
            for more in range(number):
                send_frame(socket, more, WHOLE_JPEG)
            # As when a process is killed or a cable pulled: no goodbye, but a reset.
            socket.socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
            socket.socket.close()
    wait_until(lambda: read_metric(slow_server, "i2i_clients") == 0)
    with slow_server.connect_client() as client:
        send_frame(client, 1, WHOLE_JPEG)
        assert receive_result(client).id == 1


def test_stages_and_frames_are_counted(known: FindBundle) -> None:
    with run_server([known("invert")]) as server:
        with server.connect_client() as client:
            for number in range(5):
                send_frame(client, number, WHOLE_JPEG)
                assert receive_result(client).id == number
            send_frame(client, 9, b"bad")
            assert receive_text(client)["type"] == "error"
        assert read_metric(server, 'i2i_frames_total{model="invert",transport="websocket"}') == 5
        assert read_metric(server, 'i2i_stage_seconds_count{model="invert",stage="engine"}') == 5
        assert read_metric(server, 'i2i_errors_total{code="unsupported_format"}') == 1


def test_stopping_says_goodbye(known: FindBundle) -> None:
    with (
        run_server([known("invert")], open_slow) as server,
        server.connect_client() as idle,
        server.connect_client() as busy,
    ):
        for number in range(5):
            send_frame(busy, number, WHOLE_JPEG)
        server.server.should_exit = True
        assert read_until_closed(idle)[0] == read_until_closed(busy)[0] == 1001
