"""The live server from glass to glass, over loopback: `python -m benchmarks.serving [SECONDS]`.

A camera of 640x480 at 30 frames a second, played from memory, is encoded as JPEG, sent through `/v1/stream`,
and the answer decoded. Latency is from the frame's moment to the decoded answer, so it holds both codecs of
both sides. The server is a process of its own; its processor time is what the system counts for it.
"""

from __future__ import annotations

import json
import multiprocessing
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import psutil
from numpy.typing import NDArray
from onnx import TensorProto, helper
from skimage import data
from websockets.sync.client import ClientConnection, connect

from benchmarks.report import show
from i2i_sdk import Translator
from i2i_sdk.server.app import create_app
from i2i_sdk.server.models import open_models
from i2i_sdk.server.options import ServeOptions
from i2i_sdk.server.run import Server, bound

Image = NDArray[np.uint8]

HEIGHT, WIDTH, FPS, QUALITY = 480, 640, 30, 80
SLOW_MS = 100.0
WARM_UP = 1.0  # seconds that do not count
FRAME, RESULT = struct.Struct("<IId"), struct.Struct("<IIdffff")


@dataclass
class Run:
    """What one client saw. Milliseconds, of frames after the warm-up."""

    latencies: list[float] = field(default_factory=list[float])
    dropped: int = 0
    seconds: float = 0.0
    server_cpu: float = 0.0  # share of one core

    @property
    def summary(self) -> str:
        """One cell of the report."""
        fps = len(self.latencies) / self.seconds
        return f"{fps:.1f} fps, {self.dropped} dropped, server {100 * self.server_cpu:.0f} % of a core"


class Delayed(Translator):
    """Identity, and then a pause, as a large network makes it on another device than the CPU."""

    delay_ms = 0.0

    def __call__(self, image: Any) -> Any:
        """Translate, then wait."""
        result = super().__call__(image)
        time.sleep(self.delay_ms / 1000)
        return result


def main(argv: Sequence[str]) -> int:
    """Measure five cases and write out/bench/serving.json."""
    seconds = float(argv[0]) if argv else 20.0
    slow = f"{SLOW_MS:.0f} ms engine"
    cases = {  # the engine's delay, how many frames may be under way, and whether the second one comes late
        "identity, 2 under way": (0.0, 2, False),
        f"{slow}, 1 under way": (SLOW_MS, 1, False),
        f"{slow}, 2 under way": (SLOW_MS, 2, False),
        f"{slow}, 2 under way, paced": (SLOW_MS, 2, True),
        f"{slow}, all frames sent": (SLOW_MS, None, False),
    }
    runs: dict[str, Run] = {}
    with tempfile.TemporaryDirectory() as folder:
        graph = save_identity(Path(folder) / "identity.onnx")
        for name, (delay_ms, most, paced) in cases.items():
            with server(graph, delay_ms) as (port, process):
                runs[name] = play(port, process, seconds, most, paced)
    facts = {name: run.summary for name, run in runs.items()}
    title = f"serving: glass to glass, {WIDTH}x{HEIGHT} at {FPS} fps, JPEG {QUALITY}"
    show(title, {name: run.latencies for name, run in runs.items()}, None, **facts)
    return 0


def save_identity(path: Path) -> Path:
    """A graph that gives what it takes: what remains is the server."""
    shape = ["n", HEIGHT, WIDTH, 3]
    values = [helper.make_tensor_value_info(name, TensorProto.UINT8, shape) for name in ("x", "y")]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "identity", values[:1], values[1:]
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return path


@contextmanager
def server(graph: Path, delay_ms: float) -> Generator[tuple[int, psutil.Process]]:
    """A server in a process of its own: its port, and the process."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(graph, delay_ms, theirs))
    process.start()
    try:
        yield ours.recv(), psutil.Process(process.pid)
    finally:
        process.terminate()
        process.join()


def _serve(graph: Path, delay_ms: float, ready: Connection) -> None:
    Delayed.delay_ms = delay_ms
    options = ServeOptions(port=0)
    with open_models([str(graph)], Delayed) as models, bound(options.host, options.port) as listening:
        port = listening.getsockname()[1]
        Server(create_app(models, options), options, lambda: ready.send(port)).run([listening])


def play(port: int, process: psutil.Process, seconds: float, most: int | None, paced: bool) -> Run:
    """Send a camera's frames for so long, and take the answers in a thread beside it.

    most: of frames under way, no more than the server's credit; None sends all, against its wish. paced: by
    the engine's time of the last answer the client knows until when the engine is busy, and sends no frame
    that would wait there for longer than until the camera's next one.
    """
    address = f"ws://127.0.0.1:{port}/v1/stream"
    with connect(address, compression=None, max_size=None) as socket:
        socket.send(json.dumps({"type": "hello", "format": "jpeg", "quality": QUALITY}))
        free = threading.Semaphore(min(most or 0, json.loads(socket.recv())["credit"]))
        client = Client(socket, free if most else None, paced)
        listener = threading.Thread(target=client.listen)
        listener.start()
        client.film(WARM_UP)
        client.run, start, before = Run(), time.perf_counter(), _cpu(process)
        client.film(seconds)
        run, client.run = client.run, Run()  # what comes now is not of the measured time
        run.seconds = time.perf_counter() - start
        run.server_cpu = (_cpu(process) - before) / run.seconds
    listener.join()
    return run


class Client:
    """A camera, and what comes of its frames."""

    def __init__(self, socket: ClientConnection, free: threading.Semaphore | None, paced: bool) -> None:
        self.run = Run()
        self._socket, self._free, self._paced = socket, free, paced
        self._moments: list[float] = []  # of frames sent, by id
        self._engine_ms = self._busy_until = 0.0

    def film(self, seconds: float) -> None:
        """A frame every 1/30 s; one that may not be sent is passed over, as the page does it."""
        begin = time.perf_counter()
        for index, image in enumerate(_film(round(seconds * FPS))):
            time.sleep(max(0.0, begin + index / FPS - time.perf_counter()))
            moment = time.perf_counter()
            if self._paced and self._busy_until - moment > 1 / FPS:
                continue
            if self._free is None or self._free.acquire(blocking=False):
                self._moments.append(moment)
                self._busy_until = max(self._busy_until, moment) + self._engine_ms / 1000
                jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
                self._socket.send(FRAME.pack(len(self._moments) - 1, 0, moment * 1000) + jpeg)

    def listen(self) -> None:
        """Decode every answer as it comes; check that it is a picture of the right size."""
        for message in self._socket:
            if self._free is not None:
                self._free.release()
            if isinstance(message, str):
                self.run.dropped += 1
                continue
            number, _, _, _, _, self._engine_ms, _ = RESULT.unpack_from(message)
            left = len(self._moments) - 1 - number  # under way still
            self._busy_until = time.perf_counter() + left * self._engine_ms / 1000
            image = cv2.imdecode(np.frombuffer(message, np.uint8, offset=RESULT.size), cv2.IMREAD_COLOR)
            assert image is not None and image.shape == (HEIGHT, WIDTH, 3)
            self.run.latencies.append((time.perf_counter() - self._moments[number]) * 1000)


def _film(frames: int) -> Iterator[Image]:
    """A photo that moves, so that no frame is like the one before."""
    photo = cv2.resize(np.ascontiguousarray(data.astronaut()[:, :, ::-1]), (WIDTH, HEIGHT))
    for index in range(frames):
        yield np.roll(photo, 4 * index, axis=1).astype(np.uint8, copy=False)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


if __name__ == "__main__":
    main(sys.argv[1:])
