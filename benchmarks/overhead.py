"""What `translate(frame)` costs beyond the bare engine call, at 1280x720 and 640x480.

    python -m benchmarks.overhead [--rounds 30]

The zoo's sketch model at 256x256. The bare engine and each size of frame have a process of their own; all of
every engine take turns, and the difference is taken round by round.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

from benchmarks.reporting.publish import publish
from benchmarks.support.places import list_runnable_variants
from i2i_sdk import Translator
from i2i_sdk.bundle.manifest import Variant
from i2i_sdk.perf.bench import collect_notes, shorten_name
from i2i_sdk.perf.candidates import Candidate, CandidateTimings, compare
from i2i_sdk.perf.quiet import QuietMonitor
from i2i_sdk.perf.record import Row
from i2i_sdk.perf.timing import compute_statistics

MODEL, SIDE = "sketch", 256
SIZES = ((720, 1280), (480, 640))  # height, width of frames


def main(argv: Sequence[str]) -> int:
    """Measure every variant of the zoo's model that runs here."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead")
    parser.add_argument("--rounds", type=int, default=30, help="turns of each")
    args = parser.parse_args(argv)
    variants = list_runnable_variants(MODEL, SIDE)
    candidates = [candidate for variant in variants for candidate in make_candidates(variant)]
    with QuietMonitor() as quiet:
        comparison = compare(candidates, args.rounds, check_steady=quiet.check_steady, progress=print)
        quiet.count_turns(comparison.turns)
    for name, reason in comparison.reasons.items():
        print(f"{name}: not measured: {reason}")
    rows = [row for variant in variants for row in make_rows(variant, comparison.timings)]
    title = f"translate(frame) beside the bare engine at {SIDE}x{SIDE}"
    publish("overhead", title, rows, quiet.conditions, {"rounds": args.rounds})
    return 1 if comparison.reasons else 0


def make_candidates(variant: Variant) -> list[Candidate]:
    """The bare engine, and the translator with each size of frame."""
    which = {"backend": variant.backend, "precision": variant.precision}
    opener = "benchmarks.overhead:open_translator"
    frames = [Candidate(format_name(variant, size), opener, {**which, "size": size}) for size in SIZES]
    return [Candidate(format_name(variant), "benchmarks.overhead:open_engine", which), *frames]


def format_name(variant: Variant, size: tuple[int, int] | None = None) -> str:
    """Of a candidate: the bare engine's without a size, given as height and width."""
    return f"{shorten_name(variant)}, {f'frame {size[1]}x{size[0]}' if size else 'engine'}"


def open_engine(backend: str, precision: str) -> Callable[[], object]:
    """A call of the bare engine, in its candidate's process."""
    translate = Translator(MODEL, backend=backend, precision=precision, size=SIDE)
    batch = make_photo(SIDE, SIDE)[None]
    return lambda: translate.engine.run(batch)


def open_translator(backend: str, precision: str, size: tuple[int, int]) -> Callable[[], object]:
    """A call of the translator with a frame of this height and width, in its candidate's process.

    Args:
        backend: "ort" ….
        precision: "fp32" ….
        size: of the frame: height, width.

    Returns:
        What translates the frame once.
    """
    translate = Translator(MODEL, backend=backend, precision=precision, size=SIDE)
    frame = make_photo(*size)
    return lambda: translate(frame)


def make_photo(height: int, width: int) -> NDArray[np.uint8]:
    """Always the same one: uint8 [height, width, 3]."""
    return np.asarray(cv2.resize(data.astronaut(), (width, height)), np.uint8)


def make_rows(variant: Variant, timings: dict[str, CandidateTimings]) -> list[Row]:
    """The bare engine at its own size, then `translate` at the frames' sizes with what it costs beyond."""
    subject, name = MODEL, shorten_name(variant)
    engine = timings.get(format_name(variant))
    if engine is None:
        return []
    times = {"frame": engine.timing}
    rows = [Row(subject, name, variant.height, variant.width, times=times, notes=collect_notes(engine))]
    for size in SIZES:
        if translator := timings.get(format_name(variant, size)):
            beyond = np.subtract(translator.medians, engine.medians)
            times = {"translate": translator.timing, "extra": compute_statistics(beyond.tolist())}
            rows.append(Row(subject, name, *size, times=times, notes=collect_notes(translator)))
    return rows


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
