"""The live loop: what comes out, in which order, what is dropped, and how it ends."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from known_bundles import noise
from numpy.typing import NDArray

from i2i_sdk import BackendError, InputError, MediaError, Translator
from i2i_sdk.live import Captured, Event, Frames, MemorySink, NullSink, Result, Sink, Source, VideoSink
from i2i_sdk.live.mailbox import Mailbox
from i2i_sdk.live.stream import Stream
from i2i_sdk.sinks import VideoWriter

Image = NDArray[np.uint8]
Known = Callable[[str], Path]

SOON = 10.0  # seconds within which everything here happens, however slow the machine


@pytest.fixture
def invert(known: Known) -> Iterator[Translator]:
    with Translator(known("invert"), backend="ort") as translator:
        yield translator


@pytest.fixture(autouse=True)
def _no_thread_survives() -> Iterator[None]:
    yield
    deadline = time.perf_counter() + SOON
    while ours() and time.perf_counter() < deadline:
        time.sleep(0.01)
    assert not ours()


def ours() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("i2i-")]


def flat(level: int) -> Image:
    return np.full((24, 40, 3), level, np.uint8)


def endless() -> Iterator[Image]:
    while True:
        yield flat(0)


class Ticking(Source):
    """A camera whose frames come when the test says so."""

    live = True

    def __init__(self) -> None:
        super().__init__("ticking")
        self.next: Mailbox[Image] = Mailbox([True])

    def tick(self, image: Image) -> None:
        self.next.put(0, image)

    def frames(self) -> Iterator[Captured]:
        while not self.stopped.is_set():
            for _, image in self.next.take(1, timeout_s=0.02):
                now = time.perf_counter()
                yield Captured(image, 0.0, now, now)


def test_results_are_those_of_the_translator_in_order(invert: Translator) -> None:
    frames = [noise(24, 40, 3, seed=seed) for seed in range(5)]
    results = list(invert.stream(frames))
    assert [r.index for r in results] == [0, 1, 2, 3, 4]
    for frame, result in zip(frames, results, strict=True):
        np.testing.assert_array_equal(result.frame, frame)
        np.testing.assert_array_equal(result.output, 255 - frame)
        assert not result.repeated


def test_latency_parts_add_up_and_none_is_negative(invert: Translator) -> None:
    for result in invert.stream([flat(0)] * 3):
        latency = result.latency
        parts = [latency.capture_ms, latency.wait_ms, latency.pre_ms, latency.engine_ms, latency.post_ms]
        assert all(part >= 0 for part in parts)
        assert latency.engine_ms > 0
        assert latency.total_ms == pytest.approx(sum(parts))


def test_every_frame_of_a_video_file_comes_at_its_time(invert: Translator, tmp_path: Path) -> None:
    times = [0.0, 40.0, 120.0, 130.0, 400.0]  # a varying frame rate
    with VideoWriter(tmp_path / "in.mp4", 40, 24, 25.0, audio_from=None) as writer:
        for index, time_ms in enumerate(times):
            writer.write(flat(40 * index), time_ms)
    results = list(invert.stream(tmp_path / "in.mp4"))
    assert [r.time_ms for r in results] == pytest.approx(times, abs=0.1)
    assert [float(255 - r.output.mean()) for r in results] == pytest.approx([0, 40, 80, 120, 160], abs=2)


def test_a_recording_keeps_a_varying_frame_rate(invert: Translator, tmp_path: Path) -> None:
    times = [0.0, 40.0, 120.0, 130.0, 400.0]
    with VideoWriter(tmp_path / "in.mp4", 40, 24, 25.0, audio_from=None) as writer:
        for index, time_ms in enumerate(times):
            writer.write(flat(40 * index), time_ms)
    invert.stream(tmp_path / "in.mp4", sinks=[VideoSink(tmp_path / "out.mp4")]).run()
    again = list(invert.stream(tmp_path / "out.mp4"))
    assert [r.time_ms for r in again] == pytest.approx(times, abs=1)
    assert [float(r.output.mean()) for r in again] == pytest.approx([0, 40, 80, 120, 160], abs=3)


def test_a_folder_of_images_passes_over_what_it_cannot_read(invert: Translator, tmp_path: Path) -> None:
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"{index}.png"), flat(10 * index))
    (tmp_path / "1.png").write_bytes(b"no image")
    (tmp_path / "notes.txt").write_text("not a picture")
    stream = invert.stream(tmp_path)
    assert [int(r.output[0, 0, 0]) for r in stream] == [255, 235]
    assert stream.stats.undecodable == 1


def test_the_newest_frame_of_a_camera_wins(invert: Translator) -> None:
    camera = Ticking()
    stream = invert.stream(camera)
    results = iter(stream)
    camera.tick(flat(0))
    assert int(next(results).output[0, 0, 0]) == 255
    for level in range(1, 8):  # the consumer is busy meanwhile
        camera.tick(flat(level))
    wait_until(lambda: camera.captured == 8 and not pending(stream))
    result = next(results)
    assert int(result.output[0, 0, 0]) == 255 - 7
    assert result.index == 7
    stream.close()
    assert stream.stats.dropped == 6
    assert stream.stats.presented == 2


def pending(stream: Stream) -> bool:
    """Whether a captured frame is still on its way through the engine."""
    seen = stream.stats
    return seen.presented + seen.dropped + 1 < stream.sources[0].captured


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.perf_counter() + SOON
    while not true():
        assert time.perf_counter() < deadline
        time.sleep(0.005)


def test_several_sources_share_engine_calls_and_keep_their_frames_apart(invert: Translator) -> None:
    left, right = [flat(level) for level in range(20)], [flat(100 + level) for level in range(20)]
    stream = invert.stream([Frames(left), Frames(right)])
    results = list(stream)
    for source, frames in enumerate((left, right)):
        of_source = [r for r in results if r.source == source]
        assert [r.index for r in of_source] == list(range(20))
        for frame, result in zip(frames, of_source, strict=True):
            np.testing.assert_array_equal(result.output, 255 - frame)
    assert [s.captured for s in stream.stats.sources] == [20, 20]


def test_sources_that_wait_are_translated_in_one_engine_call(
    invert: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    turns = threading.Semaphore(0)
    timed = invert.timed

    def gated(images: list[Image]) -> object:
        sizes.append(len(images))
        assert turns.acquire(timeout=SOON)
        return timed(images)

    monkeypatch.setattr(invert, "timed", gated)
    cameras = Ticking(), Ticking()
    stream = invert.stream(cameras)
    taken: list[Result] = []
    consumer = threading.Thread(target=lambda: taken.extend(stream))
    consumer.start()
    cameras[0].tick(flat(1))
    wait_until(lambda: len(sizes) == 1)  # the engine is busy with the first frame, while two more arrive
    for camera in cameras:
        camera.tick(flat(2))
    wait_until(lambda: all(source in stream._captured._slots for source in (0, 1)))
    turns.release()
    wait_until(lambda: len(taken) == 1)
    turns.release()
    wait_until(lambda: len(taken) == 3)
    stream.close()
    consumer.join(SOON)
    assert sizes == [1, 2]
    assert sorted(result.source for result in taken[1:]) == [0, 1]


def test_leaving_the_loop_ends_every_thread(invert: Translator) -> None:
    for result in invert.stream(Frames(endless())):
        if result.index == 2:
            break
    assert not ours()


@pytest.mark.parametrize("kind", ["generator", "camera"])
def test_close_returns_within_a_second_while_a_source_blocks(invert: Translator, kind: str) -> None:
    go_on = threading.Event()

    def stuck() -> Iterator[Image]:
        yield flat(0)
        go_on.wait(SOON)
        yield flat(1)

    camera = Ticking()
    stream = invert.stream(stuck() if kind == "generator" else camera)
    results = iter(stream)
    if kind == "camera":
        camera.tick(flat(0))
    next(results)
    start = time.perf_counter()
    stream.close()
    assert time.perf_counter() - start < 1.0
    go_on.set()  # what blocks in a caller's own code ends with its next frame; a source of ours has ended


def test_a_sources_error_reaches_the_caller_after_the_frames_before_it(invert: Translator) -> None:
    def broken() -> Iterator[Image]:
        yield flat(0)
        raise ZeroDivisionError("in the camera")

    results = iter(invert.stream(broken()))
    assert next(results).index == 0
    with pytest.raises(ZeroDivisionError, match="in the camera"):
        next(results)


def test_an_engines_error_reaches_the_caller(invert: Translator) -> None:
    invert.close()
    with pytest.raises(BackendError, match="closed"):
        list(invert.stream([flat(0)]))


def test_a_sinks_error_reaches_the_caller_and_the_other_sinks_are_finished(
    invert: Translator, tmp_path: Path
) -> None:
    class Full(Sink):
        def take(self, result: Result) -> None:
            if result.index == 3:
                raise MediaError("the disk is full")

    out = tmp_path / "out.mp4"
    stream = invert.stream([flat(9)] * 9, sinks=[VideoSink(out), Full()])
    with pytest.raises(MediaError, match="disk is full"):
        stream.run()
    assert len(list(invert.stream(out))) == 4


def test_an_interrupt_leaves_a_recording_that_plays(invert: Translator, tmp_path: Path) -> None:
    class Interrupted(Sink):
        def take(self, result: Result) -> None:
            if result.index == 5:
                raise KeyboardInterrupt

    out = tmp_path / "out.mkv"
    with pytest.raises(KeyboardInterrupt):
        invert.stream([flat(9)] * 9, sinks=[VideoSink(out), Interrupted()]).run()
    assert len(list(invert.stream(out))) == 6
    assert sorted(tmp_path.iterdir()) == [out]


def test_what_does_not_open_is_an_error_at_the_start_and_frees_what_did(
    invert: Translator, tmp_path: Path
) -> None:
    freed: list[str] = []

    class Fine(Ticking):
        def release(self) -> None:
            freed.append(self.name)

    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(MediaError, match=r"broken\.mp4"):
        list(invert.stream([Fine(), tmp_path / "broken.mp4"]))
    assert freed == ["ticking"]


def test_a_sink_can_end_the_stream(invert: Translator) -> None:
    class Enough(MemorySink):
        def open(self, stream: Stream) -> None:
            self.stream = stream

        def take(self, result: Result) -> None:
            super().take(result)
            if result.index == 2:
                self.stream.close()

    sink = Enough()
    invert.stream(Frames(endless()), sinks=[sink]).run()
    assert [r.index for r in sink.results] == [0, 1, 2]


def test_pausing_holds_a_file_and_sinks_stay_awake(invert: Translator) -> None:
    class Pausing(MemorySink):
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

    sink = Pausing()
    stats = invert.stream([flat(level) for level in range(6)], sinks=[sink]).run()
    assert [r.index for r in sink.results] == [0, 1, 2, 3, 4, 5]
    assert sink.idles > 20
    assert stats.dropped == 0


def test_events_tell_what_happened_to_a_source(invert: Translator) -> None:
    events: list[Event] = []
    list(invert.stream([Frames([flat(0)]), Frames([flat(1)] * 3)], on_event=events.append))
    assert {(event.kind, event.source) for event in events} == {("ended", 0), ("ended", 1)}


def test_identical_frames_reuse_the_last_picture_and_are_counted(invert: Translator) -> None:
    frames = [flat(5), flat(5), flat(5), flat(6), flat(6)]
    stream = invert.stream(frames, reuse=0)
    results = list(stream)
    assert [r.repeated for r in results] == [False, True, True, False, True]
    assert [int(r.output[0, 0, 0]) for r in results] == [250, 250, 250, 249, 249]
    assert stream.stats.repeated == 3
    results[1].output[:] = 0  # a caller may draw on its picture
    assert int(results[2].output[0, 0, 0]) == 250


def test_nearly_identical_frames_are_compared_with_the_one_that_was_translated(invert: Translator) -> None:
    drifting = [flat(100 + step) for step in range(7)]  # each within 2 levels of the one before
    results = list(invert.stream(drifting, reuse=2))
    assert [r.repeated for r in results] == [False, True, True, False, True, True, False]


def test_a_small_thing_that_moves_is_not_taken_for_noise(invert: Translator) -> None:
    rng = np.random.default_rng(0)
    still = np.full((480, 640, 3), 100, np.uint8)
    noisy = np.clip(still + rng.normal(0, 3, still.shape), 0, 255).astype(np.uint8)
    moved = noisy.copy()
    moved[200:230, 300:330] += 60
    results = list(invert.stream([still, noisy, moved], reuse=2))
    assert [r.repeated for r in results] == [False, True, False]


def test_reuse_ends_after_its_longest_run(invert: Translator) -> None:
    results = list(invert.stream([flat(5)] * 7, reuse=0, reuse_most=2))
    assert [r.repeated for r in results] == [False, True, True, False, True, True, False]


def test_mirror_blend_and_mask(invert: Translator) -> None:
    frame = noise(24, 40, 3)
    (mirrored,) = invert.stream([frame], mirror=True)
    np.testing.assert_array_equal(mirrored.frame, frame[:, ::-1])
    np.testing.assert_array_equal(mirrored.output, 255 - frame[:, ::-1])
    (half,) = invert.stream([frame], blend=0.5)
    assert np.abs(half.output.astype(int) - 127.5).max() <= 1
    (none,) = invert.stream([frame], blend=0.0)
    np.testing.assert_array_equal(none.output, frame)

    def right_half(image: Image) -> NDArray[np.bool_]:
        mask = np.zeros(image.shape[:2], bool)
        mask[:, 20:] = True
        return mask

    (masked,) = invert.stream([frame], mask=right_half)
    np.testing.assert_array_equal(masked.output[:, :20], frame[:, :20])
    np.testing.assert_array_equal(masked.output[:, 20:], 255 - frame[:, 20:])


def test_a_mask_of_another_shape_is_refused(invert: Translator) -> None:
    with pytest.raises(InputError, match="mask"):
        list(invert.stream([flat(0)], mask=lambda image: np.zeros((3, 3), bool)))


def test_views_and_text_are_in_the_picture_and_not_in_the_output(invert: Translator) -> None:
    frames = [noise(120, 160, 3, seed=seed) for seed in range(2)]
    sink = MemorySink()
    invert.stream(frames, sinks=[sink], view="side").run()
    for frame, result in zip(frames, sink.results, strict=True):
        np.testing.assert_array_equal(result.picture, np.hstack([frame, result.output]))
    lettered = MemorySink()
    invert.stream(frames, sinks=[lettered], overlay=True).run()
    first, second = lettered.results
    np.testing.assert_array_equal(first.picture, first.output)  # nothing is known yet
    assert not np.array_equal(second.picture, second.output)
    np.testing.assert_array_equal(second.output, sink.results[1].output)


def test_stabilizing_steadies_a_flickering_output(known: Known) -> None:
    rng = np.random.default_rng(1)
    still = cv2.GaussianBlur(noise(240, 320, 3), (0, 0), 3)
    frames = [np.clip(still + rng.normal(0, 4, still.shape), 0, 255).astype(np.uint8) for _ in range(8)]
    with Translator(known("invert"), backend="ort", fit="resize") as translator:
        raw = [r.output.astype(float) for r in translator.stream(frames)]
        steady = [r.output.astype(float) for r in translator.stream(frames, stabilize=True)]

    def flicker(outputs: list[NDArray[np.float64]]) -> float:
        return float(np.mean([np.abs(a - b).mean() for a, b in itertools.pairwise(outputs)]))

    assert flicker(steady) < 0.8 * flicker(raw)


def test_another_translator_can_take_over(invert: Translator, known: Known) -> None:
    with Translator(known("identity"), backend="ort") as identity:
        camera = Ticking()
        stream = invert.stream(camera)
        results = iter(stream)
        camera.tick(flat(10))
        assert int(next(results).output[0, 0, 0]) == 245
        stream.translator = identity
        camera.tick(flat(10))
        assert int(next(results).output[0, 0, 0]) == 10
        stream.close()


def test_a_stream_runs_once(invert: Translator) -> None:
    stream = invert.stream([flat(0)])
    list(stream)
    with pytest.raises(InputError, match="runs once"):
        list(stream)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"blend": 1.5}, "blend is 1.5"),
        ({"stabilize": 1.0}, "stabilize is 1.0"),
        ({"reuse": -1}, "reuse is -1"),
        ({"reuse_most": 0}, "reuse_most is 0"),
        ({"mask": np.zeros((2, 2))}, "mask is ndarray"),
        ({"view": "upside-down"}, "allowed: output, split, side, input"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    invert: Translator, options: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        invert.stream([flat(0)], **options)  # type: ignore[arg-type]


def test_streams_are_bgr(known: Known) -> None:
    with (
        Translator(known("invert"), backend="ort", color="rgb") as rgb,
        pytest.raises(InputError, match="bgr"),
    ):
        rgb.stream([flat(0)])


def test_a_run_needs_sinks_and_a_stream_a_source(invert: Translator) -> None:
    with pytest.raises(InputError, match="sinks"):
        invert.stream([flat(0)]).run()
    with pytest.raises(InputError, match="at least one source"):
        Stream(invert, [], [NullSink()], options=invert.stream([flat(0)]).options)


def test_statistics_count_what_was_presented(invert: Translator) -> None:
    stream = invert.stream([flat(level) for level in range(30)])
    assert stream.stats.presented == 0 and stream.stats.fps == 0
    totals = [result.latency.total_ms for result in stream]
    stats = stream.stats
    assert stats.presented == 30
    assert stats.p50_ms == pytest.approx(np.percentile(totals, 50))
    assert stats.p95_ms == pytest.approx(np.percentile(totals, 95))
    assert stats.p99_ms == pytest.approx(np.percentile(totals, 99))
    assert (stats.sources[0].width, stats.sources[0].height) == (40, 24)
    assert f"{stats.p50_ms:.0f} ms" in stats.line()
