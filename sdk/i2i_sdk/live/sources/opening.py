"""From what a user gives to a source: a number, a path, an address, a pipeline, or frames."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from i2i_sdk.errors import InputError, MediaError, redact_credentials
from i2i_sdk.live.sources.addresses import open_url
from i2i_sdk.live.sources.cameras import Camera, CameraOptions, GStreamer
from i2i_sdk.live.sources.mjpeg_reader import MjpegStream
from i2i_sdk.live.sources.network_video import NetworkVideo
from i2i_sdk.live.sources.source import Frames, ImageFolder, Source, VideoFile
from i2i_sdk.media.images import IMAGE_SUFFIXES
from i2i_sdk.media.video import VIDEO_SUFFIXES

ACCEPTED_SOURCES = (
    "a camera number or /dev/video…, a video file, a folder of images, an http:// or rtsp:// address, "
    "a GStreamer pipeline, an iterable of frames, or a Source"
)
# A host with a port, an IPv4 address, or anything after a name and password.
ADDRESS_PATTERN = re.compile(r"[\w.-]+:\d+(/|$)|\d{1,3}(\.\d{1,3}){3}(/|$)|[^/\s:]+:\S*@\S")
NETWORK_SCHEMES = ("rtsp://", "rtsps://", "rtmp://", "udp://", "srt://", "tcp://", "rtp://")


def as_sources(source: Any, *, camera: CameraOptions | None = None, realtime: bool = False) -> list[Source]:
    """One source, or one for each entry of a list in which none is a frame.

    Args:
        source, camera, realtime: see `as_source`.

    Returns:
        At least one source.

    Raises:
        InputError: the list is empty, or an entry means none.
        MediaError: a server does not answer.
    """
    one: list[Any] = [source]
    items = cast("Sequence[Any]", source) if isinstance(source, list | tuple) else one
    if not items:
        raise InputError(f"got an empty list; a source is {ACCEPTED_SOURCES}")
    if any(isinstance(item, np.ndarray) for item in items):
        items = one
    return [as_source(item, camera=camera, realtime=realtime) for item in items]


def as_source(source: Any, *, camera: CameraOptions | None = None, realtime: bool = False) -> Source:
    """What a user gives, as a Source.

    Args:
        source: a camera number, an address, a pipeline, a path, an iterable of frames, or a Source.
        camera: what cameras are asked for.
        realtime: play a video file at its own speed, and show each image of a folder for a second.

    Returns:
        A source that is not open yet.

    Raises:
        InputError: it means none.
        MediaError: a server does not answer.
    """
    if isinstance(source, Source):
        return source
    negative = isinstance(source, int) and source < 0
    if isinstance(source, bool) or negative or (isinstance(source, str) and not source.strip()):
        raise InputError(f"got {source!r}; a source is {ACCEPTED_SOURCES}")
    if isinstance(source, int) or (isinstance(source, str) and source.isdecimal()):
        return Camera(int(source), camera)
    if isinstance(source, str | os.PathLike):
        text = os.fspath(cast("str | os.PathLike[str]", source))
        device = re.fullmatch(r"/dev/video(\d+)", os.path.realpath(text) if text.startswith("/dev/") else "")
        return Camera(int(device[1]), camera) if device else _from_text(text, realtime)
    if isinstance(source, np.ndarray) and source.ndim < 4:
        advice = "for one image call the translator, for a stream give an iterable of them"
        raise InputError(f"got one array; {advice}")
    if isinstance(source, Iterable) and not isinstance(source, bytes | bytearray):
        return Frames(cast("Iterable[Any]", source))
    raise InputError(f"got {type(source).__name__}; a source is {ACCEPTED_SOURCES}")


def _from_text(text: str, realtime: bool) -> Source:
    lower = text.lower()
    if lower.startswith(("http://", "https://")):
        return _from_http(text)
    if lower.startswith(NETWORK_SCHEMES):
        return NetworkVideo(text)
    if " ! " in text:
        return GStreamer(text)
    path = Path(text)
    # An address can be too long for a name, for which Path's own methods raise.
    if os.path.isdir(text):  # noqa: PTH112
        return ImageFolder(path, realtime=realtime)
    if not os.path.exists(text):  # noqa: PTH110
        raise _make_missing_error(text)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        raise InputError(f"{path} is one image: i2i run translates it; a stream takes a folder of images")
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return VideoFile(path, realtime=realtime)
    raise InputError(f"{path} is not a video ({', '.join(VIDEO_SUFFIXES)})")


def _make_missing_error(text: str) -> InputError:
    """No file or folder: often an address whose first part is missing or mistyped."""
    shown = redact_credentials(text)
    if "://" in text:
        schemes = ", ".join(("http://", "https://", *NETWORK_SCHEMES))
        return InputError(f"{shown} is not a known address; they begin with {schemes}")
    if ADDRESS_PATTERN.match(text):
        advice = "if it is an address, http:// or rtsp:// is missing before it"
        return InputError(f"there is no file or folder {shown}; {advice}")
    return InputError(f"there is no file or folder {shown}; a source is {ACCEPTED_SOURCES}")


def _from_http(url: str) -> Source:
    """MJPEG is read by us, other video by FFmpeg; only the server knows which it is."""
    response = open_url(url)
    content = response.headers.get("Content-Type", "").lower()
    response.close()
    if content.startswith("multipart/"):
        return MjpegStream(url)
    if content.startswith(("text/html", "image/")):
        advice = "give the address of the stream, which the camera's manual tells"
        raise MediaError(f"{redact_credentials(url)} gives {content}, not a stream; {advice}")
    return NetworkVideo(url)
