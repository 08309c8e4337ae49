"""The painting model, on landscapes that it never saw."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from lightning.fabric import Fabric
from numpy.typing import NDArray

from i2i_training.checkpoint import load_generator
from i2i_training.metrics import compute_edge_similarity, compute_sliced_wasserstein
from i2i_training.run.evaluation import translate_images

Image = NDArray[np.uint8]
COUNT = 12


def read_images(folder: Path, step: int) -> list[Image]:
    files = sorted(folder.glob("*.jpg"))[::step][:COUNT]
    return [np.ascontiguousarray(cv2.imread(str(file))[..., ::-1]) for file in files]


def test_it_paints_photos_that_it_never_saw(root: Path, shared_data: Path) -> None:
    """Its patches are much nearer to the paintings' than the photo's, and the layout stays."""
    module, spec = load_generator(root / "models/vangogh/latest_net_G.safetensors")
    assert (spec.recipe, spec.direction, spec.license) == ("cyclegan", "AtoB", "research-only")
    photos = read_images(shared_data / "monet2photo" / "testA", 5)
    paintings = read_images(shared_data / "paintings" / "vangogh", 16)
    painted = translate_images(module, photos, Fabric(accelerator="cpu", devices=1))
    before, after = (compute_sliced_wasserstein(images, paintings)["mean"] for images in (photos, painted))
    assert after < 0.75 * before
    assert compute_edge_similarity(painted, photos) > 0.4
    assert np.mean([np.abs(a.astype(int) - b).mean() for a, b in zip(painted, photos, strict=True)]) > 15
