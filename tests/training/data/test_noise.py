"""Flat crops, as drawn maps have them, and the noise that keeps InstanceNorm's gradient in bounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from data_folders import write_image

from i2i_training.data import DataOptions, TrainingData
from i2i_training.networks import ResnetConfig, build_generator, initialize_weights


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Two domains of images of one color."""
    for domain, color in (("trainA", 40), ("trainB", 200)):
        for index in range(3):
            write_image(tmp_path / domain / f"{index}.png", np.full((40, 40, 3), color + index, np.uint8))
    return tmp_path


def load_batch(root: Path, **options: object) -> torch.Tensor:
    data = DataOptions(str(root), load_size=None, crop_size=32, **options)  # pyright: ignore[reportArgumentType]
    return TrainingData(data, "unpaired", 2, seed=3).next("cpu").a


def test_noise_stays_within_the_rounding_and_is_uniform(flat: Path) -> None:
    noise = 127.5 * (load_batch(flat) - load_batch(flat, noise=0.0))
    assert noise.abs().max() <= 0.5 + 1e-3
    assert abs(noise.mean()) < 0.02
    assert noise.std() == pytest.approx(1 / 12**0.5, rel=0.02)
    assert not torch.equal(noise[0], noise[1])


def test_noise_is_part_of_the_plan(flat: Path) -> None:
    assert torch.equal(load_batch(flat), load_batch(flat))
    assert not torch.equal(load_batch(flat), load_batch(flat, noise=0.25))


def test_noise_keeps_the_gradient_of_flat_images_in_bounds(flat: Path) -> None:
    """Through one fresh generator it is 100 times larger without; in a CycleGAN of maps it reached 1e9."""

    def compute_gradient(images: torch.Tensor) -> float:
        torch.manual_seed(0)
        network = initialize_weights(build_generator(ResnetConfig(width=8, blocks=6)))
        output = network(images)
        weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(1))
        (output * weights).mean().backward()
        return max(float(p.grad.norm()) for p in network.parameters() if p.grad is not None)

    assert compute_gradient(load_batch(flat, noise=0.0)) > 30 * compute_gradient(load_batch(flat))


def test_the_noise_of_a_pair_is_not_the_same(tmp_path: Path) -> None:
    """Else the target's could be read off the input."""
    for split in ("train", "val"):
        write_image(tmp_path / split / "0.png", np.full((40, 80, 3), 90, np.uint8))
    data = DataOptions(str(tmp_path), load_size=None, crop_size=32)
    batch = TrainingData(data, "paired", 1, seed=3).next("cpu")
    noises = torch.stack([batch.a.flatten(), batch.b.flatten()])
    assert abs(float(torch.corrcoef(noises)[0, 1])) < 0.1
