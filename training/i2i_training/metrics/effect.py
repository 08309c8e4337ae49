"""Whether a student does to a picture what its teacher does: measures of the edit, output - input.

A copy of the input has a high PSNR against most teachers, and a blurred regression the highest: both have
lost the effect. What counts is how strong the edit is at each size of detail, and whether it is at the same
places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from i2i_training.data.image_tensors import Image

OCTAVES = 5  # of detail: about 1-2, 2-4, 4-8, 8-16 and 16-32 pixels
BLURS = (0, 4, 16)  # pixels (sigma): fine texture has no fixed place, so it is blurred away before comparing
INVISIBLE = 0.25  # mean square of an edit of half a gray level
GATE_BLUR = 4  # of these, the one that a student must pass at

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class EffectScores:
    """A student's edits against its teacher's, over a set of pictures.

    energy: of each octave, fine to coarse, the student's mean square / the teacher's; 1 is as strong.
    correlation: by the blur in pixels, -1..1, of both edits. color_shift: mean distance of a picture's mean
    color, and spread_shift: of its deviation, to those of the teacher's picture, in gray levels.
    """

    energy: tuple[float, ...]
    correlation: dict[int, float]
    color_shift: float
    spread_shift: float


def compare_edits(
    inputs: Sequence[Image], outputs: Sequence[Image], targets: Sequence[Image]
) -> EffectScores:
    """Compare what a student does with what its teacher does.

    Args:
        inputs: uint8 [H, W, 3] RGB photos, sides of 64 pixels and more.
        outputs: the student's pictures of them.
        targets: the teacher's.

    Returns:
        The scores. An octave in which the teacher's edit is below half a gray level has the energy 1 where
        the student's is, too.

    Example:
        >>> photo = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        >>> scores = compare_edits([photo], [255 - photo], [255 - photo])
        >>> scores.energy, scores.correlation[4]
        ((1.0, 1.0, 1.0, 1.0, 1.0), 1.0)
    """
    ours, theirs = np.zeros(OCTAVES), np.zeros(OCTAVES)
    moments = {blur: _Moments() for blur in BLURS}
    colors: list[tuple[float, float]] = []
    for photo, output, target in zip(inputs, outputs, targets, strict=True):
        edits = [picture.astype(np.float32) - photo for picture in (output, target)]
        share = photo.size / 1e6
        ours += share * _measure_octaves(edits[0])
        theirs += share * _measure_octaves(edits[1])
        for blur, found in moments.items():
            found.add(*(_blur(edit, blur) if blur else edit for edit in edits))
        means, deviations = ([f(p, axis=(0, 1)) for p in (output, target)] for f in (np.mean, np.std))
        colors.append((_compute_distance(means), _compute_distance(deviations)))
    energy = tuple(_divide(a, b) for a, b in zip(ours, theirs, strict=True))
    correlation = {blur: found.correlate() for blur, found in moments.items()}
    color, spread = (float(value) for value in np.mean(colors, axis=0))
    return EffectScores(energy, correlation, color, spread)


def compute_effect_scores(
    inputs: Sequence[Image], outputs: Sequence[Image], targets: Sequence[Image]
) -> dict[str, float]:
    """Two figures for the curve of a run, from pictures as `compare_edits` takes them.

    "edit_energy": of the octave that is farthest off, the smaller of the student's and the teacher's energy
    / the larger; "edit_correlation": after blurring by 4 pixels. Both are 1 at best.
    """
    scores = compare_edits(inputs, outputs, targets)
    worst = min(min(energy, 1 / energy if energy else 0.0) for energy in scores.energy)
    return {"edit_energy": worst, "edit_correlation": scores.correlation[GATE_BLUR]}


class _Moments:
    """Sums over the pixels of a set, per channel: a correlation that a cast common to all does not raise."""

    def __init__(self) -> None:
        self.count, self.sums = 0, np.zeros((5, 3))

    def add(self, x: Floats, y: Floats) -> None:
        self.count += x.shape[0] * x.shape[1]
        a, b = (v.reshape(-1, 3).astype(np.float64) for v in (x, y))
        self.sums += [v.sum(axis=0) for v in (a, b, a * a, b * b, a * b)]

    def correlate(self) -> float:
        """-1..1; 1 where both edit nothing that is seen, 0 where one of them is the same everywhere."""
        x, y, xx, yy, xy = self.sums / max(self.count, 1)
        covariance = float((xy - x * y).sum())
        variances = [max(0.0, float((square - mean**2).sum())) for square, mean in ((xx, x), (yy, y))]
        if max(variances) < INVISIBLE:
            return 1.0
        if min(variances) < 1e-6:
            return 0.0
        return round(float(np.clip(covariance / np.sqrt(variances[0] * variances[1]), -1, 1)), 6)


def _measure_octaves(edit: Floats) -> NDArray[np.float64]:
    """Mean squares of the differences between an edit blurred by 0, 1, 2, 4, 8 and 16 pixels."""
    energies: list[float] = []
    for octave in range(OCTAVES):
        coarser = _blur(edit, 2**octave)
        energies.append(float(np.mean(np.square(edit - coarser), dtype=np.float64)))
        edit = coarser
    return np.array(energies)


def _blur(image: Floats, sigma: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT), np.float32)


def _compute_distance(pair: Sequence[NDArray[np.float64]]) -> float:
    return float(np.abs(pair[0] - pair[1]).mean())


def _divide(a: float, b: float) -> float:
    """a / b; where the teacher's edit is not seen, how much more than that is the student's."""
    return round(float(a / b if b >= INVISIBLE else max(a, INVISIBLE) / INVISIBLE), 6)
