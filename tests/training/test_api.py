"""From Python: what the commands do, as functions with the same options and errors."""

from __future__ import annotations

from pathlib import Path

import pytest

import i2i_training
from i2i_sdk.cli.main import main as i2i
from i2i_sdk.errors import TrainingError
from i2i_training import load_generator, train

TINY = {
    "steps": 1,
    "load_size": 36,
    "crop_size": 32,
    "unet": {"downs": 5, "width": 1},
    "discriminator": {"width": 1, "layers": 1},
    "flip": False,
}
FLAGS = "--steps 1 --load-size 36 --crop-size 32 --unet.downs 5 --unet.width 1 --discriminator.width 1"


def test_public_names() -> None:
    assert all(hasattr(i2i_training, name) for name in i2i_training.__all__)
    assert not hasattr(i2i_training, "nonsense")


def test_training_from_python_and_by_command_is_the_same(pictures: Path, tmp_path: Path) -> None:
    result = train("pix2pix", data=str(pictures), out=tmp_path / "python", **TINY)
    assert result.is_finished and result.steps == 1
    assert (tmp_path / "python" / "report.html").is_file()
    command = ["train", "pix2pix", "--data", str(pictures), "--out", str(tmp_path / "command"), "--no-flip"]
    assert i2i([*command, *FLAGS.split(), "--discriminator.layers", "1"]) == 0
    (path,) = result.generator_paths
    assert path.read_bytes() == (tmp_path / "command" / path.name).read_bytes()
    assert load_generator(path)[1].steps == 1

    again = train(resume=tmp_path / "python", steps=2)
    assert (again.is_finished, again.steps) == (True, 2)
    config = tmp_path / "python" / "config.toml"
    assert train(config=config, out=tmp_path / "other", minutes=None).steps == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"recipe": "vit"}, "recipe 'vit' is not known; known: pix2pix"),
        ({"recipe": "cut", "stps": 1}, "train: its options cannot be used"),
        ({"recipe": "cut", "lambda_nce": -1}, "lambda_nce is -1.0; a loss weight is 0 or more"),
        ({"resume": "x", "preset": "y"}, "leave out --preset and --config"),
    ],
)
def test_what_cannot_be_trained_is_an_error(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        train(**arguments)
