"""Many processes for one start of the interpreter: a server that has imported everything, and forks.

Its children are real processes with real signals, each running a function `module:name` on arguments, as
the command line does. Run as a script, this file is the server; tests hold a `ForkServer`.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

TRAIN = "i2i_sdk.cli.main:main"
TIMEOUT_S = 280  # seconds; a child that takes longer hangs


class ForkServer:
    """The server, from outside."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def start(self, argv: list[str], log: Path, target: str = TRAIN, **more: Any) -> int:
        """Fork a child that runs `target` on `argv`; stdout and stderr go to `log`. Returns its id.

        more: env, a dict of variables; cwd.
        """
        log.write_text("")  # there is something to read at once
        return self._request(argv=argv, log=str(log), target=target, **more)

    def wait(self, pid: int) -> int:
        """The exit code of a child, or minus the signal that killed it."""
        return self._request(wait=pid)

    def run(self, argv: list[str], log: Path, **more: Any) -> tuple[int, str]:
        """The exit code of a child and what it printed."""
        code = self.wait(self.start(argv, log, **more))
        return code, log.read_text()

    def close(self) -> None:
        self._process.communicate()

    def _request(self, **request: Any) -> int:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@functools.cache
def get_fork_server() -> ForkServer:
    """One server for all tests of a session."""
    server = ForkServer()
    atexit.register(server.close)
    return server


def wait_until(condition: Callable[[], bool], log: Path) -> None:
    """Wait for it; show what the child printed where it does not come."""
    end = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.002)


# ---------------------------------------------------------------- the server itself


def serve() -> None:
    import torch

    import i2i_sdk.cli.main
    import i2i_training.cli.train

    assert i2i_training.cli.train
    torch.set_num_threads(1)
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        else:
            answer = os.fork()
            if not answer:
                run_child(i2i_sdk.cli.main.load, **request)
        print(answer, flush=True)


def run_child(
    load: Callable[..., Any],
    target: str,
    argv: list[str],
    log: str,
    env: dict[str, str] | None = None,
    cwd: str = ".",
) -> None:
    code = 70
    try:
        os.environ.update(env or {})
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.chdir(cwd)
        code = load(target)(argv)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
