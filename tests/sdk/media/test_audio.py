"""Sound of one video in another: copied or encoded, in sync, and nothing lost without a word."""

from __future__ import annotations

from fractions import Fraction
from itertools import groupby
from pathlib import Path

import av
import numpy as np
import pytest
from test_reading import make_beep, make_constant_times, make_video, read_all
from test_writing import CONTAINERS, ONE_BEEP, make_flashing_frames

from i2i_sdk.media.video_writer import VideoWriter


def measure_sound_delay(path: Path) -> float:
    """Milliseconds between the white frame and the start of the beep, by the file's own clock."""
    with av.open(path) as file:
        gray = [(f.time, f.to_ndarray(format="gray").mean()) for f in file.decode(video=0)]
    flash = next(time for time, mean in gray if mean > 150)
    with av.open(path) as file:
        for frame in file.decode(audio=0):
            samples = frame.to_ndarray().ravel().astype(float)
            loud = np.abs(samples) > 0.1 * (1.0 if frame.format.name.startswith("flt") else 32768.0)
            if loud.any():
                return 1000 * (frame.time + int(loud.argmax()) / frame.sample_rate - flash)
    raise AssertionError("no beep")


def read_sound_bytes(path: Path, track: int = 0) -> bytes:
    with av.open(path) as file:
        return b"".join(bytes(packet) for packet in file.demux(audio=track))


def copy_with_sound(source: Path, out: Path) -> list[str]:
    """Write the frames of `source` to `out`, with its sound."""
    with VideoWriter(out, 64, 48, 30, audio_from=source) as writer:
        for frame in read_all(source):
            writer.write(frame.image, frame.time_ms)
    return writer.notes


# Images


COPIED_CODECS = [("aac", ".mp4"), ("aac", ".mkv"), ("aac", ".mov"), ("flac", ".mkv"), ("flac", ".mp4")]
COPIED_CODECS += [("pcm_s16le", ".mkv"), ("pcm_s16le", ".mov"), ("libopus", ".mp4"), ("libmp3lame", ".mp4")]


@pytest.mark.parametrize(("codec", "suffix"), COPIED_CODECS)
def test_sound_is_copied_bit_for_bit(tmp_path: Path, codec: str, suffix: str) -> None:
    source = make_video(tmp_path / "in.mkv", make_flashing_frames(15), sound={codec: ONE_BEEP})
    out = tmp_path / f"out{suffix}"
    assert copy_with_sound(source, out) == []
    assert read_sound_bytes(out) == read_sound_bytes(source) != b""
    assert abs(measure_sound_delay(out) - measure_sound_delay(source)) < 1.5


@pytest.mark.parametrize(("codec", "suffix"), [("pcm_s16le", ".mp4"), ("flac", ".mov"), ("libopus", ".mov")])
def test_sound_that_the_container_does_not_take_becomes_aac(tmp_path: Path, codec: str, suffix: str) -> None:
    source = make_video(tmp_path / "in.mkv", make_flashing_frames(15), sound={codec: ONE_BEEP})
    out = tmp_path / f"out{suffix}"
    notes = copy_with_sound(source, out)
    assert len(notes) == 1 and codec.removeprefix("lib") in notes[0] and "AAC" in notes[0]
    with av.open(out) as file:
        assert file.streams.audio[0].codec_context.name == "aac"
        assert sum(frame.samples for frame in file.decode(audio=0)) == pytest.approx(72_000, abs=1100)
    assert abs(measure_sound_delay(out)) < 2


def test_channels_without_names_are_encoded(tmp_path: Path) -> None:
    """AVI does not say which loudspeaker a channel is for."""
    sound = {"pcm_s16le": ONE_BEEP}
    source = make_video(tmp_path / "in.avi", make_flashing_frames(15), codec="mpeg4", sound=sound)
    assert len(copy_with_sound(source, tmp_path / "out.mp4")) == 1
    assert abs(measure_sound_delay(tmp_path / "out.mp4")) < 2


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])  # copied, and encoded for MP4
@pytest.mark.parametrize("suffix", CONTAINERS)
@pytest.mark.parametrize(("picture_start", "sound_start"), [(0.0, 0.25), (0.25, 0.0), (0.4, 0.4)])
def test_sync_survives_different_starts(
    tmp_path: Path, codec: str, suffix: str, picture_start: float, sound_start: float
) -> None:
    source, out = tmp_path / "in.mkv", tmp_path / f"out{suffix}"
    start = Fraction(picture_start).limit_denominator(1000)
    make_video(
        source,
        make_flashing_frames(15),
        [start + time for time in make_constant_times(40, 30)],
        sound={codec: make_beep(1.5, at=0.5 + picture_start - sound_start)},
        sound_start=Fraction(sound_start).limit_denominator(1000),
    )
    before = measure_sound_delay(source)
    assert abs(before) < 2
    copy_with_sound(source, out)
    assert abs(measure_sound_delay(out) - before) < 2
    np.testing.assert_allclose([f.time_ms for f in read_all(out)], np.arange(40) / 0.03, atol=1.1)


def test_sync_survives_a_start_that_cannot_be_decoded(tmp_path: Path) -> None:
    """A broadcast recording starts anywhere: its first frames lack their reference."""
    images = make_flashing_frames(280, count=300)  # x264 makes frame 250 the second that can be decoded alone
    sound = {"aac": make_beep(10, at=280 / 30)}
    source = make_video(tmp_path / "whole.ts", images, sound=sound)
    content = source.read_bytes()
    (tmp_path / "cut.ts").write_bytes(content[len(content) // 2 // 188 * 188 :])
    copy_with_sound(tmp_path / "cut.ts", tmp_path / "out.mp4")
    assert 20 < len(read_all(tmp_path / "out.mp4")) < 250
    assert abs(measure_sound_delay(tmp_path / "out.mp4") - measure_sound_delay(source)) < 2


def test_every_audio_track_keeps_its_language(tmp_path: Path) -> None:
    source, out = tmp_path / "in.mkv", tmp_path / "out.mp4"
    sound = {"flac": ONE_BEEP, "aac": make_beep(1.5, at=1.0)}
    make_video(source, make_flashing_frames(15), sound=sound, languages=("fra", "deu"))
    copy_with_sound(source, out)
    with av.open(out) as file:
        tracks = [(t.codec_context.name, t.metadata["language"]) for t in file.streams.audio]
    assert tracks == [("flac", "fra"), ("aac", "deu")]
    for track in range(2):
        assert read_sound_bytes(out, track) == read_sound_bytes(source, track) != b""


def test_subtitles_are_reported(tmp_path: Path) -> None:
    plain = make_video(tmp_path / "plain.mkv", make_flashing_frames(15))
    with av.open(plain) as file, av.open(tmp_path / "in.mkv", "w") as out:
        video = out.add_stream_from_template(file.streams.video[0])
        titles = out.add_mux_stream("subrip")
        for packet in file.demux(video=0):
            if packet.size:
                packet.stream = video
                out.mux(packet)
        packet = av.Packet(b"Hello")
        packet.stream, packet.time_base = titles, Fraction(1, 1000)
        packet.pts, packet.dts, packet.duration = 0, 0, 500
        out.mux(packet)
    assert copy_with_sound(tmp_path / "in.mkv", tmp_path / "out.mp4") == ["1 subtitle track(s) not copied"]


def test_picture_and_sound_lie_side_by_side(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mkv", make_flashing_frames(9, 150), sound={"aac": make_beep(5, 0.3)})
    copy_with_sound(source, tmp_path / "out.mp4")
    with av.open(tmp_path / "out.mp4") as file:
        packets = sorted((p.pos, p.stream.type) for p in file.demux() if p.size)
    longest_run = max(len(list(run)) for _, run in groupby(kind for _, kind in packets))
    assert longest_run < 40  # H.264 holds back some frames; the file has 150 and 235 packets


def test_sound_whose_times_run_backwards_is_reported(tmp_path: Path) -> None:
    """Two recordings joined byte by byte, as recorders do."""
    part = make_video(tmp_path / "part.ts", make_flashing_frames(15), sound={"aac": ONE_BEEP})
    (tmp_path / "in.ts").write_bytes(part.read_bytes() * 2)
    notes = copy_with_sound(tmp_path / "in.ts", tmp_path / "out.mp4")
    assert len(read_all(tmp_path / "out.mp4")) == 80
    assert any("packet(s) of sound had wrong times" in note for note in notes)


def test_silent_files_and_files_without_picture(tmp_path: Path) -> None:
    silent = make_video(tmp_path / "silent.mkv", make_flashing_frames(15))
    assert copy_with_sound(silent, tmp_path / "out.mp4") == []
    with av.open(tmp_path / "sound.wav", "w") as file:
        track = file.add_stream("pcm_s16le", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(ONE_BEEP[None], "s16", "mono")
        frame.sample_rate = 48_000
        file.mux(track.encode(frame))
    with VideoWriter(tmp_path / "dubbed.mkv", 64, 48, 30, audio_from=tmp_path / "sound.wav") as writer:
        for i, image in enumerate(make_flashing_frames(15)):
            writer.write(image, i / 0.03)
    assert abs(measure_sound_delay(tmp_path / "dubbed.mkv")) < 2
