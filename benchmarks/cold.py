"""From nothing to the first frame, and the memory it takes: import, load, first call.

    python -m benchmarks.cold [--starts 10]

Every start is a fresh process; all engines take turns. The files are in the system's cache, as they are on a
device that has started one before; Python's own start is not counted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence

import numpy as np

from benchmarks.reporting.publish import publish
from benchmarks.support.places import list_runnable_variants
from i2i_sdk.bundle.manifest import Variant
from i2i_sdk.perf.bench import shorten_name
from i2i_sdk.perf.quiet import QuietMonitor
from i2i_sdk.perf.record import Row
from i2i_sdk.perf.timing import compute_statistics

MODEL, SIDE = "sketch", 256
STAGES = ("import", "load", "first")
PROGRAM = """
import sys, time
start = time.perf_counter()
import i2i_sdk
imported = time.perf_counter()
import numpy as np
model, backend, precision, side = sys.argv[1:]
frame = np.zeros((720, 1280, 3), np.uint8)
begin = time.perf_counter()
translate = i2i_sdk.Translator(model, backend=backend, precision=precision, size=int(side))
loaded = time.perf_counter()
translate(frame)
done = time.perf_counter()
import json
from i2i_sdk.device import read_peak_memory
found = {"import": imported - start, "load": loaded - begin, "first": done - loaded}
print(json.dumps({**{stage: 1000 * s for stage, s in found.items()}, "memory": read_peak_memory()}))
"""

StartTimes = dict[str, float | None]  # milliseconds by stage, and "memory" in bytes where the system tells it


def main(argv: Sequence[str]) -> int:
    """Start every variant of the zoo's model that runs here, again and again."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cold")
    parser.add_argument("--starts", type=int, default=10, help="processes for each engine")
    args = parser.parse_args(argv)
    variants = list_runnable_variants(MODEL, SIDE)
    found: dict[str, list[StartTimes]] = {variant.name: [] for variant in variants}
    for variant in variants:
        measure_start(variant)  # brings its files into the cache
    with QuietMonitor() as quiet:
        for _ in range(args.starts):
            for variant in variants:
                found[variant.name].append(measure_start(variant))
            quiet.check_steady()
    rows = [make_row(variant, found[variant.name]) for variant in variants]
    title = "cold start in a fresh process, and the first frame of 1280x720"
    return publish("cold", title, rows, quiet.conditions, {"starts": args.starts})


def measure_start(variant: Variant) -> StartTimes:
    """One process, from its import to its first frame. Raises CalledProcessError; why is on screen."""
    arguments = (MODEL, variant.backend, variant.precision, str(SIDE))
    command = [sys.executable, "-c", PROGRAM, *arguments]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def make_row(variant: Variant, starts: Sequence[StartTimes]) -> Row:
    """All starts of an engine; the memory is the median of their peaks."""
    times = {stage: compute_statistics([start[stage] or 0.0 for start in starts]) for stage in STAGES}
    peaks = [start["memory"] for start in starts if start["memory"] is not None]
    values = {"memory": float(np.median(peaks))} if peaks else {}
    return Row(MODEL, shorten_name(variant), variant.height, variant.width, times=times, values=values)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
