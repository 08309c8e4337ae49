"""Whole runs in small, runs that go wrong, and the command line."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from tiny_networks import same_weights
from tiny_recipe import TINY, TINY_D
from torch import Tensor, nn

from i2i_sdk import cli as i2i
from i2i_sdk.errors import TrainingError
from i2i_training.checkpoint import load_generator
from i2i_training.cli import main
from i2i_training.loop import RunOptions, train
from i2i_training.networks import ResnetConfig, UnetConfig
from i2i_training.options import flatten
from i2i_training.recipes.pix2pix import DiscriminatorOptions, OptimOptions, Pix2pix, Pix2pixOptions

# ---------------------------------------------------------------- whole runs


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pairs of 40x40: smooth noise, and its negative."""
    root = tmp_path_factory.mktemp("pairs")
    random = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        (root / split).mkdir()
        for n in range(count):
            a = cv2.resize(random.integers(0, 256, (5, 5, 3), np.uint8), (40, 40))
            cv2.imwrite(str(root / split / f"{n}.png"), np.hstack([a, 255 - a]))
    return root


UNET = Pix2pixOptions(unet=UnetConfig(width=4, downs=5), discriminator=TINY_D)
SMALL_RUN = RunOptions(load_size=36, crop_size=32, steps=12, save_every=5)


def run_of(pairs: Path, out: Path, **changes: object) -> RunOptions:
    return replace(SMALL_RUN, **{"data": str(pairs), "out": str(out), **changes})


def losses_of(out: Path) -> list[list[str]]:
    with (out / "losses.csv").open(newline="") as file:
        return list(csv.reader(file))


def test_a_run_leaves_everything_it_promises(pairs: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    recipe = Pix2pix(UNET)
    run = run_of(pairs, tmp_path / "run", direction="BtoA", trained_on="noise", licence="Apache-2.0")
    path = train(recipe, run)
    out = tmp_path / "run"
    assert path == out / "latest_net_G.safetensors"

    module, spec = load_generator(path)
    assert (spec.steps, spec.size, spec.recipe, spec.direction) == (12, 32, "pix2pix", "BtoA")
    assert (spec.trained_on, spec.licence) == ("noise", "Apache-2.0")
    assert (spec.config, spec.norm_mode) == (UNET.unet, "batch_stats")
    assert all(torch.equal(v, recipe.generator.state_dict()[k]) for k, v in module.state_dict().items())

    header, *rows = losses_of(out)
    assert header == ["step", "D", "G_gan", "G_l1"]
    assert [int(row[0]) for row in rows] == [5, 10, 12]
    assert all(np.isfinite([float(v) for v in row]).all() for row in rows)

    options = json.loads((out / "options.json").read_text())
    assert options["run"]["steps"] == 12
    assert options["recipe"]["unet"]["downs"] == 5
    assert options["recipe"]["optim"]["lr"] == 2e-4

    samples = sorted(out.glob("sample_*.jpg"))
    assert [p.stem for p in samples] == ["sample_000005", "sample_000010", "sample_000012"]
    assert sorted(p.name for p in out.iterdir()) == sorted(
        ["latest_net_G.safetensors", "losses.csv", "options.json", *(p.name for p in samples)]
    )


def test_sample_grids_are_rows_of_input_output_target(pairs: Path, tmp_path: Path) -> None:
    train(Pix2pix(UNET), run_of(pairs, tmp_path, steps=1))
    sheet = cv2.imread(str(tmp_path / "sample_000001.jpg"))
    assert sheet.shape == (2 * 32, 3 * 32, 3)  # two held-out pairs, cut to what the network takes
    for name, row in (("0", sheet[:32]), ("1", sheet[32:])):
        image = cv2.imread(str(pairs / "val" / f"{name}.png"))
        a, b = (cv2.resize(x, (36, 36), interpolation=cv2.INTER_AREA)[:32, :32] for x in np.hsplit(image, 2))
        assert np.abs(row[:, :32].astype(int) - a).mean() < 8  # JPEG
        assert np.abs(row[:, 64:].astype(int) - b).mean() < 8


def test_the_saved_generator_makes_the_pictures_of_the_last_grid(pairs: Path, tmp_path: Path) -> None:
    """On running statistics and without dropout, unlike in training: the grid shows what users get."""
    config = ResnetConfig(width=8, blocks=2, norm="batch", dropout=True)
    options = replace(TINY, resnet=config, norm_mode="running_stats", optim=OptimOptions(lr=5e-3))
    torch.manual_seed(0)
    path = train(Pix2pix(options), run_of(pairs, tmp_path))
    module, _ = load_generator(path)
    sheet = cv2.cvtColor(cv2.imread(str(tmp_path / "sample_000012.jpg")), cv2.COLOR_BGR2RGB)
    image = cv2.cvtColor(cv2.imread(str(pairs / "val" / "0.png")), cv2.COLOR_BGR2RGB)
    a = cv2.resize(image[:, :40], (36, 36), interpolation=cv2.INTER_AREA)
    with torch.no_grad():
        y = module(torch.from_numpy(a).permute(2, 0, 1)[None].float() / 127.5 - 1)
    output = ((y[0].permute(1, 2, 0) + 1) * 127.5).numpy()
    # JPEG loses fine colour detail, so both are blurred first.
    shown = cv2.blur(sheet[:36, 36:72].astype(np.float32), (5, 5))
    assert np.abs(shown - cv2.blur(output, (5, 5))).mean() < 4


def test_the_same_seed_trains_the_same_network(pairs: Path, tmp_path: Path) -> None:
    def run(name: str, seed: str) -> nn.Module:
        out = str(tmp_path / name)
        assert main([*cli_flags(pairs, out), "--steps", "4", "--seed", seed]) == 0
        return load_generator(Path(out) / "latest_net_G.safetensors")[0]

    first = run("first", "3")
    assert same_weights(first, run("again", "3"))
    assert not same_weights(first, run("other", "4"))


def test_training_learns_on_held_out_pictures(pairs: Path, tmp_path: Path) -> None:
    options = replace(TINY, resnet=ResnetConfig(width=8, blocks=1), optim=OptimOptions(lr=3e-3))
    run = run_of(pairs, tmp_path, steps=150, save_every=150, batch=2, load_size=None)
    torch.manual_seed(0)
    module, _ = load_generator(train(Pix2pix(options), run))
    image = cv2.cvtColor(cv2.imread(str(pairs / "val" / "0.png")), cv2.COLOR_BGR2RGB)
    a = torch.from_numpy(image[:, :40]).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        error = (module(a) + a).abs().mean()  # the target is -a
    assert error < (0 + a).abs().mean()  # better than plain gray


def test_the_val_folder_may_be_named_test(pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train").symlink_to(pairs / "train")
    with pytest.raises(TrainingError, match="no val/ or test/ folder"):
        train(Pix2pix(TINY), run_of(tmp_path / "data", tmp_path / "run", steps=1))
    (tmp_path / "data" / "test").symlink_to(pairs / "val")
    assert train(Pix2pix(TINY), run_of(tmp_path / "data", tmp_path / "run", steps=1)).is_file()


# ---------------------------------------------------------------- runs that go wrong


def test_a_loss_that_is_not_finite_stops_the_run_and_is_named(pairs: Path, tmp_path: Path) -> None:
    options = replace(TINY, optim=OptimOptions(lr=1e30))
    with pytest.raises(TrainingError, match=r"loss .*G_l1.* is not finite at step 12") as caught:
        train(Pix2pix(options), run_of(pairs, tmp_path, save_every=100))
    assert "--optim.lr" in str(caught.value)
    assert "no checkpoint was written" in str(caught.value)
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_good_checkpoint_is_never_replaced_by_a_broken_one(pairs: Path, tmp_path: Path) -> None:
    """Saving is more frequent than logging here, and the loss breaks in between."""

    class Breaking(Pix2pix):
        steps_done = 0

        def step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
            self.steps_done += 1
            return super().step(x, y * float("inf") if self.steps_done == 7 else y)

    with pytest.raises(TrainingError, match=r"not finite at step 10; the checkpoint of step 5 is good"):
        train(Breaking(TINY), run_of(pairs, tmp_path))
    module, spec = load_generator(tmp_path / "latest_net_G.safetensors")
    assert spec.steps == 5
    assert all(v.isfinite().all() for v in module.state_dict().values())


def test_weights_that_broke_in_the_last_step_are_not_saved(pairs: Path, tmp_path: Path) -> None:
    """The loss is computed before the update, so it may be the last good number."""

    class Breaking(Pix2pix):
        def step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
            losses = super().step(x, y)
            next(iter(self.generator.parameters())).data.fill_(float("nan"))
            return losses

    with pytest.raises(TrainingError, match=r"model\.1\.weight is not finite at step 1"):
        train(Breaking(TINY), run_of(pairs, tmp_path, steps=1))
    assert not list(tmp_path.glob("*.safetensors"))


@pytest.mark.parametrize(
    ("options", "changes", "message"),
    [
        (UNET, {"crop_size": 36}, "crop_size is 36; the unet needs multiples of 32"),
        (TINY, {"crop_size": 64}, "crop_size is 64; crops are cut from images of load_size 36"),
        (replace(TINY, discriminator=DiscriminatorOptions(layers=4)), {}, "4 layers needs at least 48"),
        (TINY, {"load_size": None, "crop_size": 44}, "crop_size 44 is larger than 4 images"),
        (
            replace(UNET, unet=UnetConfig(width=1, downs=7)),
            {"load_size": None, "crop_size": 128},
            "val: 2 images are smaller than 128 pixels",
        ),
        (
            replace(TINY, resnet=ResnetConfig(in_channels=1, width=2, blocks=1)),
            {},
            "1 input and 3 output channels; training reads RGB",
        ),
        (TINY, {"precision": "8-bit"}, "precision is '8-bit': .*32-true"),
        (TINY, {"data": "/nowhere"}, "/nowhere/train: no images"),
    ],
)
def test_what_does_not_fit_is_said_before_training(
    options: Pix2pixOptions, changes: dict[str, object], message: str, pairs: Path, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=message):
        train(Pix2pix(options), run_of(pairs, tmp_path / "run", **changes))
    assert not list(tmp_path.rglob("*.safetensors"))


def test_half_precision_without_a_gpu_is_refused_not_replaced(pairs: Path, tmp_path: Path) -> None:
    if torch.accelerator.is_available():
        pytest.skip("has a GPU")
    with pytest.raises(TrainingError, match="16-mixed needs a GPU; here: 32-true, bf16-mixed"):
        train(Pix2pix(TINY), run_of(pairs, tmp_path, precision="16-mixed"))


def test_bfloat16_training_saves_float32(pairs: Path, tmp_path: Path) -> None:
    module, _ = load_generator(train(Pix2pix(TINY), run_of(pairs, tmp_path, steps=2, precision="bf16-mixed")))
    weights = torch.cat([v.flatten() for v in module.parameters()])
    assert weights.dtype == torch.float32
    assert not torch.equal(weights, weights.bfloat16().float())  # the weights themselves stay precise


# ---------------------------------------------------------------- command line


def cli_flags(pairs: Path, out: str) -> list[str]:
    flags = (
        "pix2pix --generator resnet --resnet.width 2 --resnet.blocks 1 --discriminator.width 2 "
        "--discriminator.layers 1 --load-size 36 --crop-size 32 --steps 2"
    )
    return [*flags.split(), "--data", str(pairs), "--out", out]


def test_command_line_trains_and_says_what_to_run_next(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(cli_flags(pairs, str(tmp_path / "run"))) == 0
    path = tmp_path / "run" / "latest_net_G.safetensors"
    assert f"next: i2i export {path}" in capsys.readouterr().out
    _, spec = load_generator(path)
    assert spec.config == ResnetConfig(width=2, blocks=1, norm="batch", dropout=True)
    assert spec.steps == 2


def test_flags_of_the_run_and_of_the_recipe_may_be_mixed(pairs: Path, tmp_path: Path) -> None:
    flags = cli_flags(pairs, str(tmp_path))
    assert main([*flags, "--optim.lr", "0.5", "--seed", "3", "--lambda-l1", "7", "--steps", "1"]) == 0
    options = json.loads((tmp_path / "options.json").read_text())
    assert options["recipe"]["optim"]["lr"] == 0.5
    assert options["recipe"]["lambda_l1"] == 7.0
    assert (options["run"]["seed"], options["run"]["steps"]) == (3, 1)


@pytest.mark.parametrize("flags", [[], ["-h"], ["--help"], ["pix2pix", "--help"]])
def test_help_lists_every_option(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(flags) == 0
    text = capsys.readouterr().out
    for name, value in [*flatten(RunOptions()), *flatten(Pix2pixOptions())]:
        assert f"--{name} {value}\n" in f"{text}\n"


def test_unknown_recipes_list_the_known_ones() -> None:
    with pytest.raises(TrainingError, match="'pix3pix' is not known; there is: pix2pix"):
        main(["pix3pix", "--data", "x"])


def test_unknown_flags_list_those_of_run_and_recipe() -> None:
    with pytest.raises(TrainingError, match="unknown option --stepz;") as caught:
        main(["pix2pix", "--data", "x", "--stepz", "5"])
    for name, _ in [*flatten(RunOptions()), *flatten(Pix2pixOptions())]:
        assert f"--{name}" in str(caught.value)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--data DIR is needed"),
        (["--data"], "--data has no value"),
        (["--steps", "--data", "x"], "--steps has no value"),
        (["--data", "x", "--optim.lr", "fast"], "--optim.lr fast: 'fast' is not a number"),
        (["--data", "x", "--steps", "0"], "steps is 0; at least 1"),
        (["--data", "x", "--unet.downs", "9"], "--unet.downs 9: downs is 9; allowed: 5 to 8"),
        (["--data", "/nowhere"], "/nowhere/train: no images"),
    ],
)
def test_bad_flags_are_explained(
    flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "run")] if flags[:1] == ["--data"] and len(flags) > 1 else []
    with pytest.raises(TrainingError, match=message):
        main(["pix2pix", *flags, *out])
    assert i2i.main(["train", "pix2pix", *flags, *out]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_an_earlier_run_is_not_overwritten(pairs: Path, tmp_path: Path) -> None:
    run = run_of(pairs, tmp_path / "run", steps=1)
    path = train(Pix2pix(TINY), run)
    before = {p.name: p.read_bytes() for p in path.parent.iterdir()}
    with pytest.raises(TrainingError, match=r"holds a trained generator.*--overwrite true"):
        train(Pix2pix(TINY), run)
    with pytest.raises(TrainingError, match="crop_size"):  # nor by a run that cannot start
        train(Pix2pix(TINY), replace(run, crop_size=4096, load_size=None, overwrite=True))
    assert {p.name: p.read_bytes() for p in path.parent.iterdir()} == before
    train(Pix2pix(TINY), replace(run, overwrite=True))


@pytest.mark.parametrize("options", [{"lr": -1.0}, {"lr": float("nan")}, {"beta1": 2.0}, {"beta2": -0.1}])
def test_optimiser_options_that_cannot_work_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(TrainingError, match=f"optim.{next(iter(options))} is"):
        OptimOptions(**options)
