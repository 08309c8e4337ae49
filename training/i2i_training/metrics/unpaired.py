"""What can be judged without a true picture: kept structure, and colors gone wrong."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from i2i_training.data.image_tensors import Image, to_rgb

_GRID_SIZE = 16  # blocks per side that an image is averaged to: color areas, without texture or brush strokes

# Agreement below which a channel counts as turned round; +1 is kept, -1 turned. Measured on real images:
# photo and drawn or label map of one scene 0.1 to 0.6, unrelated photos 0.0 to 0.4 (skies are above all),
# red and blue swapped in photos and paintings -0.6 to -1 (b), inverted photos -1, inverted maps -0.35 (L).
# So -0.2 is below what truth and chance give, and above what a real turn gives.
_MIN_AGREEMENT = -0.2

_MIN_DEVIATION = (
    2.0  # CIELAB units, a just noticeable difference: a channel varying less has nothing to compare
)
_TURNED = (  # what it means where L, a or b disagrees
    "light and dark are inverted",
    "green and red have changed places",
    "blue and yellow have changed places",
)
_VISIBLE_TINT = 10.0  # CIELAB units: a cast seen at once; adding 40 of 255 to one channel makes 12 to 25


def compute_edge_similarity(outputs: Sequence[Image], inputs: Sequence[Image]) -> float:
    """Is the structure kept? Correlation of the edges' strengths, mean over images; 1 is the same edges.

    Edges are Sobel gradient magnitudes of luma (3x3, mirrored borders); correlation makes it blind to
    contrast and brightness, and it is exactly 1 for inverted pictures: colors are `detect_color_shift`'s.
    An image without any edge gives 0, two of them 1.

    Args:
        outputs: uint8 [H, W, 3] RGB or [H, W, 1].
        inputs: what they were translated from, of the same number, order and shapes.

    Returns -1..1.
    """
    pairs = zip(outputs, inputs, strict=True)
    return float(np.mean([_correlate(_detect_edges(o), _detect_edges(i)) for o, i in pairs]))


def detect_color_shift(outputs: Sequence[Image], inputs: Sequence[Image], references: Sequence[Image]) -> str:
    """Did a translator without pairs invert, swap or tint the colors (CycleGAN's known failure)?

    A cycle can be closed with any invertible change of color, so nothing but the discriminator and the
    identity loss speaks against a negative. Two tests, on block means (16x16 per image) in CIELAB:

    1. *Order.* Per channel the agreement of output and input: the covariance within images, summed,
       over its largest possible value. It is 1 for whatever raises, lowers, stretches or squeezes the
       channels of an image, as moving it to another domain's statistics does, and negative where light
       became dark, or blue yellow.
    2. *Tint.* The mean color may stay, or move toward the references, or stop on the way: so the
       distance of the outputs' mean (a, b) from the straight line between the inputs' and references'
       means. Allowed is a visible cast and, beside it (added as squares), what the choice of few images
       alone makes: twice the deviation of a mean of so many outputs from one of so many references.

    Meant for translations that keep the order of colors: photos, paintings, seasons, horses. Where
    truth itself turns colors (labels, night, depth), test 1 has no meaning: use pairs.

    Args:
        outputs: uint8 [H, W, 3] RGB (or [H, W, 1]), any size; a dozen or more make the tint sharp.
        inputs: what they were translated from, of the same number and order.
        references: real images of the target domain, in any number.

    Returns:
        What is wrong and what to do, in a sentence; empty where nothing is.

    Example:
        >>> sky = np.linspace((40, 90, 220), (230, 200, 120), 32).astype(np.uint8)
        >>> photo = np.repeat(sky[:, None], 32, axis=1)
        >>> detect_color_shift([photo], [photo], [photo])
        ''
        >>> detect_color_shift([255 - photo], [photo], [photo]).split(",")[0]
        'light and dark are inverted (-1.00)'
    """
    out, source, wanted = (_compute_lab_blocks(images) for images in (outputs, inputs, references))
    agreements = {what: _compute_agreement(out[..., c], source[..., c]) for c, what in enumerate(_TURNED)}
    found = [f"{what} ({value:.2f})" for what, value in agreements.items() if value < _MIN_AGREEMENT]
    tint, allowed = _measure_tint(out, source, wanted)
    if tint > allowed:
        found.append(
            f"everything has a tint that the target domain has not ({tint:.0f}; allowed: {allowed:.0f})"
        )
    if not found:
        return ""
    advice = "begin again with another --seed (cyclegan: more --lambda-identity)"
    return f"{', '.join(found)}: if more steps do not mend it, {advice}"


def _compute_lab_blocks(images: Sequence[Image]) -> NDArray[np.float64]:
    """float64 [N, 256, 3]: CIELAB (L 0..100, a and b about -100..100) of the means of 16x16 blocks."""
    blocks = [cv2.resize(to_rgb(i), (_GRID_SIZE, _GRID_SIZE), interpolation=cv2.INTER_AREA) for i in images]
    lab = [cv2.cvtColor(b.astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB) for b in blocks]
    return np.stack(lab).astype(np.float64).reshape(len(images), -1, 3)


def _compute_agreement(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Of one channel [N, blocks]: sum of within-image covariances / sum of products of deviations.

    A mean of correlations in which images count by how much they vary, so that gray ones add no noise.
    """
    a = a - a.mean(axis=1, keepdims=True)
    b = b - b.mean(axis=1, keepdims=True)
    possible = a.std(axis=1) * b.std(axis=1)
    if possible.mean() < _MIN_DEVIATION**2:
        return 0.0
    return float((a * b).mean(axis=1).sum() / possible.sum())


def _measure_tint(
    outputs: NDArray[np.float64], inputs: NDArray[np.float64], references: NDArray[np.float64]
) -> tuple[float, float]:
    """The tint of the outputs and what is allowed, in CIELAB units (see `detect_color_shift`, 2)."""
    colors = [blocks[..., 1:].mean(axis=1) for blocks in (outputs, inputs, references)]  # [N, 2] per image
    mean_out, start, end = (c.mean(axis=0) for c in colors)
    way = end - start
    share = np.clip((mean_out - start) @ way / max(float(way @ way), 1e-9), 0.0, 1.0)
    tint = float(np.linalg.norm(mean_out - (start + share * way)))
    spread = float(np.sqrt(np.square(colors[2] - end).sum(axis=1).mean()))
    chance = 2.0 * spread * np.sqrt(1 / len(outputs) + 1 / len(references))
    return tint, float(np.hypot(_VISIBLE_TINT, chance))


def _detect_edges(image: Image) -> NDArray[np.float32]:
    light = cv2.cvtColor(to_rgb(image), cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.hypot(cv2.Sobel(light, cv2.CV_32F, 1, 0), cv2.Sobel(light, cv2.CV_32F, 0, 1))


def _correlate(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    x, y = a.astype(np.float64) - a.mean(), b.astype(np.float64) - b.mean()
    x_norm, y_norm = np.linalg.norm(x), np.linalg.norm(y)
    if x_norm == 0 or y_norm == 0:
        return float(x_norm == y_norm)
    return float((x * y).sum() / (x_norm * y_norm))
