"""From what a user gives to a source: a number, a path, an address, a pipeline, or frames."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np

from i2i_sdk.errors import InputError, MediaError
from i2i_sdk.live.addresses import ask, without_password
from i2i_sdk.live.cameras import Camera, CameraOptions, GStreamer
from i2i_sdk.live.mjpeg import MjpegStream
from i2i_sdk.live.network_video import NetworkVideo
from i2i_sdk.live.sources import Frames, ImageFolder, Source, VideoFile
from i2i_sdk.sources import IMAGE_SUFFIXES, VIDEO_SUFFIXES

ACCEPTED = (
    "a camera number or /dev/video…, a video file, a folder of images, an http:// or rtsp:// address, "
    "a GStreamer pipeline, an iterable of frames, or a Source"
)
# A host with a port, an IPv4 address, or anything after a name and password.
ADDRESS = re.compile(r"[\w.-]+:\d+(/|$)|\d{1,3}(\.\d{1,3}){3}(/|$)|[^/\s:]+:\S*@\S")
NETWORK = ("rtsp://", "rtsps://", "rtmp://", "udp://", "srt://", "tcp://", "rtp://")


def as_sources(what: Any, *, camera: CameraOptions | None = None, realtime: bool = False) -> list[Source]:
    """One source, or one for each entry of a list in which none is a frame. Raises as `as_source`."""
    several = cast("list[Any]", what) if isinstance(what, list | tuple) else []
    if isinstance(what, list | tuple) and not several:
        raise InputError(f"got an empty list; a source is {ACCEPTED}")
    if several and not any(isinstance(item, np.ndarray) for item in several):
        return [as_source(item, camera=camera, realtime=realtime) for item in several]
    return [as_source(what, camera=camera, realtime=realtime)]


def as_source(what: Any, *, camera: CameraOptions | None = None, realtime: bool = False) -> Source:
    """The source that `what` means. Raises InputError for what means none, MediaError if a server does not
    answer.

    camera: for camera numbers. realtime: play a video file at its own speed, and show each image of a folder
    for a while.
    """
    if isinstance(what, Source):
        return what
    negative = isinstance(what, int) and what < 0
    if isinstance(what, bool) or negative or (isinstance(what, str) and not what.strip()):
        raise InputError(f"got {what!r}; a source is {ACCEPTED}")
    if isinstance(what, int) or (isinstance(what, str) and what.isdecimal()):
        return Camera(int(what), camera)
    if isinstance(what, str | os.PathLike):
        text = os.fspath(cast("str | os.PathLike[str]", what))
        device = re.fullmatch(r"/dev/video(\d+)", os.path.realpath(text) if text.startswith("/dev/") else "")
        return Camera(int(device[1]), camera) if device else _from_text(text, realtime)
    if isinstance(what, np.ndarray) and what.ndim < 4:
        raise InputError(
            "got one array; for one image call the translator, for a stream give an iterable of them"
        )
    if isinstance(what, Iterable) and not isinstance(what, bytes | bytearray):
        return Frames(cast("Iterable[Any]", what))
    raise InputError(f"got {type(what).__name__}; a source is {ACCEPTED}")


def _from_text(text: str, realtime: bool) -> Source:
    lower = text.lower()
    if lower.startswith(("http://", "https://")):
        return _from_http(text)
    if lower.startswith(NETWORK):
        return NetworkVideo(text)
    if " ! " in text:
        return GStreamer(text)
    path = Path(text)
    if path.is_dir():
        return ImageFolder(path, realtime=realtime)
    if not path.exists():
        raise _missing(text)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        raise InputError(f"{path} is one image: i2i run translates it; a stream takes a folder of images")
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return VideoFile(path, realtime=realtime)
    raise InputError(f"{path} is no video ({', '.join(VIDEO_SUFFIXES)})")


def _missing(text: str) -> InputError:
    """No file or folder: often an address whose first part is missing or mistyped."""
    if "://" not in text and ADDRESS.match(text):
        text = without_password(f"http://{text}").removeprefix("http://")
        return InputError(
            f"there is no file or folder {text}; if it is an address, http:// or rtsp:// is missing before it"
        )
    if "://" in text:
        return InputError(
            f"{without_password(text)} is no address that is known here; they begin with http://, https://, "
            f"{', '.join(NETWORK)}"
        )
    return InputError(f"there is no file or folder {text}; a source is {ACCEPTED}")


def _from_http(url: str) -> Source:
    """MJPEG is read by us, other video by FFmpeg; only the server knows which it is."""
    response = ask(url)
    content = response.headers.get("Content-Type", "").lower()
    response.close()
    if content.startswith("multipart/"):
        return MjpegStream(url)
    if content.startswith(("text/html", "image/")):
        what = "a web page" if content.startswith("text/html") else "one image"
        raise MediaError(
            f"{without_password(url)} is {what}, not a stream; give the address of the stream, which the "
            "camera's manual tells"
        )
    return NetworkVideo(url)
