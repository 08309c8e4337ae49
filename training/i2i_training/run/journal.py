"""What a run tells while it goes: metrics.csv, TensorBoard, Weights & Biases, and the line on screen."""

from __future__ import annotations

import csv
import importlib
import io
import json
import re
import time
import uuid
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Protocol

import torch
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from i2i_sdk.errors import TrainingError
from i2i_sdk.files import write_atomically
from i2i_sdk.imaging.geometry import swap_red_and_blue
from i2i_sdk.media.images import read_image
from i2i_sdk.perf.machine import describe_machine

METRICS = "metrics.csv"
MACHINE = "machine.json"
WANDB_ID = "wandb_id"
COLUMNS = ["step", "kind", "name", "value"]

Curves = dict[tuple[str, str], list[tuple[int, float]]]


class RunLogger:
    """Everything that is kept of a run's numbers and pictures. A context manager, for one process.

    out: the run's folder; gets metrics.csv and machine.json, tensorboard/ if `tensorboard`, wandb_id if
    `wandb`, which is a Weights & Biases project ("" for none). resumed_at: the step whose state was
    loaded, 0 for a new run; what an earlier process wrote for later steps is dropped, because those
    steps come again. config: the resolved options, for Weights & Biases.

    Raises TrainingError if a package is missing or an earlier metrics.csv cannot be read. Several
    processes of one run: only the first one keeps a journal.

    Example:
        >>> import tempfile
        >>> out = Path(tempfile.mkdtemp())
        >>> with RunLogger(out, tensorboard=False, wandb="", resumed_at=0, config={}) as journal:
        ...     journal.log_losses(50, {"D": 0.5}, lr=2e-4, rate=3.2)
        ...     journal.log_scores(50, {"psnr": 21.5})
        >>> read_metrics(out / "metrics.csv")["score", "psnr"]
        [(50, 21.5)]
    """

    def __init__(
        self, out: Path, tensorboard: bool, wandb: str, resumed_at: int, config: Mapping[str, Any]
    ) -> None:
        self.out = out
        self.seconds = 0.0  # of training up to `resumed_at`, in earlier processes
        self._tensorboard, self._wandb = tensorboard, wandb
        self._resumed_at, self._config = resumed_at, config
        self._sinks: list[LogWriter] = []
        self._opened = ExitStack()

    def __enter__(self) -> RunLogger:
        self.out.mkdir(parents=True, exist_ok=True)
        kept = _truncate_metrics(self.out / METRICS, self._resumed_at)
        self.seconds = kept.get(("run", "seconds"), [(0, 0.0)])[-1][1]
        with ExitStack() as opened:  # one that fails to open closes those before it
            self._open_writer(_CsvWriter(self.out / METRICS), opened)
            if self._tensorboard:
                self._open_writer(_TensorBoardWriter(self.out / "tensorboard", self._resumed_at), opened)
            if self._wandb:
                self._open_writer(_WandbWriter(self.out, self._wandb, self._resumed_at, self._config), opened)
            self._opened = opened.pop_all()
        with write_atomically(self.out / MACHINE) as temporary:
            temporary.write_text(json.dumps(_describe_machine(), indent=1), encoding="utf-8")
        self._began = time.perf_counter() - self.seconds
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)

    def log_losses(self, step: int, values: Mapping[str, float], lr: float, rate: float) -> None:
        """Keep the losses after `step`, the learning rate, and the pace in steps per second.

        The seconds of training so far, those before a resume included, are added.
        """
        seconds = round(time.perf_counter() - self._began, 3)
        self._write(step, "loss", values)
        self._write(step, "run", {"lr": lr, "rate": rate, "seconds": seconds})

    def log_scores(self, step: int, values: Mapping[str, float]) -> None:
        """Keep scores of held-out images, such as {"psnr": 21.5} in dB."""
        self._write(step, "score", values)

    def log_grid(self, step: int, path: Path) -> None:
        """Show a picture that was written to `path` where pictures can be shown. metrics.csv has none."""
        for sink in self._sinks:
            sink.write_grid(step, path)

    def _open_writer(self, writer: LogWriter, stack: ExitStack) -> None:
        stack.callback(writer.close)
        self._sinks.append(writer)

    def _write(self, step: int, kind: str, values: Mapping[str, float]) -> None:
        for sink in self._sinks:
            sink.write(step, kind, values)


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


def _truncate_metrics(path: Path, resumed_at: int) -> Curves:
    """Leave in metrics.csv what was written up to `resumed_at`, and return it."""
    kept = [row for row in _read_rows(path) if row[0] <= resumed_at] if resumed_at and path.exists() else []
    with write_atomically(path) as temporary:
        temporary.write_text(_format_csv([COLUMNS]) + _format_csv(kept), encoding="utf-8", newline="")
    return read_metrics(path)


def _format_csv(rows: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _describe_machine() -> dict[str, str | int | float]:
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return describe_machine() | ({"gpu": ", ".join(gpus)} if gpus else {})


# ---------------------------------------------------------------- where it is written


class LogWriter(Protocol):
    """One place that keeps numbers and pictures."""

    def write(self, step: int, kind: str, values: Mapping[str, float]) -> None: ...

    def write_grid(self, step: int, path: Path) -> None: ...

    def close(self) -> None: ...


class _CsvWriter:
    """One row per value, so that the columns stay when names change; on disk after each call."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8", newline="")

    def write(self, step: int, kind: str, values: Mapping[str, float]) -> None:
        self._file.write(_format_csv((step, kind, name, float(value)) for name, value in values.items()))
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

    steps: of the whole run; start: those already done. plain_every: where there is no terminal, as in the
    log file of a job, one line per this many steps, one at the first losses and one at the end.
    A context manager, for one thread.

    Example:
        >>> with ProgressLine(100, plain_every=50, console=Console(width=80)) as line:
        ...     for step in range(1, 101):
        ...         line.advance(step, {"D": 0.5} if step % 50 == 0 else None)  # doctest: +ELLIPSIS
        step 50/100  ... it/s  0:00:00 left  D 0.500
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
        # Long enough for a steady figure, short enough to follow a machine that slows down.
        self._marks = deque([(start, time.perf_counter())], maxlen=20)
        self._bar = Progress(
            BarColumn(bar_width=None), MofNCompleteColumn(), TextColumn("{task.fields[pace]}"), expand=True
        )
        self._task = self._bar.add_task("", total=steps, completed=start, pace="")
        self._live = Live(console=self._console, get_renderable=self._render)

    def __enter__(self) -> ProgressLine:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    @property
    def rate(self) -> float:
        """Steps per second between the last losses shown, everything included; 0 before the first."""
        (first, began), (last, ended) = self._marks[0], self._marks[-1]
        return (last - first) / (ended - began) if ended > began else 0.0

    def advance(self, step: int, losses: Mapping[str, float] | None = None) -> None:
        """`step` is done. losses: to show from now on, and to measure the pace by; None keeps the last."""
        if losses is not None:
            self._marks.append((step, time.perf_counter()))
            self._losses = "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
        self._bar.update(self._task, completed=step, pace=self._format_pace(step))
        first = losses is not None and not self._said
        if not self._console.is_terminal and (first or step % self.plain_every == 0 or step == self.steps):
            self._said = True
            self.print(f"step {step}/{self.steps}  {self._format_pace(step)}  {self._losses}")

    def print(self, text: str) -> None:
        """Print a line of plain text that stays, above the bar where there is one."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _format_pace(self, step: int) -> str:
        left = timedelta(seconds=round((self.steps - step) / self.rate)) if self.rate else "?"
        return f"{self.rate:.2f} it/s  {left} left"

    def _render(self) -> Group:
        # Losses on a line of their own: with eight of them, no terminal has room for the bar as well.
        return Group(self._bar, Text(self._losses, style="dim"))
