"""What a frame of a video file costs to read: `VideoReader` beside OpenCV's reader.

    python -m benchmarks.reading [--rounds 30] [--video FILE]

A photo that pans, in H.264, at 1280x720 and 1920x1080, progressive and interlaced; or a file of
your own. Every reader has a process of its own, and all take turns. OpenCV's reader converts no interlaced
frames, so it is measured on progressive ones only.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from skimage import data

from benchmarks.reporting.publish import publish
from i2i_sdk.media.video import VideoReader
from i2i_sdk.perf.bench import make_row
from i2i_sdk.perf.candidates import Candidate, compare
from i2i_sdk.perf.quiet import QuietMonitor
from i2i_sdk.perf.record import Row
from i2i_sdk.perf.timing import compute_median_ratio

SIZES = ((720, 1280), (1080, 1920))  # height, width
FRAMES = 90  # of each film, which is read again and again
BASELINE = "OpenCV"
READERS = {BASELINE: "open_opencv", "VideoReader": "open_video_reader"}


def main(argv: Sequence[str]) -> int:
    """Time both readers on every film."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reading")
    parser.add_argument("--rounds", type=int, default=30, help="turns of each")
    parser.add_argument("--video", type=Path, help="read this file instead of the films")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        films = [args.video.absolute()] if args.video else write_films(Path(folder))
        candidates = [
            Candidate(f"{film.stem}, {reader}", f"benchmarks.reading:{opener}", {"path": str(film)})
            for film in films
            for reader, opener in READERS.items()
            if not (reader == BASELINE and "interlaced" in film.stem)
        ]
        with QuietMonitor() as quiet:
            found = compare(candidates, args.rounds, check_steady=quiet.check_steady, progress=print)
            quiet.count_turns(found.turns)
    rows: list[Row] = []
    for name, timings in found.timings.items():
        film, reader = name.split(", ")
        row = make_row(film, reader, timings)
        # What deinterlacing costs: an interlaced film beside OpenCV's reader on the progressive one.
        before = found.timings.get(f"{film.replace('interlaced', 'progressive')}, {BASELINE}")
        if before:
            row.values["faster"] = compute_median_ratio(before.medians, timings.medians)
        rows.append(row)
    title = "reading a frame of a video file"
    publish("reading", title, rows, quiet.conditions, {"rounds": args.rounds}, baseline=BASELINE)
    return 1 if found.reasons else 0


def write_films(folder: Path) -> list[Path]:
    """A progressive and an interlaced film of each size."""
    return [
        write_film(folder / f"{kind} {height}p.mp4", height, width, options)
        for height, width in SIZES
        for kind, options in (("progressive", ""), ("interlaced", "+ildct+ilme"))
    ]


def write_film(path: Path, height: int, width: int, flags: str) -> Path:
    """A photo that pans by 4 pixels a frame, as H.264."""
    photo = np.asarray(cv2.resize(data.astronaut(), (width + 4 * FRAMES, height)), np.uint8)
    with av.open(path, "w") as file:
        video = file.add_stream("libx264", 25, {"preset": "veryfast", **({"flags": flags} if flags else {})})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        for index in range(FRAMES):
            picture = np.ascontiguousarray(photo[:, 4 * index :][:, :width])
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
    return path


def open_opencv(path: str) -> Callable[[], object]:
    """A call that reads the next frame; at the end the film begins again."""
    video = cv2.VideoCapture(path, cv2.CAP_FFMPEG)

    def read() -> object:
        found, image = video.read()
        if not found:
            video.open(path, cv2.CAP_FFMPEG)
        return image

    return read


def open_video_reader(path: str) -> Callable[[], object]:
    """As `open_opencv`."""
    video = VideoReader(Path(path))

    def read() -> object:
        nonlocal video
        frame = video.read()
        if frame is None:
            video.close()
            video = VideoReader(Path(path))
        return frame

    return read


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
