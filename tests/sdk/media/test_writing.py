"""Writing images and videos: whole or not at all, with the right colors, times and sound."""

from __future__ import annotations

import os
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage import data
from test_reading import draw_picture, make_beep, make_constant_times, read_all

from i2i_sdk.errors import InputError, MediaError
from i2i_sdk.media.images import read_image, write_image
from i2i_sdk.media.video_writer import VideoWriter

CONTAINERS = (".mp4", ".mkv", ".mov")
ONE_BEEP = make_beep(1.5, at=0.5)


def write_video(path: Path, images: list[np.ndarray], times_ms: list[float], fps: float = 30.0) -> list[str]:
    height, width = images[0].shape[:2]
    with VideoWriter(path, width, height, fps, audio_from=None) as writer:
        for image, time_ms in zip(images, times_ms, strict=True):
            writer.write(image, time_ms)
    return writer.notes


def make_flashing_frames(flash: int, count: int = 40) -> list[np.ndarray]:
    """Dark frames with a white one."""
    return [np.full((48, 64, 3), 255 if i == flash else 30, np.uint8) for i in range(count)]


@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    channels=st.sampled_from([1, 3, 4]),
    suffix=st.sampled_from([".png", ".webp", ".bmp", ".tif", ".PNG"]),
    seed=st.integers(0, 99),
)
def test_lossless_formats_give_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, size: tuple[int, int], channels: int, suffix: str, seed: int
) -> None:
    shape = size if channels == 1 else (*size, channels)
    image = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    if channels == 4:
        image[..., 3] |= 1  # WebP does not keep the color of fully transparent pixels
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


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg"])
def test_alpha_needs_a_format_that_keeps_it(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(MediaError, match=r"alpha.*\.png, \.webp"):
        write_image(tmp_path / f"a{suffix}", np.zeros((4, 4, 4), np.uint8))
    assert not list(tmp_path.iterdir())


def test_images_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = draw_picture()
    (tmp_path / "file").touch()
    for name, wrong, error, message in (
        ("a.gif", image, MediaError, r"\.gif.*\.png"),
        ("a.png", image[:, :, :2], MediaError, r"\(48, 64, 2\)"),
        ("a.png", image.astype(np.float32), InputError, "uint8; got float32"),
        ("file/a.png", image, MediaError, r"cannot write .*a\.png"),
    ):
        with pytest.raises(error, match=message):
            write_image(tmp_path / name, wrong)
    write_image(tmp_path / "a.png", image)
    monkeypatch.setattr(cv2, "imencode", lambda *_: (False, None))
    with pytest.raises(MediaError, match=r"cannot write .*a\.png"):
        write_image(tmp_path / "a.png", np.zeros_like(image))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), image)  # the old file is as it was
    assert {path.name for path in tmp_path.iterdir()} == {"file", "a.png"}


def test_long_names(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 120 + ".png")  # 244 bytes
    write_image(path, draw_picture())
    write_video(path.with_suffix(".mp4"), [draw_picture()], [0.0])
    assert {p.name for p in tmp_path.iterdir()} == {path.name, path.with_suffix(".mp4").name}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_is_named(tmp_path: Path) -> None:
    (tmp_path / f".a.partial{os.getpid()}.png").symlink_to("/dev/full")  # the temporary file
    with pytest.raises(MediaError, match=rf"a\.png: the disk is full at {tmp_path}; free some space"):
        write_image(tmp_path / "a.png", draw_picture())
    (tmp_path / f".a.partial{os.getpid()}.mkv").symlink_to("/dev/full")
    with pytest.raises(MediaError, match=rf"a\.mkv: the disk is full at {tmp_path}; free some space"):
        write_video(tmp_path / "a.mkv", [draw_picture()], [0.0])


# Frame rates and times

RATES = [Fraction(24000, 1001), 24, 25, Fraction(30000, 1001), 30, 50, Fraction(60000, 1001), 240, 1, 15]


@pytest.mark.parametrize("rate", RATES, ids=str)
@pytest.mark.parametrize("suffix", CONTAINERS)
def test_constant_rates_come_out_exactly(tmp_path: Path, suffix: str, rate: Fraction) -> None:
    """Even from times in whole milliseconds, as Matroska has them."""
    times = [float(round(1000 * time)) for time in make_constant_times(60, rate)]
    path = tmp_path / f"a{suffix}"
    assert write_video(path, [draw_picture(index=i % 50) for i in range(60)], times, float(rate)) == []
    with av.open(path) as file:
        stream = file.streams.video[0]
        # Matroska stores a frame's duration in whole nanoseconds.
        assert stream.average_rate == (pytest.approx(rate, rel=1e-6) if suffix == ".mkv" else rate)
        stamps = [frame.pts * frame.time_base for frame in file.decode(stream)]
    exact = [time - stamps[0] for time in stamps]
    wanted = make_constant_times(60, rate)
    if suffix == ".mkv":
        assert max(abs(a - b) for a, b in zip(exact, wanted, strict=True)) <= Fraction(1, 1000)
    else:
        assert exact == wanted


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_variable_rates_keep_their_times(tmp_path: Path, suffix: str) -> None:
    times = [0.0, 33.3, 66.7, 215.5, 241.0, 500.0, 900.5, 912.3, 2000.0]
    path = tmp_path / f"vfr{suffix}"
    assert write_video(path, [draw_picture(index=i) for i in range(9)], times) == []
    np.testing.assert_allclose([f.time_ms for f in read_all(path)], times, atol=0.6)


@given(times=st.lists(st.floats(0, 500), min_size=1, max_size=12), fps=st.sampled_from([25.0, 29.97, 60.0]))
def test_time_stamps_always_increase(
    tmp_path_factory: pytest.TempPathFactory, times: list[float], fps: float
) -> None:
    path = tmp_path_factory.mktemp("times") / "a.mp4"
    notes = write_video(path, [draw_picture(16, 16)] * len(times), times, fps)
    written = [frame.time_ms for frame in read_all(path)]
    assert len(written) == len(times)
    assert all(a < b for a, b in pairwise(written))
    # Unless a note says otherwise, no frame is moved by more than a tenth of a frame.
    if not notes:
        moved = np.abs(np.array(written) - (np.array(times) - times[0]))
        assert moved.max() <= 0.2 * 1000 / fps + 0.1


def test_repeated_times_are_reported(tmp_path: Path) -> None:
    notes = write_video(tmp_path / "a.mp4", [draw_picture()] * 4, [0.0, 40.0, 40.0, 0.0], 25.0)
    assert len(notes) == 1 and "2 frame(s)" in notes[0] and "40.0 ms" in notes[0]
    assert [f.time_ms for f in read_all(tmp_path / "a.mp4")] == pytest.approx([0, 40, 80, 120])


# Pictures


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_colors_survive(tmp_path: Path, suffix: str) -> None:
    photo = np.ascontiguousarray(data.astronaut()[:, :, ::-1])
    path = tmp_path / f"color{suffix}"
    write_video(path, [photo] * 5, [0, 33, 67, 100, 133])
    difference = read_all(path)[3].image.astype(int) - photo
    assert np.abs(difference).mean() < 3
    assert np.abs(difference.mean((0, 1))).max() < 1.5
    with av.open(path) as file:
        codec = file.streams.video[0].codec_context
        assert (codec.name, codec.pix_fmt) == ("h264", "yuv420p")
        tags = (codec.colorspace, codec.color_primaries, codec.color_trc, codec.color_range)
        assert tags == (1, 1, 1, 1)  # BT.709 thrice, limited range


def test_saturated_colors_survive(tmp_path: Path) -> None:
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
    assert write_video(tmp_path / "even.mp4", [draw_picture()], [0]) == []


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_the_index_is_at_the_front(tmp_path: Path, suffix: str) -> None:
    write_video(tmp_path / f"a{suffix}", [draw_picture()] * 3, [0, 33, 67])
    content = (tmp_path / f"a{suffix}").read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")


# Sound


def test_what_a_video_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.mp4, \.mkv, \.mov"):
        VideoWriter(tmp_path / "a.avi", 64, 48, 30, None)
    for width, height, fps in ((0, 48, 30), (64, -1, 30), (64, 48, 0), (64, 48, float("nan")), (64, 48, 1e6)):
        with pytest.raises(InputError, match=f"{width}x{height} at {fps}"):
            VideoWriter(tmp_path / "a.mp4", width, height, fps, None)
    writer = VideoWriter(tmp_path / "a.mp4", 64, 48, 30, None)
    with pytest.raises(MediaError, match=r"a\.mp4.*not one frame"), writer:
        pass
    image = draw_picture()
    for wrong in (draw_picture(32, 48), image[:, :, 0], image.astype(np.float32), image[:, :, [0, 1, 2, 0]]):
        writer = VideoWriter(tmp_path / "a.mp4", 64, 48, 30, None)
        with pytest.raises(InputError, match=r"uint8 \(48, 64, 3\) in BGR"), writer:
            writer.write(wrong, 0.0)
    assert not list(tmp_path.iterdir())


def test_files_in_the_way(tmp_path: Path) -> None:
    for sound in (tmp_path / "missing.mp4", tmp_path / "text.mp4"):
        (tmp_path / "text.mp4").write_text("no sound")
        writer = VideoWriter(tmp_path / "a.mp4", 64, 48, 30, audio_from=sound)
        with pytest.raises(MediaError, match=rf"sound of .*{sound.name}"), writer:
            pass
    (tmp_path / "folder.mp4").mkdir()
    for path in (tmp_path / "text.mp4" / "a.mp4", tmp_path / "folder.mp4"):
        with pytest.raises(MediaError, match=rf"cannot write .*{path.name}"):
            write_video(path, [draw_picture()], [0])
    assert {path.name for path in tmp_path.iterdir()} == {"folder.mp4", "text.mp4"}


def test_names_with_colons_and_letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("12:30.mp4", "größe 日本.MKV", "100%d.mov"):
        write_video(Path(name), [draw_picture()] * 3, [0, 33, 67])
        assert len(read_all(Path(name))) == 3
