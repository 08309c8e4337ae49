"""How close a student came: its pictures of held-out photos against its teacher's, with gates."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from i2i_sdk.errors import TrainingError
from i2i_sdk.files import write_atomically
from i2i_training.checkpoint import load_generator
from i2i_training.data import normalize_images, to_images, to_tensor
from i2i_training.data.image_tensors import Image, decode
from i2i_training.data.layout import select_evenly
from i2i_training.metrics import compute_paired_scores
from i2i_training.metrics.effect import GATE_BLUR, EffectScores, compare_edits
from i2i_training.metrics.style_classifier import (
    JUDGE_STEPS,
    MIN_ACCURACY,
    PictureSet,
    Verdict,
    judge_student,
)

ENERGY = 0.8, 1.25  # of the teacher's, in every octave
MIN_CORRELATION = 0.8
MIN_ACCEPTED = 0.8  # of the student's pictures, by the judge
MAX_TRAIN_PICTURES = 120  # that the judge learns from


@dataclass(frozen=True)
class Gate:
    """One measure. passed: None where it could not be judged."""

    name: str
    found: str
    needed: str
    passed: bool | None


@dataclass(frozen=True)
class Judgment:
    """What was measured of a student on held-out photos; energy and correlation as in `metrics.effect`."""

    pictures: int
    energy: tuple[float, ...]
    correlation: dict[int, float]
    color_shift: float
    spread_shift: float
    psnr: float
    ssim: float
    judge_accuracy: float
    judge_by_kind: dict[str, float]
    accepted: float

    def list_gates(self) -> list[Gate]:
        """Energy, correlation, and what a judge takes the pictures for."""
        low, high = ENERGY
        found = self.correlation[GATE_BLUR]
        can_judge = self.judge_accuracy >= MIN_ACCURACY
        unsure = "" if can_judge else f" (the judge is right about {self.judge_accuracy:.0%} only)"
        return [
            Gate(
                "edit energy, fine to coarse",
                " ".join(f"{value:.2f}" for value in self.energy),
                f"{low} to {high} of the teacher's",
                all(low <= value <= high for value in self.energy),
            ),
            Gate(
                f"edit correlation, blurred by {GATE_BLUR} pixels",
                f"{found:.2f}",
                f"at least {MIN_CORRELATION}",
                found >= MIN_CORRELATION,
            ),
            Gate(
                "taken for the teacher's",
                f"{self.accepted:.0%}{unsure}",
                f"at least {MIN_ACCEPTED:.0%}",
                self.accepted >= MIN_ACCEPTED if can_judge else None,
            ),
        ]

    @property
    def passed(self) -> bool:
        """Whether no gate is missed."""
        return all(gate.passed is not False for gate in self.list_gates())


def judge_checkpoint(
    student: Path, pairs: Path, baseline: Path | None = None, steps: int = JUDGE_STEPS
) -> Judgment:
    """Measure a student's checkpoint on the held-out pairs of its teacher.

    Args:
        student: its `.safetensors`.
        pairs: the folder of `make_pairs`.
        baseline: a student of the same pairs that was trained with L1 and SSIM alone: the hardest of the
            pictures that the judge learns to tell from the teacher's.
        steps: of the judge's training.

    Returns:
        What was measured.

    Raises:
        CheckpointError, TrainingError: for files that cannot be read.
    """
    train, held_out = read_pairs(pairs, "train", MAX_TRAIN_PICTURES), read_pairs(pairs, "val")
    outputs = translate(student, held_out[0])
    others = (
        [{}, {}]
        if baseline is None
        else [{"L1 and SSIM alone": translate(baseline, photos)} for photos, _ in (train, held_out)]
    )
    sets = [PictureSet(*pair, more) for pair, more in zip((train, held_out), others, strict=True)]
    return judge_pictures(sets[0], sets[1], outputs, steps)


def judge_pictures(
    train: PictureSet, held_out: PictureSet, outputs: Sequence[Image], steps: int = JUDGE_STEPS
) -> Judgment:
    """The same of pictures.

    Args:
        train: what the judge learns from.
        held_out: what everything is measured on.
        outputs: the student's pictures of the held-out photos.
        steps: of the judge's training.
    """
    effect: EffectScores = compare_edits(held_out.photos, outputs, held_out.teacher)
    paired = compute_paired_scores(outputs, held_out.teacher)
    verdict: Verdict = judge_student(train, held_out, outputs, steps)
    return Judgment(
        pictures=len(outputs),
        **asdict(effect),
        psnr=paired["psnr"],
        ssim=paired["ssim"],
        judge_accuracy=verdict.accuracy,
        judge_by_kind=verdict.by_kind,
        accepted=verdict.accepted,
    )


def write_judgment(path: Path, judgment: Judgment) -> None:
    """As JSON, with its gates."""
    gates = [asdict(gate) for gate in judgment.list_gates()]
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps({**asdict(judgment), "gates": gates}, indent=1), encoding="utf-8")


def read_pairs(folder: Path, split: str, max_pictures: int | None = None) -> tuple[list[Image], list[Image]]:
    """Photos and the teacher's pictures of a split: uint8 [H, W, 3] RGB, each file once."""
    a, b = (folder / domain / split for domain in "AB")
    by_file = {path.stat().st_ino: path.name for path in sorted(a.glob("*.png"), reverse=True)}
    names = select_evenly(sorted(by_file.values()), max_pictures)
    if not names:
        raise TrainingError(f"{a}: no pictures in it; give the folder of a teacher's pairs")
    try:
        photos, pictures = ([decode(side / name) for name in names] for side in (a, b))
    except ValueError as error:
        raise TrainingError(f"{folder}: {error}") from error
    return photos, pictures


@torch.no_grad()
def translate(checkpoint: Path, photos: Sequence[Image]) -> list[Image]:
    """A generator's pictures of photos, uint8 [H, W, 3] RGB whose sides suit it."""
    module, _ = load_generator(checkpoint)
    return [to_images(module(normalize_images(to_tensor([photo]))))[0] for photo in photos]
