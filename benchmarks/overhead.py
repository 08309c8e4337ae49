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

from benchmarks.places import runnable
from benchmarks.report import publish
from i2i_sdk import Translator
from i2i_sdk.bench import notes_on, short_name
from i2i_sdk.manifest import Variant
from i2i_sdk.measure import machine, statistics
from i2i_sdk.measure.candidates import Candidate, Measured, compare
from i2i_sdk.measure.quiet import Quiet
from i2i_sdk.measure.record import Row, make_record

MODEL, SIDE = "sketch", 256
SIZES = ((720, 1280), (480, 640))  # height, width of frames


def main(argv: Sequence[str]) -> int:
    """Measure every variant of the zoo's model that runs here."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead")
    parser.add_argument("--rounds", type=int, default=30, help="turns of each")
    args = parser.parse_args(argv)
    variants = runnable(MODEL, SIDE)
    candidates = [candidate for variant in variants for candidate in candidates_of(variant)]
    with Quiet() as quiet:
        comparison = compare(candidates, args.rounds, steady=quiet.look, progress=print)
        quiet.count(comparison.turns)
    for name, reason in comparison.reasons.items():
        print(f"{name}: not measured: {reason}")
    rows = tuple(row for variant in variants for row in rows_of(variant, comparison.measured))
    title = f"translate(frame) beside the bare engine at {SIDE}x{SIDE}"
    publish(make_record("overhead", title, rows, machine(), quiet.conditions, facts={"rounds": args.rounds}))
    return 1 if comparison.reasons else 0


def candidates_of(variant: Variant) -> list[Candidate]:
    """The bare engine, and the translator with each size of frame."""
    which = {"backend": variant.backend, "precision": variant.precision}
    frames = [
        Candidate(name_of(variant, size), "benchmarks.overhead:open_translator", {**which, "size": size})
        for size in SIZES
    ]
    return [Candidate(name_of(variant), "benchmarks.overhead:open_engine", which), *frames]


def name_of(variant: Variant, size: tuple[int, int] | None = None) -> str:
    """Of a candidate: the bare engine's without a size, given as height and width."""
    return f"{short_name(variant)}, frame {size[1]}x{size[0]}" if size else f"{short_name(variant)}, engine"


def open_engine(backend: str, precision: str) -> Callable[[], object]:
    """A call of the bare engine, in its candidate's process."""
    translate = Translator(MODEL, backend=backend, precision=precision, size=SIDE)
    given = photo(SIDE, SIDE)[None]
    return lambda: translate.engine.run(given)


def open_translator(backend: str, precision: str, size: tuple[int, int]) -> Callable[[], object]:
    """A call of the translator with a frame of this height and width, in its candidate's process."""
    translate = Translator(MODEL, backend=backend, precision=precision, size=SIDE)
    frame = photo(*size)
    return lambda: translate(frame)


def photo(height: int, width: int) -> NDArray[np.uint8]:
    """Always the same one: uint8 [height, width, 3]."""
    return np.asarray(cv2.resize(data.astronaut(), (width, height)), np.uint8)


def rows_of(variant: Variant, measured: dict[str, Measured]) -> list[Row]:
    """The bare engine at its own size, then `translate` at the frames' sizes with what it costs beyond."""
    subject, name = MODEL, short_name(variant)
    engine = measured.get(name_of(variant))
    if engine is None:
        return []
    times = {"frame": engine.timing}
    rows = [Row(subject, name, variant.height, variant.width, times=times, notes=notes_on(engine))]
    for size in SIZES:
        if translator := measured.get(name_of(variant, size)):
            beyond = np.subtract(translator.medians, engine.medians)
            times = {"translate": translator.timing, "extra": statistics(beyond.tolist())}
            rows.append(Row(subject, name, *size, times=times, notes=notes_on(translator)))
    return rows


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
