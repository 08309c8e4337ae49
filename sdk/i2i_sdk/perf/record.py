"""What a benchmark found, as versioned JSON: every figure with its unit, its machine and its conditions."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple, cast

from i2i_sdk.bundle.decoding import DecodeError, decode
from i2i_sdk.errors import InputError
from i2i_sdk.files import write_atomically
from i2i_sdk.perf.timing import Timing

SCHEMA = 1  # raised when older readers would misunderstand a file


class Quantity(NamedTuple):
    """What a figure means."""

    unit: str
    meaning: str


# Every name that a row's `times` and `values` may have. Times are in milliseconds.
TIMES: dict[str, str] = {
    "frame": "one call of the bare engine, all frames of the batch, uint8 in and out (PyTorch's: float32)",
    "translate": "one translate(frame): frame in, frame of the same size out",
    "glass": "from the moment a camera sends a picture to the moment its result is shown",
    "capture": "receiving and decoding a picture",
    "pre": "to the engine's size and color order",
    "engine": "the engine",
    "post": "to the frame's size and color order",
    "handed": "between the stages: threads, waiting in slots",
    "added": "from decoded to shown",
    "extra": "translate(frame) beyond the bare engine's call, median of differences round by round",
    "import": "import i2i_sdk in a fresh process",
    "load": "Translator(…)",
    "first": "the first frame",
    "export": "building a variant from a checkpoint, with its checks",  # older records have it
    "step": "one step of training",
    "round": "one frame of every stream",
    "smooth": "the temporal smoother, one frame",
}
VALUES: dict[str, Quantity] = {
    "faster": Quantity("1", "times faster than the baseline, median of ratios round by round"),
    "psnr": Quantity("dB", "mean PSNR of uint8 RGB against FP32 on the frames; 120 means identical"),
    "ssim": Quantity("1", "mean SSIM against FP32"),
    "frames": Quantity("1", "on which psnr and ssim were measured"),
    "macs": Quantity("1", "multiply-accumulates of a call; transposed convolutions at input resolution"),
    "low": Quantity("1", "share of the multiplications in the variant's precision"),
    "peak": Quantity("MAC/s", "most that a stack of convolutions reached in the same engine and precision"),
    "of_peak": Quantity("1", "share of that peak, median round by round"),
    "bandwidth": Quantity("B/s", "most memory that a probe read or wrote in a second"),
    "traffic": Quantity("B", "least that a call moves: weights, input and output once"),
    "of_limit": Quantity("1", "share of the roofline: the slower of arithmetic and traffic at their peaks"),
    "memory": Quantity("B", "most host memory that a process with this variant alone had; Python is in it"),
    "size": Quantity("B", "of the variant's files"),
    "energy": Quantity("J", "of one call, of the whole device or package, idle power included"),
    "warm_up": Quantity("1", "calls until the times were stable"),
    "repeated": Quantity("1", "turns taken again because the machine was slower than usual around them"),
    "fps": Quantity("1/s", "results a second, of all streams together"),
    "fps_mean": Quantity("1/s", "results a second of a stream, mean over the streams"),
    "fps_least": Quantity("1/s", "results a second of the stream that got least"),
    "dropped": Quantity("1", "frames"),
    "cpu": Quantity("1", "processor time of the process by the clock; 1 is one core"),
    "camera_cpu": Quantity("1", "the same of the camera's process"),
    "server_cpu": Quantity("1", "the same of the server's process"),
    "warping": Quantity("1", "mean square change along the motion, in gray levels squared"),
    "covered_psnr": Quantity("dB", "PSNR against the unsmoothed picture where something was uncovered"),
    "trail": Quantity("1", "gray levels that a moving square leaves behind at most"),
    "energy_least": Quantity("1", "energy of the edit in the octave that has least, of the teacher's"),
    "energy_most": Quantity("1", "the same in the octave that has most"),
    "correlation": Quantity("1", "of the edits of student and teacher, blurred by 4 pixels"),
    "accepted": Quantity("1", "share of the pictures that a classifier takes for the teacher's"),
    "steadier": Quantity("1", "share of the warping error that the smoother takes away"),
    "rss_growth": Quantity("1", "growth of resident memory after the warm-up"),
    "losses": Quantity("1", "connections that broke"),
    "reconnects": Quantity("1", "connections that came back"),
    "images": Quantity("1/s", "images trained on a second"),
    "waiting": Quantity("1", "share of a training step that waits for data"),
    "forward": Quantity("1", "share of it in forward passes and losses"),
    "backward": Quantity("1", "share of it in backward passes"),
    "optimizers": Quantity("1", "share of it in optimizers"),
}


@dataclass(frozen=True)
class Row:
    """One thing that was measured."""

    subject: str  # the model or the set-up: "maps_resnet9"
    name: str  # what of it: "openvino-bf16", "eager PyTorch FP32"
    height: int | None = None
    width: int | None = None
    batch: int = 1
    streams: int = 1
    times: dict[str, Timing] = field(default_factory=dict[str, Timing])
    # in order of measurement, milliseconds; for histograms
    samples: dict[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])
    values: dict[str, float] = field(default_factory=dict[str, float])
    notes: tuple[str, ...] = ()  # what a reader must know: why it was not run, that it is unsteady …
    # how many of the samples each round has, where there were rounds: ratios and shares can be taken again
    rounds: dict[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])

    @property
    def key(self) -> tuple[str, str, int, int, int, int]:
        """What two records of the same thing agree on."""
        return self.subject, self.name, self.height or 0, self.width or 0, self.batch, self.streams


@dataclass(frozen=True)
class Conditions:
    """How quiet the machine was; shares are 0..1 of all its processor time, None where it does not tell."""

    seconds: float
    load_before: float | None = None  # the load average over a minute
    load_after: float | None = None
    others: float | None = None  # share that other processes took
    stolen: float | None = None  # share that the hypervisor gave to other machines
    slowdown: float | None = None  # of a fixed calculation, from the fastest third of the time to the slowest
    throttled: int | None = None  # times that the processor was slowed down because of its heat
    repeated: float | None = None  # turns that were thrown away because of that, as a share of those kept
    disturbed: float | None = None  # share of the turns around which that calculation was slower than usual
    marks: tuple[str, ...] = ()  # why these figures are not to be relied on; none: they are


@dataclass(frozen=True)
class Record:
    """A whole file."""

    schema: int
    part: str  # "engines", "live" …
    title: str
    created: str  # ISO 8601, UTC
    machine: dict[str, Any]
    conditions: Conditions
    units: dict[str, str]  # of every quantity in it
    rows: tuple[Row, ...]
    baseline: str | None = None  # the name of the rows that "faster" compares with
    facts: dict[str, Any] = field(default_factory=dict[str, Any])  # options, checks, versions of models

    @property
    def is_trusted(self) -> bool:
        """May other runs be compared with it?"""
        return not self.conditions.marks


def make_record(
    part: str,
    title: str,
    rows: tuple[Row, ...],
    machine: dict[str, Any],
    conditions: Conditions,
    *,
    baseline: str | None = None,
    facts: dict[str, Any] | None = None,
) -> Record:
    """A record of now, with the units of what its rows have.

    Args:
        part: "engines", "live" …
        title: of the record.
        rows: what was measured.
        machine: as `describe_machine` tells it.
        conditions: of the machine meanwhile.
        baseline: the name of the rows that "faster" compares with.
        facts: options, checks and versions of models, which JSON can hold.

    Returns:
        The record.

    Raises:
        KeyError: a row has a quantity that is not in `TIMES` or `VALUES`.
    """
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    units = {name: VALUES[name].unit for row in rows for name in row.values}
    units |= {name: "ms" for row in rows for name in row.times if TIMES[name]}
    return Record(SCHEMA, part, title, created, machine, conditions, units, rows, baseline, facts or {})


def write_record(path: Path, record: Record) -> None:
    """Write JSON that `read_record` reads."""
    text = json.dumps(dataclasses.asdict(record), indent=1, allow_nan=False)
    with write_atomically(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_record(path: Path) -> Record:
    """Read and check a file. Raises InputError that names the file and the place."""
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: no benchmark's JSON: {error}") from error
    schema = cast("dict[str, Any]", data).get("schema") if isinstance(data, dict) else None
    if schema != SCHEMA:
        raise InputError(f"{path}: schema {schema!r}; this version reads {SCHEMA}: measure again with it")
    try:
        record = decode(Record, cast("object", data), "record")
    except DecodeError as error:
        raise InputError(f"{path}: {error}") from None
    for row in record.rows:
        if unknown := [*set(row.times) - set(TIMES), *set(row.values) - set(VALUES)]:
            raise InputError(f"{path}: {row.subject} {row.name}: the quantity {unknown[0]!r} is not known")
    return record
