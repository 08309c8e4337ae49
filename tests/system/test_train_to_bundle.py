"""Every recipe from images to a bundle that runs: train, export, translate, with the commands of the docs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from i2i_sdk import Bundle, Translator
from i2i_sdk.cli.main import main
from i2i_training.checkpoint import load_generator
from i2i_training.data import normalize_images, to_images, to_tensor

SIZE = 32
SMALL_RESNET = "--resnet.width 8 --resnet.blocks 1 --discriminator.width 8 --discriminator.layers 2"
TINY = {
    "pix2pix": f"--generator resnet {SMALL_RESNET} --discriminator.norm instance",
    "cyclegan": SMALL_RESNET,
    "cut": f"{SMALL_RESNET} --patches 16",
    "unit": "--network.width 4 --network.blocks 2 --discriminator.width 8 --discriminator.layers 2",
    "distill": "--student.width 8 --student.blocks 2 --discriminator.width 8 --size 32",
    "encdec": "--network.width 8 --network.downs 3 --discriminator.width 8 --discriminator.layers 2",
}
TWO_WAY_RECIPES = ("cyclegan", "unit")
RECIPE_DIRECTIONS = [(name, "AtoB") for name in TINY] + [(name, "BtoA") for name in TWO_WAY_RECIPES]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one short run of each recipe."""
    folder = tmp_path_factory.mktemp("runs")
    random = np.random.default_rng(0)
    for index in range(6):
        split = "train" if index < 4 else "val"
        photo = cv2.resize(random.integers(0, 256, (4, 4, 3), np.uint8), (SIZE + 8, SIZE + 8))
        (folder / "data" / split).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / "data" / split / f"{index}.png"), np.hstack([photo, 255 - photo]))
    run = f"--data {folder / 'data'} --load_size {SIZE + 8} --crop_size {SIZE} --steps 6 --save_every 3"
    for name, options in TINY.items():
        assert main(["train", name, *run.split(), *options.split(), "--out", str(folder / name)]) == 0
    sampler = f"--data {folder / 'data' / 'train'} --load_size 32 --crop_size 32 --steps 4 --batch 4"
    sampler += " --network.size 32 --network.width 8 --discriminator_width 8"
    assert main(["train", "dcgan", *sampler.split(), "--out", str(folder / "dcgan")]) == 0
    return folder


@pytest.mark.parametrize(("name", "direction"), RECIPE_DIRECTIONS)
def test_every_translator_runs_unchanged(name: str, direction: str, runs: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "x.i2i"
    command = ["export", str(runs / name), "--direction", direction, "--to", "ort,openvino:fp32"]
    assert main([*command, "-o", str(bundle)]) == 0
    model = Bundle.read(bundle).manifest.model
    assert (model.recipe, model.direction, model.steps) == (name, direction, 6)

    suffix = {"AtoB": "_A", "BtoA": "_B"}[direction] if name in TWO_WAY_RECIPES else ""
    module, _ = load_generator(runs / name / f"latest_net_G{suffix}.safetensors")
    frame = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    (expected,) = to_images(module(normalize_images(to_tensor([frame]))).detach())
    with Translator(bundle) as translate:
        output = translate(frame[..., ::-1])[..., ::-1]
    assert np.abs(output.astype(int) - expected).max() <= 2


def test_a_dcgan_samples_only(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = tmp_path / "grid.png"
    assert main(["sample", str(runs / "dcgan"), "--count", "4", "-o", str(grid)]) == 0
    image = cv2.imread(str(grid))
    assert image.shape == (32, 4 * 34 - 2, 3)
    assert main(["export", str(runs / "dcgan"), "--to", "ort", "-o", str(tmp_path / "noise.i2i")]) == 2
    assert "i2i sample" in capsys.readouterr().err


@pytest.mark.parametrize("name", [*TINY, "dcgan"])
def test_a_run_leaves_a_report_and_its_grids(name: str, runs: Path) -> None:
    report = (runs / name / "report.html").read_text(encoding="utf-8")
    assert name in report and "data:image/" in report
    assert sorted((runs / name / "samples").glob("step_*.jpg"))
    assert (runs / name / "config.toml").is_file() and (runs / name / "state.pt").is_file()
