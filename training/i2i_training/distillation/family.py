"""Which member of the family a device can afford: measured here, or read from a record of that device."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from i2i_sdk.errors import TrainingError
from i2i_sdk.perf.record import Record, read_record
from i2i_sdk.selection import parse_size
from i2i_training.checkpoint import save_generator
from i2i_training.networks import CompactConfig, GeneratorSpec
from i2i_training.recipes.distill import PRESETS, build_student

# Weights that mean nothing have no pictures to keep; their time is the same.
ANY_QUALITY = "1"
RECORD = "family.json"


def list_members() -> dict[str, CompactConfig]:
    """The family, smallest first."""
    sizes = {name: (each["student.width"], each["student.blocks"]) for name, each in PRESETS.items()}
    return {name: CompactConfig(width=width, blocks=blocks) for name, (width, blocks) in sizes.items()}


def write_family(
    folder: Path, members: Sequence[str], size: str, frames: Path | None, progress: Callable[[str], None]
) -> None:
    """Write a bundle of each member, with weights that mean nothing, for `i2i bench FOLDER` on a device.

    Args:
        folder: where they go, NAME.i2i each.
        members: names of the family.
        size: as `parse_size` takes it.
        frames: photos to calibrate INT8 on; None leaves INT8 out.
        progress: is told which is made.

    Raises:
        TrainingError: where one cannot be made.
    """
    height, width = parse_size(size)
    multiple = CompactConfig().multiple_of
    if height % multiple or width % multiple:
        raise TrainingError(f"size {height}x{width}: the sides must be multiples of {multiple}")
    folder.mkdir(parents=True, exist_ok=True)
    for name in members:
        config = list_members()[name]
        progress(f"{name}: exporting at {height}x{width}")
        checkpoint = folder / f"{name}.safetensors"
        torch.manual_seed(0)
        spec = GeneratorSpec(config, norm_mode="running_stats", recipe="distill", size=max(height, width))
        save_generator(checkpoint, build_student(config, "kaiming").eval(), spec)
        words = [str(checkpoint), "--size", f"{height}x{width}", "--min-psnr", ANY_QUALITY, "--force"]
        words += ["-o", str(folder / f"{name}.i2i"), *(["--frames", str(frames)] if frames else [])]
        _run_command("export", *words)
        checkpoint.unlink()


def choose_student(record: Path, max_ms: float, size: str) -> tuple[str, float]:
    """The largest member that a device runs in time, and its milliseconds a frame.

    Args:
        record: of `i2i bench FOLDER` for a folder of `write_family`.
        max_ms: for one frame, in the fastest variant.
        size: of the frame, as `parse_size` takes it.

    Raises:
        TrainingError: for a record of something else, and where none is fast enough.
    """
    times = find_fastest(read_record(record), parse_size(size))
    if missing := [name for name in list_members() if name not in times]:
        raise TrainingError(
            f"{record}: has no times of {', '.join(missing)} at {size}; make it by i2i bench DIR "
            f"--out {record.name}, where DIR is of i2i distill --write-family DIR --size {size}"
        )
    fitting = [name for name in list_members() if times[name] <= max_ms]
    if not fitting:
        found = ", ".join(f"{name} {times[name]:.1f} ms" for name in list_members())
        raise TrainingError(f"no member of the family takes at most {max_ms:g} ms a frame there: {found}")
    return fitting[-1], times[fitting[-1]]


def measure_family(folder: Path, size: str, frames: Path | None, progress: Callable[[str], None]) -> Path:
    """The record of this device, made in `folder` if it is not there yet. Raises TrainingError."""
    record = folder / f"{size}_{RECORD}"
    if not record.is_file():
        write_family(folder / size, list(list_members()), size, frames, progress)
        progress("measuring the family on this device; leave it alone meanwhile")
        _run_command("bench", str(folder / size), "--out", str(record))
    return record


def find_fastest(record: Record, size: tuple[int, int]) -> dict[str, float]:
    """Milliseconds a frame of the fastest variant at a size (height, width), by subject."""
    times: dict[str, float] = {}
    for row in record.rows:
        if "frame" in row.times and (row.height, row.width) == size and row.batch == row.streams == 1:
            found = row.times["frame"].median_ms
            times[row.subject] = min(found, times.get(row.subject, found))
    return times


def _run_command(*words: str) -> None:
    """Another command of i2i, in a process of its own: training does not import export."""
    done = subprocess.run(
        [sys.executable, "-m", "i2i_sdk", *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise TrainingError(f"i2i {' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
