"""From nothing to the first frame: import, load, first call; each in a fresh process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from benchmarks.report import show

PROGRAM = """
import time
start = time.perf_counter()
import i2i_sdk
imported = time.perf_counter()
import numpy as np
translate = i2i_sdk.Translator("sketch", backend={backend!r})
loaded = time.perf_counter()
translate(np.zeros((720, 1280, 3), np.uint8))
done = time.perf_counter()
print((imported - start) * 1e3, (loaded - imported) * 1e3, (done - loaded) * 1e3)
"""
STAGES = ("import i2i_sdk", "Translator('sketch')", "first frame 1280x720")


def main(argv: Sequence[str]) -> int:
    """Ten fresh processes with ONNX Runtime."""
    times: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for _ in range(10):
        output = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(backend="ort")], capture_output=True, text=True, check=True
        ).stdout
        for stage, ms in zip(STAGES, output.split(), strict=True):
            times[stage].append(float(ms))
    show("cold start: ONNX Runtime", times, None)
    return 0


if __name__ == "__main__":
    main([])
