"""A process that is killed while it writes checkpoints never leaves a file that cannot be loaded."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
from tiny_runs import PIX2PIX, write_pictures
from warm import get_fork_server, wait_until

from i2i_training.checkpoint import load_generator

MIN_KILLS, MIN_KILLS_INSIDE = (200, 80) if "I2I_TRIALS" in os.environ else (10, 4)
MAX_KILLS = 6 * MIN_KILLS  # where the machine is busy, some come when the write is over
# A discriminator whose state takes some milliseconds to write.
BIG = "--discriminator.width 64 --discriminator.layers 2"
FLAGS = f"{PIX2PIX} {BIG} --schedule constant --save_every 1".split()


def read_last_step(out: Path) -> int:
    """Everything in the folder loads; the step to go on from."""
    generators = sorted(out.glob("*.safetensors"))
    assert {path.stem for path in generators} == {"latest_net_G", "best_net_G"}
    for path in generators:
        load_generator(path)
    state = torch.load(out / "state.pt", weights_only=True)
    assert state["version"] == 1
    return state["step"]


def find_partials(out: Path) -> list[Path]:
    return sorted(out.glob(".*.partial*"))


def kill_during_write(pid: int, out: Path, log: Path, number: int, delay: float) -> None:
    """SIGKILL: during the first or the second write of the state, early or late in it, or anywhere."""
    before = (out / "state.pt").stat().st_mtime_ns
    if number % 2:
        wait_until(lambda: (out / "state.pt").stat().st_mtime_ns != before, log)
    if number % 5 == 4:
        time.sleep(10 * delay)
    else:
        wait_until((out / f".state.partial{pid}.pt").exists, log)
        time.sleep(delay * (number % 3))
    os.kill(pid, signal.SIGKILL)


def run_successfully(argv: list[str], log: Path) -> None:
    code, text = get_fork_server().run(argv, log)
    assert code == 0, text


@pytest.mark.trial
def test_sigkill_during_checkpoints(tmp_path: Path) -> None:
    data, out, log = write_pictures(tmp_path / "data"), tmp_path / "run", tmp_path / "log"
    flags = ["train", *FLAGS, "--data", str(data)]
    run_successfully([*flags, "--out", str(out), "--steps", "1"], log)
    resume = ["train", "--resume", str(out), "--steps"]
    delays = random.Random(0)
    kills = inside = 0
    step = read_last_step(out)
    while kills < MIN_KILLS or inside < MIN_KILLS_INSIDE:
        pid = get_fork_server().start([*resume, "100000"], log)
        kill_during_write(pid, out, log, kills, delays.uniform(0, 0.004))
        assert get_fork_server().wait(pid) == -signal.SIGKILL
        kills += 1
        assert kills < MAX_KILLS, f"{inside} of {kills} kills were inside a write"
        inside += any(f".partial{pid}." in path.name for path in find_partials(out))  # else it is renamed
        now = read_last_step(out)
        assert now >= step
        step = now

    assert step > 5
    print(f"{inside} of {kills} kills were inside a write; step {step}")
    run_successfully([*resume, str(step + 2)], log)
    assert not find_partials(out)

    # And nothing was lost or done twice: as if nobody had killed it.
    calm = tmp_path / "calm"
    run_successfully([*flags, "--out", str(calm), "--steps", str(step + 2), "--save_every", "1000"], log)
    name = "latest_net_G.safetensors"
    assert (out / name).read_bytes() == (calm / name).read_bytes()
