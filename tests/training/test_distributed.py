"""Two processes train as one with the same global batch, and only the first one writes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import PIX2PIX, TINY
from torch import Tensor
from warm import get_fork_server, wait_until

from i2i_training.checkpoint import load_generator
from i2i_training.run.journal import read_metrics

WORKER = "distributed_worker:main"


def make_torchrun_environments(processes: int) -> list[dict[str, str]]:
    """The variables that torchrun sets, for each process."""
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    common |= {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
    common |= {"GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "test"}
    return [{**common, "RANK": str(n), "LOCAL_RANK": str(n)} for n in range(processes)]


def start_processes(folder: Path, processes: int, name: str, data: Path, **changes: Any) -> list[int]:
    """Processes, each in a folder of its own, so that one can see who writes."""
    environments = make_torchrun_environments(processes) if processes > 1 else [{}]
    pids = []
    for n, environment in enumerate(environments):
        cwd = folder / str(n)
        cwd.mkdir(parents=True)
        argv = [name, str(data), "run", json.dumps(changes)]
        pids.append(get_fork_server().start(argv, folder / f"log{n}", WORKER, env=environment, cwd=str(cwd)))
    return pids


def train_processes(folder: Path, processes: int, name: str, data: Path, **changes: Any) -> list[Any]:
    """What each process was left with."""
    pids = start_processes(folder, processes, name, data, **changes)
    codes = [get_fork_server().wait(pid) for pid in pids]
    assert codes == [0] * processes, "\n".join(p.read_text() for p in sorted(folder.glob("log*")))
    return [torch.load(folder / str(n) / f"process{n}.pt") for n in range(processes)]


def flatten_weights(result: dict[str, Any]) -> dict[str, Tensor]:
    return {f"{n}.{k}": v for n, network in result["networks"].items() for k, v in network.items()}


@pytest.mark.parametrize("name", ["cyclegan", "pix2pix", "encdec"])
def test_two_processes_are_one(name: str, pictures: Path, tmp_path: Path) -> None:
    options = {"steps": 4, "batch": 4, "save_every": 4, "jitter": 0.2}
    (alone,) = train_processes(tmp_path / "one", 1, name, pictures, **options)
    first, second = train_processes(tmp_path / "two", 2, name, pictures, **options)
    assert {v.dtype for v in alone["gradients"].values()} == {torch.float64}
    weights = flatten_weights(alone)
    for found in (first, second):
        close = {"rtol": 0, "atol": 1e-9}
        torch.testing.assert_close(found["gradients"], alone["gradients"], **close)
        torch.testing.assert_close(flatten_weights(found), weights, **close)
    assert max(float(v.abs().max()) for v in alone["gradients"].values()) > 1e-3  # or 1e-9 says little
    (half,) = train_processes(tmp_path / "half", 1, name, pictures, **{**options, "batch": 2})
    assert max(float((v - weights[k]).abs().max()) for k, v in flatten_weights(half).items()) > 1e-6

    assert {path.name for path in (tmp_path / "two" / "1").iterdir()} == {"process1.pt"}
    left, expected = ({p.name for p in (tmp_path / n / "0" / "run").rglob("*")} for n in ("two", "one"))
    assert left == expected and "state.pt" in left
    assert (tmp_path / "two" / "log1").read_text() == ""


@pytest.mark.parametrize("name", sorted({*TINY} - {"cyclegan", "pix2pix", "encdec"}))
def test_processes_stay_together(name: str, pictures: Path, tmp_path: Path) -> None:
    """Each draws its own noise or patches; the weights are the same in both."""
    first, second = train_processes(tmp_path, 2, name, pictures, steps=3, batch=2)
    for key, value in flatten_weights(first).items():
        if "running_" not in key:  # BatchNorm's statistics are each process's own
            assert value.isfinite().all(), key
            torch.testing.assert_close(flatten_weights(second)[key], value, rtol=0, atol=0, msg=key)
    assert first["steps"] == second["steps"] == 3


@pytest.mark.parametrize("asked", [0, 1])
def test_a_signal_to_any_process_stops_all(asked: int, pictures: Path, tmp_path: Path) -> None:
    run = {"steps": 10**6, "batch": 2, "log_every": 1, "save_every": 10**6}
    pids = start_processes(tmp_path, 2, "pix2pix", pictures, **run)
    wait_until(lambda: "step 3/" in (tmp_path / "log0").read_text(), tmp_path / "log0")
    os.kill(pids[asked], signal.SIGTERM)
    assert [get_fork_server().wait(pid) for pid in pids] == [130, 130]
    first, second = (torch.load(tmp_path / str(n) / f"process{n}.pt") for n in (0, 1))
    assert first["steps"] == second["steps"] >= 3  # the same step
    assert first["by"] == second["by"] == "SIGTERM"
    assert torch.load(tmp_path / "0" / "run" / "state.pt", weights_only=True)["step"] == first["steps"]


def test_fabric_run_takes_the_same_command(pictures: Path, tmp_path: Path, root: Path) -> None:
    """The launcher, its Ctrl-C, and going on in one process."""
    out, log = tmp_path / "run", tmp_path / "log"
    flags = [*PIX2PIX.split(), "--data", str(pictures), "--out", str(out), "--batch", "2"]
    command = [
        *("run", "--accelerator", "cpu", "--devices", "2", str(root / "training" / "train.py")),
        *(*flags, "--steps", "1000000", "--log_every", "1", "--ema", "0.9"),
    ]
    pid = get_fork_server().start(command, log, "lightning.fabric.cli:_main")
    wait_until(lambda: "step 2/" in log.read_text(), log)
    os.kill(pid, signal.SIGINT)
    get_fork_server().wait(pid)
    text = log.read_text()
    state = torch.load(out / "state.pt", weights_only=True)
    assert text.count(f"stopped by SIGINT after step {state['step']} of 1000000") == 1, text  # one speaks
    assert text.count(f"next: i2i train --resume {out}\n") == 1
    assert [step for step, _ in read_metrics(out / "metrics.csv")["loss", "D"]][-1] == state["step"]

    steps = str(state["step"] + 2)
    code, text = get_fork_server().run(["train", "--resume", str(out), "--steps", steps], log)
    assert code == 0, text
    assert load_generator(out / "latest_net_G.safetensors")[1].steps == int(steps)
