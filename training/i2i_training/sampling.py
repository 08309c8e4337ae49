"""Images of noise: what a trained DCGAN makes, from Python and for `i2i sample`."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from i2i_sdk.errors import InputError
from i2i_training.checkpoint import LATEST, load_generator
from i2i_training.data.image_tensors import to_images
from i2i_training.networks import DcganConfig

BATCH_SIZE = 16  # images at once
MAX_IMAGES = 10_000

Images = NDArray[np.uint8]


def sample(checkpoint: str | os.PathLike[str], count: int = 64, seed: int = 0) -> Images:
    """Images that a trained DCGAN makes of noise; the same seed, the same images.

    Args:
        checkpoint: its `.safetensors`, or the folder of its run.
        count: images, 1 to 10000.
        seed: of the noise, 0 to 2**32 - 1; the first images do not depend on `count`.

    Returns:
        uint8 [count, H, W, C] RGB or gray, 0..255.

    Raises:
        CheckpointError: for a file that cannot be read.
        InputError: for a network that translates images, and a count or seed that is not possible.

    Example:
        >>> sample("out/dcgan", count=4).shape  # doctest: +SKIP
        (4, 64, 64, 3)
    """
    path = Path(checkpoint)
    if path.suffix == ".i2i":
        raise InputError(f"{path}: is a bundle, which translates images: i2i run {path}; give a checkpoint")
    module, spec = load_generator(path / f"{LATEST}.safetensors" if path.is_dir() else path)
    if not isinstance(spec.config, DcganConfig):
        raise InputError(
            f"{path}: is a {spec.config.architecture}, which translates images; next: i2i export {path}"
        )
    latents = torch.from_numpy(draw_latents(count, spec.config.latent, seed))
    with torch.no_grad():
        return np.stack([image for z in latents.split(BATCH_SIZE) for image in to_images(module(z))])


def draw_latents(count: int, latent_size: int, seed: int = 0) -> NDArray[np.float32]:
    """Latents from N(0, 1).

    The same seed gives the same ones on every machine and NumPy version (RandomState's stream is frozen), and
    the first ones do not depend on `count`.

    Args:
        count: latents, 1 to 10000.
        latent_size: values of each.
        seed: 0 to 2**32 - 1.

    Returns:
        float32 [count, latent_size].

    Raises:
        InputError: for a count or seed that is not possible.

    Example:
        >>> bool((draw_latents(2, 5, seed=7) == draw_latents(3, 5, seed=7)[:2]).all())
        True
    """
    if not 1 <= count <= MAX_IMAGES:
        raise InputError(f"{count} images; possible are 1 to {MAX_IMAGES}")
    if not 0 <= seed < 2**32:
        raise InputError(f"seed is {seed}; allowed: 0 to {2**32 - 1}")
    return np.random.RandomState(seed).standard_normal((count, latent_size)).astype(np.float32)
