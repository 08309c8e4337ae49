"""Interlaced video is deinterlaced, wherever it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.filter import Graph
from skimage import data
from test_reading import count_decodable_frames, make_video, read_all

from i2i_sdk.live import NetworkVideo, VideoFile
from i2i_sdk.live.sources.reconnecting import ConnectionLostError
from i2i_sdk.media.decoded_frames import Deinterlacer
from i2i_sdk.quality.eval_frames import read_inputs

PHOTO = np.ascontiguousarray(data.astronaut()[:288, :360, ::-1])  # BGR


def move_photo(index: int) -> np.ndarray:
    """The picture of a field: the photo, three pixels further to the right with each."""
    return np.roll(PHOTO, 3 * index, axis=1)


def weave(first: str, pixel_format: str, count: int) -> Iterator[av.VideoFrame]:
    """`count` interlaced frames, each of two moments, flagged as such."""
    graph = Graph()
    source = graph.add_buffer(width=360, height=288, format=pixel_format, time_base=Fraction(1, 25))
    graph.link_nodes(source, graph.add("setfield", first), graph.add("buffersink")).configure()
    for index in range(count):
        moments = (move_photo(2 * index), move_photo(2 * index + 1))
        early, late = (
            av.VideoFrame.from_ndarray(p, format="bgr24").reformat(format=pixel_format) for p in moments
        )
        for plane, other in zip(early.planes, late.planes, strict=True):
            lines = [np.frombuffer(p, np.uint8).reshape(p.height, p.line_size) for p in (plane, other)]
            start = 1 if first == "tff" else 0
            lines[0][start::2] = lines[1][start::2]
        early.pts, early.time_base = index, Fraction(1, 25)
        graph.vpush(early)
        yield graph.vpull()


def make_interlaced_video(
    path: Path, codec: str, pixel_format: str = "yuv420p", first: str = "tff", count: int = 12
) -> Path:
    with av.open(path, "w") as file:
        options = {"flags": "+ildct+ilme", "crf": "10"} if codec == "libx264" else {"flags": "+ildct+ilme"}
        video = file.add_stream(codec, 25, options)
        video.width, video.height, video.pix_fmt, video.bit_rate = 360, 288, pixel_format, 8_000_000
        for frame in weave(first, pixel_format, count):
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
    return path


def measure_psnr(picture: np.ndarray, truth: np.ndarray) -> float:
    """dB, off the sides, where the photo's ends meet."""
    difference = picture[:, 48:-48].astype(float) - truth[:, 48:-48]
    return float(10 * np.log10(255**2 / np.mean(difference**2)))


INTERLACED = [
    (".mp4", "libx264", "yuv420p", "tff"),
    (".ts", "libx264", "yuv420p", "bff"),
    (".mkv", "libx264", "yuv422p10le", "tff"),
    (".mpg", "mpeg2video", "yuv420p", "tff"),
    (".avi", "mpeg4", "yuv420p", "tff"),
    (".mov", "prores_ks", "yuv422p10le", "tff"),
    (".mkv", "ffv1", "yuv444p", "bff"),
]


@pytest.mark.parametrize(("suffix", "codec", "pixel_format", "first"), INTERLACED)
def test_interlaced_video_is_deinterlaced(
    tmp_path: Path, suffix: str, codec: str, pixel_format: str, first: str
) -> None:
    path = make_interlaced_video(tmp_path / f"a{suffix}", codec, pixel_format, first)
    with av.open(path) as file:
        assert all(frame.interlaced_frame for frame in file.decode(video=0))
    frames = read_all(path)
    assert len(frames) == 12
    np.testing.assert_allclose([frame.time_ms for frame in frames], 40 * np.arange(12), atol=0.6)
    for index, frame in enumerate(frames):
        # One of the two moments, whole: the two are 22 dB apart, and combed 25 from either.
        assert measure_psnr(frame.image, move_photo(2 * index)) > 29


def test_the_interlaced_case_is_the_test_pattern(shared_data: Path) -> None:
    path = shared_data / "cases" / "interlaced.mp4"
    with av.open(path) as file:
        lumas = [frame.to_ndarray()[:240].astype(float) for frame in file.decode(video=0)]
    frames = read_all(path)
    assert len(frames) == len(lumas) == 50
    for frame, luma in zip(frames, lumas, strict=True):
        gray = frame.image @ np.array([0.114, 0.587, 0.299]) * 219 / 255 + 16
        assert np.abs(gray - luma).mean() < 4


def test_interlaced_network_video_is_deinterlaced(tmp_path: Path) -> None:
    source = NetworkVideo(str(make_interlaced_video(tmp_path / "a.ts", "libx264")))
    source.open()
    pictures: list[np.ndarray] = []
    with pytest.raises(ConnectionLostError):
        pictures.extend(captured.image for captured in source.read())
    source.release()
    assert len(pictures) >= 8  # of a stream that is cut the last ones are lost
    assert all(measure_psnr(picture, move_photo(2 * i)) > 29 for i, picture in enumerate(pictures))


def test_interlaced_video_for_calibration_and_live(tmp_path: Path) -> None:
    path = make_interlaced_video(tmp_path / "a.mp4", "libx264")
    source = VideoFile(path)
    source.open()
    live = [captured.image for captured in source.frames()]
    source.release()
    frames = [array[:, :, ::-1] for array in read_inputs(path, 288, 360, 3).arrays]  # RGB
    for pictures in (live, frames):
        assert len(pictures) == 12
        assert all(measure_psnr(picture, move_photo(2 * i)) > 29 for i, picture in enumerate(pictures))


def test_progressive_and_interlaced_parts_of_two_sizes(tmp_path: Path) -> None:
    interlaced = make_interlaced_video(tmp_path / "a.ts", "mpeg2video").read_bytes()
    large = [np.full((576, 720, 3), 90, np.uint8)] * 9
    progressive = make_video(tmp_path / "b.ts", large, fps=25, codec="mpeg2video").read_bytes()
    for parts in (interlaced + progressive + interlaced, progressive + interlaced):
        (tmp_path / "joined.ts").write_bytes(parts)
        frames = read_all(tmp_path / "joined.ts")
        assert (
            len(frames) == count_decodable_frames(tmp_path / "joined.ts") > 20 - 2
        )  # at the joints some fail
        assert len({frame.image.shape for frame in frames}) == 1
        assert np.abs(frames[15].image.astype(int) - 90).mean() < 3 or not parts.startswith(interlaced)


@pytest.mark.parametrize("times", [[None] * 5, [0, 0, 0, 0, 0], [9, 3, 50, 1, 2], [0]])
def test_as_many_frames_come_out_as_go_in(times: list[int | None]) -> None:
    frames = list(weave("tff", "yuv420p", len(times)))
    for frame, pts in zip(frames, times, strict=True):
        frame.pts = pts
    deinterlacer = Deinterlacer()
    done = [out for frame in [*frames, None] for out in deinterlacer.push(frame)]
    assert [frame.pts for frame in done] == times
    assert not any(frame.interlaced_frame for frame in done)
