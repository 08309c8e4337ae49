"""Videos as people have them: broken off, damaged, of varying rate, interrupted."""

from __future__ import annotations

import itertools
import random
import re
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from test_audio import copy_with_sound
from test_reading import draw_picture, make_beep, make_video, read_all
from test_translate_path import invert_colors

from i2i_sdk import Translator
from i2i_sdk.live import VideoSink
from i2i_sdk.media.translate_path import translate_path
from i2i_sdk.media.video import VideoReader
from i2i_sdk.media.video_writer import VideoWriter

# Files that break off


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm", ".avi", ".flv"])
@pytest.mark.parametrize("share", [0.6, 1.0])
def test_a_file_that_breaks_off_says_so(tmp_path: Path, suffix: str, share: float) -> None:
    codec = {".avi": "mpeg4", ".webm": "libvpx"}.get(suffix, "libx264")
    images = list(np.random.default_rng(0).integers(0, 255, (90, 48, 64, 3), np.uint8))
    path = make_video(tmp_path / f"a{suffix}", images, codec=codec)
    if suffix in (".mp4", ".mov"):  # with its index in front
        copied = translate_path(invert_colors, path, tmp_path / f"copy{suffix}")
        path = copied.out
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with VideoReader(path) as video:
        count = len(list(video))
    assert 30 < count < 75 if share < 1 else count == 90
    # FLV says a duration that is some frames longer.
    pattern = rf"{path.name} breaks off: {count} of 9\d frames are there"
    assert any(re.fullmatch(pattern, note) for note in video.collect_notes()) == (share < 1)


def test_the_truncated_case(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "cases" / "truncated_faststart.mp4"
    summary = translate_path(invert_colors, source, tmp_path / "out.mp4")
    assert summary.frames == len(read_all(summary.out)) == 45
    assert summary.notes == ("truncated_faststart.mp4 breaks off: 45 of 75 frames are there",)


def test_a_film_that_is_left_early_does_not_break_off(tmp_path: Path) -> None:
    with VideoReader(make_video(tmp_path / "a.mp4", [draw_picture()] * 20)) as video:
        assert video.read() is not None
    assert video.collect_notes() == []


# Times and tags


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("last_ms", [33, 100, 400])
def test_the_last_frame_keeps_its_duration(tmp_path: Path, suffix: str, last_ms: int) -> None:
    times = [0, 33, 66, 300, 533, 566, 600, 700, 800, 1000]
    path = tmp_path / f"a{suffix}"
    with VideoWriter(path, 64, 48, 15, None, variable_rate=True) as writer:
        for index, time in enumerate(times):
            writer.write(draw_picture(index=index), time, last_ms)
    frames = read_all(path)
    assert frames[-1].time_ms + frames[-1].duration_ms == pytest.approx(1000 + last_ms, abs=1.1)
    with av.open(path) as file:
        assert file.duration / av.time_base == pytest.approx((1000 + last_ms) / 1000, abs=0.0015)


def test_the_case_of_variable_rate_keeps_its_end(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "cases" / "vfr.mp4"
    out = translate_path(invert_colors, source, tmp_path / "out.mp4").out
    with av.open(source) as a, av.open(out) as b:
        for before, after in zip(a.streams, b.streams, strict=True):
            assert after.duration * after.time_base == pytest.approx(
                before.duration * before.time_base, abs=1e-3
            )
    np.testing.assert_allclose(
        [f.time_ms for f in read_all(out)], [f.time_ms for f in read_all(source)], atol=0.1
    )


def test_a_live_recording_of_wide_pixels_keeps_them_wide(invert: Translator, tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mkv", [draw_picture()] * 3, sample_aspect=Fraction(64, 45))
    invert.stream(source, sinks=[VideoSink(tmp_path / "out.mp4")]).run()
    with VideoReader(tmp_path / "out.mp4") as video:
        assert video.sample_aspect == Fraction(64, 45)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_title_and_date_of_a_film_are_kept(tmp_path: Path, suffix: str) -> None:
    source = make_video(tmp_path / "in.mp4", [draw_picture()] * 3)
    with av.open(source) as a, av.open(tmp_path / "named.mkv", "w") as b:
        b.metadata.update({"title": "Ein Ausflug ü", "date": "1999", "encoder": "of another program"})
        track = b.add_stream_from_template(a.streams.video[0])
        for packet in a.demux(video=0):
            if packet.dts is not None:
                packet.stream = track
                b.mux(packet)
    out = translate_path(invert_colors, tmp_path / "named.mkv", tmp_path / f"out{suffix}").out
    with av.open(out) as file:
        tags = {key.lower(): value for key, value in file.metadata.items()}
    assert (tags["title"], tags["date"]) == ("Ein Ausflug ü", "1999")
    assert "another" not in tags["encoder"]


@pytest.mark.parametrize("bit", [0x02, 0x10, 0x80])  # of the second byte: 6, 47 and 373 minutes
@pytest.mark.parametrize("frames", [1, 3])
def test_a_damaged_time_stamp_is_not_believed(tmp_path: Path, bit: int, frames: int) -> None:
    path = make_video(tmp_path / "in.ts", [draw_picture(index=i) for i in range(40)], codec="mpeg2video")
    content = bytearray(path.read_bytes())
    starts = [found.start() for found in re.finditer(rb"\x00\x00\x01\xe0", content)]
    for start in starts[20 : 20 + frames]:
        assert content[start + 7] & 0x80  # it has a time stamp
        content[start + 10] ^= bit
    path.write_bytes(content)
    with VideoReader(path) as video:
        times = [frame.time_ms for frame in video]
    assert len(times) == 40
    np.testing.assert_allclose(times, np.arange(40) * 1000 / 30, atol=150)
    assert [note for note in video.collect_notes() if "the clock of in.ts jumps" in note]


def test_a_pause_in_a_film_is_no_damage(tmp_path: Path) -> None:
    """As recordings of a screen have it, on which nothing moves for a minute."""
    times = [Fraction(t) for t in (0, 1, 61, 62, 150)]
    path = make_video(tmp_path / "a.mkv", [draw_picture(index=i) for i in range(5)], times)
    with VideoReader(path) as video:
        assert [round(frame.time_ms / 1000) for frame in video] == [0, 1, 61, 62, 150]
    assert video.collect_notes() == []


def test_a_clock_that_begins_anew_goes_on(tmp_path: Path) -> None:
    parts = [tmp_path / f"{name}.ts" for name in ("late", "early")]
    for path, start in zip(parts, (9000, 0), strict=True):
        images = [draw_picture(index=i) for i in range(20)]
        make_video(path, images, [Fraction(start) + Fraction(i, 30) for i in range(20)], codec="libx264")
    late, early = (path.read_bytes() for path in parts)
    for content in (late + early, early + late):
        (tmp_path / "joined.ts").write_bytes(content)
        times = [frame.time_ms for frame in read_all(tmp_path / "joined.ts")]
        np.testing.assert_allclose(times, np.arange(len(times)) * 1000 / 30, atol=40)
        assert len(times) >= 38


@pytest.mark.parametrize(
    ("suffix", "codec", "pixel_format", "transfer", "note"),
    [
        (".mov", "prores_ks", "yuva444p10le", 2, "the alpha of a.mov is left out"),
        (".mkv", "ffv1", "bgra", 2, "the alpha of a.mkv is left out"),
        (".mp4", "libx265", "yuv420p10le", 16, "a.mp4 is HDR (PQ or HLG)"),
        (".mkv", "libx264", "yuv420p10le", 18, "a.mkv is HDR (PQ or HLG)"),
        (".mkv", "libx264", "yuv420p10le", 1, ""),
    ],
)
def test_what_is_lost_of_colors_is_said(
    tmp_path: Path, suffix: str, codec: str, pixel_format: str, transfer: int, note: str
) -> None:
    with av.open(tmp_path / f"a{suffix}", "w") as file:
        video = file.add_stream(codec, 25, {"x265-params": "log-level=none"} if codec == "libx265" else {})
        video.width, video.height, video.pix_fmt = 64, 64, pixel_format
        video.codec_context.color_trc = transfer
        frame = av.VideoFrame.from_ndarray(draw_picture(64, 64), format="bgr24").reformat(format=pixel_format)
        frame.pts, frame.time_base, frame.color_trc = 0, Fraction(1, 25), transfer
        file.mux(video.encode(frame))
        file.mux(video.encode(None))
    with VideoReader(tmp_path / f"a{suffix}") as video:
        assert len(list(video)) == 1
    notes = video.collect_notes()
    assert len(notes) == bool(note) and all(found.startswith(note) for found in notes)


def test_a_cover_is_no_film(tmp_path: Path) -> None:
    film = make_video(tmp_path / "film.mp4", [draw_picture(index=i) for i in range(5)])
    with av.open(film) as a, av.open(tmp_path / "a.mp4", "w") as b:
        cover = b.add_stream("mjpeg", 25)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        track = b.add_stream_from_template(a.streams.video[0])
        b.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="bgr24")))
        b.mux(cover.encode(None))
        for packet in a.demux(video=0):
            if packet.size:
                packet.stream = track
                b.mux(packet)
    summary = translate_path(invert_colors, tmp_path / "a.mp4", tmp_path / "out.mp4")
    assert (summary.frames, summary.width, summary.height) == (5, 64, 48)
    assert summary.notes == ("1 other picture track(s), such as a cover, not copied",)


# Damaged sound


def make_damaged_stream(path: Path, codec: str, seed: int, hole: int) -> Path:
    """A transport stream of 3 s with forty damaged places, `hole` bytes each."""
    noise = np.random.default_rng(seed).integers(-9000, 9000, 3 * 48_000, np.int16)
    images = [draw_picture(index=i % 40) for i in range(90)]
    content = bytearray(make_video(path, images, codec="mpeg2video", sound={codec: noise}).read_bytes())
    chance = random.Random(seed)
    for _ in range(40):
        at = chance.randrange(4000, len(content) - hole)
        content[at : at + hole] = chance.randbytes(hole)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize("codec", ["aac", "mp2", "libopus"])
@pytest.mark.parametrize(("seed", "hole"), [(0, 8), (1, 40), (2, 400)])
def test_damaged_sound_costs_no_picture(
    tmp_path: Path, suffix: str, codec: str, seed: int, hole: int
) -> None:
    source = make_damaged_stream(tmp_path / "in.ts", codec, seed, hole)
    notes = copy_with_sound(source, tmp_path / f"out{suffix}")
    assert len(read_all(tmp_path / f"out{suffix}")) == len(read_all(source)) > 60
    assert codec != "aac" or any("of sound" in note for note in notes)  # others are not looked into
    with av.open(tmp_path / f"out{suffix}") as file:
        sound = [packet for packet in file.demux(audio=0) if packet.size]
    times = [packet.dts for packet in sound]
    assert all(a < b for a, b in itertools.pairwise(times))
    assert len(sound) > 60  # of 125 to 150
    assert float(times[-1] * sound[-1].time_base) < 4


@pytest.mark.parametrize("seed", range(4))
def test_lost_packets_cost_no_picture(tmp_path: Path, seed: int) -> None:
    """Of a transport stream with AAC, in which the muxer finds more kinds of damage."""
    noise = np.random.default_rng(seed).integers(-9000, 9000, 3 * 48_000, np.int16)
    images = [draw_picture(index=i % 40) for i in range(90)]
    content = make_video(tmp_path / "in.ts", images, codec="mpeg2video", sound={"aac": noise}).read_bytes()
    chance = random.Random(seed)
    packets = [content[at : at + 188] for at in range(0, len(content), 188)]
    left = [packet for index, packet in enumerate(packets) if index < 20 or chance.random() > 0.05]
    (tmp_path / "in.ts").write_bytes(b"".join(left))
    copy_with_sound(tmp_path / "in.ts", tmp_path / "out.mp4")
    assert len(read_all(tmp_path / "out.mp4")) == len(read_all(tmp_path / "in.ts")) > 60
    with av.open(tmp_path / "out.mp4") as file:
        assert file.streams.audio[0].frames > 70  # of 142
        assert file.duration / av.time_base == pytest.approx(3, abs=0.2)


def test_the_damaged_case(shared_data: Path, tmp_path: Path) -> None:
    summary = translate_path(invert_colors, shared_data / "cases" / "damaged.ts", tmp_path / "out.mp4")
    assert summary.frames == len(read_all(summary.out)) == 72
    with av.open(summary.out) as file:
        assert file.streams.audio[0].frames >= 115  # of 126
        assert file.duration / av.time_base == pytest.approx(3, abs=0.1)
    notes = "\n".join(summary.notes)
    for said in ("of sound had wrong times", "of sound left out", "damaged and may show blocks"):
        assert said in notes


# Interrupted


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize(("frames", "error"), [(0, RuntimeError), (1, KeyboardInterrupt), (30, SystemExit)])
def test_what_is_finished_is_kept(
    tmp_path: Path, suffix: str, frames: int, error: type[BaseException]
) -> None:
    source = make_video(tmp_path / "in.mkv", [draw_picture()] * 90, sound={"aac": make_beep(3, 1)})
    out, part = tmp_path / f"out{suffix}", tmp_path / f"out.partial{suffix}"
    out.write_text("an older file")
    with pytest.raises(error), VideoWriter(out, 64, 48, 30, audio_from=source) as writer:
        for index in range(frames):
            writer.write(draw_picture(index=index), index / 0.03)
        raise error
    assert out.read_text() == "an older file"
    assert sorted(tmp_path.iterdir()) == sorted([source, out, *([part] if frames else [])])
    if frames:
        assert len(read_all(part)) == frames
        with av.open(part) as file:
            assert file.duration / av.time_base < frames / 30 + 0.1  # the sound ends with the picture


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupting_run_keeps_what_is_finished(tmp_path: Path, number: signal.Signals) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (900, 96, 128, 3), np.uint8)
    source = make_video(tmp_path / "in.mp4", list(noise))
    command = [sys.executable, "-m", "i2i_sdk", "run", "sketch", str(source), "-o", str(tmp_path / "out.mp4")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as run:
        while sum(path.stat().st_size for path in tmp_path.glob(".out.partial*")) < 100_000:
            assert run.poll() is None
            time.sleep(0.02)
        run.send_signal(number)
        said = run.communicate()[1]
    assert run.returncode == 130
    assert f"kept: {tmp_path / 'out.partial.mp4'}" in said
    assert {path.name for path in tmp_path.iterdir()} == {"in.mp4", "out.partial.mp4"}
    assert 0 < len(read_all(tmp_path / "out.partial.mp4")) < 900
