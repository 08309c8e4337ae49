"""A small judge, trained on the spot: a teacher's picture, or something that only looks like one?

It learns the teacher's pictures against everything that has the same content and lacks the effect: the photos
themselves, photos with the teacher's colors, the teacher's pictures blurred, and pictures by a student that
was trained for the mean alone. It may judge once it is right about held-out ones; then it sees the student's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i_training.data import normalize_images, to_tensor
from i2i_training.data.image_tensors import Image

JUDGE_STEPS = 400
LONGER = 4  # times as many, where the judge is not right after these
MIN_ACCURACY = 0.95  # before it may judge
CROP = 128  # pixels
BATCH = 16  # half of it the teacher's
CROPS_JUDGED = 6  # of a picture, whose mean score decides
BLURS = (1.0, 2.0, 4.0)  # pixels


@dataclass(frozen=True)
class Verdict:
    """What the judge found.

    accuracy: share of held-out pictures, the teacher's and the others', each kind counted as much, that it is
    right about. by_kind: the same for each kind. accepted: share of the student's pictures that it takes for
    the teacher's.
    """

    accuracy: float
    by_kind: dict[str, float]
    accepted: float


@dataclass(frozen=True)
class PictureSet:
    """Photos, the teacher's pictures of them, and others' pictures: uint8 [H, W, 3] RGB, in one order."""

    photos: Sequence[Image]
    teacher: Sequence[Image]
    others: Mapping[str, Sequence[Image]]  # such as those of a student by L1 and SSIM alone


def judge_student(
    train: PictureSet, held_out: PictureSet, student: Sequence[Image], steps: int = JUDGE_STEPS, seed: int = 0
) -> Verdict:
    """Train a judge, examine it, and let it judge. One that is not right yet learns again, and longer.

    Args:
        train: what it learns from.
        held_out: what it is examined with.
        student: the student's pictures of the held-out photos.
        steps: of its training.
        seed: of its weights and crops; the global random state is not touched.

    Returns:
        How right it is, and how many of the student's pictures it takes for the teacher's.
    """
    learned, asked = make_look_alikes(train), make_look_alikes(held_out)
    judge = _train_judge(train.teacher, learned, steps, seed)
    accuracy, right = _examine(judge, held_out.teacher, asked)
    if accuracy < MIN_ACCURACY:
        judge = _train_judge(train.teacher, learned, LONGER * steps, seed)
        accuracy, right = _examine(judge, held_out.teacher, asked)
    return Verdict(accuracy, right, _compute_share_accepted(judge, student))


def _train_judge(
    teacher: Sequence[Image], kinds: Mapping[str, Sequence[Image]], steps: int, seed: int
) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        judge = _build_judge()
        _train(judge, teacher, kinds, steps, np.random.default_rng(seed))
    return judge.eval()


def _examine(
    judge: nn.Module, teacher: Sequence[Image], kinds: Mapping[str, Sequence[Image]]
) -> tuple[float, dict[str, float]]:
    """Accuracy, and the same by kind, as in `Verdict`."""
    right = {"teacher": _compute_share_accepted(judge, teacher)}
    for name, images in kinds.items():
        right[name] = 1 - _compute_share_accepted(judge, images)
    others = [share for name, share in right.items() if name != "teacher"]
    return (right["teacher"] + float(np.mean(others))) / 2, right


def make_look_alikes(pictures: PictureSet) -> dict[str, Sequence[Image]]:
    """What has the content of the teacher's pictures and lacks the effect, by name."""
    pairs = list(zip(pictures.photos, pictures.teacher, strict=True))
    return {
        "photo": pictures.photos,
        "photo in the teacher's colors": [_copy_colors(photo, target) for photo, target in pairs],
        "blurred teacher": [_blur(target, BLURS[i % len(BLURS)]) for i, (_, target) in enumerate(pairs)],
        **pictures.others,
    }


def _copy_colors(photo: Image, target: Image) -> Image:
    """The photo with each channel's mean and deviation of the target (Reinhard et al. 2001)."""
    values = photo.astype(np.float32)
    mean, deviation = (f(values, axis=(0, 1)) for f in (np.mean, np.std))
    wanted_mean, wanted_deviation = (f(target, axis=(0, 1)) for f in (np.mean, np.std))
    values = (values - mean) * (wanted_deviation / np.maximum(deviation, 1e-3)) + wanted_mean
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _blur(image: Image, sigma: float) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)


def _build_judge() -> nn.Module:
    layers: list[nn.Module] = []
    for before, after in ((3, 24), (24, 48), (48, 64), (64, 64)):
        layers += [
            nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 1))


def _train(
    judge: nn.Module,
    teacher: Sequence[Image],
    kinds: Mapping[str, Sequence[Image]],
    steps: int,
    random: np.random.Generator,
) -> None:
    """Half of each batch is the teacher's; the other half is of any of the other kinds."""
    optimizer = torch.optim.AdamW(judge.parameters(), lr=2e-3, weight_decay=1e-2)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    others, half = list(kinds.values()), BATCH // 2
    labels = torch.tensor([1.0] * half + [0.0] * half)
    judge.train()
    for _ in range(steps):
        chosen = [teacher[i] for i in random.integers(0, len(teacher), half)]
        for kind in random.integers(0, len(others), half):
            chosen.append(others[kind][random.integers(0, len(others[kind]))])
        scores = judge(_to_batch([_cut(image, random) for image in chosen]))[:, 0]
        loss = F.binary_cross_entropy_with_logits(scores, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()


@torch.no_grad()
def _compute_share_accepted(judge: nn.Module, images: Sequence[Image]) -> float:
    """Of the images, those that are the teacher's by the mean score of some of their crops."""
    random = np.random.default_rng(1)
    means = [float(judge(_to_batch([_cut(i, random) for _ in range(CROPS_JUDGED)])).mean()) for i in images]
    return float(np.mean([mean > 0 for mean in means]))


def _to_batch(crops: list[Image]) -> Tensor:
    return normalize_images(to_tensor(crops))


def _cut(image: Image, random: np.random.Generator) -> Image:
    """A square from anywhere, mirrored half of the time; of a small picture all that there is, repeated."""
    if min(image.shape[:2]) < CROP:
        rows, columns = (max(0, CROP - side) for side in image.shape[:2])
        image = np.pad(image, ((0, rows), (0, columns), (0, 0)), mode="symmetric")
    top, left = (random.integers(0, side - CROP + 1) for side in image.shape[:2])
    crop = image[top : top + CROP, left : left + CROP]
    return crop[:, ::-1] if random.random() < 0.5 else crop
