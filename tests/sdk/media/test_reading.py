"""Reading images and videos. The makers of test videos here are used by the tests of writing, too."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps
from skimage import data

from i2i_sdk.errors import MediaError
from i2i_sdk.media.images import read_image
from i2i_sdk.media.video import VIDEO_SUFFIXES, VideoFrame, VideoReader


def draw_picture(width: int = 64, height: int = 48, index: int = 0) -> np.ndarray:
    """A BGR picture that is different at every corner, brighter with every index."""
    image = np.full((height, width, 3), 20 + 4 * index, np.uint8)
    image[: height // 2, : width // 2] = (200, 60, 40)  # blue, upper left
    image[: height // 2, width // 2 :] = (40, 180, 60)  # green, upper right
    return image


def make_constant_times(count: int, fps: Fraction | int) -> list[Fraction]:
    """Times in seconds of a constant frame rate."""
    return [Fraction(i) / fps for i in range(count)]


def make_beep(seconds: float, at: float, rate: int = 48_000) -> np.ndarray:
    """int16 [samples]: silence with a tone of 1 kHz for a thirtieth of a second."""
    t = np.arange(round(seconds * rate)) / rate
    return (np.sin(2 * np.pi * 1000 * t) * ((t >= at) & (t < at + 1 / 30)) * 20_000).astype(np.int16)


def make_video(
    path: Path,
    images: Sequence[np.ndarray],
    times: Sequence[Fraction] = (),
    *,
    fps: Fraction | int = 30,
    codec: str = "libx264",
    sound: dict[str, np.ndarray] | None = None,
    sound_start: Fraction = Fraction(0),
    languages: tuple[str, ...] = (),
    sample_aspect: Fraction = Fraction(1),
    ticks: int = 90_000,
) -> Path:
    """Encode images; `sound` maps codec names to int16 mono samples at 48 kHz.

    times: in seconds, in place of those that `fps` gives.
    """
    with av.open(path, "w", format="mpegts" if path.suffix == ".m2t" else None) as file:
        video = file.add_stream(codec, rate=fps)
        video.height, video.width = images[0].shape[:2]
        video.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        video.options = {"crf": "4"} if codec == "libx264" else {}
        video.bit_rate = 0 if codec == "libx264" else 4_000_000
        video.sample_aspect_ratio = sample_aspect
        # MPEG-4 and AVI know constant frame rates only.
        time_base = Fraction(1) / fps if codec in ("mpeg4", "mjpeg", "mpeg2video") else Fraction(1, ticks)
        video.codec_context.time_base = time_base
        tracks = [(file.add_stream(name, rate=48_000, layout="mono"), s) for name, s in (sound or {}).items()]
        for (track, _), language in zip(tracks, languages, strict=False):
            track.metadata["language"] = language
        for image, time in zip(images, times or make_constant_times(len(images), fps), strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = round(time / time_base), time_base
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
        for track, samples in tracks:
            for start in range(0, len(samples), 960):
                frame = av.AudioFrame.from_ndarray(samples[None, start : start + 960], "s16", "mono")
                frame.sample_rate, frame.time_base = 48_000, Fraction(1, 48_000)
                frame.pts = start + round(sound_start * 48_000)
                file.mux(track.encode(frame))
            file.mux(track.encode(None))
    return path


def rotate_in_header(path: Path, degrees: int) -> None:
    """Write a rotation into the matrix of an MP4's track header, as a phone held upright does."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40  # version 0: the matrix follows 40 bytes of other fields
    one = 0x10000
    cos, sin = {90: (0, one), 180: (-one, 0), 270: (0, -one)}[degrees]
    identity = struct.pack(">9i", one, 0, 0, 0, one, 0, 0, 0, 0x40000000)
    assert content[at : at + 36] == identity
    content[at : at + 36] = struct.pack(">9i", cos, sin, 0, -sin, cos, 0, 0, 0, 0x40000000)
    path.write_bytes(content)


def count_decodable_frames(path: Path) -> int:
    """What another decoder makes of the file, damaged packets passed over."""
    count = 0
    with av.open(path) as file:
        for packet in file.demux(video=0):
            with suppress(av.error.InvalidDataError):
                count += len(packet.decode())
    return count


def read_all(path: Path) -> list[VideoFrame]:
    with VideoReader(path) as video:
        return list(video)


# Images


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tiff", "A.PNG", "größe 日本.png"])
def test_colors_are_bgr(tmp_path: Path, name: str) -> None:
    image = draw_picture()
    Image.fromarray(image[:, :, ::-1]).save(tmp_path / name)
    read = read_image(tmp_path / name)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, image)


def test_jpeg_and_gray(tmp_path: Path) -> None:
    photo = data.astronaut()
    Image.fromarray(photo).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - photo[:, :, ::-1]).mean() < 2
    Image.fromarray(data.camera()).save(tmp_path / "gray.png")
    np.testing.assert_array_equal(read_image(tmp_path / "gray.png"), np.dstack([data.camera()] * 3))


def test_alpha_is_kept(tmp_path: Path) -> None:
    rgba = np.dstack([draw_picture()[:, :, ::-1], np.arange(48 * 64, dtype=np.uint8).reshape(48, 64)])
    Image.fromarray(rgba).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), rgba[:, :, [2, 1, 0, 3]])
    Image.fromarray(rgba[:, :, 2:]).save(tmp_path / "gray.png")  # gray with alpha
    np.testing.assert_array_equal(read_image(tmp_path / "gray.png"), rgba[:, :, [2, 2, 2, 3]])


def test_16_bits_become_8(tmp_path: Path) -> None:
    deep = np.arange(48 * 64 * 4, dtype=np.uint16).reshape(48, 64, 4) * 5
    for channels in (3, 4):
        cv2.imwrite(str(tmp_path / "deep.png"), deep[:, :, :channels])
        read = read_image(tmp_path / "deep.png")
        assert read.dtype == np.uint8
        np.testing.assert_array_equal(read, deep[:, :, :channels] >> 8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_exif_orientation_is_obeyed(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned{suffix}"
    Image.fromarray(draw_picture()[:, :, ::-1]).save(path, exif=exif, quality=95)
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))[:, :, ::-1]
    read = read_image(path)
    assert read.shape == upright.shape
    assert np.abs(read.astype(int) - upright).mean() < 3


def test_unreadable_images_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "folder.png").mkdir()
    Image.fromarray(data.astronaut()).save(tmp_path / "cut.png")
    whole = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    for name in ("missing.png", "empty.png", "text.png", "folder.png", "cut.png"):
        with pytest.raises(MediaError, match=name):
            read_image(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "it is HEIC"),
        (b"\n<!DOCTYPE html><title>404</title>", "it is a web page"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "it is XML"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"%PDF-1.7\n", "it is a PDF"),
        (b"nothing known", "it is damaged or another format"),
    ],
)
def test_what_else_is_called_an_image(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(MediaError, match=said):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    ("suffix", "kind"), [(".jfif", "JPEG"), (".jpe", "JPEG"), (".avif", "AVIF"), (".jp2", "JPEG2000")]
)
def test_less_usual_names(tmp_path: Path, suffix: str, kind: str) -> None:
    Image.fromarray(data.astronaut()).save(tmp_path / f"a{suffix}", format=kind)
    assert np.abs(read_image(tmp_path / f"a{suffix}").astype(int) - data.astronaut()[:, :, ::-1]).mean() < 6


def test_tiffs_of_floats_are_refused(tmp_path: Path) -> None:
    for channels in (1, 3, 4):
        cv2.imwrite(str(tmp_path / "float.tif"), np.zeros((8, 9, channels), np.float32))
        with pytest.raises(MediaError, match=r"float\.tif holds float32 values; .* uint8 and uint16"):
            read_image(tmp_path / "float.tif")


# Videos

CODECS = {".avi": "mpeg4", ".webm": "libvpx", ".wmv": "wmv2"}
CODECS |= dict.fromkeys((".mpg", ".mpeg", ".vob", ".mxf"), "mpeg2video")


def test_frames_of_dv(tmp_path: Path) -> None:
    path = make_video(
        tmp_path / "a.dv", [draw_picture(720, 576, index=i) for i in range(5)], fps=25, codec="dvvideo"
    )
    assert [frame.image.shape for frame in read_all(path)] == [(576, 720, 3)] * 5


@pytest.mark.parametrize("suffix", sorted({*VIDEO_SUFFIXES} - {".dv"}))  # which has sizes of its own
def test_every_frame_of_every_container(tmp_path: Path, suffix: str) -> None:
    images = [draw_picture(index=i) for i in range(20)]
    codec = CODECS.get(suffix, "libx264")
    path = make_video(tmp_path / f"größe 12:30{suffix}", images, fps=25, codec=codec)
    with VideoReader(path) as video:
        assert (video.width, video.height, video.fps, video.sample_aspect) == (64, 48, 25.0, 1)
        if suffix in (".mp4", ".mov"):  # others estimate it
            assert video.frame_count_hint == 20
        frames = list(video)
        assert video.read() is None
    assert [frame.index for frame in frames] == list(range(20))
    assert all(frame.image.shape == (48, 64, 3) and frame.image.dtype == np.uint8 for frame in frames)
    brightness = [frame.image[40, 32].mean() for frame in frames]
    np.testing.assert_allclose(brightness, [20 + 4 * i for i in range(20)], atol=5)
    np.testing.assert_allclose(frames[0].image[10, 10], (200, 60, 40), atol=16)  # blue stays blue
    with VideoReader(path) as video:  # MPEG-PS loses the time of its last frame
        np.testing.assert_allclose([f.time_ms for f in video][:-1], [40 * i for i in range(19)], atol=0.6)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_variable_frame_rate_gives_real_times(tmp_path: Path, suffix: str) -> None:
    milliseconds = [0, 33, 67, 200, 217, 500, 533, 900]
    path = tmp_path / f"vfr{suffix}"
    make_video(path, [draw_picture(index=i) for i in range(8)], [Fraction(ms, 1000) for ms in milliseconds])
    np.testing.assert_allclose([frame.time_ms for frame in read_all(path)], milliseconds, atol=0.6)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_is_obeyed(tmp_path: Path, degrees: int) -> None:
    path = make_video(tmp_path / "phone.mp4", [draw_picture()] * 3, sample_aspect=Fraction(4, 3))
    rotate_in_header(path, degrees)
    upright = np.rot90(draw_picture(), -degrees // 90)
    with VideoReader(path) as video:
        assert (video.height, video.width) == upright.shape[:2]
        assert video.sample_aspect == (Fraction(4, 3) if degrees == 180 else Fraction(3, 4))
        for frame in video:
            assert frame.image.shape == upright.shape
            assert np.abs(frame.image.astype(int) - upright).mean() < 6


def make_noisy_video(path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 255, (60, 96, 128, 3), np.uint8)
    return make_video(path, list(noise))


def make_damaged_video(path: Path) -> Path:
    """With a hole in its middle, several frames wide."""
    content = bytearray(make_noisy_video(path).read_bytes())
    hole = len(content) // 2
    content[hole : hole + 60_000] = bytes(60_000)
    path.write_bytes(content)
    return path


def test_truncated_video_gives_what_is_left(tmp_path: Path) -> None:
    path = make_noisy_video(tmp_path / "cut.mkv")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames = read_all(path)
    assert 20 < len(frames) < 40
    assert len(frames) == count_decodable_frames(path)


def test_frames_after_damage_are_delivered(tmp_path: Path) -> None:
    path = make_damaged_video(tmp_path / "hole.mp4")
    with VideoReader(path) as video:
        frames = list(video)
        assert video.undecodable > 0
    assert len(frames) == count_decodable_frames(path) < 60
    assert frames[-1].time_ms == pytest.approx(59 / 30 * 1000)  # times are kept around the hole


def test_unreadable_videos_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a film")
    (tmp_path / "folder.mp4").mkdir()
    path = make_video(tmp_path / "cut.mp4", [draw_picture()] * 9)
    path.write_bytes(path.read_bytes()[:-200])  # the index at the end is gone
    with av.open(tmp_path / "sound.mp4", "w") as file:
        track = file.add_stream("aac", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(make_beep(0.1, 0.0)[None], "s16", "mono")
        frame.sample_rate = 48_000
        file.mux(track.encode(frame))
        file.mux(track.encode(None))
    for name in ("missing.mp4", "empty.mp4", "text.mp4", "folder.mp4", "cut.mp4", "sound.mp4"):
        with pytest.raises(MediaError, match=name):
            VideoReader(tmp_path / name)


def test_frames_keep_the_size_of_the_first(tmp_path: Path) -> None:
    small = make_video(tmp_path / "small.ts", [draw_picture()] * 9)
    large = make_video(tmp_path / "large.ts", [draw_picture(128, 96)] * 9)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(small.read_bytes() + large.read_bytes())
    frames = read_all(joined)
    assert len(frames) == 18
    for frame in frames:
        assert frame.image.shape == (48, 64, 3)
        assert np.abs(frame.image.astype(int) - draw_picture()).mean() < 4  # scaled, not cropped


def test_closing_ends_reading(tmp_path: Path) -> None:
    video = VideoReader(make_video(tmp_path / "a.mp4", [draw_picture()] * 5))
    video.close()
    assert video.read() is None
