"""What is compared in one run: each candidate in a process of its own, all taking turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from i2i_sdk.errors import BackendError
from i2i_sdk.files import Closing
from i2i_sdk.perf.energy import EnergyMeter, sum_joules
from i2i_sdk.perf.timing import Timing, Turns, WarmUp, compute_statistics, pause, take_turns


@dataclass(frozen=True)
class Candidate:
    """Something whose calls are timed.

    opener: "module:function"; it is called in the candidate's process with `arguments`, which JSON can hold,
    and returns what is to be timed, without arguments. reports: that times itself, and gives milliseconds.
    """

    name: str
    opener: str
    arguments: dict[str, Any]
    reports: bool = False


@dataclass(frozen=True)
class CandidateTimings:
    """What a candidate's turns gave, in milliseconds."""

    rounds: tuple[tuple[float, ...], ...]
    warm_up: WarmUp
    memory: int | None  # bytes, the most that its process had
    energy: float | None  # joules of a call
    repeated: int = 0  # turns that were taken again, because the machine was not steady

    @property
    def times(self) -> tuple[float, ...]:
        """All calls, in order."""
        return tuple(chain.from_iterable(self.rounds))

    @property
    def medians(self) -> tuple[float, ...]:
        """Of each round: what ratios are taken of."""
        return tuple(float(np.median(times)) for times in self.rounds)

    @property
    def timing(self) -> Timing:
        """Their statistics."""
        return compute_statistics(self.times, self.rounds)


@dataclass(frozen=True)
class Comparison:
    """A run: what was measured by name, and why others were not."""

    timings: dict[str, CandidateTimings]
    reasons: dict[str, str]
    turns: Turns


def compare(
    candidates: Sequence[Candidate],
    rounds: int,
    *,
    meters: Sequence[EnergyMeter] = (),
    seconds: float = 0.0,
    check_steady: Callable[[], bool] = pause,
    progress: Callable[[str], object] = lambda text: None,
) -> Comparison:
    """Open all candidates at once, warm them up one after the other, then let them take turns.

    Args:
        candidates: with different names.
        rounds: as `take_turns` has them.
        meters: of energy.
        seconds: as `take_turns` has them.
        check_steady: as `take_turns` has it.
        progress: told in a few words what is done.

    Returns:
        What was measured. A candidate that cannot be opened, or fails in a turn, is left out with its reason.
    """
    reasons: dict[str, str] = {}
    with ExitStack() as stack:
        progress(f"opening {len(candidates)}: {', '.join(candidate.name for candidate in candidates)}")
        workers = {c.name: stack.enter_context(Worker(c, meters)) for c in candidates}
        for name, worker in workers.items():
            try:
                worker.get_ready()
            except BackendError as error:
                reasons[name] = str(error)
                worker.close()
        workers = {name: worker for name, worker in workers.items() if name not in reasons}

        def turn(name: str) -> list[float]:
            try:
                return [] if name in reasons else workers[name].run_turn()
            except BackendError as error:
                reasons[name] = str(error)
                return []

        progress(f"measuring {len(workers)}")
        turns = {name: partial(turn, name) for name in workers}
        result = take_turns(turns, rounds, seconds=seconds, check_steady=check_steady)
        measured = {
            name: CandidateTimings(
                tuple(map(tuple, times)), worker.warm_up, *worker.costs, result.repeated[name]
            )
            for (name, times), worker in zip(result.rounds.items(), workers.values(), strict=True)
            if name not in reasons
        }
    return Comparison(measured, reasons, result)


class Worker(Closing):
    """A candidate's process, as its leader sees it. It begins to load when it is made."""

    def __init__(self, candidate: Candidate, meters: Sequence[EnergyMeter] = ()) -> None:
        self._candidate, self._meters = candidate, meters
        self.warm_up = WarmUp(0, True)
        self._memory: int | None = None
        self._energies: list[float] = []
        importable = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "i2i_sdk.perf.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": importable},
        )
        self._send("open", opener=candidate.opener, arguments=candidate.arguments, reports=candidate.reports)

    def get_ready(self) -> None:
        """Wait until it is loaded, and warm it up. Raises BackendError."""
        self._receive()
        answer = self._request("warm up")
        if not self._candidate.reports:
            self.warm_up = WarmUp(answer["calls"], answer["stable"])

    def run_turn(self) -> list[float]:
        """Milliseconds of a turn. Raises BackendError."""
        before = self._read_joules()
        times: list[float] = self._request("turn")["ms"]
        after = self._read_joules()
        if before is not None and after is not None:
            self._energies.append((after - before) / (len(times) + 1))  # the first call is not in `times`
        return times

    def _read_joules(self) -> float | None:
        """What the meters say; once one of them failed nothing, not even what was: half a sum is none."""
        try:
            return sum_joules(self._meters)
        except OSError:
            self._meters = ()
            self._energies.clear()
            return None

    @property
    def costs(self) -> tuple[int | None, float | None]:
        """Bytes of memory at most, joules of a call."""
        return self._memory, float(np.median(self._energies)) if self._energies else None

    def close(self) -> None:
        """End the process. Calling it twice is allowed."""
        self._process.kill()
        self._process.communicate()

    def _request(self, request: str) -> dict[str, Any]:
        self._send(request)
        return self._receive()

    def _send(self, request: str, **details: Any) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):  # a process that ended has no answer either
            self._process.stdin.write(json.dumps({"do": request, **details}) + "\n")
            self._process.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BackendError(f"{self._candidate.name}: its process ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise BackendError(f"{self._candidate.name}: {answer['error']}")
        self._memory = answer["memory"]
        return answer
