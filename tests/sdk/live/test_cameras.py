"""What a user gives becomes a source, or an error that helps; and how cameras are read. No camera is here."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from known_bundles import make_noise
from loopback_camera import RawServer, format_response, serve_camera
from PIL import Image

from i2i_sdk import InputError, MediaError
from i2i_sdk.live import (
    Camera,
    CameraOptions,
    Frames,
    GStreamer,
    ImageFolder,
    MjpegStream,
    NetworkVideo,
    Source,
    VideoFile,
)
from i2i_sdk.live.sources import cameras, reconnecting
from i2i_sdk.live.sources.cameras import has_gstreamer
from i2i_sdk.live.sources.opening import as_source, as_sources
from i2i_sdk.media.video_writer import VideoWriter

PICTURE = make_noise(24, 32, 3)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    with VideoWriter(tmp_path / "clip.mp4", 64, 48, 30.0, audio_from=None) as writer:
        for level in (10, 120, 240):
            writer.write(np.full((48, 64, 3), level, np.uint8), level)
    return tmp_path / "clip.mp4"


# What is given


def test_what_is_accepted_becomes_the_source_that_it_means(clip: Path) -> None:
    cv2.imwrite(str(clip.parent / "a.png"), PICTURE)
    source = Camera(3)
    meant: list[tuple[Any, type[Source], str]] = [
        (0, Camera, "camera 0"),
        ("1", Camera, "camera 1"),
        ("/dev/video7", Camera, "camera 7"),
        (clip, VideoFile, "clip.mp4"),
        (str(clip), VideoFile, "clip.mp4"),
        (clip.parent, ImageFolder, clip.parent.name),
        ("rtsp://me:secret@127.0.0.1/x", NetworkVideo, "rtsp://127.0.0.1/x"),
        ("RTSP://127.0.0.1/x", NetworkVideo, "RTSP://127.0.0.1/x"),
        ("videotestsrc ! appsink", GStreamer, "videotestsrc ! appsink"),
        ([PICTURE], Frames, "list"),
        (make_noise(2, 24, 32, 3), Frames, "ndarray"),
        (iter([PICTURE]), Frames, "list_iterator"),
        (source, Camera, "camera 3"),
    ]
    for value, kind, name in meant:
        made = as_source(value)
        assert type(made) is kind, value
        assert made.name == name
        assert made.live == (kind in (Camera, NetworkVideo, GStreamer))
    assert as_source(source) is source
    assert as_source(clip, realtime=True).live


def test_camera_options_are_for_camera_numbers() -> None:
    options = CameraOptions(640, 480)
    made = [as_source(value, camera=options) for value in (0, "0", "/dev/video0")]
    assert all(isinstance(camera, Camera) and camera.options is options for camera in made)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "got NoneType; a source is a camera number"),
        (True, "got True; a source is"),
        (-1, "got -1; a source is"),
        (" ", "got ' '; a source is"),
        (1.5, "got float; a source is"),
        (b"video", "got bytes; a source is"),
        (PICTURE, "got one array; for one image call the translator"),
        (PICTURE[..., 0], "got one array"),
        (Image.fromarray(PICTURE), "got Image; a source is"),
        ("no such file.mp4", "there is no file or folder no such file.mp4; a source is"),
        ("htp://me:secret@h/x", "htp://h/x is not a known address; they begin with http://"),
        ("192.168.1.20:8080/video", "there is no file or folder 192.168.1.20:8080/video; if it is an addr"),
        ("192.168.1.20", "there is no file or folder 192.168.1.20; if it is an address, http:// or rtsp://"),
        ("me:secret@camera.local/x", "there is no file or folder camera.local/x; if it is an address"),
        ("10.5.2024 party.mov", "there is no file or folder 10.5.2024 party.mov; a source is"),
    ],
)
def test_what_means_no_source_is_refused(value: Any, message: str) -> None:
    with pytest.raises(InputError, match=r"^" + message.replace(".", r"\.")):
        as_source(value)


def test_files_that_are_no_video_are_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), PICTURE)
    (tmp_path / "a.txt").touch()
    with pytest.raises(InputError, match="is one image: i2i run translates it"):
        as_source(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.txt is not a video \(\.mp4"):
        as_source(tmp_path / "a.txt")


def test_a_list_is_several_sources_unless_it_holds_frames(clip: Path) -> None:
    several = as_sources([0, clip, [PICTURE]], realtime=True)
    assert [type(source) for source in several] == [Camera, VideoFile, Frames]
    assert several[1].live
    assert [type(source) for source in as_sources([PICTURE, PICTURE])] == [Frames]
    assert [type(source) for source in as_sources((0, 1))] == [Camera, Camera]
    with pytest.raises(InputError, match="got an empty list; a source is"):
        as_sources([])
    with pytest.raises(InputError, match="got float"):
        as_sources([0, 0.5])


def test_an_http_address_is_asked_for_what_it_is() -> None:
    with serve_camera() as camera:
        assert isinstance(as_source(camera.url), MjpegStream)
    for content in ("text/html; charset=utf-8", "image/jpeg"):
        message = f"gives {content}, not a stream; give the address of the stream"
        page = format_response("200 OK", [f"Content-Type: {content}"], b"x")
        with RawServer(lambda _, page=page: iter([page])) as server, pytest.raises(MediaError, match=message):
            as_source(server.url)
    playlist = format_response("200 OK", ["Content-Type: application/vnd.apple.mpegurl"])
    with RawServer(lambda _: iter([playlist])) as server:
        assert isinstance(as_source(server.url), NetworkVideo)
    with pytest.raises(MediaError, match="cannot reach"):
        as_source(server.url)


# Cameras


def test_a_camera_that_is_not_there_is_an_error_that_lists_what_is(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MediaError, match=r"^camera 99 cannot be opened: it is not there, in use") as raised:
        Camera(99).open()
    assert "of the numbers 0 to 3, " in str(raised.value)
    if sys.platform == "linux":
        listed = sorted(str(path) for path in Path("/dev").glob("video*"))
        assert f"devices: {', '.join(listed) or 'no /dev/video*'}" in str(raised.value)
    assert capfd.readouterr() == ("", "")  # OpenCV's own warnings say less


def test_parameters_name_the_format_first_and_leave_out_what_was_not_asked() -> None:
    # Drivers choose sizes and rates among those of the format that is set when they are asked.
    assert CameraOptions(640, 480, 29.97, "MJPG").to_parameters() == [
        *(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG")),
        *(cv2.CAP_PROP_FRAME_WIDTH, 640),
        *(cv2.CAP_PROP_FRAME_HEIGHT, 480),
        *(cv2.CAP_PROP_FPS, 29),
    ]
    assert CameraOptions(height=720).to_parameters() == [cv2.CAP_PROP_FRAME_HEIGHT, 720]
    assert CameraOptions().to_parameters() == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (CameraOptions(width=0), "the camera's width is 0; it must be more than 0"),
        (CameraOptions(height=-1), "the camera's height is -1"),
        (CameraOptions(fps=float("nan")), "the camera's fps is nan"),
        (CameraOptions(fourcc="MJPEG"), "fourcc is 'MJPEG'; it has four letters"),
    ],
)
def test_options_that_no_camera_has_are_refused_before_it_is_opened(
    options: CameraOptions, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Camera(0, options)


def test_gstreamer_says_when_this_opencv_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    if has_gstreamer():  # a distribution's OpenCV
        pytest.skip("this OpenCV has GStreamer")
    with pytest.raises(MediaError, match="built without GStreamer, as every opencv-python from pip"):
        GStreamer("videotestsrc ! appsink").open()
    monkeypatch.setattr(cameras, "has_gstreamer", lambda: True)
    with pytest.raises(MediaError, match=r"cannot start 'nonsense ! x'; try it with gst-launch-1\.0"):
        GStreamer("nonsense ! x").open()
    long = GStreamer("videotestsrc ! " * 20 + "appsink").name
    assert len(long) <= 60


class ScriptedCapture:
    """Stands for a USB camera, which is not here: "." is a picture, "x" a damaged one, "-" none at all.

    "0" is one that could not be converted: OpenCV 5 calls it found, and it is empty.
    """

    picture = PICTURE

    def __init__(self, script: Sequence[str]) -> None:
        self._script: Iterator[str] = iter(script)
        self._now = ""

    def set(self, *_: object) -> None:
        pass

    def grab(self) -> bool:
        self._now = next(self._script)
        return self._now != "-"

    def retrieve(self) -> tuple[bool, Any]:
        return self._now in ".0", self.picture if self._now == "." else None

    def release(self) -> None:
        pass


def open_scripted_camera(monkeypatch: pytest.MonkeyPatch, *scripts: str) -> Camera:
    camera, left = Camera(0), iter(scripts)
    monkeypatch.setattr(cameras, "open_capture", lambda *_: ScriptedCapture(next(left)))
    monkeypatch.setattr(camera, "_wait_s", 0.0)
    monkeypatch.setattr(reconnecting, "MIN_RETRY_WAIT_S", 0.01)
    camera.open()
    return camera


@pytest.mark.parametrize(
    ("scripts", "pictures", "undecodable", "reconnects"),
    [
        ([".x.0x."], 3, 3, 0),  # damaged pictures are passed over; the first of a USB camera often is
        (["..-", "..-", "."], 5, 0, 2),  # a camera that is unplugged is opened again
    ],
)
def test_what_a_camera_gives_despite_damage_and_losses(
    monkeypatch: pytest.MonkeyPatch, scripts: list[str], pictures: int, undecodable: int, reconnects: int
) -> None:
    camera = open_scripted_camera(monkeypatch, *scripts)
    assert len(list(itertools.islice(camera.frames(), pictures))) == pictures
    assert (camera.undecodable, camera.reconnects) == (undecodable, reconnects)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (
            np.full((24, 32), 1000, np.uint16),
            r"array of uint16.*10-bit values by 4, 12-bit by 16, 16-bit by 256",
        ),
        (np.full((24, 32, 3), 300, np.int32), "array of int32.*16-bit by 256"),
        (
            np.zeros((1, 24 * 32 * 2), np.uint8),
            r"frame of shape \(1, 1536\), a flat array of a camera's bytes",
        ),
        (np.zeros(24 * 32, np.uint8), r"array of shape \(768,\).*x\.reshape\(height, width, 3\)"),
        (np.zeros((24, 32, 2), np.uint8), r"array of shape \(24, 32, 2\)"),  # YUYV that was not converted
    ],
)
def test_frames_that_are_no_pictures_are_refused(
    monkeypatch: pytest.MonkeyPatch, picture: np.ndarray, message: str
) -> None:
    """Nothing wraps modulo 256, from a driver or from a camera of the user's own."""
    monkeypatch.setattr(ScriptedCapture, "picture", picture)
    for source in (open_scripted_camera(monkeypatch, "."), Frames([picture])):
        with pytest.raises(InputError, match=message):
            next(source.frames())


def test_gray_and_transparent_frames_are_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    for shape in ((24, 32), (24, 32, 1), (24, 32, 4)):
        monkeypatch.setattr(ScriptedCapture, "picture", make_noise(*shape))
        for source in (open_scripted_camera(monkeypatch, "."), Frames([ScriptedCapture.picture])):
            assert next(source.frames()).image.shape == (24, 32, 3)


def test_a_camera_that_gives_only_damage_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cameras, "STALL_TIMEOUT_S", 0.05)
    camera = open_scripted_camera(monkeypatch, "." + "x" * 10_000_000, ".")
    assert len(list(itertools.islice(camera.frames(), 2))) == 2
    assert camera.reconnects == 1


def test_a_camera_that_never_sent_a_frame_is_not_called_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    camera, messages = open_scripted_camera(monkeypatch, "-", ".-", "."), []
    camera.tell = lambda kind, message: messages.append(message)
    assert len(list(itertools.islice(camera.frames(), 2))) == 2
    assert messages[0] == "camera 0 has never sent a frame: reading a frame failed"
    assert messages[2].startswith("camera 0 is lost: ")


def test_a_camera_that_comes_back_without_a_picture_is_opened_less_and_less_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    camera, waits = open_scripted_camera(monkeypatch, "-", "-", "-", ".-", "."), []
    monkeypatch.setattr(camera, "_wait_s", 1.0)
    monkeypatch.setattr(camera.stopped, "wait", waits.append)
    assert len(list(itertools.islice(camera.frames(), 2))) == 2
    assert waits == [1.0, 2.0, 4.0, 0.01]  # after a picture from the shortest again
