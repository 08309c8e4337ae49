"""pix2pix: the losses of the paper, a whole run in small, and what happens when one goes wrong."""

from __future__ import annotations

import copy
import csv
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.fabric import Fabric
from tiny_networks import same_weights
from torch import Tensor, nn

from i2i_sdk import cli as i2i
from i2i_sdk.errors import TrainingError
from i2i_training.checkpoint import load_generator
from i2i_training.cli import main
from i2i_training.loop import RunOptions, learning_rate_factor, train
from i2i_training.networks import ResnetConfig, UnetConfig
from i2i_training.objectives import GAN_OBJECTIVES
from i2i_training.options import flatten
from i2i_training.recipes.pix2pix import DiscriminatorOptions, OptimOptions, Pix2pix, Pix2pixOptions

TINY_D = DiscriminatorOptions(width=4, layers=1, norm="instance")
TINY = Pix2pixOptions(
    generator="resnet",
    resnet=ResnetConfig(width=4, blocks=1),
    discriminator=TINY_D,
    optim=OptimOptions(lr=1e-3),
)


def recipe_of(options: Pix2pixOptions = TINY, seed: int = 0) -> Pix2pix:
    torch.manual_seed(seed)
    recipe = Pix2pix(options)
    recipe.setup(Fabric(accelerator="cpu", devices=1))
    return recipe


def pair(seed: int = 0, batch: int = 2, side: int = 32) -> tuple[Tensor, Tensor]:
    """x, and y = its negative."""
    x = torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return x, -x


def copied(module: nn.Module) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in module.state_dict().items()}


# ---------------------------------------------------------------- objectives


@pytest.mark.parametrize("score", [-30.0, -1.0, 0.0, 0.5, 2.0])
def test_objectives_follow_their_papers(score: float) -> None:
    scores = torch.full((2, 1, 3, 3), score, dtype=torch.float64)
    vanilla, lsgan = GAN_OBJECTIVES["vanilla"], GAN_OBJECTIVES["lsgan"]
    sigmoid = torch.sigmoid(torch.tensor(score, dtype=torch.float64))
    torch.testing.assert_close(vanilla(scores, True), -sigmoid.log())
    torch.testing.assert_close(vanilla(scores, False), -torch.sigmoid(-torch.tensor(score).double()).log())
    assert float(lsgan(scores, True)) == pytest.approx((score - 1) ** 2)
    assert float(lsgan(scores, False)) == pytest.approx(score**2)


# ---------------------------------------------------------------- one step


def test_one_step_changes_every_layer_of_both_networks() -> None:
    recipe = recipe_of()
    before = copied(recipe.generator), copied(recipe.discriminator)
    losses = recipe.step(*pair())
    for network, old in zip((recipe.generator, recipe.discriminator), before, strict=True):
        weights = [k for k in old if k.endswith("weight")]
        assert weights
        assert all(not torch.equal(network.state_dict()[k], old[k]) for k in weights)
    assert set(losses) == {"D", "G_gan", "G_l1"}
    assert all(v.isfinite() and v >= 0 and not v.requires_grad for v in losses.values())


@pytest.mark.parametrize("mode", ["vanilla", "lsgan"])
def test_losses_are_those_of_the_paper(mode: str) -> None:
    recipe = recipe_of(replace(TINY, gan_mode=mode))
    x, y = pair()
    generator, before = copy.deepcopy(recipe.generator), copy.deepcopy(recipe.discriminator)
    losses = recipe.step(x, y)
    with torch.no_grad():
        fake = generator(x)
        scores = {
            "real": before(x, y),
            "fake": before(x, fake),
            "fooled": recipe.discriminator(x, fake),  # G is judged by the D that was just updated
        }
    if mode == "vanilla":
        real, unreal = (lambda s: F.softplus(-s).mean()), (lambda s: F.softplus(s).mean())
    else:
        real, unreal = (lambda s: ((s - 1) ** 2).mean()), (lambda s: (s**2).mean())
    torch.testing.assert_close(losses["D"], (real(scores["real"]) + unreal(scores["fake"])) / 2)
    torch.testing.assert_close(losses["G_gan"], real(scores["fooled"]))
    torch.testing.assert_close(losses["G_l1"], (fake - y).abs().mean())


def test_an_untrained_discriminator_is_undecided() -> None:
    losses = recipe_of().step(*pair())
    assert float(losses["D"]) == pytest.approx(np.log(2), abs=0.02)


def test_the_discriminator_sees_input_and_output_together() -> None:
    recipe = recipe_of()
    seen: list[tuple[Tensor, ...]] = []
    recipe.discriminator.register_forward_hook(lambda _net, inputs, _scores: seen.append(inputs))
    x, y = pair()
    fake = copy.deepcopy(recipe.generator)(x).detach()
    recipe.step(x, y)
    shown = [(a, b.detach()) for a, b in seen]
    assert len(shown) == 3  # real and fake for D, fake for G
    assert all(torch.equal(a, x) for a, _ in shown)
    assert torch.equal(shown[0][1], y)
    assert torch.equal(shown[1][1], fake)
    assert torch.equal(shown[2][1], fake)
    assert not seen[1][1].requires_grad  # D's update does not reach G
    assert seen[2][1].requires_grad


def gradients(options: Pix2pixOptions) -> Tensor:
    """G's gradient in the first step, from the same start."""
    recipe = recipe_of(options)
    recipe.step(*pair())
    return torch.cat([p.grad.flatten() for p in recipe.generator.parameters() if p.grad is not None])


def test_the_l1_weight_weighs_l1() -> None:
    l1 = gradients(replace(TINY, lambda_gan=0.0, lambda_l1=1.0))
    gan = gradients(replace(TINY, lambda_gan=1.0, lambda_l1=0.0))
    both = gradients(TINY)  # the paper's 100
    assert l1.abs().max() > 0
    assert gan.abs().max() > 0
    torch.testing.assert_close(both, gan + 100 * l1, rtol=1e-3, atol=1e-5)


def test_updating_the_generator_leaves_the_discriminator_trainable() -> None:
    recipe = recipe_of()
    recipe.step(*pair())
    assert all(p.requires_grad for p in recipe.discriminator.parameters())
    after_one = copied(recipe.discriminator)
    recipe.step(*pair())
    assert any(not torch.equal(v, after_one[k]) for k, v in recipe.discriminator.state_dict().items())


def test_the_generator_does_not_train_the_discriminator() -> None:
    """With D's learning rate at zero, only G may move."""
    recipe = recipe_of()
    before = copied(recipe.discriminator)
    for group in recipe.optimizers["D"].param_groups:
        group["lr"] = 0.0
    recipe.step(*pair())
    assert all(torch.equal(v, before[k]) for k, v in recipe.discriminator.state_dict().items())


def test_one_pair_is_learnt_by_heart() -> None:
    recipe = recipe_of(replace(TINY, optim=OptimOptions(lr=4e-3), resnet=ResnetConfig(width=8, blocks=1)))
    x, y = pair(batch=1)
    first = float(recipe.step(x, y)["G_l1"])
    for _ in range(150):
        last = float(recipe.step(x, y)["G_l1"])
    assert last < first / 2


def test_the_spec_describes_the_generator() -> None:
    batch = replace(TINY.resnet, norm="batch")
    assert recipe_of().spec(steps=5).norm_mode == "none"
    spec = recipe_of(replace(TINY, resnet=batch, norm_mode="running_stats")).spec(steps=5, direction="BtoA")
    assert (spec.config, spec.norm_mode, spec.recipe) == (batch, "running_stats", "pix2pix")
    assert (spec.steps, spec.direction) == (5, "BtoA")


# ---------------------------------------------------------------- learning rate


def test_learning_rate_is_flat_then_falls_to_nothing() -> None:
    factors = [learning_rate_factor(step, 100, 0.5) for step in range(1, 101)]
    assert factors[:50] == [1.0] * 50
    assert factors[50] == pytest.approx(50 / 51)
    assert factors[99] == pytest.approx(1 / 51)
    falls = np.diff(factors[49:])
    assert np.allclose(falls, -1 / 51)  # linear


def test_learning_rate_at_the_ends_of_the_option() -> None:
    assert [learning_rate_factor(s, 10, 1.0) for s in range(1, 11)] == [1.0] * 10
    assert learning_rate_factor(1, 10, 0.0) == pytest.approx(10 / 11)
    assert learning_rate_factor(1, 1, 0.5) > 0  # a run of one step learns something


def test_learning_rate_reaches_both_optimisers() -> None:
    recipe = recipe_of()
    recipe.scale_learning_rate(0.25)
    recipe.scale_learning_rate(0.5)  # of the option, not of what it was
    for optimizer in recipe.optimizers.values():
        assert [group["lr"] for group in optimizer.param_groups] == [5e-4]


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
    path = train(Pix2pix(UNET), run_of(pairs, tmp_path))
    module, _ = load_generator(path)
    sheet = cv2.cvtColor(cv2.imread(str(tmp_path / "sample_000012.jpg")), cv2.COLOR_BGR2RGB)
    image = cv2.cvtColor(cv2.imread(str(pairs / "val" / "0.png")), cv2.COLOR_BGR2RGB)
    a = cv2.resize(image[:, :40], (36, 36), interpolation=cv2.INTER_AREA)[:32, :32]
    with torch.no_grad():
        y = module(torch.from_numpy(a).permute(2, 0, 1)[None].float() / 127.5 - 1)
    output = ((y[0].permute(1, 2, 0) + 1) * 127.5).numpy()
    assert np.abs(sheet[:32, 32:64].astype(float) - output).mean() < 8


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


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Pix2pixOptions(generator="vit"), "generator is 'vit'; allowed: unet, resnet"),
        (lambda: Pix2pixOptions(gan_mode="wgan"), "gan_mode is 'wgan'; allowed: vanilla, lsgan"),
        (
            lambda: Pix2pixOptions(norm_mode="eval"),
            "norm_mode is 'eval'; allowed: batch_stats, running_stats",
        ),
        (lambda: Pix2pixOptions(init="ones"), "init is 'ones'; allowed: normal, xavier"),
        (lambda: DiscriminatorOptions(norm="bacth"), "discriminator.norm is 'bacth'; allowed: instance"),
        (lambda: DiscriminatorOptions(layers=0), "discriminator.layers is 0; at least 1"),
        (lambda: RunOptions(direction="atob"), "direction is 'atob'; allowed: AtoB, BtoA"),
        (lambda: RunOptions(steps=0), "steps is 0; at least 1"),
        (lambda: RunOptions(batch=0), "batch is 0; at least 1"),
        (lambda: RunOptions(save_every=0), "save_every is 0; at least 1"),
        (lambda: RunOptions(crop_size=-8), "crop_size is -8; at least 1"),
    ],
)
def test_impossible_options_are_named_with_what_is_allowed(make: object, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        make()  # pyright: ignore[reportCallIssue]


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
