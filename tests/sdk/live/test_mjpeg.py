"""JPEGs over HTTP as a source: real sockets, real JPEGs, and what cameras and networks do wrong."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_bundles import make_noise
from loopback_camera import (
    JPEG,
    SMALL,
    RawServer,
    format_multipart_head,
    format_part,
    read_first_numbers,
    serve_camera,
)
from streams import assert_no_threads_left, wait_until

from benchmarks.support.loopback import CameraServer, draw_number, encode_jpegs, read_number
from i2i_sdk import MediaError, Translator
from i2i_sdk.live import Event, MjpegStream
from i2i_sdk.live.sources import mjpeg_reader
from i2i_sdk.live.sources.mjpeg_reader import MAX_HEADER_BYTES, MultipartParser

# The parser


def split_at(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(edges)]


@given(
    bodies=st.lists(st.binary(max_size=200), min_size=1, max_size=4),
    garbage=st.binary(max_size=50),
    places=st.lists(st.integers(0, 2000), max_size=30),
    declared=st.sampled_from(["frame", "--frame", "--myboundary", "a b", "----x----"]),
    length=st.booleans(),
)
def test_any_cutting_of_the_stream_gives_the_same_bodies(
    bodies: list[bytes], garbage: bytes, places: list[int], declared: str, length: bool
) -> None:
    mark = declared.lstrip("-").encode()
    bodies = [b"\xff\xd8" + body.replace(mark, b"") + b"\xff\xd9" for body in bodies]
    sent = garbage.replace(mark, b"")
    for body in bodies:
        sent += format_part(body, declared.lstrip("-"), has_length=length)
        if length:  # without a length, what follows belongs to the body
            sent += garbage.replace(mark, b"")
    sent += mark  # says that the one before it is complete
    parts = MultipartParser(declared)
    found = [body for piece in split_at(sent, places) for body in parts.feed(piece)]
    assert found == bodies


@pytest.mark.parametrize(
    "stream",
    [
        b"--frame\nContent-Length: 4\n\n\xff\xd8\xff\xd9\n--frame",
        b"--frame\r\ncontent-length:4\r\n\r\n\xff\xd8\xff\xd9--frame",
        b"--frame\r\n\r\n\xff\xd8\xff\xd9\r\n--frame--\r\n",
        b"frame%s\r\n--frame\r\nContent-Length: 4\r\n\r\n\xff\xd8\xff\xd9" % (b"?" * (MAX_HEADER_BYTES // 4)),
        b"--frame\r\nContent-Length: 2\r\n\r\n\xff\xd8\xff\xd9\r\n--frame\r\n",
    ],
    ids=[
        *("line feeds only", "lower case, no line end", "no headers, last one", "what looks like a boundary"),
        "a length that is too small",
    ],
)
def test_odd_streams_are_understood(stream: bytes) -> None:
    assert MultipartParser("frame").feed(stream) == [b"\xff\xd8\xff\xd9"]


WRONG_LENGTHS: dict[str, Callable[[int], object]] = {
    "too small": lambda size: size // 2,
    "too big by less than a header": lambda size: size + 30,
    "too big by less than a picture": lambda size: size + 900,
    "twice as big": lambda size: 2 * size,
    "huge": lambda size: 10**9 - 1,
    "longer than any number": lambda size: "9" * 5000,
    "negative": lambda size: -size,
    "nothing": lambda size: "",
    "text": lambda size: "a lot",
    "a float": lambda size: "1e9",
    "none, and a header line of 100 kB": lambda size: f"9\r\nX-Junk: {'x' * 100_000}",
    "none, and 100 kB of header lines": lambda size: "9" + "\r\nX-Junk: x" * 10_000,
}


@pytest.mark.parametrize("make_length", WRONG_LENGTHS.values(), ids=WRONG_LENGTHS)
@pytest.mark.parametrize("boundary", ["frame", "--frame", ""])
def test_a_wrong_length_costs_no_picture(make_length: Callable[[int], object], boundary: str) -> None:
    head = f"--{boundary.lstrip('-')}\r\nContent-Length: {make_length(len(JPEG))}\r\n\r\n"
    parts, found, counts = MultipartParser(boundary), list[bytes](), list[int]()
    for _ in range(4):
        found += parts.feed(head.encode() + JPEG + b"\r\n")
        counts.append(len(found))
    assert found == [JPEG] * len(found)
    assert counts in ([1, 2, 3, 4], [0, 1, 2, 3])  # at once, or with the boundary of the next


def test_a_boundary_that_is_a_word_in_a_picture_does_not_end_it() -> None:
    body = b"\xff\xd8 frame \xff\xd9 and then, much later, " + b"x" * 80 + b"--frame\r\n no header \xff\xd9"
    for has_length in (True, False):
        sent = format_part(body, has_length=has_length) * 2 + b"--frame"
        assert MultipartParser("frame").feed(sent) == [body] * 2


lengths = st.integers(-9, 99) | st.integers() | st.text()


@settings(settings.get_profile("strangers"))
@given(
    garbage=st.lists(
        st.binary(max_size=60)
        | st.sampled_from([b"--frame", b"\r\n", b"\r\n\r\n", b"\xff\xd8", b"\xff\xd9", b"x" * 700])
        | lengths.map(lambda length: f"Content-Length: {length}\r\n\r\n".encode()),
        max_size=12,
    ),
    wrong=st.lists(lengths, min_size=4, max_size=4),
    places=st.lists(st.integers(0, 5000), max_size=8),
)
def test_after_any_garbage_a_whole_picture_is_found(
    garbage: list[bytes], wrong: list[int | str], places: list[int]
) -> None:
    whole = b"\xff\xd8 a picture \xff\xd9"
    heads = [f"--frame\r\nContent-Length: {length}\r\n\r\n".encode() for length in wrong]
    sent = b"".join([*garbage, *(head + whole + b"\r\n" for head in heads), b"--frame"])
    parts, found = MultipartParser("frame"), list[bytes]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mjpeg_reader, "MAX_PART_BYTES", 2000)
        patch.setattr(mjpeg_reader, "MAX_HEADER_BYTES", 500)
        for piece in split_at(sent, places):
            with suppress(MediaError):
                found += parts.feed(piece)
            assert len(parts._buffer) <= 2000
    assert whole in found


def test_a_stream_without_end_of_picture_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mjpeg_reader, "MAX_PART_BYTES", 10_000)
    parts = MultipartParser("frame")
    parts.feed(b"--frame\r\nContent-Length: 99999999999\r\n\r\n")
    with pytest.raises(MediaError, match="no MJPEG stream"):
        parts.feed(bytes(20_000))


# The stream


def test_frames_come_as_they_were_sent(camera: CameraServer) -> None:
    source = MjpegStream(camera.url)
    with assert_no_threads_left():
        numbers = read_first_numbers(source, 20)
    assert numbers == sorted(numbers, key=lambda number: (number - numbers[0]) % 50)
    assert (source.undecodable, source.reconnects) == (0, 0)


def test_times_are_those_of_arrival(identity: Translator, camera: CameraServer) -> None:
    with identity.stream(camera.url) as stream:
        results = list(islice(stream, 10))
    assert results[-1].time_ms - results[0].time_ms >= 9 * 1000 / 60 - 20  # ten frames at 60 fps
    assert results[0].frame.shape == (120, 160, 3)


def test_a_slow_consumer_stays_at_the_newest_frame(identity: Translator) -> None:
    with serve_camera(count=1000) as camera, assert_no_threads_left():
        stream = identity.stream(camera.url)
        for index, result in enumerate(stream):
            behind = (int(np.argmax(camera.times)) - read_number(result.frame)) % 1000
            assert behind < 60  # of the 120 that are sent; a queue would be behind by 100
            if index == 20:
                break
            time.sleep(0.1)
        assert stream.stats.dropped >= 60


def test_of_pictures_that_wait_only_the_newest_is_decoded() -> None:
    # Each is larger than what http.client reads ahead with the header; together a socket's buffer holds them.
    pictures = encode_jpegs([draw_number(make_noise(120, 160, 3), number) for number in range(4)])

    def answer(_: str) -> Iterator[bytes]:
        yield format_multipart_head()
        yield b"".join(map(format_part, pictures))
        server.wait()

    with RawServer(answer) as server:
        source = MjpegStream(server.url)
        source.open()
        time.sleep(0.2)  # until they wait
        frames = source.frames()
        assert read_number(next(frames).image) == 3
        assert source.skipped == 3
        source.close()
        source.release()


def test_damaged_pictures_are_passed_over_and_counted(identity: Translator, camera: CameraServer) -> None:
    stream = identity.stream(camera.url)
    for index, result in enumerate(stream):
        # A picture that is cut off decodes with a gray rest of 128.
        assert abs(float(result.frame[-1].mean()) - 90) < 5
        if index == 5:
            camera.spoil("damage", 3)
            camera.spoil("break", 2)
        if index > 10 and camera.counts["damage"] + camera.counts["break"] == 5:
            break
    assert 5 - stream.stats.dropped <= stream.stats.undecodable <= 5
    assert stream.stats.reconnects == 0


def test_wrong_bits_do_no_harm(identity: Translator, camera: CameraServer) -> None:
    camera.spoil("flip", 10)
    with identity.stream(camera.url) as stream:
        assert len(list(islice(stream, 21))) == 21


def test_another_size_in_the_middle(identity: Translator) -> None:
    with serve_camera(SMALL, (320, 240)) as camera:
        shapes: set[tuple[int, ...]] = set()
        for result in identity.stream(camera.url):
            assert result.output.shape == result.frame.shape
            shapes.add(result.frame.shape)
            camera.chosen = 1
            if len(shapes) == 2:
                break
    assert shapes == {(120, 160, 3), (240, 320, 3)}


def test_chunked_transfer_is_understood() -> None:
    def answer(_: str) -> Iterator[bytes]:
        yield format_multipart_head().replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n")
        data = format_part(JPEG) * 3
        for start in range(0, len(data), 700):
            yield b"%x\r\n%s\r\n" % (len(data[start : start + 700]), data[start : start + 700])
        server.wait()

    with RawServer(answer) as server:
        assert read_first_numbers(MjpegStream(server.url), 3) == [5, 5, 5]


@pytest.mark.parametrize(
    "piece",
    [
        b"x" * 5000,
        b"\r\n--frame\r\n\r\n" + JPEG[: len(JPEG) // 2],
        b"--frame\r\nX: x\r\n",
        b"--frame\r\n" + b"x" * 90,
    ],
    ids=["a part without end", "damaged pictures", "headers without end", "a header line without end"],
)
def test_bytes_that_make_no_picture_are_a_loss_that_is_told(
    identity: Translator, monkeypatch: pytest.MonkeyPatch, piece: bytes
) -> None:
    monkeypatch.setattr(mjpeg_reader, "PICTURE_TIMEOUT_S", 0.3)
    monkeypatch.setattr(mjpeg_reader, "MAX_PART_BYTES", 1 << 14)  # mostly reached sooner than the time

    def answer(_: str) -> Iterator[bytes]:
        yield format_multipart_head()
        yield b"--frame\r\nContent-Type: image/jpeg\r\n" + b"\r\n" * (b"head" not in piece)
        while True:
            yield piece
            time.sleep(0.02)

    events: list[Event] = []
    with RawServer(answer) as server:
        stream = identity.stream(MjpegStream(server.url), on_event=events.append)
        reader = threading.Thread(target=lambda: list(stream))
        reader.start()
        wait_until(lambda: bool(events))
        stream.close()
        reader.join()
    assert re.search(
        r"has never sent a frame: no picture (for 0 s, though|ended within 16384)", events[0].message
    )
    assert bool(stream.stats.undecodable) is (b"JFIF" in piece)


# Losses and returns


def test_a_server_that_restarts_is_found_again_and_both_are_told(
    identity: Translator, camera: CameraServer
) -> None:
    events: list[Event] = []
    stream = identity.stream(camera.url, on_event=events.append)
    with assert_no_threads_left():
        results = iter(stream)
        next(results)
        camera.close()
        wait_until(lambda: bool(events))
        with serve_camera(port=camera.port) as again:
            wait_until(lambda: len(events) == 2)
            next(results), next(results)
            assert stream.stats.reconnects == 1
            assert [event.kind for event in events] == ["lost", "reconnected"]
            assert all(str(again.port) in event.message and event.source == 0 for event in events)
            stream.close()


def test_a_picture_that_is_cut_off_is_counted_though_a_newer_one_waits() -> None:
    parts = [format_part(JPEG), format_part(JPEG[: len(JPEG) // 2]), format_part(JPEG), format_part(JPEG)]
    with RawServer(lambda _: iter([format_multipart_head() + b"".join(parts)])) as server:
        source = MjpegStream(server.url)
        source.open()
        time.sleep(0.3)  # so that all of it is there
        next(source.read())
        source.close()
        source.release()
    assert source.undecodable == 1


def test_a_camera_that_never_sent_a_frame_is_not_back(
    identity: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes every connection, and then says nothing."""
    monkeypatch.setattr(mjpeg_reader, "STALL_TIMEOUT_S", 0.2)

    def answer(request: str) -> Iterator[bytes]:
        yield format_multipart_head()
        time.sleep(0.5)

    events: list[Event] = []
    with RawServer(answer) as server:
        stream = identity.stream(server.url, on_event=events.append)
        threading.Timer(2.5, stream.close).start()
        assert list(stream) == []
        assert len(server.requests) > 2
    assert {event.kind for event in events} == {"lost"} and stream.stats.reconnects == 0


def test_silence_is_taken_for_a_loss(
    identity: Translator, camera: CameraServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mjpeg_reader, "STALL_TIMEOUT_S", 0.3)
    events: list[Event] = []
    for index, _ in enumerate(identity.stream(camera.url, on_event=events.append)):
        if index == 3:
            camera.stall(1.0)
        if len(events) >= 2:
            break
    assert "is lost: no data for" in events[0].message


def test_closing_ends_a_stream_whose_server_has_stalled(identity: Translator, camera: CameraServer) -> None:
    with assert_no_threads_left():  # a read would wait 5 s
        stream = identity.stream(camera.url)
        results = iter(stream)
        next(results)
        camera.stall(60)
        time.sleep(0.2)
        started = time.perf_counter()
        stream.close()
        assert time.perf_counter() - started < 2


def test_closing_ends_the_wait_for_a_server_that_takes_the_call_and_says_nothing(
    identity: Translator,
) -> None:
    def answer(_: str) -> Iterator[bytes]:
        if len(server.requests) == 1:
            yield format_multipart_head()
            yield format_part(JPEG)
        else:
            server.wait()

    with RawServer(answer) as server, assert_no_threads_left():  # an answer would be waited for 5 s
        stream = identity.stream(MjpegStream(server.url))
        results = iter(stream)
        next(results)
        wait_until(lambda: len(server.requests) == 2)
        stream.close()


def test_closing_ends_the_waiting_between_attempts(identity: Translator, camera: CameraServer) -> None:
    events: list[Event] = []
    stream = identity.stream(camera.url, on_event=events.append)
    with assert_no_threads_left():
        results = iter(stream)
        next(results)
        camera.close()
        wait_until(lambda: bool(events))
        stream.close()
    assert stream.stats.reconnects == 0
