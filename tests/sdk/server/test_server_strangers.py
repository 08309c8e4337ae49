"""What strangers send over the WebSocket, with no network between: every message is answered."""

from __future__ import annotations

import asyncio
import json
import struct
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_bundles import FindBundle, make_noise
from running_server import encode_image, open_with_ort
from starlette.websockets import WebSocket

from i2i_sdk.server.client_session import FRAME_HEADER, Streams
from i2i_sdk.server.models import open_models
from i2i_sdk.server.service import Service
from i2i_sdk.server.settings import Limits

Message = dict[str, Any]

LAST = 2**32 - 1  # the number of a frame that is good, and ends each conversation
PICTURE = encode_image(make_noise(8, 8, 3))
JPEG = encode_image(make_noise(8, 8, 3), ".jpg")
HELLO = '{"type": "hello", "format": "jpeg"}'


class Line:
    """To a server in this process; one event loop for all conversations, as its locks want it."""

    def __init__(self, service: Service) -> None:
        self._streams, self._loop = Streams(service, None), asyncio.new_event_loop()

    def talk(self, *said: str | bytes) -> list[Message]:
        """What is answered to these messages and to a good frame after them, until that or the end."""
        return self._loop.run_until_complete(self._talk(said))

    async def _talk(self, said: tuple[str | bytes, ...]) -> list[Message]:
        kinds = {str: "text", bytes: "bytes"}
        last = FRAME_HEADER.pack(LAST, 0, 0.0) + PICTURE
        left: deque[Message] = deque({"type": "websocket.receive", kinds[type(x)]: x} for x in (*said, last))
        left.appendleft({"type": "websocket.connect"})
        answers, ended = list[Message](), asyncio.Event()

        async def receive() -> Message:
            if left:
                return left.popleft()
            await asyncio.wait_for(ended.wait(), 30)
            return {"type": "websocket.disconnect", "code": 1000}

        async def send(message: Message) -> None:
            answers.append(message)
            number = FRAME_HEADER.unpack_from(message["bytes"])[0] if message.get("bytes") else None
            if number == LAST or message["type"] == "websocket.close":
                ended.set()

        await self._streams.serve(WebSocket({"type": "websocket", "headers": []}, receive, send))
        return answers

    def close(self) -> None:
        self._loop.close()


@pytest.fixture(scope="module")
def line(known: FindBundle) -> Iterator[Line]:
    limits = Limits(max_frame_bytes=4000, max_pixels=4096)
    with open_models([str(known("invert"))], open_with_ort) as models:
        service = Service(models, limits)
        line = Line(service)
        yield line
        service.close()
        line.close()


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
anything = values | st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=9), values, max_size=2)
commands = st.fixed_dictionaries(
    {"type": st.sampled_from(["hello", "model", "ping", "bye"]) | anything},
    optional=dict.fromkeys(("model", "t", "format", "quality", "token"), anything),
)
texts = st.text() | commands.map(json.dumps) | st.sampled_from(['{"type": "ping", "t": 1e999}', "[" * 3000])


@st.composite
def draw_spoilt_picture(draw: st.DrawFn) -> bytes:
    whole = draw(st.sampled_from([PICTURE, JPEG]))
    start = draw(st.integers(0, len(whole)))
    return whole[:start] + draw(st.binary(max_size=8)) + whole[start + draw(st.integers(0, 8)) :]


frames = st.builds(
    lambda number, zero, time, picture: struct.pack("<IId", number, zero, time) + picture,
    st.integers(0, LAST - 1),
    st.sampled_from([0, 0, 0, 7]),
    st.floats(),
    st.binary(max_size=80) | draw_spoilt_picture(),
)


@settings(settings.get_profile("strangers"))
@given(said=st.lists(texts | frames | st.binary(max_size=20), max_size=4))
def test_every_message_is_answered_and_the_next_picture_comes(line: Line, said: list[str | bytes]) -> None:
    accepted, ready, *answers = line.talk(HELLO, *said)
    assert accepted["type"] == "websocket.accept" and json.loads(ready["text"])["type"] == "ready"
    assert len(answers) == len(said) + 1  # one each: an error, a pong, a model, "dropped", or a picture
    for answer in answers:
        if answer.get("bytes") is None:
            assert json.loads(answer["text"])["type"] in ("error", "pong", "ready", "dropped")
        else:
            assert answer["bytes"][32:34] == b"\xff\xd8"
    assert FRAME_HEADER.unpack_from(answers[-1]["bytes"])[0] == LAST


@settings(settings.get_profile("strangers"))
@given(first=texts | frames)
def test_whatever_comes_first_is_a_hello_or_ends_the_conversation(line: Line, first: str | bytes) -> None:
    _, answer, *more = line.talk(first)
    said = json.loads(answer["text"])
    if said["type"] == "error":
        assert said["message"] and more[-1]["type"] == "websocket.close"
    else:
        assert said["type"] == "ready" and FRAME_HEADER.unpack_from(more[-1]["bytes"])[0] == LAST


@pytest.mark.parametrize("field", ["t", "model"])
@pytest.mark.parametrize("kind", ["ping", "model"])
def test_nested_values_are_answered_however_deep(line: Line, field: str, kind: str) -> None:
    for depth in range(850, 1010):
        text = f'{{"type": "{kind}", "{field}": {"[" * depth}{"]" * depth}}}'
        assert len(line.talk(HELLO, text)) == 4
