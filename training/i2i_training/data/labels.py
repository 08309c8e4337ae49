"""Whether the domain that is said to hold label maps does: a swapped direction is found before training."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from i2i_sdk.errors import TrainingError
from i2i_training.data.data_options import DataOptions
from i2i_training.data.image_tensors import Image, decode
from i2i_training.data.layout import ImageFile, select_evenly
from i2i_training.data.scan import extract_part

SAMPLE_SIZE = 48  # images of each domain
NOISE_LEVELS = 2  # levels: what JPEG leaves inside an area of one color
TOP_COLORS = 8  # that label maps are mostly made of
MAX_COLOR_CHANNELS = 8  # whose colors are told apart
# Medians over JPEG files: labels 0.52 (CamVid), 0.32 (facades), 0.34 (maps); their photos 0.17, 0.07, 0.03;
# other photos 0.06, paintings 0.00 to 0.05.
MIN_LABEL_SCORE = 0.25  # from here on a domain may be label maps
MAX_PHOTO_RATIO = 0.6  # times the other domain's: up to here it may be the photos of those


def score_label_likeness(image: Image) -> float:
    """How much uint8 [H, W, C] is like a label map, 0 to 1.

    The share of pixels that equal their left and upper neighbors, but for noise, times the share of
    pixels that have one of the eight most frequent colors, which are told apart in steps of 16.
    """
    if min(image.shape[:2]) < 2:
        return 0.0
    pixels = image[1:, 1:]
    across, down = (cv2.absdiff(pixels, other) for other in (image[1:, :-1], image[:-1, 1:]))
    flat = (np.maximum(across, down) <= NOISE_LEVELS).reshape(pixels.shape).all(axis=2).mean()
    colors = image[::2, ::2, :MAX_COLOR_CHANNELS].astype(np.int64) // 16
    _, counts = np.unique(colors @ 16 ** np.arange(colors.shape[2]), return_counts=True)
    return float(flat * np.sort(counts)[-TOP_COLORS:].sum() / counts.sum())


def check_labels(sources: Sequence[ImageFile], options: DataOptions) -> None:
    """Raise TrainingError if the domain that `labels` names looks like photos, and the other like label maps.

    sources: good ones of both domains. Says nothing where the pictures do not tell.
    """
    if options.labels not in ("A", "B"):
        return
    named, other = options.labels, "B" if options.labels == "A" else "A"
    found = {domain: _score_domain([s for s in sources if s.domain == domain], options) for domain in "AB"}
    if found[other] >= MIN_LABEL_SCORE and found[named] <= MAX_PHOTO_RATIO * found[other]:
        back = "BtoA" if options.direction == "AtoB" else "AtoB"
        raise TrainingError(
            f"{options.data}: labels names domain {named}, but {named} looks like photos and {other} like "
            f"label maps. Is the direction swapped? Try --labels {other}, with --direction {back} to "
            f"translate the other way (--labels none if both are photos)"
        )


def _score_domain(sources: list[ImageFile], options: DataOptions) -> float:
    values = [
        score_label_likeness(extract_part(decode(s.path), s, options))
        for s in select_evenly(sources, SAMPLE_SIZE)
    ]
    return float(np.median(values)) if values else 0.0
