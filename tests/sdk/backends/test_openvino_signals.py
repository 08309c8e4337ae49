"""Signals after an engine was closed: Ctrl-C must not run on a stack that OpenVINO has freed."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("openvino")

SCRIPT = """
import ctypes
import numpy as np
from i2i_sdk import Translator
from i2i_sdk.backends.openvino import SS_DISABLE, _SignalStack

def on_its_own_stack():
    now = _SignalStack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(now))
    return not now.flags & SS_DISABLE

first = Translator("sketch", backend="openvino")
second = Translator("sketch", backend="openvino")
for translate in (first, second):  # each takes the thread's stack over, and gives back what it found
    translate(np.zeros((64, 64, 3), np.uint8))
inside = on_its_own_stack()
first.close()
second.close()
print(inside, on_its_own_stack())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sigaltstack as Linux has it")
def test_closing_leaves_the_signal_stack_that_openvino_set() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    _inside, after = done.stdout.split()
    assert after == "False"
