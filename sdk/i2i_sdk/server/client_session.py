"""One WebSocket: frames in, translated frames out.

A client may send frames faster than they are translated. Only the newest waits, in a slot; the one it
replaces is reported as dropped. So no picture waits longer than for the translations under way, whatever the
client does; and a client alone at the engine that keeps to its credit loses none.
"""

from __future__ import annotations

import asyncio
import json
import logging
import struct
import time
from collections import deque
from contextlib import suppress
from dataclasses import astuple, dataclass
from typing import Any, cast

from pydantic import ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from i2i_sdk.server import encoded_images
from i2i_sdk.server.prometheus import StageTimings
from i2i_sdk.server.refusals import RefusedError, refuse_option
from i2i_sdk.server.schema import Encoding
from i2i_sdk.server.security import check_token
from i2i_sdk.server.service import Service
from i2i_sdk.server.settings import CREDIT, GOODBYE_SECONDS, HELLO_SECONDS

log = logging.getLogger(__name__)

FRAME_HEADER = struct.Struct("<IId")  # id, 0, the client's time
RESULT_HEADER = struct.Struct("<IIdffff")  # id, dropped so far, the client's time, four stages in ms

MAX_TEXT_CHARS = 4096  # characters of a text message; a hello has about 100

GOING_AWAY, POLICY_VIOLATION, TRY_AGAIN_LATER = 1001, 1008, 1013


@dataclass(frozen=True)
class ClientFrame:
    """An encoded frame that waits. time is the client's own, given back as it came."""

    id: int
    time: float
    data: bytes
    arrived: float  # time.perf_counter()


class Streams:
    """All open WebSockets of a server."""

    def __init__(self, service: Service, token: str | None) -> None:
        self._service, self._token = service, token
        self._open: set[WebSocket] = set()

    async def serve(self, socket: WebSocket) -> None:
        """Talk with one client until it leaves, is asked to, or the server stops."""
        await socket.accept()
        limit, metrics = self._service.limits.max_clients, self._service.metrics
        try:
            if len(self._open) >= limit:
                message = f"{limit} clients are connected, which is the most: try later"
                raise RefusedError("too_many_clients", message)
            self._open.add(socket)
            with metrics.clients.track_inprogress():
                session = ClientSession(socket, self._service)
                await session.greet(self._token)
                await session.run()
        except RefusedError as refused:  # the client as a whole, not a frame
            metrics.errors.labels(refused.code).inc()
            code = TRY_AGAIN_LATER if refused.code == "too_many_clients" else POLICY_VIOLATION
            await _send_json(socket, type="error", id=None, **refused.to_json()["error"])
            await _close(socket, code, refused.code)
        except WebSocketDisconnect:
            pass
        finally:
            self._open.discard(socket)

    async def close_all(self) -> None:
        """Close all with 1001, and give their sessions a moment to end."""
        await asyncio.gather(*(_close(socket, GOING_AWAY, "the server stops") for socket in [*self._open]))
        until = time.monotonic() + GOODBYE_SECONDS
        while self._open and time.monotonic() < until:
            await asyncio.sleep(0.01)


class ClientSession:
    """One client: it receives into a slot for one frame; while that is full, a task translates from it."""

    def __init__(self, socket: WebSocket, service: Service) -> None:
        self._socket, self._service = socket, service
        self._waiting: deque[ClientFrame] = deque(maxlen=1)
        self._worker: asyncio.Task[None] | None = None
        self._dropped = 0
        self._model = service.models.find(None)
        self._encoding = Encoding()

    async def greet(self, token: str | None) -> None:
        """Await the first message and answer it. Raises RefusedError, WebSocketDisconnect."""
        try:
            message = await asyncio.wait_for(self._receive(), HELLO_SECONDS)
        except asyncio.TimeoutError:
            raise RefusedError("timeout", f"no hello came within {HELLO_SECONDS:g} seconds") from None
        hello = _parse_message(message.get("text"))
        if hello.get("type") != "hello":
            raise RefusedError("bad_request", 'the first message must be {"type": "hello", …}')
        check_token(hello.get("token"), token)
        try:
            self._encoding = Encoding.model_validate(hello, strict=True)
        except ValidationError as error:
            raise refuse_option(error.errors()[0]) from None
        await self._use_model(hello.get("model"))

    async def run(self) -> None:
        """Translate what comes until the client leaves. Raises RefusedError when it is idle."""
        try:
            await self._listen()
        finally:
            self._waiting.clear()
            if self._worker is not None:
                await self._worker  # it ends after the frame that it has begun

    async def _listen(self) -> None:
        idle = self._service.limits.idle_seconds
        deadline = time.monotonic() + idle
        while True:
            try:
                message = await asyncio.wait_for(self._receive(), deadline - time.monotonic())
            except asyncio.TimeoutError:
                message = f"no frame was received for {idle:g} seconds: connect again"
                raise RefusedError("idle", message) from None
            except WebSocketDisconnect:
                return
            if (data := message.get("bytes")) is None:
                await self._handle_command(message.get("text"))
            else:
                deadline = time.monotonic() + idle
                await self._handle_frame(data)

    async def _handle_frame(self, data: bytes) -> None:
        """Put a frame into the slot, unless it can be seen to be bad."""
        number = None
        try:
            if len(data) < FRAME_HEADER.size:
                message = f"a frame begins with {FRAME_HEADER.size} bytes: id, 0, time"
                raise RefusedError("bad_request", message)
            number, zero, sent = FRAME_HEADER.unpack_from(data)
            frame = ClientFrame(number, sent, data[FRAME_HEADER.size :], time.perf_counter())
            if zero:
                raise RefusedError("bad_request", f"bytes 4 to 8 of a frame are 0; got {zero}")
            limits = self._service.limits
            if (size := len(frame.data)) > limits.max_frame_bytes:
                message = f"the frame has {size} bytes; at most {limits.max_frame_bytes} are allowed"
                raise RefusedError("too_large", message)
            encoded_images.inspect(frame.data, limits.max_pixels)
        except RefusedError as refused:
            await self._refuse(number, refused)
            return
        replaced = [old.id for old in self._waiting]
        self._waiting.append(frame)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._translate_frames())
        for number in replaced:
            self._dropped += 1
            self._service.metrics.dropped.inc()
            await _send_json(self._socket, type="dropped", id=number)

    async def _handle_command(self, text: str | None) -> None:
        """Obey a text message; one that makes no sense is answered with an error and changes nothing."""
        try:
            command = _parse_message(text)
            if command.get("type") == "model":
                await self._use_model(command.get("model"))
            elif command.get("type") == "ping":
                await _send_json(self._socket, type="pong", t=command.get("t"))
            else:
                message = "type is none of model, ping; frames are sent as binary messages"
                raise RefusedError("bad_request", message)
        except RefusedError as refused:
            await self._refuse(None, refused)
        except ValueError:  # Python reads Infinity and 1e999, JSON cannot write them
            await self._refuse(None, RefusedError("bad_request", "t is not finite; JSON cannot have it"))

    async def _use_model(self, name: object) -> None:
        self._model = model = self._service.models.find(name)
        engine, limits = model.description.server.model_dump(), self._service.limits
        size = {"height": engine.pop("height"), "width": engine.pop("width")}
        bounds = {"max_frame_bytes": limits.max_frame_bytes, "max_pixels": limits.max_pixels}
        ready = {"model": model.name, "engine": engine, **size, "credit": CREDIT, **bounds}
        await _send_json(self._socket, type="ready", **ready)

    async def _translate_frames(self) -> None:
        """Translate the newest frame, again and again, until none waits."""
        while self._waiting:
            model, frame = self._model, self._waiting[0]
            try:
                async with self._service.turns[model.name]:
                    if not self._waiting:  # the client has left
                        return
                    frame = self._waiting.pop()
                    wait = (time.perf_counter() - frame.arrived) * 1000
                    image, decode, engine = await self._service.translate(model, frame.data)
                encoded, encode = await self._service.encode(image, self._encoding)
            except RefusedError as refused:
                await self._refuse(frame.id, refused)
                continue
            timings = StageTimings(wait, decode, engine, encode)
            self._service.metrics.count_translated(model.name, "websocket", timings)
            header = RESULT_HEADER.pack(frame.id, self._dropped, frame.time, *astuple(timings))
            await _send(self._socket, {"type": "websocket.send", "bytes": header + encoded})

    async def _refuse(self, number: int | None, refused: RefusedError) -> None:
        self._service.metrics.errors.labels(refused.code).inc()
        await _send_json(self._socket, type="error", id=number, **refused.to_json()["error"])

    async def _receive(self) -> dict[str, Any]:
        """The next message. Raises WebSocketDisconnect."""
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1006))
        return dict(message)


async def _send_json(socket: WebSocket, **message: object) -> None:
    """Send a text message, unless the client is gone."""
    await _send(socket, {"type": "websocket.send", "text": json.dumps(message, allow_nan=False)})


async def _send(socket: WebSocket, message: dict[str, Any]) -> None:
    """Send a message, unless the client is gone: the receiving side hears of that and ends the session."""
    if socket.application_state is WebSocketState.CONNECTED:
        # RuntimeError is how uvicorn says that it closed the connection itself, after a message too large.
        with suppress(WebSocketDisconnect, RuntimeError):
            await socket.send(message)


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    """Close, unless that was done."""
    await _send(socket, {"type": "websocket.close", "code": code, "reason": reason})


def _parse_message(text: str | None) -> dict[str, Any]:
    """A JSON object. Raises RefusedError."""
    message: object = None
    if text is not None and len(text) <= MAX_TEXT_CHARS:
        with suppress(ValueError, RecursionError):
            message = json.loads(text)
    if not isinstance(message, dict):
        error = f"a text message must be a JSON object with a type, of at most {MAX_TEXT_CHARS} characters"
        raise RefusedError("bad_request", error)
    return cast("dict[str, Any]", message)
