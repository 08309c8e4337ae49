"""The calls behind `i2i distill`: a teacher's pairs, a student trained with them, and how close it came."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from i2i_sdk.errors import TrainingError
from i2i_training.api import PreparedRun, prepare_run, start_run
from i2i_training.distillation.pairs import PairOptions, PairSet, make_pairs
from i2i_training.distillation.teachers import Teacher, open_teacher
from i2i_training.loop import TrainingResult
from i2i_training.options import make_flags
from i2i_training.recipes.distill import PRESETS

StrPath = str | os.PathLike[str]
PAIRS = "pairs"  # in the run's folder, where no other is named
CONTRACT = ("input_range", "output_range", "layout", "channel_order", "size")  # of an ONNX file


@dataclass(frozen=True)
class PreparedDistillation:
    """A teacher's pairs, and the run that is ready to learn from them."""

    teacher: Teacher
    pairs: PairSet
    prepared: PreparedRun


def distill(
    teacher: StrPath,
    *,
    data: StrPath | Sequence[StrPath],
    student: str = "small",
    out: StrPath = "out/student",
    held_out: StrPath | Sequence[StrPath] = (),
    cache: StrPath | None = None,
    side: int = 512,
    contract: dict[str, Any] | None = None,
    progress: Callable[[str], None] = print,
    **options: Any,
) -> TrainingResult:
    """Teach a small network what a picture function does, as `i2i distill` does.

    Args:
        teacher: a checkpoint or a run's folder, a bundle, an ONNX file, or FILE.py:FUNCTION, a function of
            uint8 [H, W, 3] RGB -> the same, whose code is run.
        data: folders of photos, and videos. One that is named twice is seen twice as often.
        student: "nano", "small" or "medium".
        out: the folder of the run.
        held_out: folders of photos that are never trained on; none takes every eighth of `data`.
        cache: folder that keeps the teacher's pictures; default: `pairs` in `out`.
        side: pixels that the shorter side of a photo has at most: the size that the student will see.
            Photos are never enlarged.
        contract: of an ONNX file, as of `Translator`: {"input_range": (0, 255), …}.
        progress: is told what is going on.
        options: of the run and the recipe `distill`, by the names of their flags.

    Returns:
        The student's paths, the steps done, and why it stopped where it is not finished.

    Raises:
        TrainingError: for a teacher, photos or options that cannot be used.

    Example:
        >>> distill("zebra.safetensors", data="photos", student="nano", minutes=60)  # doctest: +SKIP
        TrainingResult(steps=4000, is_finished=True, …)
    """
    pairs = PairOptions(_list_paths(data), _list_paths(held_out), side)
    flags = make_flags(options)
    return start_run(
        prepare_distillation(
            os.fspath(teacher), student, pairs, Path(out), cache, flags, contract or {}, progress
        ).prepared
    )


def prepare_distillation(
    text: str,
    student: str,
    options: PairOptions,
    out: Path,
    cache: StrPath | None,
    flags: Sequence[str],
    contract: dict[str, Any],
    progress: Callable[[str], None],
) -> PreparedDistillation:
    """Everything before the first step: the teacher's pictures, and the run's options. Raises as `distill`."""
    if student not in PRESETS:
        raise TrainingError(f"student {student!r} is not known; known: {', '.join(PRESETS)}")
    teacher = open_teacher(text, **contract)
    folder = out / PAIRS if cache is None else Path(cache)
    pairs = make_pairs(teacher, options, folder, progress)
    progress(f"{pairs.train} pairs to learn from, {pairs.held_out} held out: {pairs.folder}")
    known = {
        "data": str(pairs.folder),
        "out": str(out),
        "flip": pairs.is_mirror_safe,
        "teacher": str(teacher.checkpoint or ""),
        "trained_on": f"pictures by {teacher.name} of {', '.join(Path(each).name for each in options.data)}",
        "license": teacher.license,
    }
    own = [*make_flags({name: value for name, value in known.items() if value != ""}), *flags]
    return PreparedDistillation(teacher, pairs, prepare_run("distill", own, preset=student))


def _list_paths(paths: StrPath | Sequence[StrPath]) -> tuple[str, ...]:
    if isinstance(paths, str | os.PathLike):
        return (os.fspath(paths),)
    return tuple(os.fspath(path) for path in paths)
