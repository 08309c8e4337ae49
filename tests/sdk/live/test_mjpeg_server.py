"""The stream on a web page: any number of viewers, none of whom holds it up."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from known_bundles import make_noise
from streams import wait_until

from benchmarks.support.loopback import draw_number, read_number
from i2i_sdk import InputError
from i2i_sdk.live import Latency, MjpegServerSink, MjpegStream, Result
from i2i_sdk.live.sinks import mjpeg_server

ONE_SOURCE: Any = SimpleNamespace(sources=(None,))  # for a stream; what is served comes through `take`
ZERO_LATENCY = Latency(0, 0, 0, 0, 0)


def make_result(number: int, height: int = 120, width: int = 160) -> Result:
    picture = draw_number(np.full((height, width, 3), 90, np.uint8), number)
    return Result(picture, picture, number, 0, 0.0, ZERO_LATENCY)


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Iterator[MjpegServerSink]:
    monkeypatch.setattr(mjpeg_server._MjpegHandler, "timeout", 0.5)  # a viewer that takes nothing is let go
    sink = MjpegServerSink(port=0)
    before = set(threading.enumerate())
    sink.open(ONE_SOURCE)
    yield sink
    sink.close()
    wait_until(lambda: set(threading.enumerate()) <= before)


@contextmanager
def open_viewer(sink: MjpegServerSink) -> Generator[MjpegStream]:
    """One more viewer, whom the server knows."""
    expected, source = sink.clients + 1, MjpegStream(f"http://127.0.0.1:{sink.port}/stream.mjpg")
    source.open()
    wait_until(lambda: sink.clients == expected)
    yield source
    source.close()
    source.release()


def open_raw_viewer(sink: MjpegServerSink) -> socket.socket:
    """One more viewer, who reads nothing."""
    expected, connected = sink.clients + 1, socket.create_connection(("127.0.0.1", sink.port))
    connected.sendall(b"GET /stream.mjpg HTTP/1.0\r\n\r\n")
    wait_until(lambda: sink.clients == expected)
    return connected


def send_request(sink: MjpegServerSink, path: str, **headers: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{sink.port}{path}", headers=headers, timeout=5)


def test_what_is_shown_arrives_in_order_and_the_last_picture_too(sink: MjpegServerSink) -> None:
    seen: list[int] = []

    def read_pictures() -> None:
        for captured in source.frames():
            seen.append(read_number(captured.image))
            assert abs(float(captured.image[-1].mean()) - 90) < 5

    with open_viewer(sink) as source:
        looking = threading.Thread(target=read_pictures)
        looking.start()
        for number in range(40):
            sink.take(make_result(number))
            time.sleep(0.005)
        wait_until(lambda: seen[-1:] == [39])
        assert seen == sorted(set(seen))
        source.close()
        looking.join()


def test_a_viewer_that_takes_nothing_holds_up_nobody_and_is_let_go(sink: MjpegServerSink) -> None:
    with open_raw_viewer(sink), open_viewer(sink) as source:
        frames = source.frames()
        large = make_noise(480, 640, 3)
        for number in range(200):
            picture = draw_number(large, number)
            sink.take(Result(picture, picture, number, 0, 0.0, ZERO_LATENCY))
            assert read_number(next(frames).image) == number  # the other one gets every picture at once
            if sink.clients == 1:
                break
            time.sleep(0.01)
        wait_until(lambda: sink.clients == 1)


def test_a_viewer_that_is_gone_is_forgotten(sink: MjpegServerSink) -> None:
    gone = open_raw_viewer(sink)
    gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    gone.close()  # without a word
    wait_until(lambda: show_next(sink) == 0)


def show_next(sink: MjpegServerSink, number: int = 1) -> int:
    """Show a picture; the number of viewers."""
    sink.take(make_result(number))
    return sink.clients


def test_nobody_is_shown_what_was_long_ago(sink: MjpegServerSink) -> None:
    with open_raw_viewer(sink):
        show_next(sink)
    wait_until(lambda: show_next(sink, 2) == 0)
    with open_viewer(sink) as source:
        show_next(sink, 3)
        assert read_number(next(source.frames()).image) == 3


def test_nothing_is_encoded_while_nobody_looks(sink: MjpegServerSink) -> None:
    picture = np.zeros((1, 1, 7), np.uint8)  # which no JPEG can hold
    sink.take(Result(picture, picture, 0, 0, 0.0, ZERO_LATENCY))


def test_the_page_shows_the_stream_and_other_paths_are_told(sink: MjpegServerSink) -> None:
    page, other = send_request(sink, "/"), send_request(sink, "/other")
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
    assert 'src="stream.mjpg"' in page.text
    assert other.status_code == 404 and "there are / and /stream.mjpg" in other.text


def test_closing_lets_viewers_go(sink: MjpegServerSink) -> None:
    silent = socket.create_connection(("127.0.0.1", sink.port))  # asks for nothing
    events: list[str] = []
    with silent, open_viewer(sink) as source:
        sink.close()
        assert sink.clients == 0
        source.tell = lambda kind, _: (events.append(kind), source.close())[0]
        assert list(source.frames()) == []
    assert events == ["lost"]


@pytest.mark.parametrize(
    ("host", "advice"),
    [
        ("127.0.0.1", "the port is taken"),
        ("192.0.2.1", "no address of this machine"),
        ("no host.invalid", "no address of this machine"),
    ],
)
def test_where_it_cannot_listen_it_says_what_to_do(sink: MjpegServerSink, host: str, advice: str) -> None:
    with pytest.raises(InputError, match=rf"cannot listen on {host} port {sink.port}: {advice}"):
        MjpegServerSink(sink.port, host).open(ONE_SOURCE)
    with pytest.raises(InputError, match="quality is 0; allowed: 1 to 100"):
        MjpegServerSink(quality=0)


def test_a_sink_serves_one_stream_after_the_other(sink: MjpegServerSink) -> None:
    with pytest.raises(InputError, match="serves another stream"):
        sink.open(ONE_SOURCE)
    sink.close()
    sink.open(ONE_SOURCE)
    with open_viewer(sink) as source:
        show_next(sink, 7)
        assert read_number(next(source.frames()).image) == 7


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *(("localhost", 200), ("LocalHost:8080", 200), ("127.0.0.1:8080", 200), ("[::1]:8080", 200)),
        *(("evil.example", 403), ("evil.example:8080", 403), ("127.0.0.1.evil.example", 403), ("[", 403)),
        ("192.168.1.20", 200),  # which nobody resolves
    ],
)
def test_a_name_of_others_for_this_machine_is_refused(sink: MjpegServerSink, host: str, status: int) -> None:
    for path in ("/", "/stream.mjpg"):
        with httpx.stream("GET", f"http://127.0.0.1:{sink.port}{path}", headers={"Host": host}) as response:
            assert response.status_code == status


def test_a_server_for_the_network_has_any_name() -> None:
    sink = MjpegServerSink(port=0, host="0.0.0.0")
    sink.open(ONE_SOURCE)
    assert send_request(sink, "/", Host="robot.local:8080").status_code == 200
    sink.close()


def test_every_answer_says_that_no_other_page_may_show_it(sink: MjpegServerSink) -> None:
    for path in ("/", "/stream.mjpg", "/other"):
        with httpx.stream("GET", f"http://127.0.0.1:{sink.port}{path}") as response:
            assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
            assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_more_viewers_than_there_is_room_for_are_sent_away(
    sink: MjpegServerSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mjpeg_server, "MAX_CLIENTS", 2)
    with open_raw_viewer(sink), open_raw_viewer(sink):
        refused = send_request(sink, "/stream.mjpg")
        assert refused.status_code == 503 and "2 look already" in refused.text
        assert send_request(sink, "/").status_code == 200


def test_connections_are_counted_too_and_do_not_hold_up_the_end(
    sink: MjpegServerSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mjpeg_server, "MAX_CONNECTIONS", 2)
    monkeypatch.setattr(mjpeg_server._MjpegHandler, "timeout", 60)
    connect = partial(socket.create_connection, ("127.0.0.1", sink.port), timeout=5)
    with connect(), connect():  # they ask for nothing
        wait_until(lambda: sink._server is not None and len(sink._server._connections) == 2)
        with connect() as third, suppress(ConnectionError):
            assert third.recv(1) == b""
        closing = threading.Thread(target=sink.close)
        closing.start()
        closing.join(timeout=4.0)
        assert not closing.is_alive()
