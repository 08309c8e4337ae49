"""The WebSocket of the live server: a real server, real sockets, pictures whose translation is known."""

from __future__ import annotations

import json
import math

import cv2
import numpy as np
import pytest
from known_bundles import make_noise
from running_server import (
    TIMEOUT_S,
    WHOLE_JPEG,
    RunningServer,
    StreamConnection,
    encode_image,
    make_gradient,
    parse_result,
    read_metric,
)

# Pictures


@pytest.mark.parametrize("model", [None, "invert", "swap", "darken"])
def test_frames_come_back_translated(server: RunningServer, model: str | None) -> None:
    image = make_noise(24, 40, 3)
    expected = {"swap": image[:, :, ::-1], "darken": np.vstack([image[:12], image[12:] // 2])}
    with server.connect_client(model=model, format="png") as client:
        for number in (7, 2**32 - 1):
            got = client.translate_frame(encode_image(image), number, time_ms=1234.5)
            assert (got.dropped, got.time) == (0, 1234.5)
            assert all(0 <= stage < 1000 * TIMEOUT_S for stage in got.stages) and len(got.stages) == 4
            assert (got.image == expected.get(str(model), 255 - image)).all()


def test_jpeg_is_the_default(server: RunningServer) -> None:
    image = make_gradient(100, 60)  # another size and shape than the engine's
    with server.connect_client(quality=95) as client:
        got = client.translate_frame(encode_image(image, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 95))
        assert got.picture.startswith(b"\xff\xd8") and got.image.shape == image.shape
        assert np.abs(got.image.astype(int) - (255 - image)).mean() < 3


def test_ready_says_what_runs(server: RunningServer) -> None:
    with server.connect_socket() as socket:
        socket.send_message(type="hello", token=None, model="swap", format="jpeg", quality=80)
        assert socket.receive_text() == {
            "type": "ready",
            "model": "swap",
            "engine": {"backend": "ort", "precision": "fp32", "provider": "CPUExecutionProvider"},
            "height": 24,
            "width": 40,
            "credit": 2,
            "max_frame_bytes": 100_000,
            "max_pixels": 40_000,
        }


def test_the_model_can_be_changed(server: RunningServer) -> None:
    image = make_noise(24, 40, 3)
    with server.connect_client(format="png") as client:
        client.send_message(type="model", model="swap")
        assert client.receive_text()["model"] == "swap"
        assert (client.translate_frame(encode_image(image)).image == image[:, :, ::-1]).all()


def test_frames_are_not_compressed_again(server: RunningServer) -> None:
    with server.connect_socket(compression="deflate") as socket:
        assert socket.response.headers.get("Sec-WebSocket-Extensions") is None
        assert socket.response.headers["X-Content-Type-Options"] == "nosniff"


# Newest frame wins


def test_within_its_credit_a_client_loses_nothing(slow_server: RunningServer) -> None:
    with slow_server.connect_client(format="png") as client:
        picture = encode_image(make_noise(24, 40, 3))
        client.send_frame(0, picture)
        client.send_message(type="ping", t=0)
        # The first has its turn: the second will wait, not replace it.
        assert client.receive_text()["type"] == "pong"
        client.send_frame(1, picture)
        for number in range(2, 12):
            assert client.receive_result().id == number - 2
            client.send_frame(number, picture)
        last = [client.receive_result(), client.receive_result()]
        assert [r.id for r in last] == [10, 11] and last[-1].dropped == 0


def test_without_regard_to_credit_the_newest_wins(slow_server: RunningServer) -> None:
    """Every frame is answered or reported as dropped, once; the last one is translated."""
    before = read_metric(slow_server, "i2i_frames_dropped_total")
    with slow_server.connect_client() as client:
        picture, count = encode_image(make_noise(24, 40, 3)), 60
        for number in range(count):
            client.send_frame(number, picture)
        answered: list[int] = []
        dropped: list[int] = []
        while not answered or answered[-1] != count - 1:
            message = client.recv(timeout=TIMEOUT_S)
            if isinstance(message, bytes):
                got = parse_result(message)
                answered.append(got.id)
                assert got.dropped >= len(dropped)  # the newest count, so perhaps ahead of the messages
            else:
                parsed = json.loads(message)
                assert parsed["type"] == "dropped"
                dropped.append(parsed["id"])
    assert sorted(answered + dropped) == list(range(count))
    assert answered == sorted(answered) and dropped == sorted(dropped)
    assert len(dropped) > count / 2  # 60 frames were sent in far less time than three translations take
    assert got.dropped == len(dropped) == read_metric(slow_server, "i2i_frames_dropped_total") - before


def test_a_flood_does_not_keep_another_client_waiting(slow_server: RunningServer) -> None:
    """Turns alternate: while one client gets ten answers, one that sends all the time gets about as many."""
    picture = encode_image(make_noise(24, 40, 3))
    with slow_server.connect_client() as greedy, slow_server.connect_client() as polite:
        for number in range(3):
            greedy.send_frame(number, picture)
        for number in range(10):
            polite.send_frame(number, picture)
            for more in range(8):
                greedy.send_frame(3 + 8 * number + more, picture)
            assert polite.receive_result().id == number
        last = 3 + 8 * 10 - 1
        meanwhile = _receive_until(greedy, last)
    assert 5 <= len(meanwhile) <= 30  # about ten turns each; the flood had 83 frames to send


def _receive_until(client: StreamConnection, last: int) -> list[int]:
    """The numbers of the pictures up to this one."""
    found = [-1]
    while found[-1] != last:
        message = client.recv(timeout=TIMEOUT_S)
        if isinstance(message, bytes):
            found.append(parse_result(message).id)
    return found[1:]


def test_posts_and_streams_take_turns(slow_server: RunningServer) -> None:
    """A POST is answered though a client keeps the engine busy."""
    picture = encode_image(make_noise(24, 40, 3))
    with slow_server.connect_client() as client:
        for number in range(20):
            client.send_frame(number, picture)
        assert slow_server.post(picture).status_code == 200
        assert _receive_until(client, 19)


# Bad frames and messages


BAD_FRAMES = {
    "unsupported_format": b"hello",
    "bad_image": encode_image(make_gradient())[:200],  # its header is fine: only the decoder sees it
    "too_large": encode_image(np.zeros((24, 40, 3), np.uint8)) + bytes(100_001),
}


def test_a_bad_frame_costs_only_itself(server: RunningServer) -> None:
    image = make_noise(24, 40, 3)
    with server.connect_client(format="png") as client:
        for number, (code, data) in enumerate(BAD_FRAMES.items()):
            client.send_frame(number, data)
            error = client.receive_text()
            assert (error["type"], error["id"], error["code"]) == ("error", number, code)
            assert len(error["message"]) > 15
        client.send_frame(50, encode_image(image), zero=3)
        assert (error := client.receive_text())["id"] == 50 and error["code"] == "bad_request"
        got = client.translate_frame(encode_image(image), 99, time_ms=math.nan)
        assert math.isnan(got.time) and (got.image == 255 - image).all()
        got = client.translate_frame(encode_image(np.full((1, 1, 3), 7, np.uint8)), 100)
        assert got.image.tolist() == [[[248] * 3]]


def test_messages_without_a_meaning_change_nothing(server: RunningServer) -> None:
    image = make_noise(24, 40, 3)
    with server.connect_client(format="png") as client:
        for text in (
            *("", "hello", "[]", "3", "null", '{"type": "hello"}', '{"type": 5}', "{}", "[" * 100_000),
            *(f'{{"type": "ping", "t": {t}}}' for t in ("NaN", "1e999", '"' + "9" * 9000 + '"')),
            *(f'{{"type": "model", "model": {name}}}' for name in ('"\\ud800"', '"nothing"', "[1]")),
        ):
            client.send(text)
            error = client.receive_text()
            assert (error["type"], error["id"]) == ("error", None), text
        client.send(b"short")
        assert client.receive_text()["code"] == "bad_request"
        assert (client.translate_frame(encode_image(image)).image == 255 - image).all()


def test_a_bad_frame_does_not_replace_a_good_one(slow_server: RunningServer) -> None:
    picture = encode_image(make_noise(24, 40, 3))
    with slow_server.connect_client() as client:
        for number, data in enumerate((picture, picture, b"bad")):
            client.send_frame(number, data)
        messages: list[str | bytes] = []
        while not (messages and isinstance(messages[-1], bytes) and parse_result(messages[-1]).id == 1):
            messages.append(client.recv(timeout=TIMEOUT_S))
        texts = [json.loads(message) for message in messages if isinstance(message, str)]
        assert [text["id"] for text in texts if text["type"] == "error"] == [2]


def test_the_connection_closes_when_a_message_is_far_too_large(server: RunningServer) -> None:
    with server.connect_client() as client:
        client.send_frame(1, bytes(400_000))
        assert client.read_until_closed()[0] == 1009
    with server.connect_client() as client:  # another one is as welcome as before
        client.translate_frame(WHOLE_JPEG)
