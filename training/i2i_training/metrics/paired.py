"""Scores where the true picture is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from i2i_sdk.quality.metrics import psnr, ssim
from i2i_training.data.image_tensors import Image
from i2i_training.metrics.palette import Palette, find_nearest_color


def compute_l1(outputs: Sequence[Image], targets: Sequence[Image]) -> float:
    """Mean absolute difference in gray levels, 0..255, of uint8 images of any number of channels."""
    pairs = zip(outputs, targets, strict=True)
    return float(np.mean([np.abs(o.astype(np.int16) - t).mean() for o, t in pairs]))


def compute_paired_scores(
    outputs: Sequence[Image], targets: Sequence[Image], palette: Palette | None = None
) -> dict[str, float]:
    """How close outputs are to their targets, as means over images.

    Args:
        outputs: uint8 images [H, W, 3] RGB or [H, W, 1] gray, at least 11x11 pixels.
        targets: their true pictures, of the same number, order and shapes.
        palette: uint8 [K, 3] RGB, the colors of the classes of a label or drawn map, or None.

    Returns:
        "l1": mean absolute difference in gray levels, 0..255; "psnr" in dB (120 when identical);
        "ssim": -1..1. With a palette, each pixel becoming the class of its nearest color, also
        "pixel_accuracy" and "miou", 0..1, over all pixels of the set (Long et al. 2015, section 5).

    Raises:
        ValueError: where outputs and targets differ in number or shapes.

    Example:
        >>> gray = np.full((16, 16, 3), 100, np.uint8)
        >>> {name: round(value, 2) for name, value in compute_paired_scores([gray], [gray + 2]).items()}
        {'l1': 2.0, 'psnr': 42.11, 'ssim': 1.0}
    """
    pairs = list(zip(outputs, targets, strict=True))
    scores = {
        "l1": compute_l1(outputs, targets),
        "psnr": float(np.mean([psnr(o, t) for o, t in pairs])),
        "ssim": float(np.mean([ssim(o, t) for o, t in pairs])),
    }
    if palette is not None:
        counts = [_count_confusion(output, target, palette) for output, target in pairs]
        scores |= _compute_class_scores(np.sum(counts, axis=0))
    return scores


def _count_confusion(output: Image, target: Image, palette: Palette) -> NDArray[np.int64]:
    """int64 [K, K]: n[i, j] pixels whose target is class i and whose output is class j."""
    classes = len(palette)
    truth, guess = (find_nearest_color(image, palette).astype(np.int64) for image in (target, output))
    counts = np.bincount((truth * classes + guess).ravel(), minlength=classes * classes)
    return counts.reshape(classes, classes)


def _compute_class_scores(confusion: NDArray[np.int64]) -> dict[str, float]:
    """Long et al. 2015: sum_i n_ii / sum_i t_i; mean over classes of n_ii / (t_i + sum_j n_ji - n_ii).

    A class in neither targets nor outputs has no IoU (0 / 0) and is left out of the mean.
    """
    hits = np.diag(confusion)
    union = confusion.sum(axis=1) + confusion.sum(axis=0) - hits
    seen = union > 0
    return {
        "pixel_accuracy": float(hits.sum() / confusion.sum()),
        "miou": float(np.mean(hits[seen] / union[seen])),
    }
