"""Live video: what goes into and comes out of `Translator.stream`.

    from i2i_sdk import Translator
    from i2i_sdk.live import VideoSink, WindowSink

    Translator("sketch").stream(0, sinks=[WindowSink(), VideoSink("out.mp4")]).run()

Sources: `Camera`, `NetworkVideo`, `MjpegStream`, `GStreamer`, `VideoFile`, `ImageFolder`, `Frames`, or a
`Source` of your own. Sinks: `WindowSink`, `VideoSink`, `FolderSink`, `MemorySink`, `MjpegServerSink`,
`VirtualCameraSink`, `NullSink`, or a `Sink` of your own.
"""

from i2i_sdk.live.results import Latency, Result, SourceStats, StreamStats, ViewState
from i2i_sdk.live.sinks.mjpeg_server import MjpegServerSink
from i2i_sdk.live.sinks.sink import FolderSink, MemorySink, NullSink, VideoSink, VirtualCameraSink
from i2i_sdk.live.sinks.window import WindowSink
from i2i_sdk.live.sources.cameras import Camera, CameraOptions, GStreamer
from i2i_sdk.live.sources.mjpeg_reader import MjpegStream
from i2i_sdk.live.sources.network_video import NetworkVideo
from i2i_sdk.live.sources.source import Captured, Event, Frames, ImageFolder, Source, VideoFile
from i2i_sdk.live.stream import Sink, Stream

__all__ = [
    "Camera",
    "CameraOptions",
    "Captured",
    "Event",
    "FolderSink",
    "Frames",
    "GStreamer",
    "ImageFolder",
    "Latency",
    "MemorySink",
    "MjpegServerSink",
    "MjpegStream",
    "NetworkVideo",
    "NullSink",
    "Result",
    "Sink",
    "Source",
    "SourceStats",
    "Stream",
    "StreamStats",
    "VideoFile",
    "VideoSink",
    "ViewState",
    "VirtualCameraSink",
    "WindowSink",
]
