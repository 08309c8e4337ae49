"""Sliced Wasserstein distance between the patches of two sets of images, scale by scale.

Karras et al. 2018, "Progressive Growing of GANs", section 5: patches of 7x7 pixels from each level of a
Laplacian pyramid are points in a space of 147 dimensions. Where the point clouds of real and translated
images lie close, the images have like structure at that scale. Needs no trained weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from i2i_training.data.image_tensors import Image

_PATCH_SIZE = 7
_MIN_SIZE = 16  # pixels; the paper's coarsest level
_CHUNK_SIZE = 64  # directions projected together: bounds memory

Floats = NDArray[np.float32]


def compute_sliced_wasserstein(
    images: Sequence[Image],
    others: Sequence[Image],
    patches_per_image: int = 128,
    directions: int = 128 * 4,
    seed: int = 0,
) -> dict[str, float]:
    """The distance per pyramid level, times 1e3 as in the paper; lower is closer, identical sets give 0.

    Each set is normalized to mean 0 and deviation 1 per level and channel, so a tint or a change of
    contrast that all images share is not seen: see `detect_color_shift`. Both sets take their patches from
    the same places, which lowers the noise where they are pairs; compare figures only of the same number of
    images and patches, since few patches raise all distances.

    Args:
        images: uint8 [H, W, 3] RGB (or all [H, W, 1]), at least 16x16 pixels.
        others: as `images` and of the same shape; their number may differ.
        patches_per_image: 7x7 patches taken from each level of each image.
        directions: random projections that the distance is averaged over.
        seed: of the patches' places and the directions; the global random state is not touched.

    Returns:
        "256", "128", … "16" ("HxW" where the sides differ), from the finest detail to what is left at the
        coarsest level, and their "mean".

    Example:
        >>> noise = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
        >>> compute_sliced_wasserstein(list(noise), list(noise))
        {'32': 0.0, '16': 0.0, 'mean': 0.0}
    """
    names = _list_level_names(*images[0].shape[:2])
    ours = _sample_descriptors(images, len(names), patches_per_image, seed)
    theirs = _sample_descriptors(others, len(names), patches_per_image, seed)
    random = np.random.default_rng([seed, 1])  # another stream than the places'
    toward = random.standard_normal((directions, ours[0].shape[1])).astype(np.float32)
    toward /= np.linalg.norm(toward, axis=1, keepdims=True)
    levels = {
        name: 1e3 * _compute_distance(a, b, toward) for name, a, b in zip(names, ours, theirs, strict=True)
    }
    return levels | {"mean": float(np.mean(list(levels.values())))}


def _list_level_names(height: int, width: int) -> list[str]:
    """The resolutions of the pyramid, each half the one before (rounded up), down to 16 pixels."""
    names: list[str] = []
    while min(height, width) >= _MIN_SIZE:
        names.append(str(height) if height == width else f"{height}x{width}")
        height, width = (height + 1) // 2, (width + 1) // 2
    return names


def _build_laplacian_pyramid(image: Image, levels: int) -> list[Floats]:
    """Burt and Adelson 1983: each level is what the next coarser one, blown up, lacks; the last keeps all."""
    pyramid = [image.astype(np.float32)]
    for _ in range(levels - 1):
        fine = pyramid[-1]
        coarse = np.asarray(cv2.pyrDown(fine), np.float32)
        blown_up = cv2.pyrUp(coarse, dstsize=(fine.shape[1], fine.shape[0]))
        pyramid[-1] = fine - blown_up.reshape(fine.shape)  # OpenCV drops a single channel's axis
        pyramid.append(coarse.reshape(*coarse.shape[:2], fine.shape[2]))
    return pyramid


def _sample_descriptors(images: Sequence[Image], levels: int, patches: int, seed: int) -> list[Floats]:
    """Per level float32 [images * patches, 49 * channels], normalized per channel over the whole set."""
    random = np.random.default_rng(seed)
    found: list[list[Floats]] = [[] for _ in range(levels)]
    for image in images:
        for level, kept in zip(_build_laplacian_pyramid(image, levels), found, strict=True):
            windows = np.lib.stride_tricks.sliding_window_view(level, (_PATCH_SIZE, _PATCH_SIZE), axis=(0, 1))
            rows = random.integers(0, windows.shape[0], patches)
            columns = random.integers(0, windows.shape[1], patches)
            kept.append(windows[rows, columns])  # [patches, C, 7, 7]
    return [_normalize(np.concatenate(kept)) for kept in found]


def _normalize(patches: Floats) -> Floats:
    mean = patches.mean(axis=(0, 2, 3), keepdims=True, dtype=np.float64)
    deviation = patches.std(axis=(0, 2, 3), keepdims=True, dtype=np.float64)
    flat_safe = np.maximum(deviation, 1e-6)  # a set of one color has nothing at the finer levels
    return ((patches - mean) / flat_safe).astype(np.float32).reshape(len(patches), -1)


def _compute_distance(a: Floats, b: Floats, projections: Floats) -> float:
    """Mean over directions of the 1-D Wasserstein-1 distance between the projected point clouds."""
    total = 0.0
    for start in range(0, len(projections), _CHUNK_SIZE):
        some = projections[start : start + _CHUNK_SIZE]
        total += float(_compute_wasserstein_1d(np.sort(some @ a.T), np.sort(some @ b.T)).sum())
    return total / len(projections)


def _compute_wasserstein_1d(a: Floats, b: Floats) -> NDArray[np.float64]:
    """Integral of |A^-1(q) - B^-1(q)| over the quantiles q, for sorted rows [D, n] and [D, m] -> [D].

    Both inverse distributions are steps, with edges at multiples of 1/n and 1/m: counted in units of
    1 / (n m), all edges are integers and the integral is exact.
    """
    n, m = a.shape[1], b.shape[1]
    if n == m:
        return np.abs(a - b).mean(axis=1, dtype=np.float64)
    edges = np.union1d(np.arange(1, n + 1, dtype=np.int64) * m, np.arange(1, m + 1, dtype=np.int64) * n)
    widths = np.diff(edges, prepend=0) / (n * m)
    return np.abs(a[:, (edges - 1) // m] - b[:, (edges - 1) // n]) @ widths
