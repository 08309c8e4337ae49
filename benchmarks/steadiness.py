"""How much steadier `Stabilizer` makes a translated video, what it costs, and what it leaves behind.

The warping error is that of Lai et al. 2018: the mean square, over the pixels that are seen in
both frames, of what changes along the motion of the *input* frames. That motion is Farneback's at full
size, another algorithm than the smoother's. A smoother could lower it by leaving ghosts, so there are two
figures against it: how far the pixels that its occlusion test rejects are from the raw translation, and
what a moving square leaves behind. Look at the clips and sheets in out/bench/ as well.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.reporting.publish import OUT, publish
from benchmarks.support.glass_to_glass import format_engine_name
from benchmarks.support.places import find_shared_file, get_trained_checkpoint, name_subject
from i2i_export.options import ExportOptions
from i2i_export.pipeline import export
from i2i_export.targets import parse_targets
from i2i_sdk import InputError, Translator
from i2i_sdk.imaging.stabilizer import Stabilizer, _MotionEstimator
from i2i_sdk.media.images import write_image
from i2i_sdk.media.video import VideoReader
from i2i_sdk.media.video_writer import VideoWriter
from i2i_sdk.perf.quiet import QuietMonitor
from i2i_sdk.perf.record import Row
from i2i_sdk.perf.timing import compute_statistics
from i2i_sdk.quality.metrics import IDENTICAL_DB

Image = NDArray[np.uint8]
Field = NDArray[np.float32]
Mask = NDArray[np.bool_]

VIEW_WIDTH = 640  # of each of the three pictures side by side
AMPLIFICATION = 4  # differences on the sheet
FARNEBACK: dict[str, Any] = {"pyr_scale": 0.5, "levels": 5, "winsize": 15, "iterations": 3}
FARNEBACK |= {"poly_n": 5, "poly_sigma": 1.2, "flags": 0}
SQUARE, STEP, LEFT, TOP = 120, 8, 80, 180  # of the moving square, in pixels


@dataclass(frozen=True)
class FramePair:
    """One frame after the first, and the one before it."""

    frame: Image
    raw: Image
    stabilized: Image
    previous: tuple[Image, Image, Image]  # the same three
    covered: Mask  # where the smoother's occlusion test rejects
    milliseconds: float  # of the smoother


@dataclass
class SteadinessScore:
    """Sums over the frames of a clip."""

    raw: list[float] = field(default_factory=list)
    stabilized: list[float] = field(default_factory=list)
    covered_error: float = 0.0
    covered_values: int = 0
    milliseconds: list[float] = field(default_factory=list)
    size: tuple[int, int] = (0, 0)  # of the frames: height, width

    def add(self, step: FramePair) -> None:
        flow, seen = estimate_motion(step.frame, step.previous[0])
        self.raw.append(compute_warping_error(step.raw, step.previous[1], flow, seen))
        self.stabilized.append(compute_warping_error(step.stabilized, step.previous[2], flow, seen))
        distance = step.stabilized.astype(np.float64)[step.covered] - step.raw[step.covered]
        self.covered_error += float(np.sum(distance**2))
        self.covered_values += distance.size
        self.milliseconds.append(step.milliseconds)
        self.size = step.frame.shape[0], step.frame.shape[1]

    @property
    def gain(self) -> float:
        """Share of the warping error that is gone."""
        return 1 - float(np.mean(self.stabilized)) / float(np.mean(self.raw))

    @property
    def covered_db(self) -> float:
        """PSNR against the raw translation where the occlusion test rejects; 120 when identical."""
        if self.covered_error == 0:
            return IDENTICAL_DB
        return float(10 * np.log10(255**2 * self.covered_values / self.covered_error))


def main(argv: Sequence[str]) -> int:
    """Measure on the given clips, else those of the shared data."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steadiness", description=__doc__)
    model = find_default_model()
    parser.add_argument("model", type=Path, nargs="?", default=model, help="a checkpoint or bundle")
    parser.add_argument("clips", type=Path, nargs="*")
    parser.add_argument("--strength", type=float, default=0.7)
    parser.add_argument("--frames", type=int, default=10**9, help="of each clip at most")
    args = parser.parse_args(argv)
    rows: list[Row] = []
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        quiet = stack.enter_context(QuietMonitor())
        source = args.model if args.model.suffix == ".i2i" else export_model(args.model, Path(folder))
        translate = stack.enter_context(Translator(source, precision="fp32"))
        for clip in args.clips or list_shared_clips():
            score = measure_clip(translate, clip, args.strength, args.frames)
            rows += make_rows(clip.stem, score, args.strength)
            quiet.check_steady()
        for background in ("flat", "textured"):
            left = measure_trail(Stabilizer(args.strength), background)
            subject = f"a square that moves, {background} background"
            rows.append(Row(subject, f"strength {args.strength:g}", 480, 640, values={"trail": left}))
    facts: dict[str, Any] = {
        "model": name_subject(args.model),
        "engine": format_engine_name(translate),
        "threads_of_opencv": cv2.getNumThreads(),
        "frames_at_most": args.frames,
    }
    title = f"steadiness of translated video, strength {args.strength:g}"
    publish("steadiness", title, rows, quiet.conditions, facts)
    print(f"side by side (input, raw, steady) and differences: {OUT}/steadiness_*")
    return 0


def find_default_model() -> Path:
    """The real horse-to-zebra generator where the shared data is present, else the zoo's."""
    real = find_shared_file("checkpoints/gan_compression_horse2zebra/latest_net_G.pth")
    return get_trained_checkpoint("sketch") if real is None else real


def list_shared_clips() -> list[Path]:
    """The clips of the shared data. Raises InputError where there are none."""
    folder = find_shared_file("clips")
    if folder is None:
        raise InputError("no clips: give some, python -m benchmarks.steadiness MODEL CLIP …")
    return sorted(folder.glob("*.*"))


def export_model(checkpoint: Path, folder: Path) -> Path:
    """A bundle for the CPU."""
    options = ExportOptions(size=(256, 256))
    targets = parse_targets("ort:fp32,openvino:fp32", options)
    return export(checkpoint, targets, folder / "bench.i2i", options).bundle.path


def make_rows(clip: str, score: SteadinessScore, strength: float) -> list[Row]:
    """As rows of a record: unsmoothed, and smoothed.

    Args:
        clip: its name.
        score: of the clip.
        strength: of the smoother, 0..1.

    Returns:
        Two rows of a record.
    """
    times, samples = {"smooth": compute_statistics(score.milliseconds)}, {"smooth": tuple(score.milliseconds)}
    values = {
        "warping": float(np.mean(score.stabilized)),
        "steadier": score.gain,
        "covered_psnr": score.covered_db,
    }
    name = f"strength {strength:g}"
    return [
        Row(clip, "unsmoothed", *score.size, values={"warping": float(np.mean(score.raw))}),
        Row(clip, name, *score.size, times=times, samples=samples, values=values),
    ]


def measure_clip(translate: Translator, clip: Path, strength: float, max_frames: int) -> SteadinessScore:
    """The score of a clip; writes it side by side, and a sheet of its liveliest frame.

    Args:
        translate: that is open.
        clip: a video file.
        strength: of the smoother, 0..1.
        max_frames: of the clip.

    Returns:
        The score.
    """
    score = SteadinessScore()
    OUT.mkdir(parents=True, exist_ok=True)
    liveliest, sheet_of = 0.0, None
    with VideoReader(clip) as video:
        height = round(video.height * VIEW_WIDTH / video.width)
        out = OUT / f"steadiness_{clip.stem}.mp4"
        with VideoWriter(out, 3 * VIEW_WIDTH, height, video.fps, audio_from=None) as writer:
            steps = iter_frame_pairs(translate, video, Stabilizer(strength), max_frames)
            for index, step in enumerate(steps):
                score.add(step)
                if score.raw[-1] > liveliest:
                    liveliest, sheet_of = score.raw[-1], step
                view = np.hstack([step.frame, step.raw, step.stabilized])
                view = cv2.resize(view, (3 * VIEW_WIDTH, height), interpolation=cv2.INTER_AREA)
                writer.write(np.asarray(view, np.uint8), 1000 * index / video.fps)
    if sheet_of is not None:
        write_image(OUT / f"steadiness_{clip.stem}.png", draw_sheet(sheet_of))
    return score


def iter_frame_pairs(
    translate: Translator, video: VideoReader, stabilizer: Stabilizer, max_frames: int
) -> Iterator[FramePair]:
    """Translate and steady a clip frame by frame.

    Args:
        translate: that is open.
        video: that is open.
        stabilizer: fresh.
        max_frames: of the video.
    """
    before: tuple[Image, Image, Image] | None = None
    for frame in video:
        if frame.index >= max_frames:
            return
        raw = translate(frame.image)
        start = time.perf_counter()
        result = stabilizer(frame.image, raw)
        milliseconds = (time.perf_counter() - start) * 1000
        now = (frame.image, raw, result)
        if before is not None:
            yield FramePair(*now, before, find_covered(before[0], frame.image), milliseconds)
        before = now


def find_covered(last: Image, frame: Image) -> Mask:
    """Where a smoother's own occlusion test rejects, at full size; all of it at a cut."""
    sight = _MotionEstimator(*frame.shape[:2])
    motion = sight.estimate_motion(sight.downscale(frame), sight.downscale(last))
    if motion is None:
        return np.ones(frame.shape[:2], np.bool_)
    full = cv2.resize(motion.occluded, frame.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    return np.asarray(full > 0)


def estimate_motion(frame: Image, last: Image) -> tuple[Field, Mask]:
    """Farneback's flow [H, W, 2] from `frame` to `last`, and where both show the same thing.

    That is where the flows there and back undo each other: Sundaram et al. 2010.
    """
    now, past = (cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in (frame, last))
    flow = _compute_farneback_flow(now, past)
    back = warp(_compute_farneback_flow(past, now), flow)
    missed = np.sum((flow + back) ** 2, axis=2)
    seen = missed < 0.01 * (np.sum(flow**2, axis=2) + np.sum(back**2, axis=2)) + 0.5
    height, width = now.shape
    place = flow + _make_pixel_grid(height, width)
    inside = (place >= 0) & (place <= np.array([width - 1, height - 1], np.float32))
    return flow, seen & inside.all(axis=2)


def compute_warping_error(image: Image, last: Image, flow: Field, visible: Mask) -> float:
    """Mean square of what changes along the motion where it is seen, in gray levels squared.

    Args:
        image: uint8 [H, W, 3].
        last: the one before, uint8 [H, W, 3].
        flow: float32 [H, W, 2] from `image` to `last`, in pixels.
        visible: bool [H, W]: where both show the same thing.

    Returns:
        Gray levels squared.
    """
    change = image.astype(np.float32)[visible] - warp(last, flow).astype(np.float32)[visible]
    return float(np.mean(change**2))


def warp(image: Any, flow: Field) -> Any:
    """`image` with every pixel fetched from where `flow` [H, W, 2] points."""
    places = flow + _make_pixel_grid(*flow.shape[:2])
    no_second_map: Any = None
    return cv2.remap(image, places, no_second_map, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def measure_trail(stabilizer: Stabilizer, background: str) -> int:
    """Gray levels that a textured square, 8 pixels further each frame, leaves two frames behind it at most.

    The translation is the input itself, so that nothing but the smoother changes the picture.
    """
    scenery = np.full((480, 640, 3), 128, np.uint8)
    if background == "textured":
        scenery = make_texture(480, 640, 30)
    square, worst = make_texture(SQUARE, SQUARE, 60), 0
    for index in range(40):
        frame = scenery.copy()
        left = LEFT + STEP * index
        frame[TOP : TOP + SQUARE, left : left + SQUARE] = square
        result = stabilizer(frame, frame)
        if index >= 2:
            behind = np.s_[:, : left - 2 * STEP]
            worst = max(worst, int(np.max(cv2.absdiff(result[behind], scenery[behind]))))
    return worst


def make_texture(height: int, width: int, contrast: float) -> Image:
    """Colored random blobs of about 4 pixels around middle gray.

    Args:
        height: in pixels.
        width: in pixels.
        contrast: standard deviation in gray levels, about.

    Returns:
        uint8 [height, width, 3].
    """
    noise = np.random.default_rng(height).standard_normal((height // 4, width // 4, 3)).astype(np.float32)
    smooth = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + contrast * smooth, 0, 255).astype(np.uint8)


def draw_sheet(step: FramePair) -> Image:
    """Input, raw, steady; below each what changes along the motion, amplified."""
    flow, _ = estimate_motion(step.frame, step.previous[0])
    images = (step.frame, step.raw, step.stabilized)
    changes = [
        cv2.convertScaleAbs(cv2.absdiff(image, warp(last, flow)), alpha=AMPLIFICATION)
        for image, last in zip(images, step.previous, strict=True)
    ]
    return np.asarray(np.vstack([np.hstack(images), np.hstack(changes)]), np.uint8)


def _compute_farneback_flow(now: Any, past: Any) -> Field:
    no_guess: Any = None
    return np.asarray(cv2.calcOpticalFlowFarneback(now, past, no_guess, **FARNEBACK), np.float32)


def _make_pixel_grid(height: int, width: int) -> Field:
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return np.dstack([x, y])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
