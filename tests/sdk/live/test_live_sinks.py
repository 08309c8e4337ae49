"""Where results go: folders, memory, videos, virtual cameras."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from known_bundles import make_noise
from streams import make_flat_image

from i2i_sdk import BackendError, InputError, MediaError, Translator
from i2i_sdk.live import FolderSink, Frames, MemorySink, MjpegServerSink, Sink, VideoSink, VirtualCameraSink


def test_a_folder_gets_one_exact_file_for_each_result(invert: Translator, tmp_path: Path) -> None:
    frames = [make_noise(24, 40, 3, seed=seed) for seed in range(3)]
    invert.stream(frames, sinks=[FolderSink(tmp_path / "new" / "out")]).run()
    files = sorted((tmp_path / "new" / "out").iterdir())
    assert [file.name for file in files] == ["000000.png", "000001.png", "000002.png"]
    for frame, file in zip(frames, files, strict=True):
        np.testing.assert_array_equal(cv2.imread(str(file)), 255 - frame)


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="give a folder"):
        FolderSink(tmp_path / "file")


def test_a_memory_keeps_the_last_results(invert: Translator) -> None:
    sink = MemorySink(max_results=2)
    invert.stream([make_flat_image(level) for level in range(5)], sinks=[sink]).run()
    assert [result.index for result in sink.results] == [3, 4]
    with pytest.raises(InputError, match="max_results is 0"):
        MemorySink(max_results=0)


def test_each_source_has_a_video_of_its_own(invert: Translator, tmp_path: Path) -> None:
    sources = [Frames([make_flat_image(10)] * 3, fps=10), Frames([make_flat_image(200)] * 5, fps=20)]
    sinks = [VideoSink(tmp_path / f"{number}.mp4", source=number) for number in range(2)]
    invert.stream(sources, sinks=sinks).run()
    for number, (frames, level, step_ms) in enumerate([(3, 245, 100), (5, 55, 50)]):
        results = list(invert.stream(tmp_path / f"{number}.mp4"))
        assert len(results) == frames
        assert float(results[-1].frame.mean()) == pytest.approx(level, abs=2)
        assert results[1].time_ms == pytest.approx(step_ms, abs=1)


@pytest.mark.parametrize("kind", ["folder", "video", "page", "camera"])
def test_several_sources_do_not_go_into_one_place(invert: Translator, tmp_path: Path, kind: str) -> None:
    sinks: dict[str, Sink] = {
        "folder": FolderSink(tmp_path / "x"),
        "video": VideoSink(tmp_path / "x.mp4"),
        "page": MjpegServerSink(0),
        "camera": VirtualCameraSink(),
    }
    sources = [Frames([make_flat_image(0)]), Frames([make_flat_image(0)])]
    name = type(sinks[kind]).__name__
    with pytest.raises(InputError, match=rf"2 sources do not go into one {name}; .*: {name}\(.*source=0\)"):
        invert.stream(sources, sinks=[sinks[kind]])


def test_a_recording_of_a_folder_shows_each_image_for_a_second(invert: Translator, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for level in (10, 120, 240):
        cv2.imwrite(str(tmp_path / "in" / f"{level:03d}.png"), make_flat_image(level))
    (tmp_path / "in" / "050.png").write_bytes(b"damaged")
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    (tmp_path / "in" / "._010.png").write_bytes(b"\0\5\x16\7")  # what macOS leaves behind is no image
    memory = MemorySink()
    stats = invert.stream(tmp_path / "in", sinks=[memory, VideoSink(tmp_path / "x.mp4")]).run()
    assert stats.undecodable == 1
    assert [result.name for result in memory.results] == ["010.png", "120.png", "240.png"]
    with av.open(str(tmp_path / "x.mp4")) as container:
        assert container.duration == pytest.approx(3e6, abs=1e5)  # microseconds


def test_a_folder_without_a_readable_image(invert: Translator, tmp_path: Path) -> None:
    (tmp_path / "sub.png").mkdir()
    for name in ("a.png", "b.gif"):
        (tmp_path / name).write_text("<html>")
    with pytest.raises(MediaError, match=r"none of the 3 image\(s\) in .* can be read"):
        list(invert.stream(tmp_path))


def test_a_video_refuses_its_name_before_anything_is_captured(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.mp4"):
        VideoSink(tmp_path / "out.gif")


def test_a_recording_without_a_frame_leaves_no_file(invert: Translator, tmp_path: Path) -> None:
    invert.stream(Frames([]), sinks=[VideoSink(tmp_path / "out.mp4")]).run()
    assert not list(tmp_path.iterdir())


def test_a_frame_of_another_size_is_scaled_into_the_recording(invert: Translator, tmp_path: Path) -> None:
    frames = [make_flat_image(0), make_flat_image(50, 48, 80), make_flat_image(100)]
    invert.stream(Frames(frames, fps=25), sinks=[VideoSink(tmp_path / "out.mp4")]).run()
    results = list(invert.stream(tmp_path / "out.mp4"))
    assert [result.frame.shape for result in results] == [(24, 40, 3)] * 3
    assert [float(result.frame.mean()) for result in results] == pytest.approx([255, 205, 155], abs=2)


def test_a_virtual_camera_that_cannot_be_made_says_what_to_install(invert: Translator) -> None:
    pytest.importorskip("pyvirtualcam")
    if list(Path("/dev").glob("video*")):
        pytest.skip("this machine may have a virtual camera")
    with pytest.raises(BackendError, match=r"[^.]\. On Linux: .*v4l2loopback"):
        invert.stream([make_flat_image(0)], sinks=[VirtualCameraSink()]).run()


def test_odd_sides_are_padded_and_said(invert: Translator, tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "out.mp4")
    invert.stream([make_flat_image(0, 25, 41)], sinks=[sink]).run()
    assert "padded from 41x25 to 42x26" in sink.notes[0]
