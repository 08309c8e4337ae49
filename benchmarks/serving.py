"""The live server from glass to glass, over loopback.

A camera of 640x480 at 30 frames a second, played from memory, is encoded as JPEG, sent through `/v1/stream`,
and the answer decoded. Latency is from the frame's moment to the decoded answer, so it holds both codecs of
both sides. The server is a process of its own; its processor time is what the system counts for it.
"""

from __future__ import annotations

import argparse
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

import cv2
import numpy as np
import psutil
from numpy.typing import NDArray
from skimage import data
from websockets.sync.client import ClientConnection, connect

from benchmarks.reporting.publish import publish
from benchmarks.support.identity import SLOW_S, SlowEngine, write_identity
from i2i_sdk import Translator
from i2i_sdk.live.sinks.mjpeg_server import open_socket
from i2i_sdk.perf.quiet import QuietMonitor
from i2i_sdk.perf.record import Row
from i2i_sdk.perf.timing import compute_statistics
from i2i_sdk.server.app import create_app
from i2i_sdk.server.models import open_models
from i2i_sdk.server.run import LiveServer
from i2i_sdk.server.settings import ServeOptions

Image = NDArray[np.uint8]

HEIGHT, WIDTH, FPS, QUALITY = 480, 640, 30, 80
WARM_UP_S = 1.0  # seconds that do not count
FRAME_HEADER, RESULT_HEADER = struct.Struct("<IId"), struct.Struct("<IIdffff")


@dataclass(frozen=True)
class ServingCase:
    """An engine, and how a client treats its server."""

    name: str
    is_slow: bool  # the engine
    # Frames under way, no more than the server's credit; None sends all, against its wish.
    max_in_flight: int | None
    # By the engine's time of the last answer the client knows until when the engine is busy, and sends no
    # frame that would wait there for longer than until the camera's next one.
    is_paced: bool = False


CASES = (
    ServingCase("2 under way", False, 2),
    ServingCase("1 under way", True, 1),
    ServingCase("2 under way", True, 2),
    ServingCase("2 under way, paced", True, 2, is_paced=True),
    ServingCase("all frames sent", True, None),
)


@dataclass
class ServingRun:
    """What one client saw. Milliseconds, of frames after the warm-up."""

    latencies: list[float] = field(default_factory=list[float])
    dropped: int = 0
    seconds: float = 0.0
    server_cpu: float = 0.0  # share of one core

    def to_row(self, case: ServingCase) -> Row:
        """As a row of a record."""
        subject = f"{SLOW_S:g} s engine" if case.is_slow else "identity"
        times, samples = {"glass": compute_statistics(self.latencies)}, {"glass": tuple(self.latencies)}
        values = {"fps": len(self.latencies) / self.seconds, "dropped": self.dropped}
        values["server_cpu"] = self.server_cpu
        return Row(subject, case.name, HEIGHT, WIDTH, times=times, samples=samples, values=values)


def main(argv: Sequence[str]) -> int:
    """Measure five cases."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each case")
    args = parser.parse_args(argv)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, QuietMonitor() as quiet:
        graph = write_identity(Path(folder) / "identity.onnx", HEIGHT, WIDTH)
        for case in CASES:
            quiet.check_steady()
            with start_server(graph, case.is_slow) as (port, process):
                rows.append(measure_case(port, process, args.seconds, case).to_row(case))
    title = f"serving: glass to glass, {WIDTH}x{HEIGHT} at {FPS} fps, JPEG {QUALITY}"
    facts = {"seconds": args.seconds, "camera_fps": FPS, "jpeg_quality": QUALITY}
    return publish("serving", title, rows, quiet.conditions, facts)


@contextmanager
def start_server(graph: Path, slow: bool) -> Generator[tuple[int, int]]:
    """A server in a process of its own: its port, and the process's number."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(graph, slow, theirs))
    process.start()
    try:
        assert process.pid is not None
        yield ours.recv(), process.pid
    finally:
        process.terminate()
        process.join()


def _serve(graph: Path, slow: bool, ready: Connection) -> None:
    options = ServeOptions(port=0)
    opened = open_models([str(graph)], SlowEngine if slow else Translator)
    with opened as models, open_socket(options.host, options.port) as listening:
        port = listening.getsockname()[1]
        LiveServer(create_app(models, options), options, lambda: ready.send(port)).run([listening])


def measure_case(port: int, process: int, seconds: float, case: ServingCase) -> ServingRun:
    """Send a camera's frames for so long, and take the answers in a thread beside it.

    Args:
        port: of the server.
        process: its number.
        seconds: after the warm-up.
        case: how the client behaves.

    Returns:
        What the client saw.
    """
    address = f"ws://127.0.0.1:{port}/v1/stream"
    with connect(address, compression=None, max_size=None) as socket:
        socket.send(json.dumps({"type": "hello", "format": "jpeg", "quality": QUALITY}))
        free = threading.Semaphore(min(case.max_in_flight or 0, json.loads(socket.recv())["credit"]))
        client = StreamClient(socket, free if case.max_in_flight else None, case.is_paced)
        listener = threading.Thread(target=client.receive_results)
        listener.start()
        client.send_frames(WARM_UP_S)
        server = psutil.Process(process)
        server.cpu_percent()  # since now
        client.run, start = ServingRun(), time.perf_counter()
        client.send_frames(seconds)
        run, client.run = client.run, ServingRun()  # what comes now is not of the measured time
        run.seconds = time.perf_counter() - start
        run.server_cpu = server.cpu_percent() / 100
    listener.join()
    return run


class StreamClient:
    """A camera, and what comes of its frames."""

    def __init__(self, socket: ClientConnection, credit: threading.Semaphore | None, paced: bool) -> None:
        self.run = ServingRun()
        self._socket, self._free, self._paced = socket, credit, paced
        self._moments: list[float] = []  # of frames sent, by id
        self._engine_ms = self._busy_until = 0.0

    def send_frames(self, seconds: float) -> None:
        """A frame every 1/30 s; one that may not be sent is passed over, as the page does it."""
        begin = time.perf_counter()
        for index, image in enumerate(_iter_frames(round(seconds * FPS))):
            time.sleep(max(0.0, begin + index / FPS - time.perf_counter()))
            moment = time.perf_counter()
            if self._paced and self._busy_until - moment > 1 / FPS:
                continue
            if self._free is None or self._free.acquire(blocking=False):
                self._moments.append(moment)
                self._busy_until = max(self._busy_until, moment) + self._engine_ms / 1000
                jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
                self._socket.send(FRAME_HEADER.pack(len(self._moments) - 1, 0, moment * 1000) + jpeg)

    def receive_results(self) -> None:
        """Decode every answer as it comes; check that it is a picture of the right size."""
        for message in self._socket:
            if self._free is not None:
                self._free.release()
            if isinstance(message, str):
                self.run.dropped += 1
                continue
            number, _, _, _, _, self._engine_ms, _ = RESULT_HEADER.unpack_from(message)
            left = len(self._moments) - 1 - number  # under way still
            self._busy_until = time.perf_counter() + left * self._engine_ms / 1000
            jpeg = np.frombuffer(message, np.uint8, offset=RESULT_HEADER.size)
            image = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
            assert image is not None and image.shape == (HEIGHT, WIDTH, 3)
            self.run.latencies.append((time.perf_counter() - self._moments[number]) * 1000)


def _iter_frames(frames: int) -> Iterator[Image]:
    """A photo that moves, so that no frame is like the one before."""
    photo = cv2.resize(np.ascontiguousarray(data.astronaut()[:, :, ::-1]), (WIDTH, HEIGHT))
    for index in range(frames):
        yield np.roll(photo, 4 * index, axis=1).astype(np.uint8, copy=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
