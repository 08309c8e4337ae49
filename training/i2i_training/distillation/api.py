"""The calls behind `i2i distill`: a teacher's pairs, a student trained with them, and how close it came."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from i2i_sdk.errors import TrainingError
from i2i_sdk.imaging.geometry import swap_red_and_blue
from i2i_sdk.media.images import write_image
from i2i_training.api import PreparedRun, prepare_run, start_run
from i2i_training.checkpoint import LATEST
from i2i_training.distillation.gates import (
    Judgment,
    judge_checkpoint,
    read_pairs,
    translate,
    write_judgment,
)
from i2i_training.distillation.pairs import PairOptions, make_pairs
from i2i_training.distillation.teachers import open_teacher
from i2i_training.loop import SAMPLES, TrainingResult, check_folder
from i2i_training.metrics.style_classifier import JUDGE_STEPS
from i2i_training.options import RECIPE, make_flags, read_config
from i2i_training.recipes.distill import PRESETS
from i2i_training.report.run_report import CONFIG, GATES, HELD_OUT_GRID, write_report
from i2i_training.run.sample_grids import draw_sample_grid

StrPath = str | os.PathLike[str]
Progress = Callable[[str], None]

CONTRACT = ("input_range", "output_range", "layout", "channel_order")  # of an ONNX file
PAIRS = "pairs"  # in the run's folder, where no other is named
GRID_PICTURES, GRID_COLUMNS = 24, 2


@dataclass(frozen=True)
class DistillRequest:
    """What a distillation is asked to do.

    teacher: as `open_teacher`. contract: of an ONNX file, as `Translator`. student: a name of PRESETS.
    cache: folder of the teacher's pictures; None is `pairs` in `out`.
    """

    teacher: str
    pairs: PairOptions
    out: Path
    student: str = "small"
    cache: Path | None = None
    contract: Mapping[str, Any] = field(default_factory=dict[str, Any])


def distill(
    teacher: StrPath,
    *,
    data: StrPath | Sequence[StrPath],
    student: str = "small",
    out: StrPath = "out/student",
    held_out: StrPath | Sequence[StrPath] = (),
    cache: StrPath | None = None,
    side: int = 512,
    contract: Mapping[str, Any] | None = None,
    progress: Progress = print,
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
        The student's paths, the steps done, and why it stopped where it is not finished. `judge_run` says
        how close it came.

    Raises:
        TrainingError: for a teacher, photos or options that cannot be used.

    Example:
        >>> distill("zebra.safetensors", data="photos", student="nano", minutes=60)  # doctest: +SKIP
        TrainingResult(steps=4000, is_finished=True, …)
    """
    pairs = PairOptions(_list_paths(data), _list_paths(held_out), side)
    where = None if cache is None else Path(cache)
    request = DistillRequest(os.fspath(teacher), pairs, Path(out), student, where, contract or {})
    return start_run(prepare_distillation(request, make_flags(options), progress, source="distill"))


def prepare_distillation(
    request: DistillRequest, flags: Sequence[str], progress: Progress, source: str = ""
) -> PreparedRun:
    """Everything before the first step: the teacher's pictures, and the run's options.

    Args:
        request: who teaches whom with what.
        flags: of the run and the recipe.
        progress: is told what is going on.
        source: as `parse_options` has it.

    Raises:
        TrainingError: as `distill`.
    """
    if request.student not in PRESETS:
        raise TrainingError(f"student {request.student!r} is not known; known: {', '.join(PRESETS)}")
    teacher = open_teacher(request.teacher, request.pairs.side, **request.contract)
    names = [Path(each).name for each in dict.fromkeys(request.pairs.data)]
    known: dict[str, Any] = {
        "data": str((request.cache or request.out / PAIRS).resolve()),
        "size": request.pairs.side,
        "out": str(request.out),
        "trained_on": f"pictures by {teacher.name} ({teacher.fingerprint[:12]}) of {', '.join(names)}",
        "license": teacher.license,
    }
    if teacher.checkpoint is not None:
        known["teacher"] = str(teacher.checkpoint.resolve())
    prepared = prepare_run("distill", [*make_flags(known), *flags], preset=request.student, source=source)
    run = prepared.run
    # What would be refused after the teacher's pictures were made is refused before.
    check_folder(Path(run.out), run.overwrite)
    prepared.spec.recipe(prepared.options, run.seed).check_crop(run.crop_size)
    options = replace(request.pairs, min_side=run.crop_size)
    pairs = make_pairs(teacher, options, Path(run.data), progress)
    progress(f"{pairs.train} pairs to learn from, {pairs.held_out} held out: {pairs.folder}")
    return replace(prepared, run=replace(run, flip=run.flip and pairs.is_mirror_safe))


def judge_run(run: StrPath, baseline: StrPath | None = None, judge_steps: int = JUDGE_STEPS) -> Judgment:
    """Measure the latest student of a run on the held-out pairs, and put that into its report.

    Args:
        run: its folder.
        baseline: as `judge_checkpoint`.
        judge_steps: of the judge's training.

    Returns:
        What was measured; it is in `gates.json`, too, beside a grid of 24 pictures to look at.

    Raises:
        TrainingError: for a folder that is no run of `distill`, or whose pairs are gone.
        CheckpointError: for a student or a baseline that cannot be read.
    """
    out = Path(run)
    config = read_config(out / CONFIG) if (out / CONFIG).is_file() else {}
    if config.get(RECIPE) != "distill":
        raise TrainingError(f"{out}: is no run of i2i distill; give its --out folder")
    pairs, student = Path(config["data"]), out / f"{LATEST}.safetensors"
    known = None if baseline is None else Path(baseline)
    judgment = judge_checkpoint(student, pairs, known, judge_steps)
    write_judgment(out / GATES, judgment)
    photos, teachers = read_pairs(pairs, "val", GRID_PICTURES)
    columns = {"input": photos, "teacher": teachers, "student": translate(student, photos)}
    half = -(-len(photos) // GRID_COLUMNS)
    parts = [
        {name: images[i : i + half] for name, images in columns.items()} for i in range(0, len(photos), half)
    ]
    grids = [draw_sample_grid(part) for part in parts]
    height = max(grid.shape[0] for grid in grids)
    padded = [np.pad(g, ((0, height - len(g)), (0, 0), (0, 0)), constant_values=255) for g in grids]
    write_image(out / SAMPLES / HELD_OUT_GRID, swap_red_and_blue(np.hstack(padded)))
    write_report(out)
    return judgment


def _list_paths(paths: StrPath | Sequence[StrPath]) -> tuple[str, ...]:
    if isinstance(paths, str | os.PathLike):
        return (os.fspath(paths),)
    return tuple(os.fspath(path) for path in paths)
