"""The WebSocket of the live server: who may connect, for how long, and how it ends."""

from __future__ import annotations

import socket as sockets
import struct

import pytest
from known_bundles import FindBundle
from running_server import WHOLE_JPEG, RunningServer, open_slow, read_metric, run_server
from streams import wait_until
from websockets.exceptions import InvalidStatus

from i2i_sdk.server import client_session
from i2i_sdk.server.settings import Limits, ServeOptions


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
        code, error = socket.read_until_closed()
        assert code == 1008 and error in ("bad_request", "bad_option", "unknown_model")


def test_no_hello(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_session, "HELLO_SECONDS", 0.1)
    with server.connect_socket() as socket:
        assert socket.read_until_closed() == (1008, "timeout")


def test_a_token(known: FindBundle) -> None:
    with run_server([known("invert")], options=ServeOptions(port=0, token="sesame")) as server:
        for token in (None, "", "sesame ", "öffne", "\ud800", 5, ["sesame"]):
            with server.connect_socket() as socket:
                socket.send_message(type="hello", token=token)
                assert socket.read_until_closed() == (1008, "unauthorized")
        with server.connect_client(token="sesame") as client:
            client.translate_frame(WHOLE_JPEG)


def test_other_sites_pages_are_refused(server: RunningServer) -> None:
    others = ("https://evil.example", "null", "http://127.0.0.1", f"https://{server.address}.evil.example")
    for origin in others:
        with pytest.raises(InvalidStatus) as refused, server.connect_socket(origin=origin):
            pass
        response = refused.value.response
        assert response.status_code == 403 and b"forbidden_origin" in (response.body or b"")
        assert response.headers["X-Content-Type-Options"] == "nosniff"
    for origin in (server.url, f"https://{server.address}", None):  # https: behind a proxy that ends TLS
        with server.connect_socket(origin=origin) as socket:
            socket.send_hello()


def test_other_names_are_refused(server: RunningServer) -> None:
    """DNS rebinding: the page's origin and the host agree, but the name is not ours."""
    with server.connect_raw() as raw:
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
        client.send_message(type="ping", t=12.25)  # shows that it lives, not that it needs its place
        assert client.receive_text() == {"type": "pong", "t": 12.25}
        assert client.read_until_closed() == (1008, "idle")
        wait_until(lambda: read_metric(server, "i2i_clients") == 0)


def test_at_most_so_many_clients(known: FindBundle) -> None:
    with run_server([known("invert")], limits=Limits(max_clients=2)) as server:
        with server.connect_client(), server.connect_client() as second:
            with server.connect_socket() as third:
                assert third.read_until_closed() == (1013, "too_many_clients")
            second.translate_frame(WHOLE_JPEG)
            assert read_metric(server, "i2i_clients") == 2
            assert read_metric(server, 'i2i_frames_total{model="invert",transport="websocket"}') == 1
        wait_until(lambda: read_metric(server, "i2i_clients") == 0)
        with server.connect_client() as again:
            again.translate_frame(WHOLE_JPEG)


def test_clients_that_vanish_leave_nothing(slow_server: RunningServer) -> None:
    for number in range(10):
        with slow_server.connect_socket() as socket:
            socket.send_hello()
            for more in range(number):
                socket.send_frame(more, WHOLE_JPEG)
            # As when a process is killed or a cable pulled: no goodbye, but a reset.
            socket.socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
            socket.socket.close()
    wait_until(lambda: read_metric(slow_server, "i2i_clients") == 0)
    with slow_server.connect_client() as client:
        client.translate_frame(WHOLE_JPEG)


def test_stopping_says_goodbye(known: FindBundle) -> None:
    with (
        run_server([known("invert")], open_slow) as server,
        server.connect_client() as idle,
        server.connect_client() as busy,
    ):
        for number in range(5):
            busy.send_frame(number, WHOLE_JPEG)
        server.server.should_exit = True
        assert idle.read_until_closed()[0] == busy.read_until_closed()[0] == 1001
