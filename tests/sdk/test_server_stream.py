"""The WebSocket of the live server: a real server, real sockets, pictures whose translation is known."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Generator
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from known_bundles import noise
from running_server import (
    HANG,
    WHOLE,
    Running,
    Slow,
    answer,
    closed,
    encoded,
    figure,
    heard,
    result,
    running,
    say,
    send_frame,
    smooth,
)

from i2i_sdk.server.options import Limits

Known = Callable[[str], Path]

LIMITS = Limits(max_frame_bytes=50_000, max_pixels=40_000)


@pytest.fixture(scope="module")
def server(known: Known) -> Generator[Running]:
    with running([known("invert"), known("swap"), known("darken")], limits=LIMITS) as found:
        yield found


# Pictures


@pytest.mark.parametrize("model", [None, "invert", "swap", "darken"])
def test_frames_come_back_translated(server: Running, model: str | None) -> None:
    image = noise(24, 40, 3)
    expected = {"swap": image[:, :, ::-1], "darken": np.vstack([image[:12], image[12:] // 2])}
    with server.client(model=model, format="png") as client:
        for number in (7, 2**32 - 1):
            send_frame(client, number, encoded(image), time_ms=1234.5)
            got = answer(client)
            assert (got.id, got.dropped, got.time) == (number, 0, 1234.5)
            assert all(0 <= stage < 1000 * HANG for stage in got.stages) and len(got.stages) == 4
            assert (got.image == expected.get(str(model), 255 - image)).all()


def test_jpeg_is_the_default(server: Running) -> None:
    image = smooth(100, 60)  # another size and shape than the engine's
    with server.client(quality=95) as client:
        send_frame(client, 1, encoded(image, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 95))
        got = answer(client)
        assert got.picture.startswith(b"\xff\xd8") and got.image.shape == image.shape
        assert np.abs(got.image.astype(int) - (255 - image)).mean() < 3


def test_quality_is_as_asked(server: Running) -> None:
    sizes: list[int] = []
    for quality in (10, 95):
        with server.client(quality=quality) as client:
            send_frame(client, 1, encoded(noise(48, 80, 3)))
            sizes.append(len(answer(client).picture))
    assert sizes[0] < sizes[1] / 2


def test_ready_says_what_runs(server: Running) -> None:
    with server.socket() as socket:
        say(socket, type="hello", token=None, model="swap", format="jpeg", quality=80)
        assert heard(socket) == {
            "type": "ready",
            "model": "swap",
            "engine": {"backend": "ort", "precision": "fp32", "provider": "CPUExecutionProvider"},
            "height": 24,
            "width": 40,
            "credit": 2,
            "max_frame_bytes": 50_000,
            "max_pixels": 40_000,
        }


def test_the_model_can_be_changed(server: Running) -> None:
    image = noise(24, 40, 3)
    with server.client(format="png") as client:
        say(client, type="model", model="swap")
        assert heard(client)["model"] == "swap"
        send_frame(client, 1, encoded(image))
        assert (answer(client).image == image[:, :, ::-1]).all()


def test_ping(server: Running) -> None:
    with server.client() as client:
        say(client, type="ping", t=12.25)
        assert heard(client) == {"type": "pong", "t": 12.25}


def test_frames_are_not_compressed_again(server: Running) -> None:
    with server.socket(compression="deflate") as socket:
        assert socket.response.headers.get("Sec-WebSocket-Extensions") is None
        assert socket.response.headers["X-Content-Type-Options"] == "nosniff"


# Newest frame wins


def test_within_its_credit_a_client_loses_nothing(slow_server: Running) -> None:
    with slow_server.client(format="png") as client:
        picture = encoded(noise(24, 40, 3))
        send_frame(client, 0, picture)
        say(client, type="ping", t=0)
        assert heard(client)["type"] == "pong"  # the first has its turn: the second will wait, not replace it
        send_frame(client, 1, picture)
        for number in range(2, 12):
            assert answer(client).id == number - 2
            send_frame(client, number, picture)
        last = [answer(client), answer(client)]
        assert [r.id for r in last] == [10, 11] and last[-1].dropped == 0


def test_without_regard_to_credit_the_newest_wins(slow_server: Running) -> None:
    """Every frame is answered or reported as dropped, once; the last one is translated."""
    before = figure(slow_server, "i2i_frames_dropped_total")
    with slow_server.client() as client:
        picture, count = encoded(noise(24, 40, 3)), 60
        for number in range(count):
            send_frame(client, number, picture)
        answered: list[int] = []
        dropped: list[int] = []
        while not answered or answered[-1] != count - 1:
            message = client.recv(timeout=HANG)
            if isinstance(message, bytes):
                got = result(message)
                answered.append(got.id)
                assert got.dropped >= len(dropped)  # the newest count, so perhaps ahead of the messages
            else:
                parsed = json.loads(message)
                assert parsed["type"] == "dropped"
                dropped.append(parsed["id"])
    assert sorted(answered + dropped) == list(range(count))
    assert answered == sorted(answered) and dropped == sorted(dropped)
    assert len(dropped) > count / 2  # 60 frames were sent in far less time than three translations take
    assert got.dropped == len(dropped) == figure(slow_server, "i2i_frames_dropped_total") - before


def test_a_flood_does_not_keep_another_client_waiting(slow_server: Running) -> None:
    """Turns alternate: while one client gets ten answers, one that sends all the time gets about as many."""
    picture = encoded(noise(24, 40, 3))
    with slow_server.client() as greedy, slow_server.client() as polite:
        for number in range(3):
            send_frame(greedy, number, picture)
        first = _pictures(greedy, 1)
        for number in range(10):
            send_frame(polite, number, picture)
            for more in range(8):
                send_frame(greedy, 3 + 8 * number + more, picture)
            assert answer(polite).id == number
        last = 3 + 8 * 10 - 1
        meanwhile = first + _pictures_until(greedy, last)
    assert 5 <= len(meanwhile) <= 30  # about ten turns each; the flood had 83 frames to send


def _pictures(client: object, count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        message = client.recv(timeout=HANG)  # type: ignore[attr-defined]
        if isinstance(message, bytes):
            found.append(result(message).id)
    return found


def _pictures_until(client: object, last: int) -> list[int]:
    found = [-1]
    while found[-1] != last:
        found += _pictures(client, 1)
    return found[1:]


def test_posts_and_streams_take_turns(slow_server: Running) -> None:
    """A POST is answered though a client keeps the engine busy."""
    picture = encoded(noise(24, 40, 3))
    with slow_server.client() as client:
        for number in range(20):
            send_frame(client, number, picture)
        response = httpx.post(f"{slow_server.url}/v1/translate?format=png", content=picture, timeout=HANG)
        assert response.status_code == 200
        assert _pictures_until(client, 19)


# Bad frames and messages


BAD_FRAMES: dict[str, tuple[bytes, str]] = {
    "no picture": (b"", "unsupported_format"),
    "text": (b"hello", "unsupported_format"),
    "half a jpeg": (WHOLE[: len(WHOLE) // 2], "bad_image"),
    "jpeg without an end": (WHOLE[:-2], "bad_image"),
    "100 megapixels": (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 10_000, 10_000) + bytes(9),
        "too_large",
    ),
    "a png that ends early": (encoded(smooth())[:200], "bad_image"),
    "too many bytes": (encoded(np.zeros((24, 40, 3), np.uint8)) + bytes(50_001), "too_large"),
}


def test_a_bad_frame_costs_only_itself(server: Running) -> None:
    image = noise(24, 40, 3)
    with server.client(format="png") as client:
        for number, (data, code) in enumerate(BAD_FRAMES.values()):
            send_frame(client, number, data)
            error = heard(client)
            assert (error["type"], error["id"], error["code"]) == ("error", number, code)
            assert len(error["message"]) > 15
        send_frame(client, 50, encoded(image), zero=3)
        assert (error := heard(client))["id"] == 50 and error["code"] == "bad_request"
        send_frame(client, 99, encoded(image), time_ms=math.nan)
        got = answer(client)
        assert got.id == 99 and math.isnan(got.time) and (got.image == 255 - image).all()
        send_frame(client, 100, encoded(np.full((1, 1, 3), 7, np.uint8)))
        assert (answer(client).image == np.full((1, 1, 3), 248, np.uint8)).all()


def test_messages_without_a_meaning_change_nothing(server: Running) -> None:
    image = noise(24, 40, 3)
    with server.client(format="png") as client:
        for text in (
            *("", "hello", "[]", "3", "null", '{"type": "hello"}', '{"type": 5}', "{}", "[" * 100_000),
            *(
                '{"type": "ping", "t": NaN}',
                '{"type": "ping", "t": 1e999}',
                '{"type": "ping", "t": ' + "9" * 4000 + "}",
                '{"type": "ping", "t": "' + "9" * 9000 + '"}',
                '{"type": "model", "model": "\\ud800"}',
                '{"type": "model", "model": "nothing"}',
                '{"type": "model", "model": [1]}',
            ),
        ):
            client.send(text)
            error = heard(client)
            assert (error["type"], error["id"]) == ("error", None), text
        client.send(b"short")
        assert heard(client)["code"] == "bad_request"
        send_frame(client, 1, encoded(image))
        assert (answer(client).image == 255 - image).all()


def test_a_bad_frame_does_not_replace_a_good_one(slow_server: Running) -> None:
    picture = encoded(noise(24, 40, 3))
    with slow_server.client() as client:
        for number, data in enumerate((picture, picture, b"bad")):
            send_frame(client, number, data)
        messages: list[str | bytes] = []
        while not (messages and isinstance(messages[-1], bytes) and result(messages[-1]).id == 1):
            messages.append(client.recv(timeout=HANG))
        texts = [json.loads(message) for message in messages if isinstance(message, str)]
        assert [text["id"] for text in texts if text["type"] == "error"] == [2]


def test_the_connection_closes_when_a_message_is_far_too_large(server: Running) -> None:
    with server.client() as client:
        send_frame(client, 1, bytes(200_000))
        assert closed(client)[0] == 1009
    with server.client() as client:  # another one is as welcome as before
        send_frame(client, 1, WHOLE)
        assert answer(client).id == 1


class Moody(Slow):
    """Fails on dark pictures."""

    seconds = 0.0

    def __call__(self, image: np.ndarray) -> object:
        if image.mean() < 100:
            raise RuntimeError("secret")
        return super().__call__(image)


def test_a_failing_engine_costs_only_the_frame(known: Known, caplog: pytest.LogCaptureFixture) -> None:
    with (
        running([known("invert")], lambda source: Moody(source, backend="ort")) as server,
        server.client() as client,
    ):
        for number, value, fails in ((1, 0, True), (2, 255, False), (3, 0, True), (4, 255, False)):
            send_frame(client, number, encoded(np.full((24, 40, 3), value, np.uint8)))
            if fails:
                error = heard(client)
                assert (error["id"], error["code"]) == (number, "internal") and "secret" not in str(error)
            else:
                assert answer(client).id == number
    assert "secret" in caplog.text
