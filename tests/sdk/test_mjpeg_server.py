"""The stream on a web page: any number of viewers, none of whom holds it up."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import pytest
from known_bundles import noise
from loopback_camera import camera_server, nothing_left, until

from benchmarks.loopback import number_of, numbered
from i2i_sdk import InputError, MediaError, Translator
from i2i_sdk.live import Latency, MjpegServerSink, MjpegStream, Result, mjpeg_server

NO_TIME = Latency(0, 0, 0, 0, 0)


def result(number: int, height: int = 120, width: int = 160) -> Result:
    picture = numbered(np.full((height, width, 3), 90, np.uint8), number)
    return Result(picture, picture, number, 0, 0.0, NO_TIME)


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Iterator[MjpegServerSink]:
    monkeypatch.setattr(mjpeg_server._Handler, "timeout", 0.5)  # a viewer that takes nothing is let go
    sink = MjpegServerSink(port=0)
    before = set(threading.enumerate())
    sink.open(None)  # type: ignore[arg-type]  # what it serves comes through `take`
    yield sink
    sink.close()
    assert until(lambda: set(threading.enumerate()) <= before)


def viewer(sink: MjpegServerSink) -> MjpegStream:
    source = MjpegStream(f"http://127.0.0.1:{sink.port}/stream.mjpg")
    source.open()
    return source


def raw_viewer(sink: MjpegServerSink) -> socket.socket:
    connected = socket.create_connection(("127.0.0.1", sink.port))
    connected.sendall(b"GET /stream.mjpg HTTP/1.0\r\n\r\n")
    return connected


def get(sink: MjpegServerSink, path: str) -> tuple[int, str, bytes]:
    connection = HTTPConnection("127.0.0.1", sink.port, timeout=5)
    connection.request("GET", path)
    response = connection.getresponse()
    answer = response.status, response.headers.get_content_type(), response.read()
    connection.close()
    return answer


def test_what_is_shown_arrives_in_order_and_the_last_picture_too(sink: MjpegServerSink) -> None:
    source, seen = viewer(sink), []
    assert until(lambda: sink.clients == 1)

    def look() -> None:
        for captured in source.frames():
            seen.append(number_of(captured.image))
            assert abs(float(captured.image[-1].mean()) - 90) < 5

    looking = threading.Thread(target=look)
    looking.start()
    for number in range(40):
        sink.take(result(number))
        time.sleep(0.005)
    assert until(lambda: seen[-1:] == [39])
    assert seen == sorted(set(seen))
    source.close()
    looking.join()
    source.release()


def test_a_viewer_that_takes_nothing_holds_up_nobody_and_is_let_go(sink: MjpegServerSink) -> None:
    slow, source = raw_viewer(sink), viewer(sink)
    assert until(lambda: sink.clients == 2)
    frames = source.frames()
    large = noise(480, 640, 3)
    for number in range(200):
        picture = numbered(large, number)
        sink.take(Result(picture, picture, number, 0, 0.0, NO_TIME))
        assert number_of(next(frames).image) == number  # the other one gets every picture at once
        if sink.clients == 1:
            break
        time.sleep(0.01)
    assert until(lambda: sink.clients == 1)
    slow.close()
    source.close()
    source.release()


def test_a_viewer_that_is_gone_is_forgotten(sink: MjpegServerSink) -> None:
    gone = raw_viewer(sink)
    assert until(lambda: sink.clients == 1)
    gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    gone.close()  # without a word

    def shown() -> bool:
        sink.take(result(1))
        return sink.clients == 0

    assert until(shown)


def test_nobody_is_shown_what_was_long_ago(sink: MjpegServerSink) -> None:
    with raw_viewer(sink):
        assert until(lambda: sink.clients == 1)
        sink.take(result(1))

    def shown() -> bool:
        sink.take(result(2))
        return sink.clients == 0

    assert until(shown)
    source = viewer(sink)
    assert until(lambda: sink.clients == 1)
    sink.take(result(3))
    assert number_of(next(source.frames()).image) == 3
    source.close()
    source.release()


def test_nothing_is_encoded_while_nobody_looks(sink: MjpegServerSink) -> None:
    picture = np.zeros((1, 1, 7), np.uint8)  # which no JPEG can hold
    sink.take(Result(picture, picture, 0, 0, 0.0, NO_TIME))


def test_the_page_shows_the_stream_and_other_paths_are_told(sink: MjpegServerSink) -> None:
    status, kind, body = get(sink, "/")
    assert (status, kind) == (200, "text/html")
    assert b'src="stream.mjpg"' in body
    status, _, body = get(sink, "/other")
    assert status == 404
    assert b"there are / and /stream.mjpg" in body


def test_closing_lets_viewers_go(sink: MjpegServerSink) -> None:
    silent = socket.create_connection(("127.0.0.1", sink.port))  # asks for nothing
    source = viewer(sink)
    assert until(lambda: sink.clients == 1)
    sink.close()
    assert sink.clients == 0
    told: list[str] = []
    source.tell = lambda kind, _: (told.append(kind), source.close())[0]
    assert list(source.frames()) == []
    assert told == ["lost"]
    source.release()
    silent.close()


def test_a_port_that_is_taken_is_an_error_that_says_so(sink: MjpegServerSink) -> None:
    with pytest.raises(MediaError, match=rf"cannot serve at 127.0.0.1:{sink.port}: .*give another port"):
        MjpegServerSink(port=sink.port).open(None)  # type: ignore[arg-type]


def test_a_quality_that_no_jpeg_has_is_refused() -> None:
    with pytest.raises(InputError, match="quality is 0; allowed: 1 to 100"):
        MjpegServerSink(quality=0)


def test_a_stream_is_served_and_read_again(known: Callable[[str], Path]) -> None:
    """Camera, translation, server; and a second translation of what is served."""
    with (
        Translator(known("invert"), backend="ort") as invert,
        Translator(known("invert"), backend="ort") as again,
        camera_server() as camera,
        nothing_left(),
    ):
        served = MjpegServerSink(port=0)
        stream = invert.stream(camera.url, sinks=[served])
        running = threading.Thread(target=stream.run)
        running.start()
        assert until(lambda: served._server is not None)
        for result in again.stream(MjpegStream(f"http://127.0.0.1:{served.port}/stream.mjpg")):
            assert result.frame[-1].mean() == pytest.approx(255 - 90, abs=5)
            assert result.output[-1].mean() == pytest.approx(90, abs=5)
            if result.index >= 10:
                break
        stream.close()
        running.join()
