"""From file to file: images, folders and videos."""

from __future__ import annotations

import io
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
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


UNREADABLE = ("b.png", "cut.jpg", "d.jpg", "page.webp", "zero.tif")


def add_junk(folder: Path) -> None:
    """What systems leave behind, and what cannot be read though it is called an image."""
    (folder / "__MACOSX").mkdir()
    (folder / ".hidden").mkdir()
    for name in ("._a.png", ".DS_Store", "Thumbs.db", "__MACOSX/x.png", ".hidden/x.png", ".trashed-1.jpg"):
        (folder / name).write_bytes(b"\0\5\x16\7")
    (folder / "b.png").write_text("not a picture")
    (folder / "d.jpg").write_text("<!DOCTYPE html><title>404</title>")
    (folder / "page.webp").write_bytes(b"RIFF\x10\0\0\0WEBPVP8 ")
    (folder / "zero.tif").touch()
    write_image(folder / "cut.jpg", draw_picture(640, 480))
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:900])


def test_junk_is_passed_over_and_unreadable_images_are_named(tmp_path: Path) -> None:
    source, out = tmp_path / ".in", tmp_path / "out"  # whoever names a hidden folder means it
    for name in ("a.png", "sub.png/c.png"):
        write_image(source / name, draw_picture())
    add_junk(source)
    summary = translate_path(invert_colors, source, out)
    assert (summary.frames, summary.width, summary.height) == (2, 64, 48)
    assert {path.relative_to(out).as_posix() for path in out.rglob("*.*") if path.is_file()} == {
        "a.png",
        "sub.png/c.png",
    }
    (note,) = summary.notes
    assert note.startswith(f"5 of 7 images in {source} cannot be read and are left out:\n  cannot decode")
    assert [name for name in UNREADABLE if f"{name} as an image" in note] == list(UNREADABLE)
    assert translate_path(invert_colors, out, tmp_path / "again").notes == ()


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    add_junk(tmp_path)
    with pytest.raises(MediaError, match=r"none of the 5 image\(s\) in .* can be read:\n  cannot") as error:
        translate_path(invert_colors, tmp_path, tmp_path.with_name("out"))
    assert "others" not in str(error.value)
    for name in UNREADABLE:
        (tmp_path / name).unlink()
    with pytest.raises(InputError, match="no image in"):  # nothing but junk
        translate_path(invert_colors, tmp_path, tmp_path.with_name("out"))


def test_images_whose_own_format_does_not_fit_become_png(tmp_path: Path) -> None:
    source, rgba = tmp_path / "in", np.dstack([draw_picture(), draw_picture()[:, :, 0]])
    write_image(source / "x.png", rgba)
    (source / "x.png").rename(source / "alpha.jpg")  # as downloads often are
    Image.fromarray(draw_picture()).save(source / "a.gif")
    summary = translate_path(invert_colors, source, tmp_path / "out")
    assert {path.name for path in summary.out.iterdir()} == {"alpha.jpg.png", "a.gif.png"}
    np.testing.assert_array_equal(read_image(summary.out / "alpha.jpg.png"), invert_colors(rgba))
    for name in ("alpha.jpg", "a.gif"):
        assert translate_path(invert_colors, source / name, tmp_path).out == tmp_path / f"{name}.png"
    with pytest.raises(MediaError, match=r"b\.gif: images are written as"):
        translate_path(invert_colors, source / "a.gif", tmp_path / "b.gif")


# Animations


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".tif"])
def test_every_frame_of_an_animation(tmp_path: Path, suffix: str) -> None:
    durations = [100, 200, 40, 500]
    pictures = [Image.fromarray(draw_picture(index=9 * i)[:, :, ::-1]) for i in range(4)]
    source, options = tmp_path / f"a{suffix}", {} if suffix == ".tif" else {"duration": durations}
    options |= {"lossless": True} if suffix == ".webp" else {}
    pictures[0].save(source, save_all=True, append_images=pictures[1:], **options)
    durations = [1000] * 4 if suffix == ".tif" else durations
    summary = translate_path(invert_colors, source, tmp_path / "out.mp4", side_by_side=True)
    assert (summary.kind, summary.frames, summary.width, summary.height) == ("image", 4, 64, 48)
    assert summary.notes == ()
    frames = read_all(summary.out)
    assert [f.time_ms for f in frames] == pytest.approx(np.cumsum([0, *durations[:-1]]), abs=1)
    with av.open(summary.out) as file:
        assert float(file.streams.video[0].duration * file.streams.video[0].time_base) == pytest.approx(
            sum(durations) / 1000, abs=0.002
        )
    for index, frame in enumerate(frames):
        before = draw_picture(index=9 * index)
        expected = np.hstack([before, 255 - before]).astype(int)
        assert np.abs(frame.image - expected).mean() < (12 if suffix == ".gif" else 6)
    still = translate_path(invert_colors, source, tmp_path / "still.png")
    assert still.frames == 1 and f"a{suffix} has 4 frames or pages, of which the first" in still.notes[0]
    assert "-o out.mp4" in still.notes[0]
    assert np.abs(read_image(still.out).astype(int) - (255 - draw_picture())).mean() < 8
    (tmp_path / "in").mkdir()
    source.rename(tmp_path / "in" / source.name)
    (note,) = translate_path(invert_colors, tmp_path / "in", tmp_path / "out").notes
    assert note == "of 1 file(s) with several frames or pages, the first is translated"


def test_animations_that_are_odd(tmp_path: Path) -> None:
    """Transparency, no durations, pages of other sizes, previews, and a file that breaks off."""
    white = np.full((48, 64, 4), 255, np.uint8)
    clear = np.dstack([draw_picture()[:, :, ::-1], np.zeros((48, 64), np.uint8)])
    pages = [Image.fromarray(clear), Image.fromarray(white)]
    pages[0].save(tmp_path / "clear.png", save_all=True, append_images=pages[1:], duration=0)
    summary = translate_path(invert_colors, tmp_path / "clear.png", tmp_path / "clear.mp4")
    assert [round(frame.time_ms) for frame in read_all(summary.out)] == [0, 100]
    assert max(frame.image.max() for frame in read_all(summary.out)) < 6  # white, inverted
    assert summary.notes == ("what is transparent is white, since a video has no alpha",)

    large, small = (Image.fromarray(draw_picture(w, h)[:, :, ::-1]) for w, h in ((64, 48), (128, 96)))
    preview = Image.new("RGB", (16, 12))
    preview.encoderinfo = {"tiffinfo": {254: 1}}
    large.save(tmp_path / "pages.tif", save_all=True, append_images=[preview, small])
    summary = translate_path(invert_colors, tmp_path / "pages.tif", tmp_path / "pages.mp4")
    note = "1 page(s) of another size are fitted into that of the first, 64x48"
    assert summary.frames == 2 and summary.notes == (note,)
    for frame in read_all(summary.out):
        assert np.abs(frame.image.astype(int) - (255 - draw_picture())).mean() < 6

    noise = [
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (48, 64, 3), np.uint8)) for i in range(6)
    ]
    noise[0].save(tmp_path / "cut.png", save_all=True, append_images=noise[1:], duration=50)
    whole = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    summary = translate_path(invert_colors, tmp_path / "cut.png", tmp_path / "cut.mp4")
    assert 1 < summary.frames < 6
    assert summary.notes == (f"cut.png is damaged: {summary.frames} of its 6 frames could be read",)


# What is kept of a file


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("out", [".jpg", ".png", ".webp", ".tif", ".bmp"])
@pytest.mark.parametrize("source", [".jpg", ".png", ".tif"])
def test_resolution_and_date_are_kept(tmp_path: Path, source: str, out: str, orientation: int) -> None:
    exif, date = Image.Exif(), "2024:05:06 07:08:09"
    exif[0x0112], exif[0x0132], exif[0x010E] = orientation, date, "a secret"
    exif.get_ifd(0x8769).update({0x9003: date, 0x9291: "12"})
    path = tmp_path / f"a{source}"
    Image.fromarray(draw_picture()[:, :, ::-1]).save(path, exif=exif.tobytes(), dpi=(300, 300))
    summary = translate_path(invert_colors, path, tmp_path / f"out{out}")
    expected = 255 - (np.rot90(draw_picture(), -1) if orientation == 6 else draw_picture())
    found = read_image(summary.out)  # turned once, not twice
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).mean() < 6
    with Image.open(summary.out) as image:
        tags = image.getexif()
        dpi = (tags.get(0x011A), tags.get(0x011B)) if out == ".webp" else image.info["dpi"]
        assert [float(value) for value in dpi] == pytest.approx([300, 300], abs=0.1)
        if out != ".bmp":
            assert tags[0x0132] == date and 0x010E not in tags and tags.get(0x0112, 1) == 1
            assert dict(tags.get_ifd(0x8769)) == ({0x9003: date, 0x9291: "12"} if out != ".tif" else {})


def test_alpha_is_kept_with_the_resolution(tmp_path: Path) -> None:
    rgba = np.dstack([draw_picture(), np.arange(48 * 64, dtype=np.uint8).reshape(48, 64) | 1])
    Image.fromarray(rgba[:, :, [2, 1, 0, 3]]).save(tmp_path / "a.png", dpi=(300, 300))
    for suffix in (".png", ".webp", ".bmp", ".tif"):
        out = translate_path(invert_colors, tmp_path / "a.png", tmp_path / f"out{suffix}").out
        np.testing.assert_array_equal(read_image(out), invert_colors(rgba))


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
        ("bad.mp4", MediaError, r"bad\.mp4"),
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
