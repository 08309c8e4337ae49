"""A process that runs one candidate: `python -m i2i_sdk.perf.worker`, led by `candidates`.

In a process of its own a candidate's memory is its own, no other's libraries disturb it, and if it dies the
others go on. Each line of standard input is a request in JSON, each line of standard output the answer.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from i2i_sdk.device import read_peak_memory
from i2i_sdk.errors import I2IError
from i2i_sdk.perf.timing import time_turn, warm_up


def main() -> None:
    """Answer until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the leader's, who ends this process then
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what engines print must not stand between answers
    call: Callable[[], Any] | None = None
    reports = False
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, Any] = {}
        try:
            if request["do"] == "open":
                module, function = request["opener"].split(":")
                call = getattr(importlib.import_module(module), function)(**request["arguments"])
                reports = request["reports"]
            assert call is not None
            if request["do"] == "warm up" and not reports:
                answer = vars(warm_up(call))
            if request["do"] == "turn":
                answer = {"ms": call() if reports else time_turn(call)}
            answer["memory"] = read_peak_memory()
        except Exception as error:  # told to the leader, whatever it is
            kind = "" if isinstance(error, I2IError) else f"{type(error).__name__}: "
            answer = {"error": f"{kind}{error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
