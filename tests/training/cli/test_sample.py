"""Latents, grids, and `i2i sample`: images that a DCGAN makes of noise."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from i2i_sdk import InputError
from i2i_sdk.cli.main import main as i2i
from i2i_training.checkpoint import load_generator, save_generator
from i2i_training.cli.sample import arrange_grid
from i2i_training.networks import DcganConfig, GeneratorConfig, GeneratorSpec, ResnetConfig, build_generator
from i2i_training.sampling import draw_latents, sample

CONFIG = DcganConfig(latent=12, width=8, size=32)
Capture = pytest.CaptureFixture[str]


def save_network(path: Path, config: GeneratorConfig) -> Path:
    torch.manual_seed(1)
    spec = GeneratorSpec(config, "running_stats" if config.norm == "batch" else "none", steps=1, size=64)
    network = build_generator(config)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            parameter.data.normal_(0, 0.2)
    return save_generator(path, network, spec)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_network(tmp_path_factory.mktemp("run") / "latest_net_G.safetensors", CONFIG)


def test_latents_are_normal_and_the_same_everywhere() -> None:
    values = draw_latents(1000, 50, seed=5)
    assert values.dtype == np.float32 and values.shape == (1000, 50)
    assert abs(values.mean()) < 0.02 and abs(values.std() - 1) < 0.02
    assert np.array_equal(values, draw_latents(1000, 50, seed=5))
    assert not np.array_equal(values, draw_latents(1000, 50, seed=6))
    np.testing.assert_allclose(draw_latents(1, 3)[0], [1.7640524, 0.4001572, 0.978738], rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 3, 0), "0 images; possible are 1 to 10000"),
        ((10_001, 3, 0), "10001 images"),
        ((1, 3, -1), "seed is -1; allowed: 0 to 4294967295"),
        ((1, 3, 2**32), "seed is 4294967296"),
    ],
)
def test_impossible_latents(arguments: tuple[int, int, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        draw_latents(*arguments)


def test_grid_is_row_by_row_on_white() -> None:
    images = np.stack([np.full((2, 3, 1), 10 * n, np.uint8) for n in range(5)])
    grid = arrange_grid(images, columns=2)
    assert grid.shape == (3 * 4 - 2, 2 * 5 - 2, 1)
    assert [int(grid[r * 4, c * 5, 0]) for r in range(3) for c in range(2)] == [0, 10, 20, 30, 40, 255]
    assert (grid[2:4] == 255).all() and (grid[:, 3:5] == 255).all()
    assert np.array_equal(arrange_grid(images[:1], columns=8), images[0])  # no wider than what there is
    with pytest.raises(InputError, match="0 columns; at least 1"):
        arrange_grid(images, columns=0)


def test_images_are_those_of_the_network(checkpoint: Path) -> None:
    images = sample(checkpoint, 20, seed=3)  # more than one batch
    assert images.shape == (20, 32, 32, 3) and images.dtype == np.uint8
    module, _ = load_generator(checkpoint)
    with torch.no_grad():
        values = module(torch.from_numpy(draw_latents(20, 12, 3)))[17].permute(1, 2, 0).numpy()
    assert np.abs(images[17] - (values * 127.5 + 127.5)).max() <= 0.51
    assert min(np.abs(images[0].astype(int) - image).max() for image in images[1:]) > 10  # the noise decides


def test_sample_command(checkpoint: Path, tmp_path: Path, capsys: Capture) -> None:
    def run_sample(source: Path, *options: str) -> np.ndarray:
        out = tmp_path / "grid.png"
        assert i2i(["sample", str(source), "-o", str(out), *options]) == 0
        assert f"wrote {out}: " in capsys.readouterr().out
        return cv2.imread(str(out))

    whole = run_sample(checkpoint)
    assert whole.shape == (8 * 34 - 2, 8 * 34 - 2, 3)
    assert np.array_equal(whole, run_sample(checkpoint.parent, "--seed", "0"))  # the folder of a run
    assert not np.array_equal(whole, run_sample(checkpoint, "--seed", "1"))
    assert np.array_equal(whole[:32, :32, ::-1], sample(checkpoint, 1)[0])  # OpenCV reads BGR
    few = run_sample(checkpoint, "--count", "5", "--columns", "3")
    assert few.shape == (2 * 34 - 2, 3 * 34 - 2, 3)
    assert np.array_equal(few[:32, :100], whole[:32, :100])  # the same first ones
    assert (few[34:, 68:] == 255).all()


def test_what_translates_is_refused(checkpoint: Path, tmp_path: Path, capsys: Capture) -> None:
    resnet = save_network(tmp_path / "r.safetensors", ResnetConfig(width=2, blocks=1))
    for source, message in (
        (resnet, "is a resnet, which translates images; next: i2i export"),
        (tmp_path / "x.i2i", "is a bundle, which translates images: i2i run"),
    ):
        assert i2i(["sample", str(source), "-o", str(tmp_path / "x.png")]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()
