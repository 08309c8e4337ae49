"""What a run writes down while it goes, and what a killed one leaves."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from i2i_sdk.errors import TrainingError
from i2i_sdk.media.images import write_image
from i2i_training.run import journal
from i2i_training.run.journal import ProgressLine, read_metrics
from i2i_training.run.run_options import RunOptions


def open_tiny_journal(
    out: Path, resumed_at: int = 0, **changes: Any
) -> AbstractContextManager[journal.RunJournal]:
    return journal.open_journal(RunOptions(out=str(out), **changes), {"steps": 100}, resumed_at)


def write_journal(out: Path, steps: range, resumed_at: int = 0, **changes: Any) -> Path:
    with open_tiny_journal(out, resumed_at, **changes) as book:
        for step in steps:
            book.log_step(step, {"D": step / 10, "G": 1.0}, lr=2e-4)
    return out / "metrics.csv"


# ---------------------------------------------------------------- metrics.csv


def test_values_come_back_and_names_may_change(tmp_path: Path) -> None:
    with open_tiny_journal(tmp_path) as book:
        book.log_step(1, {"D": 0.5}, lr=2e-4)
        book.log_scores(1, {'psnr, "held out"': 21.5})
        book.log_step(2, {"E": float("nan")}, lr=1e-4)
    curves = read_metrics(tmp_path / "metrics.csv")
    assert curves["loss", "D"] == [(1, 0.5)]
    assert curves["score", 'psnr, "held out"'] == [(1, 21.5)]
    assert curves["run", "lr"] == [(1, 2e-4), (2, 1e-4)]
    assert np.isnan(curves["loss", "E"][0][1])
    assert (tmp_path / "metrics.csv").read_text().splitlines()[:2] == ["step,kind,name,value", "1,loss,D,0.5"]


def test_a_killed_process_keeps_what_it_said(tmp_path: Path) -> None:
    code = (
        "import os, sys; from i2i_training.run.journal import RunOptions, open_journal\n"
        "opened = open_journal(RunOptions(out=sys.argv[1]), {}); log = opened.__enter__()\n"
        "log.log_step(50, {'D': 0.25}, lr=1e-4); log.log_scores(50, {'ssim': 0.5}); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 9
    curves = read_metrics(tmp_path / "metrics.csv")
    assert (curves["loss", "D"], curves["score", "ssim"]) == ([(50, 0.25)], [(50, 0.5)])


@pytest.mark.parametrize("half", ["7,lo", "7,loss,D,0.", "7"])
def test_a_half_written_line_is_dropped(tmp_path: Path, half: str) -> None:
    path = write_journal(tmp_path, range(1, 4))
    before = read_metrics(path)
    with path.open("a") as file:
        file.write(half)
    assert read_metrics(path) == before
    write_journal(tmp_path, range(4, 6), resumed_at=3)
    assert [step for step, _ in read_metrics(path)["loss", "D"]] == [1, 2, 3, 4, 5]


def test_a_resumed_run_drops_the_steps_that_come_again(tmp_path: Path) -> None:
    path = write_journal(tmp_path, range(1, 9))
    write_journal(tmp_path, range(6, 11), resumed_at=5)
    curves = read_metrics(path)
    assert curves["loss", "D"] == [(step, step / 10) for step in range(1, 11)]
    seconds = [value for _, value in curves["run", "seconds"]]
    assert seconds == sorted(seconds)  # time goes on where it stopped, too
    assert not list(tmp_path.glob("*partial*"))


def test_seconds_of_earlier_processes_are_added(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,kind,name,value\n5,run,seconds,3600\n6,run,seconds,9999\n")
    with open_tiny_journal(tmp_path, resumed_at=5) as book:
        book.log_step(6, {}, lr=0.0)
    assert 3600 <= read_metrics(tmp_path / "metrics.csv")["run", "seconds"][-1][1] < 9999


def test_a_new_run_starts_an_empty_file(tmp_path: Path) -> None:
    write_journal(tmp_path, range(1, 9))
    path = write_journal(tmp_path, range(1, 3))
    assert [step for step, _ in read_metrics(path)["loss", "G"]] == [1, 2]
    assert {"cpu", "cores", "torch"} <= json.loads((tmp_path / "machine.json").read_text()).keys()
    assert not (tmp_path / "tensorboard").exists()


@pytest.mark.parametrize(
    ("text", "line"),
    [("step,loss\n1,2\n", 1), ("step,kind,name,value\n1,loss,D,0.5\n2,loss,D\n3,loss,D,1\n", 3)],
)
def test_a_damaged_file_is_named_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    (tmp_path / "metrics.csv").write_text(text)
    with pytest.raises(TrainingError, match=rf"metrics.csv, line {line}: .*move the file away"):
        read_metrics(tmp_path / "metrics.csv")


# ---------------------------------------------------------------- TensorBoard and Weights & Biases


def test_tensorboard_shows_numbers_and_grids_without_the_steps_that_came_again(tmp_path: Path) -> None:
    write_journal(tmp_path, range(1, 9), tensorboard=True)
    gray = tmp_path / "samples" / "step_000006_AtoB.jpg"
    write_image(gray, np.full((12, 10, 3), (250, 10, 10), np.uint8))  # BGR: blue
    with open_tiny_journal(tmp_path, resumed_at=5, tensorboard=True) as book:
        book.log_step(6, {"D": 60.0}, lr=0.0)
        book.log_scores(6, {"psnr": 20.0})
        book.log_grid(6, gray)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    values = [(e.step, round(e.value, 4)) for e in events.Scalars("loss/D")]
    assert values == [(1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4), (5, 0.5), (6, 60.0)]
    assert [e.step for e in events.Scalars("score/psnr")] == [6]
    (image,) = events.Images("AtoB")
    assert (image.step, image.width, image.height) == (6, 10, 12)


def test_a_missing_package_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(TrainingError, match=r"pip install 'i2i-sdk\[wandb\]'"):
        open_tiny_journal(tmp_path, wandb="maps").__enter__()
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(TrainingError, match=r"pip install 'i2i-sdk\[train\]'"):
        write_journal(tmp_path, range(1, 2), tensorboard=True)


# ---------------------------------------------------------------- on screen


def render_progress(terminal: bool, width: int = 80) -> str:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=width, color_system=None)
    with closing(ProgressLine(40, start=10, plain_every=10, console=console)) as line:
        for step in range(11, 41):
            line.advance(step, {"D[0]": 0.5, "cycle": 12.0} if step % 4 == 0 else None)
        line.print("held-out [psnr] 21.5 dB")
    return text.getvalue()


def test_a_log_file_gets_a_plain_line_now_and_then() -> None:
    lines = render_progress(terminal=False, width=20).splitlines()
    assert [line.split("  ")[0] for line in lines[:-1]] == [f"step {n}/40" for n in (12, 20, 30, 40)]
    assert all("it/s" in line and line.endswith("left  D[0] 0.500  cycle 12.000") for line in lines[:-1])
    assert lines[-1] == "held-out [psnr] 21.5 dB"


def test_a_terminal_gets_a_bar() -> None:
    text = render_progress(terminal=True)
    assert "step 20/40" not in text
    for part in ("40/40", "it/s", "0:00:00 left", "D[0] 0.500  cycle 12.000", "held-out [psnr] 21.5 dB\n"):
        assert part in text
