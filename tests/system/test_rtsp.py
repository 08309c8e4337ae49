"""RTSP against a real server, GStreamer's: colors, latency, losses, stalls, and how it ends.

Needs Debian's python3-gi, gir1.2-gst-rtsp-server-1.0, gstreamer1.0-plugins-base, -good and -ugly.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from rtsp_server import compute_age

from i2i_sdk import MediaError, Translator
from i2i_sdk.live import Event, NetworkVideo, Stream
from i2i_sdk.live.sources import network_video

PYTHON = "/usr/bin/python3"
GSTREAMER_IMPORTS = """
import gi
gi.require_version("Gst", "1.0"); gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer
Gst.init(None)
elements = "videotestsrc", "videobalance", "x264enc", "rtph264pay", "alawenc", "rtppcmapay"
assert all(Gst.ElementFactory.find(name) for name in elements)
"""
DEADLINE_S = 20.0  # seconds within which everything here happens, however slow the machine
# SMPTE's white, yellow, cyan, green, magenta, red and blue, BGR, as fractions of full.
BAR_COLORS = ((1, 1, 1), (0, 1, 1), (1, 1, 0), (0, 1, 0), (1, 0, 1), (0, 0, 1), (1, 0, 0))


class RtspServer:
    """An RTSP server of its own process, which can be stopped, continued, killed and started again."""

    def __init__(self) -> None:
        self.port, self._process = 0, None
        self.start()

    def start(self) -> None:
        """At the same port as before."""
        script = Path(__file__).with_name("rtsp_server.py")
        command = [PYTHON, str(script), str(self.port)]
        silent = subprocess.DEVNULL
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=silent, text=True)
        ready, _, _ = select.select([self._process.stdout], [], [], DEADLINE_S)
        assert ready, "the server did not start"
        self.port = int(self._process.stdout.readline())

    def make_url(self, path: str) -> str:
        return f"rtsp://127.0.0.1:{self.port}/{path}"

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


@pytest.fixture(scope="module", autouse=True)
def _packages() -> None:
    command = [PYTHON, "-c", GSTREAMER_IMPORTS]
    if not Path(PYTHON).exists() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs GStreamer's RTSP server: " + (__doc__ or "").split("Needs ")[-1].strip())


@pytest.fixture
def server() -> Iterator[RtspServer]:
    server = RtspServer()
    yield server
    server.kill()


@pytest.fixture
def translator() -> Iterator[Translator]:
    with Translator("sketch", size=128, backend="ort") as translator:
        yield translator


def list_sdk_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("i2i-")}


def wait_until(condition: Callable[[], bool], seconds: float = DEADLINE_S) -> bool:
    deadline = time.perf_counter() + seconds
    while not condition():
        if time.perf_counter() > deadline:
            return False
        time.sleep(0.01)
    return True


def measure_clock_age(frame: np.ndarray) -> float:
    """How many seconds ago /clock drew it."""
    return compute_age(float(frame.mean()), time.monotonic())


class StreamReader:
    """A stream that is read in a thread; `age` is that of the newest picture when it came."""

    def __init__(self, stream: Stream) -> None:
        self.count, self.age = 0, float("nan")
        self._stream = stream
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def close(self) -> None:
        self._stream.close()
        self._thread.join()

    def _read(self) -> None:
        for result in self._stream:
            self.count, self.age = self.count + 1, measure_clock_age(result.frame)


def test_pictures_have_the_right_colors_and_size(translator: Translator, server: RtspServer) -> None:
    stream = translator.stream(server.make_url("bars"))
    for result in stream:
        assert result.output.shape == result.frame.shape == (480, 640, 3)
        if result.index >= 10:
            break
    columns = (np.arange(7) + 0.5) * 640 / 7
    found = result.frame[100:300, columns.astype(int)].mean(axis=0)
    np.testing.assert_allclose(found / 255, BAR_COLORS, atol=0.05)
    assert stream.stats.sources[0].name == server.make_url("bars")
    assert wait_until(lambda: not list_sdk_threads())


def test_a_slow_consumer_stays_at_the_newest_frame(translator: Translator, server: RtspServer) -> None:
    stream, ages = translator.stream(server.make_url("clock")), []
    for result in stream:
        ages.append(measure_clock_age(result.frame))
        if result.index >= 150:  # 5 s of video, of which a queue would be behind by more than 3
            break
        time.sleep(0.2)
    assert max(ages[len(ages) // 2 :]) < 1.5
    assert stream.stats.dropped > 60


def test_a_stall_is_waited_for_and_does_no_harm(translator: Translator, server: RtspServer) -> None:
    events: list[Event] = []
    stream = translator.stream(server.make_url("clock"), on_event=events.append)
    reader = StreamReader(stream)
    assert wait_until(lambda: reader.count > 30)
    for seconds in (0.5, 2.5):
        server.send(signal.SIGSTOP)
        time.sleep(seconds)
        server.send(signal.SIGCONT)
        before = reader.count
        assert wait_until(lambda before=before: reader.count > before + 20 and reader.age < 1)
    reader.close()
    assert events == []
    assert (stream.stats.reconnects, stream.stats.undecodable) == (0, 0)


def test_a_restart_is_found_again_and_both_are_said(translator: Translator, server: RtspServer) -> None:
    events: list[Event] = []
    stream = translator.stream(server.make_url("clock"), on_event=events.append)
    reader = StreamReader(stream)
    assert wait_until(lambda: reader.count > 5)
    server.kill()
    assert wait_until(lambda: [event.kind for event in events] == ["lost"])
    server.start()
    assert wait_until(lambda: [event.kind for event in events] == ["lost", "reconnected"])
    before = reader.count
    assert wait_until(lambda: reader.count > before + 30 and reader.age < 1)
    reader.close()
    assert stream.stats.reconnects == 1


def test_silence_is_taken_for_a_loss(
    translator: Translator, server: RtspServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_video, "STALL_TIMEOUT_S", 1.5)
    monkeypatch.setattr(network_video, "CONNECT_TIMEOUT_S", 1.0)
    events: list[Event] = []
    reader = StreamReader(translator.stream(server.make_url("clock"), on_event=events.append))
    assert wait_until(lambda: reader.count > 5)
    server.send(signal.SIGSTOP)
    assert wait_until(lambda: bool(events))
    server.send(signal.SIGCONT)
    assert "no data for" in events[0].message
    assert wait_until(lambda: [event.kind for event in events[:2]] == ["lost", "reconnected"])
    reader.close()


def test_a_stream_of_a_hanging_server_leaves_no_thread(translator: Translator, server: RtspServer) -> None:
    stream = translator.stream(server.make_url("clock"))
    reader = StreamReader(stream)
    assert wait_until(lambda: reader.count > 5)
    server.send(signal.SIGSTOP)
    time.sleep(0.3)
    started = time.perf_counter()
    stream.close()
    assert time.perf_counter() - started < 3  # it says 1; a read without a limit would wait for ever
    assert wait_until(lambda: not list_sdk_threads(), 3)
    reader.close()


def test_what_is_not_there_is_an_error_that_helps(server: RtspServer) -> None:
    wrong = server.make_url("nothing").replace("rtsp://", "rtsp://me:secret@")
    with pytest.raises(MediaError, match=r"cannot open rtsp://127\S*/nothing: .*404 .*player") as raised:
        NetworkVideo(wrong).open()
    server.kill()
    with pytest.raises(MediaError, match=r"cannot open rtsp://127\S*/bars: Connection refused") as refused:
        NetworkVideo(server.make_url("bars")).open()
    assert "secret" not in str(raised.value) + str(refused.value) + str(raised.value.__cause__)
    server.start()


def test_a_server_that_says_nothing_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_video, "CONNECT_TIMEOUT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        source = NetworkVideo(f"rtsp://127.0.0.1:{silent.getsockname()[1]}/x")
        with pytest.raises(MediaError, match="no answer within"):
            source.open()


def test_nothing_of_the_libraries_is_printed(server: RtspServer) -> None:
    """Not into a terminal whose user runs `i2i live`: errors say it."""
    script = f"""
from i2i_sdk.live import NetworkVideo
source = NetworkVideo({server.make_url("clock")!r})
source.open()
frames = source.frames()
for _ in range(10):
    next(frames)
source.close()
source.release()
"""
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
