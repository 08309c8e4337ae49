"""From file to file: images, folders and videos."""

from __future__ import annotations

import io
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from test_reading import (
    count_decodable_frames,
    draw_picture,
    make_beep,
    make_damaged_video,
    make_video,
    read_all,
    rotate_in_header,
)

from i2i_sdk.errors import InputError, MediaError
from i2i_sdk.media.images import read_image, write_image
from i2i_sdk.media.translate_path import FileSummary, translate_path
from i2i_sdk.media.video import VideoReader


def invert_colors(image: np.ndarray) -> np.ndarray:
    """255 - x, alpha untouched, as a Translator leaves it."""
    result = 255 - image
    result[..., 3:] = image[..., 3:]
    return result


def make_short_video(path: Path, count: int = 12) -> Path:
    return make_video(path, [draw_picture(index=i) for i in range(count)])


# Images


@pytest.mark.parametrize("channels", [3, 4])
def test_an_image(tmp_path: Path, channels: int) -> None:
    image = np.dstack([draw_picture(63, 47)] + [draw_picture(63, 47)[:, :, 0]] * (channels - 3))
    write_image(tmp_path / "größe.png", image)
    summary = translate_path(invert_colors, tmp_path / "größe.png", tmp_path / "new" / "out.png")
    np.testing.assert_array_equal(read_image(tmp_path / "new" / "out.png"), invert_colors(image))
    assert isinstance(summary, FileSummary)
    assert (summary.kind, summary.frames, summary.width, summary.height) == ("image", 1, 63, 47)
    assert (summary.source, summary.out) == (tmp_path / "größe.png", tmp_path / "new" / "out.png")
    assert summary.notes == ()
    assert summary.fps == 1 / summary.seconds > 0


@pytest.mark.parametrize("out", ["there", "new", "new/deeper"])
def test_a_folder_as_out_takes_the_name_of_the_source(tmp_path: Path, out: str) -> None:
    (tmp_path / "there").mkdir()
    write_image(tmp_path / "a.png", draw_picture())
    summary = translate_path(invert_colors, tmp_path / "a.png", tmp_path / out)
    assert summary.out == tmp_path / out / "a.png"
    assert summary.out.is_file()


# Folders


def test_a_folder(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out.v2"
    names = ["b.png", "a.PNG", "deep/er/c.png", "größe 日本.png"]
    for i, name in enumerate(names):
        write_image(source / name, draw_picture(32 + i, 32))
    (source / "notes.txt").write_text("not an image")
    (source / "deep" / "film.mp4").write_text("nor this")
    summary = translate_path(invert_colors, source, out)
    for i, name in enumerate(names):
        np.testing.assert_array_equal(read_image(out / name), invert_colors(draw_picture(32 + i, 32)))
    assert len([path for path in out.rglob("*") if path.is_file()]) == 4
    assert (summary.kind, summary.frames, summary.width, summary.height) == ("folder", 4, None, None)
    assert len(summary.notes) == 1 and "2 other file(s)" in summary.notes[0]


def test_unreadable_images_are_listed_after_the_good_ones(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    for name in ("a.png", "c.png"):
        write_image(source / name, draw_picture())
    for name in ("b.png", "d.jpg"):
        (source / name).write_text("not a picture")
    with pytest.raises(MediaError, match=r"2 of 4 images") as error:
        translate_path(invert_colors, source, out)
    assert "b.png" in str(error.value) and "d.jpg" in str(error.value) and "a.png" not in str(error.value)
    assert {path.name for path in out.iterdir()} == {"a.png", "c.png"}
    summary = translate_path(invert_colors, out, tmp_path / "again")  # of one size each
    assert (summary.frames, summary.width, summary.height, summary.notes) == (2, 64, 48, ())


# Videos


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_a_video_with_sound(tmp_path: Path, suffix: str) -> None:
    fps = Fraction(30000, 1001)
    images, sound = [draw_picture(index=i) for i in range(40)], {"aac": make_beep(1.3, at=0.5)}
    source = make_video(tmp_path / "in.mp4", images, fps=fps, sound=sound)
    summary = translate_path(invert_colors, source, tmp_path / f"out{suffix}")
    assert (summary.kind, summary.frames, summary.width, summary.height) == ("video", 40, 64, 48)
    assert summary.notes == ()
    before, after = read_all(source), read_all(summary.out)
    assert [f.time_ms for f in after] == pytest.approx([f.time_ms for f in before], abs=0.6)
    for a, b in zip(before, after, strict=True):
        assert np.abs(b.image.astype(int) - (255 - a.image)).mean() < 6
    with VideoReader(source) as a, VideoReader(summary.out) as b:
        assert (a.width, a.height, a.fps) == (b.width, b.height, b.fps)
    with av.open(summary.out) as file:
        assert [track.codec_context.name for track in file.streams.audio] == ["aac"]


def test_a_video_side_by_side(tmp_path: Path) -> None:
    source = make_short_video(tmp_path / "in.mp4")
    summary = translate_path(invert_colors, source, tmp_path / "o.mp4", side_by_side=True)
    frame = read_all(tmp_path / "o.mp4")[5].image
    wanted = np.hstack([draw_picture(index=5), 255 - draw_picture(index=5)])
    assert np.abs(frame.astype(int) - wanted).mean() < 6
    assert (summary.width, summary.height) == (64, 48)


def test_a_rotated_video_with_wide_pixels(tmp_path: Path) -> None:
    source = tmp_path / "phone.mp4"
    make_video(source, [draw_picture()] * 4, sample_aspect=Fraction(4, 3))
    rotate_in_header(source, 90)
    summary = translate_path(invert_colors, source, tmp_path / "out.mp4")
    assert (summary.width, summary.height) == (48, 64)
    with VideoReader(summary.out) as video:
        assert (video.width, video.height, video.sample_aspect) == (48, 64, Fraction(3, 4))
        upright = 255 - np.rot90(draw_picture(), -1)
        assert np.abs(next(iter(video)).image.astype(int) - upright).mean() < 6


def test_notes_of_reader_and_writer_reach_the_summary(tmp_path: Path) -> None:
    images = [draw_picture(63, 47, index=i) for i in range(30)]
    sound = {"pcm_s16le": make_beep(1, 0.5)}
    source = make_video(tmp_path / "in.avi", images, codec="mjpeg", sound=sound)
    notes = translate_path(invert_colors, source, tmp_path / "out.mp4").notes
    assert len(notes) == 2 and "63x47 to 64x48" in notes[0] and "pcm_s16le to AAC" in notes[1]

    damaged = make_damaged_video(tmp_path / "hole.mp4")
    summary = translate_path(invert_colors, damaged, tmp_path / "out.mkv")
    assert summary.frames == len(read_all(damaged)) == len(read_all(summary.out)) < 60
    undecodable, damaged_notes = summary.notes
    assert "damaged frame(s) of hole.mp4 could not" in undecodable and "hole.mp4 are damaged" in damaged_notes


def test_real_clips(shared_data: Path, tmp_path: Path) -> None:
    for name in ("book.mkv", "help.mkv", "bigbuckbunny.mp4"):
        source = shared_data / "clips" / name
        summary = translate_path(invert_colors, source, tmp_path)
        assert summary.out == tmp_path / name
        assert summary.notes == ()
        with VideoReader(source) as a, VideoReader(summary.out) as b:
            assert (a.width, a.height, a.fps) == (b.width, b.height, b.fps)
            for before, after in zip(a, b, strict=True):  # strict: as many frames
                assert after.time_ms == pytest.approx(before.time_ms, abs=1.1)
            assert before.index == summary.frames - 1 == count_decodable_frames(source) - 1
            assert np.abs(after.image.astype(int) - (255 - before.image)).mean() < 6
        with av.open(source) as a, av.open(summary.out) as b:
            for track in range(len(a.streams.audio)):
                packets = [b"".join(bytes(p) for p in file.demux(audio=track)) for file in (a, b)]
                assert packets[0] == packets[1] != b""
            assert len(a.streams.audio) == len(b.streams.audio) == (1 if name == "bigbuckbunny.mp4" else 0)


# What is refused


def test_sources_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("text.txt", "bad.png", "bad.mp4"):
        (tmp_path / name).write_text("x")
    for name, error, text in (
        ("missing.png", InputError, "no file or folder .*missing.png"),
        ("text.txt", InputError, r"text.txt is neither an image \(\.jpg, .*nor a video \(\.mp4, "),
        ("empty", InputError, r"no image in .*empty; readable are \.jpg"),
        ("bad.png", MediaError, r"bad\.png"),
        ("bad.mp4", MediaError, r"no frame of .*bad\.mp4"),
    ):
        with pytest.raises(error, match=text):
            translate_path(invert_colors, tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_outs_that_cannot_be_used(tmp_path: Path) -> None:
    image, video, folder = tmp_path / "a.png", tmp_path / "a.mp4", tmp_path / "in"
    write_image(image, draw_picture())
    make_short_video(video)
    make_short_video(tmp_path / "b.m4v")
    write_image(folder / "a.png", draw_picture())
    (tmp_path / "link.png").hardlink_to(image)
    (tmp_path / "file").touch()
    places = (image, tmp_path, tmp_path / "in" / ".." / "a.png", tmp_path / "link.png")
    films = r"\.mp4, \.mkv, \.mov"
    for source, out, text in (
        *((image, place, "out is the source itself") for place in places),
        (folder, folder, "out is the source itself"),
        (image, tmp_path / "o.mp4", r"cannot write .*o\.mp4: images are written as \.jpg"),
        (video, tmp_path / "o.png", rf"cannot write .*\.png: videos are written as {films}$"),
        (tmp_path / "b.m4v", tmp_path / "new", rf"cannot write .*new/b\.m4v: .* as {films}$"),
        *((folder, tmp_path / n, "must be a folder; got the file") for n in ("o.png", "o.mp4", "file")),
        (folder, folder / "out", "inside the source folder"),
    ):
        before = sorted(path for path in tmp_path.rglob("*"))
        with pytest.raises((InputError, MediaError), match=text):
            translate_path(invert_colors, source, out)
        assert sorted(path for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "wrong",
    [lambda x: x[:, :, 0], lambda x: x[1:], lambda x: x.astype(np.float32)],
    ids=["channels", "size", "dtype"],
)
def test_translators_that_change_the_shape_are_refused(tmp_path: Path, wrong: object) -> None:
    write_image(tmp_path / "a.png", draw_picture())
    with pytest.raises(InputError, match=r"uint8 of the input's shape \(48, 64, 3\)"):
        translate_path(wrong, tmp_path / "a.png", tmp_path / "out.png")  # pyright: ignore
    assert not (tmp_path / "out.png").exists()


# Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("kind", ["folder", "video"])
def test_progress_is_shown_on_a_terminal_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    write_image(tmp_path / "in" / "a.png", draw_picture())
    source = tmp_path / "in" if kind == "folder" else make_short_video(tmp_path / "film.mp4")
    out = tmp_path / ("out" if kind == "folder" else "out.mp4")
    for stream, progress in ((Terminal(), True), (Terminal(), False), (io.StringIO(), True)):
        monkeypatch.setattr(sys, "stderr", stream)
        summary = translate_path(invert_colors, source, out, progress=progress)
        shown = stream.getvalue()
        if stream.isatty() and progress:
            assert source.name in shown and "fps" in shown
            assert f"{summary.frames}/{summary.frames}" in shown
        else:
            assert shown == ""
    assert capsys.readouterr().out == ""
