"""The live loop: what comes out, in which order, what is dropped."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from streams import DEADLINE_S, Image, TickingSource, has_pending_frame, make_flat_image, wait_until

from i2i_sdk import Translator
from i2i_sdk.live import Event, Frames, MemorySink, Result, VideoSink
from i2i_sdk.media.video_writer import VideoWriter

pytestmark = pytest.mark.usefixtures("no_thread_survives")


def test_latency_parts_add_up_and_none_is_negative(invert: Translator) -> None:
    for result in invert.stream([make_flat_image(0)] * 3):
        latency = result.latency
        parts = [latency.capture_ms, latency.wait_ms, latency.pre_ms, latency.engine_ms, latency.post_ms]
        assert all(part >= 0 for part in parts)
        assert latency.engine_ms > 0
        assert latency.total_ms == pytest.approx(sum(parts))


def test_frames_of_a_video_and_of_its_recording_come_at_their_times(
    invert: Translator, tmp_path: Path
) -> None:
    times = [0.0, 40.0, 120.0, 130.0, 400.0]  # a varying frame rate
    levels = [0, 40, 80, 120, 160]
    with VideoWriter(tmp_path / "in.mp4", 40, 24, 25.0, audio_from=None) as writer:
        for level, time_ms in zip(levels, times, strict=True):
            writer.write(make_flat_image(level), time_ms)
    memory = MemorySink()
    invert.stream(tmp_path / "in.mp4", sinks=[memory, VideoSink(tmp_path / "out.mp4")]).run()
    assert [r.time_ms for r in memory.results] == pytest.approx(times, abs=0.1)
    assert [float(255 - r.output.mean()) for r in memory.results] == pytest.approx(levels, abs=2)
    again = list(invert.stream(tmp_path / "out.mp4"))
    assert [r.time_ms for r in again] == pytest.approx(times, abs=1)
    assert [float(r.output.mean()) for r in again] == pytest.approx(levels, abs=3)


def test_the_newest_frame_of_a_camera_wins(invert: Translator) -> None:
    camera = TickingSource()
    stream = invert.stream(camera)
    results = iter(stream)
    camera.tick(make_flat_image(0))
    assert int(next(results).output[0, 0, 0]) == 255
    for level in range(1, 8):  # the consumer is busy meanwhile
        camera.tick(make_flat_image(level))
    wait_until(lambda: camera.captured == 8 and not has_pending_frame(stream))
    result = next(results)
    assert int(result.output[0, 0, 0]) == 255 - 7
    assert result.index == 7
    stream.close()
    assert stream.stats.dropped == 6
    assert stream.stats.presented == 2


def test_several_sources_share_engine_calls_and_keep_their_frames_apart(invert: Translator) -> None:
    left, right = ([make_flat_image(first + step) for step in range(20)] for first in (0, 100))
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

    def run_gated(images: list[Image]) -> object:
        sizes.append(len(images))
        assert turns.acquire(timeout=DEADLINE_S)
        return timed(images)

    monkeypatch.setattr(invert, "timed", run_gated)
    cameras = TickingSource(), TickingSource()
    stream = invert.stream(cameras)
    received: list[Result] = []
    consumer = threading.Thread(target=lambda: received.extend(stream))
    consumer.start()
    cameras[0].tick(make_flat_image(1))
    wait_until(lambda: len(sizes) == 1)  # the engine is busy with the first frame, while two more arrive
    for camera in cameras:
        camera.tick(make_flat_image(2))
    wait_until(lambda: all(source in stream._captured._slots for source in (0, 1)))
    turns.release()
    wait_until(lambda: len(received) == 1)
    turns.release()
    wait_until(lambda: len(received) == 3)
    stream.close()
    consumer.join(DEADLINE_S)
    assert sizes == [1, 2]
    assert sorted(result.source for result in received[1:]) == [0, 1]


def test_events_tell_what_happened_to_a_source(invert: Translator) -> None:
    events: list[Event] = []
    sources = [Frames([make_flat_image(0)]), Frames([make_flat_image(1)] * 3)]
    list(invert.stream(sources, on_event=events.append))
    assert {(event.kind, event.source) for event in events} == {("ended", 0), ("ended", 1)}


def test_statistics_count_what_was_presented(invert: Translator) -> None:
    stream = invert.stream([make_flat_image(level) for level in range(30)])
    assert stream.stats.presented == 0 and stream.stats.fps == 0
    totals = [result.latency.total_ms for result in stream]
    stats = stream.stats
    assert stats.presented == 30
    assert stats.p50_ms == pytest.approx(np.percentile(totals, 50))
    assert stats.p95_ms == pytest.approx(np.percentile(totals, 95))
    assert stats.p99_ms == pytest.approx(np.percentile(totals, 99))
    assert (stats.sources[0].width, stats.sources[0].height) == (40, 24)
    assert f"{stats.p50_ms:.0f} ms" in stats.format_line()
    assert stream.stats is stats  # it has ended: its rate falls no more
