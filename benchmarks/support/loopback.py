"""A network camera in its own process, for measuring: numbered photographs over HTTP, and faults on demand.

    python -m benchmarks.support.loopback --size 640x480 --fps 30 --cameras 1

prints the address of each camera and then obeys one command a line: "drop" (cut all connections), "damage N"
(only half of each of the next N pictures), "break N" (the next N have a spoilt header), "flip N" (wrong bits:
they decode, and look wrong), "stall S" (send nothing for S seconds), "counts".
Each is answered with the counts so far, as JSON. It ends with its standard input.

Each picture carries its number in black and white blocks; the time at which a number was last sent stands in
a file that other processes map, so that they can tell how old a picture is.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

Image = NDArray[np.uint8]
Size = tuple[int, int]  # width, height

NUMBER_BITS = 12  # of a number: a block each, along the upper edge
FRAME_COUNT = 150  # different pictures: 5 s at 30 fps, so that a number tells a picture's age up to 5 s
QUALITY = 80  # of the JPEGs, as webcams have it
BOUNDARY = "loopback"


def make_photos(size: Size, count: int) -> list[Image]:
    """uint8 BGR: a view that wanders over photographs at their own resolution, with its number on it."""
    row = np.hstack([data.coffee(), data.astronaut()[:400], cv2.resize(data.chelsea(), (600, 400))])
    canvas = np.vstack([row, row[:, ::-1]])[..., ::-1]  # RGB -> BGR
    width, height = size
    grown = max(1.0, 1.1 * width / canvas.shape[1], 1.1 * height / canvas.shape[0])
    canvas = cv2.resize(canvas, None, fx=grown, fy=grown, interpolation=cv2.INTER_CUBIC)
    spare_x, spare_y = canvas.shape[1] - width, canvas.shape[0] - height
    images: list[Image] = []
    for number in range(count):
        turn = 2 * np.pi * number / count
        x, y = int(spare_x * (0.5 + 0.5 * np.sin(turn))), int(spare_y * (0.5 + 0.5 * np.cos(turn)))
        view = np.asarray(canvas[y : y + height, x : x + width], np.uint8)
        images.append(draw_number(view, number))
    return images


def draw_number(image: Image, number: int) -> Image:
    """With `number` written on it; the blocks are large enough to survive JPEG and a smaller engine."""
    marked, side = image.copy(), image.shape[1] // 16
    for bit in range(NUMBER_BITS):
        marked[:side, bit * side : (bit + 1) * side] = 255 * (number >> bit & 1)
    return marked


def read_number(image: Image) -> int:
    """What `draw_number` wrote."""
    side = image.shape[1] // 16
    inner = slice(side // 4, side - side // 4)
    blocks = [image[inner, bit * side :][:, inner] for bit in range(NUMBER_BITS)]
    return sum(int(block.mean() > 127) << bit for bit, block in enumerate(blocks))


def encode_jpegs(images: Sequence[Image], quality: int = QUALITY) -> list[bytes]:
    """Encoded ahead of time, so that the camera costs next to nothing while it is measured."""
    return [cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes() for image in images]


def truncate_jpeg(jpeg: bytes) -> bytes:
    """As a transfer that broke off."""
    return jpeg[: len(jpeg) // 2]


def break_header(jpeg: bytes) -> bytes:
    """Complete, but no decoder can read its header."""
    return jpeg[:2] + bytes(len(jpeg) - 4) + jpeg[-2:]


def flip_bits(jpeg: bytes) -> bytes:
    """With wrong bits in the picture: decoders read it, and give something else."""
    changed = bytearray(jpeg)
    for place in range(len(jpeg) // 2, len(jpeg) - 16, 997):
        changed[place] ^= 0x11
    return bytes(changed)


DAMAGES = {"damage": truncate_jpeg, "break": break_header, "flip": flip_bits}


class CameraServer:
    """Serves http://127.0.0.1:PORT/ to any number of clients. Thread-safe.

    sets: JPEGs to go round in, one list for each size. times: where the moment of sending picture i is
    written, in seconds of `time.perf_counter`, which is the same clock in every process of a Linux machine.
    started: the moment from which its ticks count, by that clock; now by default.
    """

    def __init__(
        self,
        sets: Sequence[Sequence[bytes]],
        fps: float = 30.0,
        port: int = 0,
        times: NDArray[np.float64] | None = None,
        start_time: float | None = None,
    ) -> None:
        self.fps, self.sets, self.chosen = fps, sets, 0
        self.times = np.zeros(max(map(len, sets))) if times is None else times
        self.counts = {"sent": 0, "cut": 0, "damage": 0, "break": 0, "flip": 0, "clients": 0}
        self._due = dict.fromkeys(DAMAGES, 0)
        self._started = time.perf_counter() if start_time is None else start_time
        self._stalled_until, self._cuts = 0.0, 0
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._server = _LoopbackServer(("127.0.0.1", port), _LoopbackHandler)
        self._server.camera = self
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="camera")
        self._thread.start()

    def drop(self) -> None:
        """Cut every connection; new ones are welcome."""
        self._cuts += 1

    def spoil(self, damage: str, count: int) -> None:
        """Send the next `count` pictures damaged, one of `DAMAGES`."""
        self._due[damage] += count

    def stall(self, seconds: float) -> None:
        """Send nothing for a while, and keep the connections."""
        self._stalled_until = time.perf_counter() + seconds

    def close(self) -> None:
        """Stop. Calling it twice is allowed."""
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def adjust_count(self, name: str, change: int = 1) -> None:
        """Change one of `counts`."""
        with self._lock:
            self.counts[name] += change

    def iter_parts(self) -> Iterator[bytes]:
        """For one client: a picture at each tick, until it is cut off."""
        cuts = self._cuts
        while not self._closed.is_set():
            now = time.perf_counter()
            number = int((now - self._started) * self.fps) + 1
            wait = max(self._started + number / self.fps, self._stalled_until) - now
            self._closed.wait(wait)
            if self._cuts != cuts:
                self.adjust_count("cut")
                return
            pictures = self.sets[self.chosen]
            jpeg = pictures[number % len(pictures)]
            how = next((name for name, due in self._due.items() if due), None)
            if how is not None:
                self._due[how] -= 1
                jpeg = DAMAGES[how](jpeg)
            self.times[number % len(pictures)] = time.perf_counter()
            head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            yield head.encode() + jpeg + b"\r\n"
            self.adjust_count(how or "sent")

    def __enter__(self) -> CameraServer:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class _LoopbackServer(ThreadingHTTPServer):
    daemon_threads = False
    camera: CameraServer

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away."""


class _LoopbackHandler(BaseHTTPRequestHandler):
    server: _LoopbackServer  # pyright: ignore[reportIncompatibleVariableOverride]
    timeout = 2.0

    def do_GET(self) -> None:  # the name that http.server looks for
        camera = self.server.camera
        self.send_response(200)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
        self.end_headers()
        camera.adjust_count("clients")
        try:
            for part in camera.iter_parts():
                self.wfile.write(part)
        finally:
            camera.adjust_count("clients", -1)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


class Loopback:
    """Cameras alike in a process of their own. A context manager; `say` gives all of them a command.

    Their pictures come at different moments, as those of real cameras do, evenly spread over a tick.
    """

    def __init__(self, size: Size, fps: float = 30.0, cameras: int = 1) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="loopback-")
        path = Path(self._folder.name) / "times"
        path.write_bytes(bytes(8 * FRAME_COUNT * cameras))
        self._times = np.memmap(path, np.float64, "r", shape=(cameras, FRAME_COUNT))
        command = f"-m benchmarks.support.loopback --fps {fps} --cameras {cameras} --size {size[0]}x{size[1]}"
        words, pipe = [sys.executable, *command.split(), "--times", str(path)], subprocess.PIPE
        self._process = subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True)
        assert self._process.stdout is not None
        ready = json.loads(self._process.stdout.readline())
        self.urls: list[str] = ready["urls"]
        self.pid = self._process.pid

    def send_command(self, command: str) -> dict[str, int]:
        """The counts of all cameras together, once they have obeyed."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def compute_age_ms(self, image: Image, camera: int = 0) -> float:
        """How long ago this picture was sent by the camera of that number."""
        return (time.perf_counter() - float(self._times[camera, read_number(image)])) * 1000

    def __enter__(self) -> Loopback:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate(timeout=10)  # closes its standard input
        self._folder.cleanup()


def answer_command(cameras: Sequence[CameraServer], command: str) -> dict[str, Any]:
    """Let all cameras obey a line; their counts together, or what is wrong with the command."""
    verb, _, number = command.partition(" ")
    actions: dict[str, Callable[[CameraServer], None]] = {
        "drop": lambda camera: camera.drop(),
        "stall": lambda camera: camera.stall(float(number)),
        "counts": lambda camera: None,
        **{how: lambda camera, how=how: camera.spoil(how, int(number)) for how in DAMAGES},
    }
    if verb not in actions:
        return {"error": f"{verb!r} is no command; there are {', '.join(actions)}"}
    try:
        for camera in cameras:
            actions[verb](camera)
    except ValueError as error:
        return {"error": str(error)}
    return {name: sum(camera.counts[name] for camera in cameras) for name in cameras[0].counts}


def main(argv: Sequence[str]) -> int:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.support.loopback", description=__doc__)
    parser.add_argument("--size", default="640x480", help="WIDTHxHEIGHT")
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--cameras", type=int, default=1)
    parser.add_argument("--times", type=Path, help=f"{FRAME_COUNT} float64 a camera: when each was last sent")
    args = parser.parse_args(argv)
    width, height = map(int, args.size.split("x"))
    sets = [encode_jpegs(make_photos((width, height), FRAME_COUNT))]
    shape = (args.cameras, FRAME_COUNT)
    times = np.zeros(shape) if args.times is None else np.memmap(args.times, np.float64, "r+", shape=shape)
    began, apart = time.perf_counter(), 1 / (args.fps * args.cameras)
    with ExitStack() as stack:
        cameras: list[CameraServer] = []
        for i in range(args.cameras):
            camera = CameraServer(sets, args.fps, 0, times[i], began + i * apart)
            cameras.append(stack.enter_context(camera))
        print(json.dumps({"urls": [camera.url for camera in cameras]}), flush=True)
        for line in sys.stdin:
            print(json.dumps(answer_command(cameras, line.strip())), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
