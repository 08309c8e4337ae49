"""How a stream ends: closed, interrupted, broken; and how it is paused."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streams import (
    DEADLINE_S,
    Image,
    TickingSource,
    generate_frames,
    list_sdk_threads,
    make_flat_image,
    wait_until,
)

from i2i_sdk import BackendError, InputError, MediaError, Translator
from i2i_sdk.live import (
    Frames,
    MemorySink,
    MjpegStream,
    NetworkVideo,
    NullSink,
    Result,
    Sink,
    Source,
    VideoSink,
)
from i2i_sdk.live.stream import Stream
from i2i_sdk.media.video_writer import VideoWriter

pytestmark = pytest.mark.usefixtures("no_thread_survives")


def test_leaving_the_loop_ends_every_thread(invert: Translator) -> None:
    for result in invert.stream(Frames(generate_frames())):
        if result.index == 2:
            break
    assert not list_sdk_threads()


@pytest.mark.parametrize("kind", ["generator", "camera"])
def test_close_returns_within_a_second_while_a_source_blocks(invert: Translator, kind: str) -> None:
    go_on = threading.Event()

    def block_forever() -> Iterator[Image]:
        yield make_flat_image(0)
        go_on.wait(DEADLINE_S)
        yield make_flat_image(1)

    camera = TickingSource()
    stream = invert.stream(block_forever() if kind == "generator" else camera)
    results = iter(stream)
    if kind == "camera":
        camera.tick(make_flat_image(0))
    next(results)
    start = time.perf_counter()
    stream.close()
    assert time.perf_counter() - start < 1.0
    go_on.set()  # what blocks in a caller's own code ends with its next frame; a source of ours has ended


class BlockedSource(TickingSource):
    """Its driver hangs when it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on, self.calls = threading.Event(), list[str]()

    def open(self) -> None:
        assert self.go_on.wait(DEADLINE_S)
        self.calls.append("opened")

    def release(self) -> None:
        self.calls.append("released")


@pytest.fixture
def blocked() -> Iterator[dict[str, Callable[[], Source]]]:
    """Sources whose opening takes for ever, or seconds; they end with the test."""
    driver = BlockedSource()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        there = f"127.0.0.1:{silent.getsockname()[1]}/"
        yield {
            "driver": lambda: driver,
            "http": lambda: MjpegStream(f"http://{there}"),
            "rtsp": lambda: NetworkVideo(f"rtsp://{there}"),
        }
    driver.go_on.set()


@pytest.mark.parametrize("kind", ["driver", "http", "rtsp"])
@pytest.mark.parametrize("how", ["iterate", "run", "Ctrl-C"])
def test_a_source_whose_opening_blocks_is_left(
    invert: Translator, blocked: dict[str, Callable[[], Source]], kind: str, how: str
) -> None:
    stream = invert.stream(
        [Frames(generate_frames()), blocked[kind]()], sinks=[MemorySink()] * (how != "iterate")
    )
    moment = time.perf_counter()
    if how == "Ctrl-C":
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            stream.run()
    else:
        threading.Timer(0.3, stream.close).start()
        assert how == "run" or list(stream) == []  # type: ignore[comparison-overlap]
        assert how != "run" or stream.run().presented == 0
    assert time.perf_counter() - moment < 0.3 + 1.2


class InterruptingSink(Sink):
    """Someone presses Ctrl-C, once or twice, while it takes a result."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def take(self, result: Result) -> None:
        for _ in range(self.times):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupted_result_is_in_every_sink(invert: Translator, times: int) -> None:
    """A recording has as many frames as are counted; a sink that hangs is left at the second Ctrl-C."""
    sink = MemorySink()
    stream = invert.stream(Frames(generate_frames()), sinks=[InterruptingSink(times), sink])
    with pytest.raises(KeyboardInterrupt):
        stream.run()
    assert stream.stats.presented == 1
    assert len(sink.results) == (times == 1)


def test_a_source_that_opens_too_late_is_released(invert: Translator) -> None:
    source = BlockedSource()
    stream = invert.stream(source)
    threading.Timer(0.2, stream.close).start()
    assert list(stream) == []
    assert source.calls == []
    source.go_on.set()
    wait_until(lambda: source.calls == ["opened", "released"])


def test_an_error_of_opening_does_not_wait_for_a_source_that_blocks(
    invert: Translator, tmp_path: Path
) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    source, sink = BlockedSource(), MemorySink()
    with pytest.raises(MediaError, match=r"broken\.mp4"):
        invert.stream([source, tmp_path / "broken.mp4"], sinks=[sink]).run()
    source.go_on.set()
    assert not sink.results


def test_sinks_are_opened_after_the_sources(invert: Translator) -> None:
    source, order = BlockedSource(), list[str]()

    class NotingSink(MemorySink):
        def open(self, stream: Stream) -> None:
            order.extend(source.calls)
            stream.close()

    threading.Timer(0.2, source.go_on.set).start()
    invert.stream(source, sinks=[NotingSink()]).run()
    assert order == ["opened"]


def test_a_sources_error_reaches_the_caller_after_the_frames_before_it(invert: Translator) -> None:
    def generate_broken() -> Iterator[Image]:
        yield make_flat_image(0)
        raise ZeroDivisionError("in the camera")

    results = iter(invert.stream(generate_broken()))
    assert next(results).index == 0
    with pytest.raises(ZeroDivisionError, match="in the camera"):
        next(results)


def test_an_engines_error_reaches_the_caller(invert: Translator) -> None:
    invert.close()
    with pytest.raises(BackendError, match="closed"):
        list(invert.stream([make_flat_image(0)]))


@pytest.mark.parametrize(
    "error", [MediaError("the disk is full"), KeyboardInterrupt("stop")], ids=["error", "Ctrl-C"]
)
def test_what_ends_a_run_reaches_the_caller_and_leaves_a_recording_that_plays(
    invert: Translator, tmp_path: Path, error: BaseException
) -> None:
    class FailingSink(Sink):
        def take(self, result: Result) -> None:
            if result.index == 3:
                raise error

    out = tmp_path / "out.mkv"
    with pytest.raises(type(error), match=str(error)):
        invert.stream([make_flat_image(9)] * 9, sinks=[VideoSink(out), FailingSink()]).run()
    assert len(list(invert.stream(out))) == 4
    assert sorted(tmp_path.iterdir()) == [out]


def test_what_does_not_open_is_an_error_at_the_start_and_frees_what_did(
    invert: Translator, tmp_path: Path
) -> None:
    freed: list[str] = []

    class ReleasedSource(TickingSource):
        def release(self) -> None:
            freed.append(self.name)

    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(MediaError, match=r"broken\.mp4"):
        list(invert.stream([ReleasedSource(), tmp_path / "broken.mp4"]))
    assert freed == ["ticking"]


def test_a_sink_can_end_the_stream(invert: Translator) -> None:
    class EndingSink(MemorySink):
        def open(self, stream: Stream) -> None:
            self.stream = stream

        def take(self, result: Result) -> None:
            super().take(result)
            if result.index == 2:
                self.stream.close()

    sink = EndingSink()
    invert.stream(Frames(generate_frames()), sinks=[sink]).run()
    assert [r.index for r in sink.results] == [0, 1, 2]


def test_pausing_holds_a_file_and_sinks_stay_awake(invert: Translator) -> None:
    class PausingSink(MemorySink):
        idles = 0

        def open(self, stream: Stream) -> None:
            self.stream = stream

        def take(self, result: Result) -> None:
            super().take(result)
            self.stream.paused = result.index == 1

        def idle(self) -> None:
            self.idles += 1
            if self.idles > 20 and self.stream.paused:
                assert len(self.results) == 2
                self.stream.paused = False

    sink = PausingSink()
    stats = invert.stream([make_flat_image(level) for level in range(6)], sinks=[sink]).run()
    assert [r.index for r in sink.results] == [0, 1, 2, 3, 4, 5]
    assert sink.idles > 20
    assert stats.dropped == 0


def test_pausing_holds_a_file_that_plays_at_its_own_speed(invert: Translator, tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "in.mp4", 40, 24, 50.0, audio_from=None) as writer:
        for index in range(40):
            writer.write(make_flat_image(5 * index), index * 20.0)
    stream = invert.stream(tmp_path / "in.mp4", realtime=True)
    results = iter(stream)
    for _ in range(5):
        before = next(results)
    stream.paused = True
    time.sleep(0.5)  # 25 frames of the file
    stream.paused = False
    assert next(results).index <= before.index + 8
    stream.close()


def test_a_stream_runs_once_and_a_second_run_does_not_end_the_first(invert: Translator) -> None:
    stream = invert.stream([make_flat_image(0)] * 3)
    results = iter(stream)
    next(results)
    with pytest.raises(InputError, match="runs once"):
        list(stream)
    assert [r.index for r in results] == [1, 2]
    with pytest.raises(InputError, match="runs once"):
        list(stream)


def test_a_stream_with_sinks_is_run(invert: Translator) -> None:
    with pytest.raises(InputError, match=r"call run\(\)"):
        list(invert.stream([make_flat_image(0)], sinks=[NullSink()]))
    for wrong in ("window", NullSink()):
        with pytest.raises(InputError, match="list of Sinks"):
            invert.stream([make_flat_image(0)], sinks=wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="empty list"):
        invert.stream([])


def test_when_a_sink_does_not_open_those_before_it_are_closed(invert: Translator) -> None:
    closed: list[str] = []

    class NamedSink(NullSink):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def open(self, stream: Stream) -> None:
            if self.name == "second":
                raise MediaError("no room")

        def close(self) -> None:
            closed.append(self.name)

    sinks = [NamedSink(name) for name in ("first", "second", "third")]
    with pytest.raises(MediaError, match="no room"):
        invert.stream([make_flat_image(0)], sinks=sinks).run()
    assert closed == ["first"]


def test_a_release_that_fails_reaches_the_caller(invert: Translator) -> None:
    class UnreleasableFrames(Frames):
        def release(self) -> None:
            raise MediaError("the device does not let go")

    with pytest.raises(MediaError, match="let go"):
        list(invert.stream(UnreleasableFrames([make_flat_image(0)])))


def test_a_run_needs_sinks_and_a_stream_a_source(invert: Translator) -> None:
    with pytest.raises(InputError, match="sinks"):
        invert.stream([make_flat_image(0)]).run()
    with pytest.raises(InputError, match="at least one source"):
        Stream(invert, [], [NullSink()], options=invert.stream([make_flat_image(0)]).options)
