"""Processor time of a process."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from benchmarks.support.processes import CpuShare

WAITING_SCRIPT = "print('ready', flush=True); input()"


def test_who_works_has_a_larger_share_than_who_waits() -> None:
    pipe = subprocess.PIPE
    words = [sys.executable, "-c", WAITING_SCRIPT]
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True) as waiting:
        assert waiting.stdout is not None and waiting.stdout.readline() == "ready\n"
        own, other = CpuShare(os.getpid()), CpuShare(waiting.pid)
        begun = time.process_time()
        while time.process_time() - begun < 0.1:
            pass
        assert own() > other() >= 0
        waiting.communicate("\n")
