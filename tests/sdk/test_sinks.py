"""Writing images and videos: whole or not at all, with the right colours, times and sound."""

from __future__ import annotations

from fractions import Fraction
from itertools import groupby, pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data
from test_sources import beep, constant, drawn, make_video, read_all

from i2i_sdk.errors import InputError, MediaError
from i2i_sdk.sinks import VideoWriter, write_image
from i2i_sdk.sources import read_image

CONTAINERS = (".mp4", ".mkv", ".mov")


def write_video(path: Path, images: list[np.ndarray], times_ms: list[float], fps: float = 30.0) -> list[str]:
    height, width = images[0].shape[:2]
    with VideoWriter(path, width, height, fps, audio_from=None) as writer:
        for image, time_ms in zip(images, times_ms, strict=True):
            writer.write(image, time_ms)
    return writer.notes


def flashing(flash: int, count: int = 40) -> list[np.ndarray]:
    """Dark frames with a white one."""
    return [np.full((48, 64, 3), 255 if i == flash else 30, np.uint8) for i in range(count)]


def sound_after_flash(path: Path) -> float:
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


def sound_bytes(path: Path, track: int = 0) -> bytes:
    with av.open(path) as file:
        return b"".join(bytes(packet) for packet in file.demux(audio=track))


def with_sound(source: Path, out: Path) -> list[str]:
    """Write the frames of `source` to `out`, with its sound."""
    with VideoWriter(out, 64, 48, 30, audio_from=source) as writer:
        for frame in read_all(source):
            writer.write(frame.image, frame.time_ms)
    return writer.notes


# Images


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    channels=st.sampled_from([1, 3, 4]),
    suffix=st.sampled_from([".png", ".webp", ".bmp", ".tif", ".PNG"]),
    seed=st.integers(0, 99),
)
def test_lossless_formats_give_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, size: tuple[int, int], channels: int, suffix: str, seed: int
) -> None:
    if channels == 4 and suffix == ".tif":
        return  # refused, see below
    shape = size if channels == 1 else (*size, channels)
    image = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    if channels == 4:
        image[..., 3] |= 1  # WebP does not keep the colour of fully transparent pixels
    path = tmp_path_factory.mktemp("images") / f"bild ü{suffix}"
    write_image(path, image)
    expected = np.dstack([image] * 3) if channels == 1 else image
    np.testing.assert_array_equal(read_image(path), expected)


def test_jpeg_is_close_and_bgr(tmp_path: Path) -> None:
    photo = data.astronaut()[:, :, ::-1]
    write_image(tmp_path / "new" / "a.jpg", photo)  # the folder is made
    with Image.open(tmp_path / "new" / "a.jpg") as written:
        assert np.abs(np.asarray(written)[:, :, ::-1].astype(int) - photo).mean() < 2
        assert written.quantization[0][0] == 2  # quality 95


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".tif", ".tiff"])
def test_alpha_needs_a_format_that_keeps_it(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(MediaError, match=r"alpha.*\.png, \.webp"):
        write_image(tmp_path / f"a{suffix}", np.zeros((4, 4, 4), np.uint8))
    assert not list(tmp_path.iterdir())


def test_images_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = drawn()
    with pytest.raises(MediaError, match=r"\.gif.*\.png"):
        write_image(tmp_path / "a.gif", image)
    with pytest.raises(MediaError, match=r"\(4, 4, 2\)"):
        write_image(tmp_path / "a.png", np.zeros((4, 4, 2), np.uint8))
    with pytest.raises(InputError, match="uint8; got float32"):
        write_image(tmp_path / "a.png", np.zeros((4, 4, 3), np.float32))  # pyright: ignore
    (tmp_path / "file").touch()
    with pytest.raises(MediaError, match=r"cannot write .*a\.png"):
        write_image(tmp_path / "file" / "a.png", image)
    write_image(tmp_path / "a.png", image)
    monkeypatch.setattr(cv2, "imencode", lambda *_: (False, None))
    with pytest.raises(MediaError, match=r"cannot write .*a\.png"):
        write_image(tmp_path / "a.png", np.zeros_like(image))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), image)  # the old file is as it was
    assert {path.name for path in tmp_path.iterdir()} == {"file", "a.png"}


# Frame rates and times

RATES = [Fraction(24000, 1001), 24, 25, Fraction(30000, 1001), 30, 50, Fraction(60000, 1001), 240, 1, 15]


@pytest.mark.parametrize("rate", RATES, ids=str)
@pytest.mark.parametrize("suffix", CONTAINERS)
def test_constant_rates_come_out_exactly(tmp_path: Path, suffix: str, rate: Fraction) -> None:
    """Even from times in whole milliseconds, as Matroska has them."""
    times = [float(round(1000 * time)) for time in constant(60, rate)]
    path = tmp_path / f"a{suffix}"
    assert write_video(path, [drawn(index=i % 50) for i in range(60)], times, float(rate)) == []
    with av.open(path) as file:
        stream = file.streams.video[0]
        # Matroska stores a frame's duration in whole nanoseconds.
        assert stream.average_rate == (pytest.approx(rate, rel=1e-6) if suffix == ".mkv" else rate)
        stamps = [frame.pts * frame.time_base for frame in file.decode(stream)]
    exact = [time - stamps[0] for time in stamps]
    wanted = constant(60, rate)
    if suffix == ".mkv":
        assert max(abs(a - b) for a, b in zip(exact, wanted, strict=True)) <= Fraction(1, 1000)
    else:
        assert exact == wanted


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_variable_rates_keep_their_times(tmp_path: Path, suffix: str) -> None:
    times = [0.0, 33.3, 66.7, 215.5, 241.0, 500.0, 900.5, 912.3, 2000.0]
    path = tmp_path / f"vfr{suffix}"
    assert write_video(path, [drawn(index=i) for i in range(9)], times) == []
    np.testing.assert_allclose([f.time_ms for f in read_all(path)], times, atol=0.6)


@settings(max_examples=30, deadline=None)
@given(times=st.lists(st.floats(0, 500), min_size=1, max_size=12), fps=st.sampled_from([25.0, 29.97, 60.0]))
def test_time_stamps_always_increase(
    tmp_path_factory: pytest.TempPathFactory, times: list[float], fps: float
) -> None:
    path = tmp_path_factory.mktemp("times") / "a.mp4"
    notes = write_video(path, [drawn(16, 16)] * len(times), times, fps)
    written = [frame.time_ms for frame in read_all(path)]
    assert len(written) == len(times)
    assert all(a < b for a, b in pairwise(written))
    # Unless a note says otherwise, no frame is moved by more than a tenth of a frame.
    if not notes:
        moved = np.abs(np.array(written) - (np.array(times) - times[0]))
        assert moved.max() <= 0.2 * 1000 / fps + 0.1


def test_repeated_times_are_reported(tmp_path: Path) -> None:
    notes = write_video(tmp_path / "a.mp4", [drawn()] * 4, [0.0, 40.0, 40.0, 0.0], 25.0)
    assert len(notes) == 1 and "2 frame(s)" in notes[0] and "40.0 ms" in notes[0]
    assert [f.time_ms for f in read_all(tmp_path / "a.mp4")] == pytest.approx([0, 40, 80, 120])


# Pictures


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_colours_survive(tmp_path: Path, suffix: str) -> None:
    photo = np.ascontiguousarray(data.astronaut()[:, :, ::-1])
    path = tmp_path / f"colour{suffix}"
    write_video(path, [photo] * 5, [0, 33, 67, 100, 133])
    difference = read_all(path)[3].image.astype(int) - photo
    assert np.abs(difference).mean() < 3
    assert np.abs(difference.mean((0, 1))).max() < 1.5
    with av.open(path) as file:
        codec = file.streams.video[0].codec_context
        assert (codec.name, codec.pix_fmt) == ("h264", "yuv420p")
        tags = (codec.colorspace, codec.color_primaries, codec.color_trc, codec.color_range)
        assert tags == (1, 1, 1, 1)  # BT.709 thrice, limited range


def test_saturated_colours_survive(tmp_path: Path) -> None:
    patches = np.array([[0, 0, 255], [0, 255, 0], [255, 0, 0], [0, 255, 255], [255, 255, 255], [0, 0, 0]])
    image = np.repeat(np.repeat(patches[None], 32, 1), 64, 0).astype(np.uint8)
    write_video(tmp_path / "a.mp4", [image] * 3, [0, 33, 67])
    read = read_all(tmp_path / "a.mp4")[1].image
    np.testing.assert_allclose(read[32, 16::32], patches, atol=5)


@pytest.mark.parametrize(("width", "height"), [(63, 48), (64, 47), (63, 47), (1, 1)])
def test_odd_sizes_are_padded_and_reported(tmp_path: Path, width: int, height: int) -> None:
    photo = cv2.resize(data.astronaut(), (width, height), interpolation=cv2.INTER_AREA)
    notes = write_video(tmp_path / "odd.mp4", [photo] * 3, [0, 33, 67])
    even = (height + height % 2, width + width % 2)
    assert len(notes) == 1 and f"{width}x{height} to {even[1]}x{even[0]}" in notes[0]
    read = read_all(tmp_path / "odd.mp4")[0].image
    assert read.shape == (*even, 3)
    replicated = np.pad(photo, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    assert np.abs(read.astype(int) - replicated)[-2:, -2:].mean() < 20
    assert write_video(tmp_path / "even.mp4", [drawn()], [0]) == []


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_the_index_is_at_the_front(tmp_path: Path, suffix: str) -> None:
    write_video(tmp_path / f"a{suffix}", [drawn()] * 3, [0, 33, 67])
    content = (tmp_path / f"a{suffix}").read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")


def test_pixels_that_are_not_square(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", 64, 48, 30, None, sample_aspect=Fraction(4, 3)) as writer:
        writer.write(drawn(), 0.0)
    with av.open(tmp_path / "a.mp4") as file:
        assert file.streams.video[0].sample_aspect_ratio == Fraction(4, 3)


# Sound

ONE_BEEP = beep(1.5, at=0.5)
COPIED = [("aac", ".mp4"), ("aac", ".mkv"), ("aac", ".mov"), ("flac", ".mkv"), ("flac", ".mp4")]
COPIED += [("pcm_s16le", ".mkv"), ("pcm_s16le", ".mov"), ("libopus", ".mp4"), ("libmp3lame", ".mp4")]


@pytest.mark.parametrize(("codec", "suffix"), COPIED)
def test_sound_is_copied_bit_for_bit(tmp_path: Path, codec: str, suffix: str) -> None:
    source = make_video(tmp_path / "in.mkv", flashing(15), constant(40, 30), sound={codec: ONE_BEEP})
    out = tmp_path / f"out{suffix}"
    assert with_sound(source, out) == []
    assert sound_bytes(out) == sound_bytes(source) != b""
    assert abs(sound_after_flash(out) - sound_after_flash(source)) < 1.5


@pytest.mark.parametrize(("codec", "suffix"), [("pcm_s16le", ".mp4"), ("flac", ".mov"), ("libopus", ".mov")])
def test_sound_that_the_container_does_not_take_becomes_aac(tmp_path: Path, codec: str, suffix: str) -> None:
    source = make_video(tmp_path / "in.mkv", flashing(15), constant(40, 30), sound={codec: ONE_BEEP})
    out = tmp_path / f"out{suffix}"
    notes = with_sound(source, out)
    assert len(notes) == 1 and codec.removeprefix("lib") in notes[0] and "AAC" in notes[0]
    with av.open(out) as file:
        assert file.streams.audio[0].codec_context.name == "aac"
        assert sum(frame.samples for frame in file.decode(audio=0)) == pytest.approx(72_000, abs=1100)
    assert abs(sound_after_flash(out)) < 2


def test_channels_without_names_are_encoded(tmp_path: Path) -> None:
    """AVI does not say which loudspeaker a channel is for."""
    source = tmp_path / "in.avi"
    make_video(source, flashing(15), constant(40, 30), codec="mpeg4", sound={"pcm_s16le": ONE_BEEP})
    assert len(with_sound(source, tmp_path / "out.mp4")) == 1
    assert abs(sound_after_flash(tmp_path / "out.mp4")) < 2


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
        flashing(15),
        [start + time for time in constant(40, 30)],
        sound={codec: beep(1.5, at=0.5 + picture_start - sound_start)},
        sound_start=Fraction(sound_start).limit_denominator(1000),
    )
    before = sound_after_flash(source)
    assert abs(before) < 2
    with_sound(source, out)
    assert abs(sound_after_flash(out) - before) < 2
    np.testing.assert_allclose([f.time_ms for f in read_all(out)], np.arange(40) / 0.03, atol=1.1)


def test_sync_survives_a_start_that_cannot_be_decoded(tmp_path: Path) -> None:
    """A broadcast recording starts anywhere: its first frames lack their reference."""
    images = flashing(280, count=300)  # x264 makes frame 250 the second that can be decoded alone
    sound = {"aac": beep(10, at=280 / 30)}
    source = make_video(tmp_path / "whole.ts", images, constant(300, 30), sound=sound)
    content = source.read_bytes()
    middle = len(content) // 2 // 188 * 188
    cut = tmp_path / "cut.ts"
    cut.write_bytes(content[middle:])
    with_sound(cut, tmp_path / "out.mp4")
    assert 20 < len(read_all(tmp_path / "out.mp4")) < 250
    assert abs(sound_after_flash(tmp_path / "out.mp4") - sound_after_flash(source)) < 2


def test_every_audio_track_keeps_its_language(tmp_path: Path) -> None:
    source, out = tmp_path / "in.mkv", tmp_path / "out.mp4"
    sound = {"flac": ONE_BEEP, "aac": beep(1.5, at=1.0)}
    make_video(source, flashing(15), constant(40, 30), sound=sound, languages=("fra", "deu"))
    with_sound(source, out)
    with av.open(out) as file:
        tracks = [(t.codec_context.name, t.metadata["language"]) for t in file.streams.audio]
    assert tracks == [("flac", "fra"), ("aac", "deu")]
    for track in range(2):
        assert sound_bytes(out, track) == sound_bytes(source, track) != b""


def test_subtitles_are_reported(tmp_path: Path) -> None:
    plain = make_video(tmp_path / "plain.mkv", flashing(15), constant(40, 30))
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
    assert with_sound(tmp_path / "in.mkv", tmp_path / "out.mp4") == ["1 subtitle track(s) not copied"]


def test_picture_and_sound_lie_side_by_side(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mkv", flashing(9, 150), constant(150, 30), sound={"aac": beep(5, 0.3)})
    with_sound(source, tmp_path / "out.mp4")
    with av.open(tmp_path / "out.mp4") as file:
        packets = sorted((p.pos, p.stream.type) for p in file.demux() if p.size)
    longest_run = max(len(list(run)) for _, run in groupby(kind for _, kind in packets))
    assert longest_run < 40  # H.264 holds back some frames; the file has 150 and 235 packets


def test_sound_whose_times_run_backwards_is_reported(tmp_path: Path) -> None:
    """Two recordings joined byte by byte, as recorders do."""
    part = make_video(tmp_path / "part.ts", flashing(15), constant(40, 30), sound={"aac": ONE_BEEP})
    (tmp_path / "in.ts").write_bytes(part.read_bytes() * 2)
    notes = with_sound(tmp_path / "in.ts", tmp_path / "out.mp4")
    assert len(read_all(tmp_path / "out.mp4")) == 80
    assert any("damaged packet(s) of sound" in note for note in notes)


def test_silent_files_and_files_without_picture(tmp_path: Path) -> None:
    silent = make_video(tmp_path / "silent.mkv", flashing(15), constant(40, 30))
    assert with_sound(silent, tmp_path / "out.mp4") == []
    with av.open(tmp_path / "sound.wav", "w") as file:
        track = file.add_stream("pcm_s16le", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(ONE_BEEP[None], "s16", "mono")
        frame.sample_rate = 48_000
        file.mux(track.encode(frame))
    with VideoWriter(tmp_path / "dubbed.mkv", 64, 48, 30, audio_from=tmp_path / "sound.wav") as writer:
        for i, image in enumerate(flashing(15)):
            writer.write(image, i / 0.03)
    assert abs(sound_after_flash(tmp_path / "dubbed.mkv")) < 2


# Whole or not at all


@pytest.mark.parametrize("suffix", CONTAINERS)
@pytest.mark.parametrize("error", [RuntimeError("x"), KeyboardInterrupt(), SystemExit(1)], ids=repr)
@pytest.mark.parametrize("written", [0, 1, 30])
def test_an_interrupted_video_leaves_nothing(
    tmp_path: Path, suffix: str, error: BaseException, written: int
) -> None:
    source = make_video(tmp_path / "in.mkv", flashing(15), constant(40, 30), sound={"aac": ONE_BEEP})
    out = tmp_path / f"out{suffix}"
    out.write_text("an older file")
    with pytest.raises(type(error)), VideoWriter(out, 64, 48, 30, audio_from=source) as writer:
        for i in range(written):
            writer.write(drawn(index=i % 50), i / 0.03)
        raise error
    assert out.read_text() == "an older file"
    assert {path.name for path in tmp_path.iterdir()} == {"in.mkv", out.name}


def test_what_a_video_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.mp4, \.mkv, \.mov"):
        VideoWriter(tmp_path / "a.avi", 64, 48, 30, None)
    for width, height, fps in ((0, 48, 30), (64, -1, 30), (64, 48, 0), (64, 48, float("nan")), (64, 48, 1e6)):
        with pytest.raises(InputError, match=f"{width}x{height} at {fps}"):
            VideoWriter(tmp_path / "a.mp4", width, height, fps, None)
    with (
        pytest.raises(MediaError, match=r"a\.mp4.*not one frame"),
        VideoWriter(tmp_path / "a.mp4", 64, 48, 30, None),
    ):
        pass
    wrong = [drawn(32, 48), drawn()[:, :, 0], drawn().astype(np.float32), np.zeros((48, 64, 4), np.uint8)]
    for image in wrong:
        with (
            pytest.raises(InputError, match=r"uint8 \(48, 64, 3\) in BGR"),
            VideoWriter(tmp_path / "a.mp4", 64, 48, 30, None) as writer,
        ):
            writer.write(image, 0.0)
    assert not list(tmp_path.iterdir())


def test_files_in_the_way(tmp_path: Path) -> None:
    for sound in (tmp_path / "missing.mp4", tmp_path / "text.mp4"):
        (tmp_path / "text.mp4").write_text("no sound")
        with (
            pytest.raises(MediaError, match=rf"sound of .*{sound.name}"),
            VideoWriter(tmp_path / "a.mp4", 64, 48, 30, audio_from=sound),
        ):
            pass
    (tmp_path / "folder.mp4").mkdir()
    for path in (tmp_path / "text.mp4" / "a.mp4", tmp_path / "folder.mp4"):
        with pytest.raises(MediaError, match=rf"cannot write .*{path.name}"):
            write_video(path, [drawn()], [0])
    assert {path.name for path in tmp_path.iterdir()} == {"folder.mp4", "text.mp4"}


def test_names_with_colons_and_letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("12:30.mp4", "größe 日本.MKV", "100%d.mov"):
        write_video(Path(name), [drawn()] * 3, [0, 33, 67])
        assert len(read_all(Path(name))) == 3
