"""Signals after an engine was closed: Ctrl-C must not crash the process."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("openvino")

SCRIPT = """
import gc, signal
import numpy as np
from i2i_sdk import Translator
caught = []
signal.signal(signal.SIGTERM, lambda *_: caught.append(1))
for threads in (1, 2, 1):
    with Translator("sketch", backend="openvino", threads=threads) as translate:
        translate(np.zeros((64, 64, 3), np.uint8))
    gc.collect()
    ballast = [bytearray(8192) for _ in range(2000)]  # what was freed is used again
    signal.raise_signal(signal.SIGTERM)
print("caught", len(caught))
"""


def test_a_signal_after_closing_reaches_its_handler() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, "caught 3"), done.stderr
