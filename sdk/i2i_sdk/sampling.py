"""Samplers: bundles that make pictures of noise. Latents, running one, and a grid of its pictures.

Every variant of a sampler is one function, float32 [N, z] from N(0, 1) -> uint8 [N, H, W, C] RGB.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from i2i_sdk.backends import check_threads, open_variant, why_not
from i2i_sdk.backends.base import Engine, EngineOptions
from i2i_sdk.bundle import Bundle
from i2i_sdk.choose import choose_variant
from i2i_sdk.errors import BackendError, InputError
from i2i_sdk.tuning import load_measured

Pictures = NDArray[np.uint8]

MOST = 10_000  # pictures of one grid
GAP = 2  # white pixels between the pictures of a grid


def latents(count: int, numbers: int, seed: int = 0) -> NDArray[np.float32]:
    """`count` latents of `numbers` values from N(0, 1): float32 [count, numbers].

    The same seed gives the same latents on every machine and NumPy version (RandomState's stream is
    frozen), and the first ones do not depend on `count`. Raises InputError for a count or seed that is
    not possible.

    Example:
        >>> bool((latents(2, 5, seed=7) == latents(3, 5, seed=7)[:2]).all())
        True
    """
    if not 1 <= count <= MOST:
        raise InputError(f"{count} pictures; possible are 1 to {MOST}")
    if not 0 <= seed < 2**32:
        raise InputError(f"seed is {seed}; allowed: 0 to {2**32 - 1}")
    return np.random.RandomState(seed).standard_normal((count, numbers)).astype(np.float32)


def grid(pictures: Sequence[Pictures] | Pictures, columns: int = 8) -> Pictures:
    """Pictures [H, W, C] side by side, row by row, on white: uint8 [rows, columns, C] of pixels.

    Raises InputError for less than one column.
    """
    if columns < 1:
        raise InputError(f"{columns} columns; at least 1 is needed")
    height, width, channels = pictures[0].shape
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    size = (rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, channels)
    sheet = np.full(size, 255, np.uint8)
    for index, picture in enumerate(pictures):
        top, left = index // columns * (height + GAP), index % columns * (width + GAP)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def sample_bundle(
    path: Path,
    count: int,
    seed: int = 0,
    *,
    backend: str | None = None,
    precision: str | None = None,
    threads: int | None = None,
) -> Pictures:
    """`count` pictures of the sampler bundle at `path`: uint8 [count, H, W, C] RGB.

    `backend`, `precision` and `threads` as in Translator. Raises InputError for a translator's bundle,
    BundleError, BackendError.
    """
    check_threads(threads)
    bundle = Bundle.read(path)
    manifest = bundle.manifest
    if manifest.model.kind != "sampler":
        raise InputError(f"{path} is a {manifest.model.kind}, not a sampler; translate with: i2i run {path}")
    numbers = manifest.input.in_channels
    variant = choose_variant(
        manifest.variants,
        why_not=why_not,
        measured=load_measured(bundle),
        backend=backend,
        precision=precision,
    )
    with open_variant(variant, bundle.files_of(variant), EngineOptions(threads)) as engine:
        check_sampler(engine, path, numbers, (variant.height, variant.width))
        return run_sampler(engine, latents(count, numbers, seed), variant.max_batch)


def check_sampler(engine: Engine, path: Path, numbers: int, size: tuple[int, int]) -> None:
    """Raise InputError unless the engine keeps a sampler's contract: manifests come from strangers."""
    taken, given = engine.input_shape, engine.output_shape
    if (engine.input_dtype, engine.output_dtype) != ("float32", "uint8") or taken[1:] != (numbers,):
        types = f"takes {engine.input_dtype} {taken} and gives {engine.output_dtype}"
        raise InputError(f"{path}: the engine {types}; a sampler takes float32 [N, {numbers}], gives uint8")
    if given[1:] not in ((*size, 1), (*size, 3)):
        raise InputError(
            f"{path}: the engine gives {given}; needed are pictures of {size[0]}x{size[1]}, 1 or 3 channels"
        )


def run_sampler(engine: Engine, values: NDArray[np.float32], max_batch: int) -> Pictures:
    """Latents float32 [N, z] -> uint8 [N, H, W, C] RGB, in as few engine calls as `max_batch` allows."""
    fixed = engine.input_shape[0]
    step = fixed or max_batch
    made: list[NDArray[Any]] = []
    for start in range(0, len(values), step):
        batch = values[start : start + step]
        spare = step - len(batch) if fixed else 0  # an engine of fixed batch gets the last one repeated
        padded = np.concatenate([batch, *[batch[-1:]] * spare])
        output = engine.run(np.ascontiguousarray(padded))[: len(batch)]
        if len(output) != len(batch):
            raise BackendError(f"the engine gave {output.shape} for {padded.shape}")
        made.append(output)
    return np.concatenate(made)
