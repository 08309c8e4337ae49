"""What a run tells while it goes: metrics.csv, TensorBoard, Weights & Biases, and the line on screen."""

from __future__ import annotations

import csv
import importlib
import io
import json
import math
import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import torch
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress
from rich.text import Text

from i2i_sdk.errors import TrainingError
from i2i_sdk.files import write_atomically
from i2i_sdk.imaging.geometry import swap_red_and_blue
from i2i_sdk.media.images import read_image
from i2i_sdk.perf.machine import describe_machine
from i2i_training.run.run_options import RunOptions

METRICS = "metrics.csv"
MACHINE = "machine.json"
WANDB_ID = "wandb_id"
COLUMNS = ["step", "kind", "name", "value"]

Curves = dict[tuple[str, str], list[tuple[int, float]]]


class RunJournal:
    """Progress of a run on screen, and all that is kept of its numbers and pictures; see `open_journal`."""

    def __init__(self, writers: Sequence[LogWriter], line: ProgressLine, seconds: float) -> None:
        """Begin now.

        Args:
            writers: where numbers and pictures are kept.
            line: what is on screen.
            seconds: of training that came before, in earlier processes.
        """
        self._writers, self._line = writers, line
        self._began = time.perf_counter() - seconds

    def log_step(self, step: int, losses: Mapping[str, float] | None = None, lr: float = 0.0) -> None:
        """Say that a step is done, and now and then keep its losses.

        Args:
            step: the one that is done, from 1.
            losses: by name. The pace in steps per second and the seconds of training so far, those before
                a resume included, are kept beside them.
            lr: the learning rate of the step.
        """
        self._line.advance(step, losses)
        if losses is not None:
            seconds = round(time.perf_counter() - self._began, 3)
            self._write(step, "loss", losses)
            self._write(step, "run", {"lr": lr, "rate": self._line.rate, "seconds": seconds})

    def log_scores(self, step: int, scores: Mapping[str, float], warnings: Sequence[str] = ()) -> None:
        """Keep and show scores of held-out images.

        Args:
            step: the last one done.
            scores: such as {"psnr": 21.5} in dB.
            warnings: what looks wrong, in sentences, for the screen.
        """
        self._write(step, "score", scores)
        text = "  ".join(f"{name} {value:.4g}" for name, value in scores.items())
        self._line.print(f"step {step}: held-out {text}")
        for warning in warnings:
            self._line.print(f"warning: {warning}")

    def log_grid(self, step: int, path: Path) -> None:
        """Show a picture that was written to `path` where pictures can be shown. metrics.csv has none."""
        for writer in self._writers:
            writer.write_grid(step, path)

    def _write(self, step: int, kind: str, values: Mapping[str, float]) -> None:
        for writer in self._writers:
            writer.write(step, kind, values)


@contextmanager
def open_journal(run: RunOptions, config: Mapping[str, Any], resumed_at: int = 0) -> Iterator[RunJournal]:
    """The journal of a run, in its folder: metrics.csv and machine.json, what else the options name.

    That is tensorboard/, and wandb_id for Weights & Biases. Of several processes of one run, only the first
    one keeps a journal.

    Args:
        run: where the run is, how long, and what it writes.
        config: the resolved options, for Weights & Biases.
        resumed_at: the step whose state was loaded, 0 for a new run; what an earlier process wrote for later
            steps is dropped, because those steps come again.

    Raises:
        TrainingError: if a package is missing or an earlier metrics.csv cannot be read.

    Example:
        >>> import tempfile
        >>> run = RunOptions(out=tempfile.mkdtemp(), steps=50)
        >>> with open_journal(run, {}) as journal:  # doctest: +ELLIPSIS
        ...     journal.log_step(50, {"D": 0.5}, lr=2e-4)
        step 50/50  ... it/s  0:00:00 left  D 0.500
        >>> read_metrics(Path(run.out) / "metrics.csv")["loss", "D"]
        [(50, 0.5)]
    """
    out = Path(run.out)
    seconds = _truncate_metrics(out / METRICS, resumed_at)
    with ExitStack() as opened:
        writers: list[LogWriter] = [opened.enter_context(closing(_CsvWriter(out / METRICS)))]
        if run.tensorboard:
            writers.append(opened.enter_context(closing(_TensorBoardWriter(out / "tensorboard", resumed_at))))
        if run.wandb:
            writers.append(opened.enter_context(closing(_WandbWriter(out, run.wandb, resumed_at, config))))
        gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        machine = describe_machine() | ({"gpu": ", ".join(gpus)} if gpus else {})
        with write_atomically(out / MACHINE) as temporary:
            temporary.write_text(json.dumps(machine, indent=1), encoding="utf-8")
        progress = ProgressLine(run.steps, resumed_at, plain_every=run.log_every)
        line = opened.enter_context(closing(progress))
        if resumed_at:
            line.print(f"going on after step {resumed_at} of {run.steps}")
        yield RunJournal(writers, line, seconds)


def read_metrics(path: Path) -> Curves:
    """Read a metrics.csv: {("loss", "D"): [(50, 0.69), (100, 0.64), …]}, in the order of the file.

    The first of a key is the kind: "loss", "score" or "run". A last line without its end, as a killed
    process leaves it, is left out. Raises TrainingError for any other line that is not
    `step,kind,name,value`.
    """
    curves: Curves = {}
    for step, kind, name, value in _read_rows(path):
        curves.setdefault((kind, name), []).append((step, value))
    return curves


def parse_grid_name(path: Path) -> str:
    """What a file of samples shows: "BtoA" of step_000500_BtoA.jpg; empty where it does not say.

    Example:
        >>> parse_grid_name(Path("samples/step_000500_BtoA.jpg"))
        'BtoA'
    """
    return re.sub(r"^step_\d+_?", "", path.stem)


def _read_rows(path: Path) -> list[tuple[int, str, str, float]]:
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = csv.reader(io.StringIO(text[: text.rfind("\n") + 1]))  # whole lines only
    rows: list[tuple[int, str, str, float]] = []
    try:
        if (header := next(lines, COLUMNS)) != COLUMNS:
            raise ValueError(f"the columns are {header}")
        for step, kind, name, value in lines:
            rows.append((int(step), kind, name, float(value)))
    except (ValueError, csv.Error) as error:
        raise TrainingError(
            f"{path}, line {lines.line_num}: {error}; lines are {','.join(COLUMNS)}. "
            f"Repair the line, or move the file away: the run goes on without its earlier curves"
        ) from error
    return rows


def _truncate_metrics(path: Path, resumed_at: int) -> float:
    """Leave in metrics.csv what was written up to `resumed_at`; returns the seconds of training then."""
    kept = [row for row in _read_rows(path) if row[0] <= resumed_at] if resumed_at and path.exists() else []
    with write_atomically(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *kept])
    return next((value for _, _, name, value in reversed(kept) if name == "seconds"), 0.0)


# ---------------------------------------------------------------- where it is written


class LogWriter(Protocol):
    """One place that keeps numbers and pictures."""

    def write(self, step: int, kind: str, values: Mapping[str, float]) -> None:
        """Keep numbers.

        Args:
            step: the last one done.
            kind: "loss", "score" or "run".
            values: by name.
        """
        ...

    def write_grid(self, step: int, path: Path) -> None: ...

    def close(self) -> None: ...


class _CsvWriter:
    """One row per value, so that the columns stay when names change; on disk after each call."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8", newline="")

    def write(self, step: int, kind: str, values: Mapping[str, float]) -> None:
        rows = ((step, kind, name, float(value)) for name, value in values.items())
        csv.writer(self._file, lineterminator="\n").writerows(rows)
        self._file.flush()

    def write_grid(self, step: int, path: Path) -> None: ...

    def close(self) -> None:
        self._file.close()


class _TensorBoardWriter:
    def __init__(self, folder: Path, resumed_at: int) -> None:
        writer = _import_package("torch.utils.tensorboard", "tensorboard", "train").SummaryWriter
        # Hides what earlier processes wrote from this step on.
        self._writer = writer(str(folder), purge_step=resumed_at + 1)

    def write(self, step: int, kind: str, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(f"{kind}/{name}", value, step)

    def write_grid(self, step: int, path: Path) -> None:
        image = swap_red_and_blue(read_image(path))
        self._writer.add_image(parse_grid_name(path) or "samples", image, step, dataformats="HWC")
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class _WandbWriter:
    def __init__(self, out: Path, project: str, resumed_at: int, config: Mapping[str, Any]) -> None:
        self._package = _import_package("wandb", "wandb", "wandb")
        file = out / WANDB_ID
        if not (resumed_at and file.exists()):
            file.write_text(uuid.uuid4().hex[:8], encoding="utf-8")
        # Steps that come again after a resume are ignored there: resuming is exact, so they are the same.
        self._run = self._package.init(
            project=project,
            id=file.read_text(encoding="utf-8").strip(),
            resume="allow",
            dir=str(out),
            config=dict(config),
        )

    def write(self, step: int, kind: str, values: Mapping[str, float]) -> None:
        self._run.log({f"{kind}/{name}": value for name, value in values.items()}, step=step)

    def write_grid(self, step: int, path: Path) -> None:
        self._run.log({parse_grid_name(path) or "samples": self._package.Image(str(path))}, step=step)

    def close(self) -> None:
        self._run.finish()


def _import_package(module: str, package: str, extra: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise TrainingError(
            f"{package} is not installed ({error}). Install it: pip install 'i2i-sdk[{extra}]', "
            f"or leave --{package} out"
        ) from error


# ---------------------------------------------------------------- the line on screen


class ProgressLine:
    """Steps done, steps per second, time left and losses: a bar on a terminal, else a line now and then.

    For one thread; call `close` in the end.

    Args:
        steps: of the whole run.
        start: those already done.
        plain_every: where there is no terminal, as in the log file of a job, one line per this many steps,
            one at the first losses and one at the end.
        console: what is written to.

    Example:
        >>> with closing(ProgressLine(100, plain_every=50, console=Console(width=80))) as line:
        ...     for step in range(1, 101):
        ...         line.advance(step, {"D": 0.5} if step % 50 == 0 else None)  # doctest: +ELLIPSIS
        step 50/100  ... it/s  0:00:01 left  D 0.500
        step 100/100  ... it/s  0:00:00 left  D 0.500
    """

    def __init__(
        self, steps: int, start: int = 0, *, plain_every: int = 100, console: Console | None = None
    ) -> None:
        self.steps = steps
        self.plain_every = plain_every
        self._console = console or Console()
        self._losses = ""
        self._said = False
        # Measured over the last thousand steps: a steady figure that follows a machine which slows down.
        columns = BarColumn(bar_width=None), MofNCompleteColumn()
        self._bar = Progress(*columns, expand=True, speed_estimate_period=math.inf)
        self._bar.add_task("", total=steps, completed=start)
        (self._task,) = self._bar.tasks
        self._live = Live(console=self._console, get_renderable=self._render)
        if self._console.is_terminal:
            self._live.start()

    def close(self) -> None:
        self._live.stop()

    @property
    def rate(self) -> float:
        """Steps per second, everything included; 0 before the second one."""
        return self._task.speed or 0.0

    def advance(self, step: int, losses: Mapping[str, float] | None = None) -> None:
        """`step` is done. losses: to show from now on; None keeps the last."""
        if losses is not None:
            self._losses = "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
        self._bar.update(self._task.id, completed=step)
        first = losses is not None and not self._said
        if not self._console.is_terminal and (first or step % self.plain_every == 0 or step == self.steps):
            self._said = True
            self.print(f"step {step}/{self.steps}  {self._describe()}")

    def print(self, text: str) -> None:
        """Print a line of plain text that stays, above the bar where there is one."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _describe(self) -> str:
        seconds = self._task.time_remaining
        left = "?" if seconds is None else timedelta(seconds=seconds)
        return f"{self.rate:.2f} it/s  {left} left  {self._losses}"

    def _render(self) -> Group:
        return Group(self._bar, Text(self._describe(), style="dim"))
