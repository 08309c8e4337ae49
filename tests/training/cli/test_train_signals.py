"""`i2i train` when it is interrupted: what is saved, what it says, and with which exit code it ends."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from tiny_runs import PIX2PIX, SMALL, make_path_arguments, parse_next_commands
from warm import get_fork_server, wait_until

from i2i_training.checkpoint import load_generator
from i2i_training.cli.train import EXIT_STOPPED, main


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_signals_save_and_say_how_to_go_on(asked: signal.Signals, pictures: Path, tmp_path: Path) -> None:
    out, log = tmp_path / "run", tmp_path / "log"
    flags = [*PIX2PIX.split(), *make_path_arguments(pictures, out), "--steps", "1000000", "--log_every", "1"]
    pid = get_fork_server().start(["train", *flags], log)
    wait_until(lambda: "step 3/" in log.read_text(), log)
    os.kill(pid, asked)
    assert get_fork_server().wait(pid) == EXIT_STOPPED == 130
    text = log.read_text()
    step = torch.load(out / "state.pt", weights_only=True)["step"]
    assert step >= 3
    assert f"stopped by {asked.name} after step {step} of 1000000, with its state\n" in text
    assert "Traceback" not in text
    assert load_generator(out / "latest_net_G.safetensors")[1].steps == step
    assert not list(out.glob(".*"))
    assert not (out / "report.html").exists()

    ((*command,),) = parse_next_commands(text)
    assert command == ["train", "--resume", str(out)]
    code, text = get_fork_server().run([*command, "--steps", str(step + 1)], log)
    assert code == 0, text
    assert parse_next_commands(text) == [["export", str(out)]]


def test_minutes_are_a_plan_not_an_interruption(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main([*SMALL, *make_path_arguments(pictures, out), "--steps", "9", "--minutes", "0.000001"]) == 0
    text = capsys.readouterr().out
    assert "stopped by --minutes 1e-06 after step 1 of 9, with its state" in text
    assert parse_next_commands(text) == [["train", "--resume", str(out)]]
