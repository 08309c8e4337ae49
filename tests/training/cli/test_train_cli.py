"""`i2i train`: its help, where options come from, and what it says to do next."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_folders import write_image
from tiny_runs import SMALL, make_path_arguments, parse_next_commands

from i2i_sdk.cli import main as i2i
from i2i_sdk.errors import TrainingError
from i2i_training.checkpoint import load_generator
from i2i_training.cli.train import main
from i2i_training.data.layout import LAYOUTS
from i2i_training.networks import ResnetConfig
from i2i_training.options import UPSTREAM_NAMES, flatten, make_flags, read_config
from i2i_training.recipes import RECIPES
from i2i_training.run.run_options import RunOptions


@pytest.fixture(scope="module")
def finished_run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step."""
    out = tmp_path_factory.mktemp("finished") / "run"
    assert main([*SMALL, "--data", str(pictures), "--out", str(out)]) == 0
    return out


def list_names(*options: Any) -> list[str]:
    return [name for part in options for name, _ in flatten(asdict(part))]


# ---------------------------------------------------------------- help


@pytest.mark.parametrize("name", RECIPES)
def test_help_of_a_recipe_lists_every_option(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        i2i.main(["train", name, "--help"])
    assert not caught.value.code
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for option in list_names(RunOptions(), RECIPES[name].options()):
        found = re.search(rf"--{re.escape(option.replace('_', '-'))}(, --[\w.-]+|) (.+?) \(default: ", text)
        assert found and len(found[2].split()) > 1, option  # it has its sentence
    for preset, values in RECIPES[name].presets.items():
        assert f"{preset}: {' '.join(make_flags(values)) or 'these defaults'}" in text


@pytest.mark.parametrize("flags", [[], ["-h"], ["--help"]])
def test_help_lists_recipes_and_layouts(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(flags) == 0
    text = capsys.readouterr().out
    for name, method in RECIPES.items():
        assert re.search(rf"^  {name} +{re.escape(method.summary)}$", text, re.MULTILINE)
    assert all(layout in text for layout in LAYOUTS)
    assert "images right in the folder" in text  # as dcgan takes them
    assert "i2i train --resume DIR" in text


# ---------------------------------------------------------------- flags that do not work


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["pix3pix", "--data", "x"], "'pix3pix' is not known; known: pix2pix, cyclegan, cut, unit"),
        (["--data", "x"], "no recipe is named; known: pix2pix, .*i2i train RECIPE --data DIR"),
        (["pix2pix"], "--data DIR is needed.*i2i train --help lists the layouts"),
        (["pix2pix", "--data", "x", "--optim.lr", "-1"], "optim.lr is -1.0; it must be positive"),
        (["pix2pix", "--data", "/nowhere"], "there is no data set folder /nowhere"),
        (["pix2pix", "--preset", "huge", "--data", "x"], "preset 'huge' is not known; known: unet256"),
        (["pix2pix", "--config", "/nowhere.toml"], "/nowhere.toml: cannot be read"),
        (["--resume", "/nowhere"], "--resume /nowhere: no config.toml in it; give the --out folder"),
        (["--resume", "x", "--config", "y"], "leave out --preset and --config"),
    ],
)
def test_bad_flags_are_explained(
    flags: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TrainingError, match=message):
        main(flags)
    assert i2i.main(["train", *flags]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["pix2pix", "--data"], "Missing value for argument '--data'"),
        (["pix2pix", "--data", "x", "--unet.downs", "9"], "invalid choice '9' for argument '--unet.downs'"),
        (["cyclegan", "--crop_sise", "4"], "Perhaps you meant: --crop-size"),
    ],
)
def test_flags_that_cannot_be_read_are_explained(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        i2i.main(["train", *flags])
    assert caught.value.code == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())


# ---------------------------------------------------------------- where options come from


def test_flags_win_over_files_and_files_over_presets(pictures: Path, tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    config.write_text(
        'recipe = "pix2pix"\nsteps = 2\nseed = 5\nbatch = 2\n[optim]\nbeta1 = 0.25\n[resnet]\nwidth = 2\n'
    )
    flags = "--preset edge --discriminator.width 2 --discriminator.layers 1 --load_size 36 --crop_size 32"
    more = [
        *flags.split(),
        "--steps",
        "1",
        "--resnet.blocks",
        "1",
        *make_path_arguments(pictures, tmp_path / "run"),
    ]
    assert main(["--config", str(config), *more]) == 0
    table = read_config(tmp_path / "run" / "config.toml")
    assert (table["recipe"], table["seed"], table["generator"]) == ("pix2pix", 5, "resnet")
    assert table["batch"] == 2  # 4 in the preset
    assert table["steps"] == 1  # 2 in the file
    assert table["optim"]["lr"] == 1e-3  # the preset's
    assert table["optim"]["beta1"] == 0.25
    _, spec = load_generator(tmp_path / "run" / "latest_net_G.safetensors")
    assert isinstance(spec.config, ResnetConfig)
    assert (spec.config.width, spec.config.blocks, spec.config.upsample) == (2, 1, "nearest")
    assert spec.norm_mode == "running_stats"


def test_the_written_config_trains_the_same_again(finished_run: Path, tmp_path: Path) -> None:
    config = finished_run / "config.toml"
    assert main(["pix2pix", "--config", str(config), "--out", str(tmp_path / "again")]) == 0
    name = "latest_net_G.safetensors"
    assert (tmp_path / "again" / name).read_bytes() == (finished_run / name).read_bytes()
    with pytest.raises(TrainingError, match="holds an earlier run"):  # in its own folder
        main(["--config", str(config)])
    with pytest.raises(TrainingError, match="it is for recipe 'pix2pix', not 'cut'"):
        main(["cut", "--config", str(config)])


def test_overwriting_is_allowed_once(pictures: Path, tmp_path: Path) -> None:
    flags = [*SMALL, *make_path_arguments(pictures, tmp_path / "run")]
    assert main([*flags, "--overwrite"]) == 0
    assert main([*flags, "--overwrite", "--seed", "1"]) == 0
    with pytest.raises(TrainingError, match="--overwrite"):
        main(["--config", str(tmp_path / "run" / "config.toml")])


def test_resume_takes_further_flags(finished_run: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert main([*SMALL, *make_path_arguments(pictures, out)]) == 0
    assert main(["--resume", str(out), "--steps", "2"]) == 0
    assert load_generator(out / "latest_net_G.safetensors")[1].steps == 2
    assert main(["pix2pix", "--resume", str(out), "--steps", "3", "--out", f"{out}/"]) == 0
    with pytest.raises(TrainingError, match="it is for recipe 'pix2pix', not 'cyclegan'"):
        main(["cyclegan", "--resume", str(out)])
    with pytest.raises(TrainingError, match="a run is resumed where it is: leave out --out"):
        main(["--resume", str(out), "--out", str(finished_run)])


def test_resume_from_elsewhere_and_after_a_move(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its config names the folder as it was called then."""
    monkeypatch.chdir(tmp_path)
    assert main([*SMALL, *make_path_arguments(pictures, Path("out/run"))]) == 0
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert main(["--resume", "../out/run", "--steps", "2"]) == 0
    (tmp_path / "out").rename(tmp_path / "moved")
    assert main(["--resume", "../moved/run", "--steps", "3"]) == 0
    assert load_generator(tmp_path / "moved" / "run" / "latest_net_G.safetensors")[1].steps == 3
    assert not list((tmp_path / "other").iterdir())
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------- what to do next


def test_the_end_names_what_was_written(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "my run"
    assert main([*SMALL, *make_path_arguments(pictures, out)]) == 0
    text = capsys.readouterr().out
    assert f"wrote {out}/latest_net_G.safetensors\nbest:  {out}/best_net_G.safetensors, by" in text
    assert f"report: {out}/report.html\n" in text
    assert (out / "report.html").is_file()
    assert parse_next_commands(text) == [["export", str(out)]]


@pytest.mark.parametrize(
    ("name", "flags", "commands"),
    [
        (
            "cyclegan",
            "--resnet.blocks 1 --resnet.width 1 --discriminator.width 1 --discriminator.layers 1",
            [["export", "run"], ["export", "run", "--direction", "BtoA", "-o", "run_BtoA.i2i"]],
        ),
        ("dcgan", "--network.size 32 --network.width 1 --discriminator_width 1", [["sample", "run"]]),
    ],
)
def test_next_commands_are_those_of_the_recipe(
    name: str,
    flags: str,
    commands: list[list[str]],
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = f"{flags} --steps 1 --load_size 36 --crop_size 32 --eval_images 1"
    assert main([name, *flags.split(), *make_path_arguments(pictures, Path("run"))]) == 0
    assert parse_next_commands(capsys.readouterr().out) == commands
    report = Path("run/report.html").read_text()
    assert all(f"i2i {' '.join(command)}" in report for command in commands)


# ---------------------------------------------------------------- what strangers tried


def test_a_finished_run_is_left_as_it_is(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is trained, so nothing about the run may change."""
    out = tmp_path / "run"
    assert main([*SMALL, *make_path_arguments(pictures, out), "--steps", "2"]) == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    steps = int(read_config(out / "config.toml")["steps"])
    resume = ["train", "--resume", str(out), "--optim.lr", "1e-3"]
    capsys.readouterr()
    for flags, says in (
        ([], f"finished, {steps} of {steps} steps; nothing was trained. To go on: i2i train --resume {out}"),
        (["--steps", "1"], f"finished, {steps} of 1 steps; nothing was trained"),
    ):
        assert i2i.main([*resume, *flags]) == 2
        assert says in capsys.readouterr().err
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert i2i.main([*resume, "--steps", str(steps + 1)]) == 0
    assert f"going on after step {steps} of {steps + 1}" in capsys.readouterr().out


def test_the_names_of_upstreams_flags_lead_somewhere() -> None:
    every = set(list_names(RunOptions(), *(method.options() for method in RECIPES.values())))
    assert set(UPSTREAM_NAMES.values()) <= every
    assert not set(UPSTREAM_NAMES) & every


def test_dcgan_starts_with_its_defaults(pictures: Path, tmp_path: Path) -> None:
    flags = ["--network.width", "2", "--discriminator_width", "2", "--steps", "1", "--batch", "2"]
    assert main(["dcgan", *flags, *make_path_arguments(pictures, tmp_path / "run")]) == 0
    config = read_config(tmp_path / "run" / "config.toml")
    assert (config["load_size"], config["crop_size"]) == (72, 64)


def test_a_network_that_no_bundle_can_hold_is_not_offered_for_export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    for domain, channels in (("A", 3), ("B", 4)):
        for n in range(3):
            write_image(tmp_path / domain / f"{n}.npy", random.integers(0, 256, (40, 40, channels), np.uint8))
    out, words = tmp_path / "run", ["--channels_b", "4", "--resnet.out_channels", "4"]
    assert main([*SMALL, *words, *make_path_arguments(tmp_path, out)]) == 0
    assert parse_next_commands(capsys.readouterr().out) == [["info", str(out / "latest_net_G.safetensors")]]
    assert f"i2i info {out}" in (out / "report.html").read_text()
