"""From what a video decoder gives to pictures: progressive, upright, BGR, all of one size."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import cv2
import numpy as np
from av.error import BlockingIOError, EOFError
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

# By the degrees that a file asks for, counterclockwise.
TURNS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}


class Deinterlacer:
    """Frames in, as many progressive ones out, in the same order. For one thread.

    Progressive frames pass at once. From the first interlaced one on, a frame comes out when the next has
    come in: FFmpeg's bwdif fills the lines that a field lacks from both neighbors.
    """

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._format = ("", 0, 0)  # of the frames that the graph takes
        self._inside: deque[VideoFrame] = deque()  # for their times, which the filter may change

    def push(self, frame: VideoFrame | None) -> Iterator[VideoFrame]:
        """Give what is ready after `frame`; None gives the rest. Raises FFmpegError."""
        frame_format = (frame.format.name, frame.width, frame.height) if frame is not None else None
        if self._graph is not None and frame_format != self._format:
            self._graph.vpush(None)
            yield from self._pull(self._graph)
            self._graph = None
        if frame is None or frame_format is None:
            return
        if self._graph is None and not frame.interlaced_frame:
            yield frame
            return
        if self._graph is None:
            self._graph, self._format = _build_graph(frame), frame_format
        self._inside.append(frame)
        self._graph.vpush(frame)
        yield from self._pull(self._graph)

    def _pull(self, graph: Graph) -> Iterator[VideoFrame]:
        while self._inside:
            try:
                done = graph.vpull()
            except (BlockingIOError, EOFError):
                return
            before = self._inside.popleft()
            done.pts, done.time_base, done.duration = before.pts, before.time_base, before.duration
            yield done


def _build_graph(frame: VideoFrame) -> Graph:
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    deinterlace = graph.add("bwdif", mode="send_frame", deint="interlaced")
    source.link_to(deinterlace)
    deinterlace.link_to(graph.add("buffersink"))
    graph.configure()
    return graph


class FrameConverter:
    """Frames of a decoder as uint8 [H, W, 3] BGR, 0..255, upright, scaled to the size of the first.

    swscale, which converts colors, refuses interlaced frames. For one thread.
    """

    def __init__(self) -> None:
        self._deinterlacer = Deinterlacer()
        self._reformatter = VideoReformatter()
        self._size: tuple[int, int] | None = None

    def push(self, frame: VideoFrame | None) -> Iterator[tuple[VideoFrame, NDArray[np.uint8]]]:
        """What is ready after `frame`, each with the frame that has its time; None gives the rest.

        Raises FFmpegError where a frame cannot be converted.
        """
        for done in self._deinterlacer.push(frame):
            self._size = self._size or (done.width, done.height)
            width, height = self._size
            bgr = self._reformatter.reformat(
                done, width, height, format="bgr24", interpolation=Interpolation.BICUBIC
            )
            picture = bgr.to_ndarray()
            turn = TURNS.get(done.rotation % 360)
            yield done, np.asarray(picture if turn is None else cv2.rotate(picture, turn), np.uint8)
