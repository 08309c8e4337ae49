"""Whole runs in small, and runs that go wrong."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from data_folders import write_image
from tiny_networks import has_same_weights
from tiny_runs import RESNET, TINY, D, bit_for_bit, make_run, make_seeded_recipe, train_tiny
from torch import Tensor

from i2i_sdk.errors import I2IError, TrainingError
from i2i_training.checkpoint import load_generator
from i2i_training.data import Batch
from i2i_training.loop import run_training
from i2i_training.networks import ResnetConfig
from i2i_training.options import apply_values, read_config
from i2i_training.recipes import RECIPES, Recipe
from i2i_training.recipes.parts import OptimOptions
from i2i_training.run.journal import read_metrics
from i2i_training.run.run_options import RunOptions
from i2i_training.run.stopping import StopSignals

Step = Callable[[Batch], dict[str, Tensor]]
TWO_WAY_RECIPES = ("cyclegan", "unit")
PIX2PIX = TINY["pix2pix"]
DIVERGING = [(name, mode) for name in ("pix2pix", "cyclegan", "cut", "unit") for mode in ("lsgan",)]
DIVERGING += [("encdec", "wgan-gp"), ("dcgan", "vanilla"), ("pix2pix", "vanilla")]
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def make_changed_recipe(change: Callable[[Batch, Step], dict[str, Tensor]]) -> Recipe:
    """A pix2pix with another step, which is given the batch and the real step."""
    recipe = make_seeded_recipe("pix2pix")
    step = recipe.step
    recipe.step = lambda batch: change(batch, step)
    return recipe


# ---------------------------------------------------------------- whole runs


@pytest.mark.parametrize("name", RECIPES)
def test_a_run_leaves_everything_it_promises(name: str, pictures: Path, tmp_path: Path) -> None:
    run = make_run(pictures, tmp_path, trained_on="noise", license="Apache-2.0", steps=7)
    recipe = make_seeded_recipe(name)
    outcome = run_training(recipe, run)
    assert (outcome.steps, outcome.is_finished, outcome.stop_reason) == (7, True, "")

    suffixes = ("_A", "_B") if name in TWO_WAY_RECIPES else ("",)
    assert outcome.generator_paths == tuple(tmp_path / f"latest_net_G{s}.safetensors" for s in suffixes)
    grids = {"dcgan": ("samples",)}.get(name, ("AtoB", "BtoA") if name in TWO_WAY_RECIPES else ("AtoB",))
    samples = [f"samples/step_{step:06d}_{grid}.jpg" for step in (5, 7) for grid in grids]
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.*")) == sorted(
        ["config.toml", "machine.json", "metrics.csv", "state.pt", *samples]
        + [f"{kind}_net_G{s}.safetensors" for kind in ("latest", "best") for s in suffixes]
    )

    for generator, path in zip(recipe.list_generators(recipe.networks), outcome.generator_paths, strict=True):
        module, spec = load_generator(path)
        assert (spec.steps, spec.size, spec.recipe, spec.config) == (7, 32, name, generator.config)
        assert (spec.trained_on, spec.license, spec.direction) == ("noise", "Apache-2.0", generator.direction)
        assert spec.norm_mode == generator.norm_mode
        assert has_same_weights(module, generator.module)

    curves = read_metrics(tmp_path / "metrics.csv")
    assert [step for step, _ in curves["run", "lr"]] == [5, 7]
    assert any(kind == "loss" for kind, _ in curves)
    assert [step for step, _ in curves["score", "swd"]] == [5, 7]
    assert all(np.isfinite([v for _, v in curve]).all() for curve in curves.values())

    table = read_config(tmp_path / "config.toml")
    assert apply_values((RunOptions(), RECIPES[name].options()), table, "file") == (run, TINY[name])


def test_a_run_of_the_other_direction(pictures: Path, tmp_path: Path) -> None:
    outcome = train_tiny(make_run(pictures, tmp_path, direction="BtoA", steps=2))
    assert load_generator(outcome.generator_paths[0])[1].direction == "BtoA"
    sheet = cv2.imread(str(next((tmp_path / "samples").glob("*.jpg"))))
    image = cv2.imread(str(pictures / "val" / "0.png"))
    shown = sheet[-148:-4, 4:148]  # the last row's first cell: the input, enlarged four times
    right = cv2.resize(image[:, 40:], (36, 36), interpolation=cv2.INTER_AREA)
    assert np.abs(cv2.resize(shown, (36, 36)).astype(int) - right).mean() < 12  # JPEG


@pytest.mark.parametrize("name", TWO_WAY_RECIPES)
def test_both_directions_cannot_be_turned_round(name: str, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=f"{name} trains both: leave it out"):
        train_tiny(make_run(pictures, tmp_path / "run", direction="BtoA"), name)


def test_averages_are_what_is_kept(pictures: Path, tmp_path: Path) -> None:
    recipe = make_seeded_recipe("cyclegan")
    run_training(recipe, make_run(pictures, tmp_path, ema=0.5))
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    module, _ = load_generator(tmp_path / "latest_net_G_B.safetensors")
    averaged = state["averages"]["G_B"]
    assert all(torch.equal(v.cpu(), averaged[f"module.{k}"].cpu()) for k, v in module.state_dict().items())
    assert not has_same_weights(module, recipe.networks["G_B"])


def test_training_learns_on_held_out_pictures(pictures: Path, tmp_path: Path) -> None:
    wider = {"resnet": ResnetConfig(width=8, blocks=1), "discriminator": D}
    options = replace(PIX2PIX, **wider, optim=OptimOptions(lr=3e-3))
    changes = {"batch": 2, "load_size": None, "schedule": "constant"}
    run = make_run(pictures, tmp_path, steps=120, save_every=120, **changes)
    module, _ = load_generator(train_tiny(run, options=options).generator_paths[0])
    image = cv2.cvtColor(cv2.imread(str(pictures / "val" / "0.png")), cv2.COLOR_BGR2RGB)
    a = torch.from_numpy(image[:, :40]).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        error = (module(a) + a).abs().mean()  # the target is -a
    assert error < 0.8 * a.abs().mean()  # better than plain gray


@bit_for_bit
def test_the_same_seed_trains_the_same_network(pictures: Path, tmp_path: Path) -> None:
    paths = [train_tiny(make_run(pictures, tmp_path / str(n), steps=3)).generator_paths[0] for n in range(2)]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    other = train_tiny(make_run(pictures, tmp_path / "other", steps=3, seed=4)).generator_paths[0]
    assert other.read_bytes() != paths[0].read_bytes()


@pytest.mark.parametrize("precision", ["bf16-mixed", pytest.param("16-mixed", marks=needs_gpu)])
def test_half_precision_training_saves_float32(precision: str, pictures: Path, tmp_path: Path) -> None:
    outcome = train_tiny(make_run(pictures, tmp_path, steps=2, precision=precision))
    weights = torch.cat([v.flatten() for v in load_generator(outcome.generator_paths[0])[0].parameters()])
    assert weights.dtype == torch.float32
    for half in (torch.bfloat16, torch.float16):  # the weights themselves stay precise
        assert not torch.equal(weights, weights.to(half).float())


def test_many_channels_and_gray_train_too(tmp_path: Path) -> None:
    """Such images are in no grid, and only L1 can compare them."""
    random = np.random.default_rng(0)
    for n in range(4):
        write_image(tmp_path / "A" / f"{n}.npy", random.integers(0, 256, (40, 40, 5), np.uint8))
        write_image(tmp_path / "B" / f"{n}.npy", random.integers(0, 256, (40, 40, 1), np.uint8))

    found: dict[str, set[str]] = {}
    for direction, channels in (("AtoB", (5, 1)), ("BtoA", (1, 5))):
        out = tmp_path / direction
        run = make_run(tmp_path, out, direction=direction, channels_a=5, channels_b=1, load_size=None)
        resnet = replace(RESNET, in_channels=channels[0], out_channels=channels[1])
        train_tiny(replace(run, steps=2), options=replace(PIX2PIX, resnet=resnet))
        files = {p.name for p in out.rglob("*.*")}
        assert {"step_000002_AtoB.jpg", "best_net_G.safetensors"} <= files  # the inputs can be shown
        found[direction] = {name for kind, name in read_metrics(out / "metrics.csv") if kind == "score"}
    assert {"l1", "psnr", "ssim", "swd"} <= found["AtoB"] and found["BtoA"] == {"l1"}


def test_without_any_score_only_the_latest_is_kept(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name in ("trainA", "trainB"):
        for n in range(3):
            write_image(tmp_path / name / f"{n}.npy", random.integers(0, 256, (40, 40, 2), np.uint8))
    options = replace(TINY["encdec"], network=replace(TINY["encdec"].network, in_channels=2, out_channels=2))
    run = make_run(tmp_path, tmp_path / "run", channels_a=2, channels_b=2, steps=2)
    with pytest.raises(TrainingError, match="schedule is 'plateau', but these images have no score"):
        train_tiny(replace(run, schedule="plateau"), "encdec", options=options)
    train_tiny(run, "encdec", options=options)
    assert {p.name for p in (tmp_path / "run").glob("*.safetensors")} == {"latest_net_G.safetensors"}
    assert not (tmp_path / "run" / "samples").exists()


# ---------------------------------------------------------------- losses and weights that break


def read_snapshot(folder: Path) -> dict[str, bytes]:
    """Files of a checkpoint."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix in (".safetensors", ".pt")}


def test_a_loss_that_is_not_finite_is_named_before_anything_was_saved(pictures: Path, tmp_path: Path) -> None:
    options = replace(PIX2PIX, optim=OptimOptions(lr=1e30))
    run = make_run(pictures, tmp_path, save_every=100, log_every=100)
    with pytest.raises(TrainingError, match=r"^loss G_gan is not finite at step 1;") as caught:
        train_tiny(run, options=options)
    assert "no checkpoint was written. Begin again with a lower --optim.lr" in str(caught.value)
    assert not read_snapshot(tmp_path)


@pytest.mark.parametrize("lr", [1e2, 1e6])
@pytest.mark.parametrize(("name", "gan_mode"), DIVERGING)
def test_a_run_that_diverges_is_ended(
    name: str, gan_mode: str, lr: float, pictures: Path, tmp_path: Path
) -> None:
    """Numbers all the way, and of no use; a run of three steps says so, too."""
    options = replace(TINY[name], optim=OptimOptions(lr=lr), gan_mode=gan_mode)
    with pytest.raises(TrainingError, match=r"^loss \S+ grew to \d\.\de\+\d+ at step \d, so") as caught:
        train_tiny(make_run(pictures, tmp_path, steps=3), name, options=options)
    assert "no checkpoint was written. Begin again with a lower --optim.lr" in str(caught.value)
    assert not read_snapshot(tmp_path)


@pytest.mark.parametrize(("size", "is_over"), [(9.9e3, False), (1.1e4, True), (-5e14, True)])
def test_losses_beyond_any_use_keep_the_last_good_checkpoint(
    size: float, is_over: bool, pictures: Path, tmp_path: Path
) -> None:
    steps = count(1)

    def growing(batch: Batch, step: Step) -> dict[str, Tensor]:
        factor = 0.0 if next(steps) != 7 else size  # in this step alone, between two looks
        return {name: loss * 0 + factor * (name == "D") for name, loss in step(batch).items()}

    run = make_run(pictures, tmp_path, log_every=3)
    if not is_over:
        assert run_training(make_changed_recipe(growing), run).is_finished
        return
    with pytest.raises(
        TrainingError, match=rf"^loss D grew to {abs(size):.1e} at step 7, so the t".replace("+", r"\+")
    ) as caught:
        run_training(make_changed_recipe(growing), run)
    assert f"the checkpoint of step 5 in {tmp_path} is good. Go on from there: i2i train" in str(caught.value)
    assert load_generator(tmp_path / "latest_net_G.safetensors")[1].steps == 5


def test_the_penalty_of_a_critic_may_begin_high(pictures: Path, tmp_path: Path) -> None:
    """Its first steps reach tens of thousands in runs that end well."""
    recipe = make_seeded_recipe("encdec")
    step, steps = recipe.step, count(1)
    recipe.step = lambda batch: step(batch) | ({"D": torch.tensor(4.4e4)} if next(steps) == 1 else {})
    assert recipe.options.gan_mode == "wgan-gp"
    assert run_training(recipe, make_run(pictures, tmp_path, steps=2)).is_finished


def test_a_good_checkpoint_is_never_replaced_by_a_broken_one(pictures: Path, tmp_path: Path) -> None:
    seen: list[dict[str, bytes]] = []

    def breaking(batch: Batch, step: Step) -> dict[str, Tensor]:
        seen.append(read_snapshot(tmp_path))
        return step(Batch(batch.a, batch.b * float("inf")) if len(seen) == 7 else batch)

    with pytest.raises(TrainingError) as caught:
        run_training(make_changed_recipe(breaking), make_run(pictures, tmp_path))
    assert "loss D, loss G_gan, loss G_l1 is not finite at step 7" in str(caught.value)
    assert f"the checkpoint of step 5 in {tmp_path} is good" in str(caught.value)
    assert f"i2i train --resume {tmp_path}, with a lower --optim.lr" in str(caught.value)
    assert read_snapshot(tmp_path) == seen[6] != {}
    module, spec = load_generator(tmp_path / "latest_net_G.safetensors")
    assert spec.steps == 5
    assert all(v.isfinite().all() for v in module.state_dict().values())
    assert train_tiny(make_run(pictures, tmp_path), resume=True).is_finished  # this time nothing breaks


def test_only_the_loss_that_broke_first_is_named(pictures: Path, tmp_path: Path) -> None:
    """What it broke in the steps after, before anyone looked, says nothing."""
    steps = count(1)

    def breaking(batch: Batch, step: Step) -> dict[str, Tensor]:
        bad = {3: ["G_l1"], 4: ["D", "G_l1"]}.get(next(steps), [])
        return {n: loss * float("nan") if n in bad else loss for n, loss in step(batch).items()}

    run = make_run(pictures, tmp_path, save_every=100, log_every=10)
    with pytest.raises(TrainingError, match=r"^loss G_l1 is not finite at step 3;"):
        run_training(make_changed_recipe(breaking), run)
    assert next(steps) == 11


@pytest.mark.parametrize("network", ["G", "D"])
def test_weights_that_broke_last_are_not_saved(network: str, pictures: Path, tmp_path: Path) -> None:
    """The losses are computed before the update, so they may be the last good numbers."""

    def breaking(batch: Batch, step: Step) -> dict[str, Tensor]:
        losses = step(batch)
        next(recipe.networks[network].parameters()).data.fill_(float("nan"))
        return losses

    recipe = make_changed_recipe(breaking)
    with pytest.raises(TrainingError, match=rf"{network}\.model\.\S*weight is not finite at step 1; no"):
        run_training(recipe, make_run(pictures, tmp_path, steps=1))
    assert not read_snapshot(tmp_path)
    assert not (tmp_path / "samples").exists()  # nor were pictures made of them


def test_a_broken_run_that_is_stopped_is_not_saved_either(pictures: Path, tmp_path: Path) -> None:
    def breaking(batch: Batch, step: Step) -> dict[str, Tensor]:
        signal.raise_signal(signal.SIGTERM)
        return step(Batch(batch.a, batch.b * float("nan")))

    with pytest.raises(TrainingError, match="is not finite at step 1; no checkpoint"):
        run_training(make_changed_recipe(breaking), make_run(pictures, tmp_path))
    assert not read_snapshot(tmp_path)


# ---------------------------------------------------------------- stopping


def test_a_second_ctrl_c_ends_the_run_at_once(pictures: Path, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    steps: list[int] = []

    def interrupted(batch: Batch, step: Step) -> dict[str, Tensor]:
        steps.append(1)
        if len(steps) == 7:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        return step(batch)

    with pytest.raises(KeyboardInterrupt):
        run_training(make_changed_recipe(interrupted), make_run(pictures, tmp_path))
    assert len(steps) == 7
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 5
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert not list(tmp_path.glob(".*"))


def test_a_signal_in_the_last_step_finishes_the_run(pictures: Path, tmp_path: Path) -> None:
    def interrupted(batch: Batch, step: Step) -> dict[str, Tensor]:
        signal.raise_signal(signal.SIGTERM)
        return step(batch)

    assert run_training(make_changed_recipe(interrupted), make_run(pictures, tmp_path, steps=1)).is_finished


def test_signals_are_for_the_main_thread() -> None:
    """In another one Python allows no handlers; training there must work all the same."""
    asked: list[str] = []

    def inside() -> None:
        with StopSignals() as signals:
            asked.append(signals.signal_name)

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert asked == [""]


# ---------------------------------------------------------------- the folder


def test_an_earlier_run_is_not_overwritten(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = make_run(pictures, out, steps=6)
    train_tiny(run)
    before = {p.name: p.read_bytes() for p in out.rglob("*.*")}
    with pytest.raises(TrainingError, match=r"an earlier run \(state\.pt\); go on with it: i2i train --r"):
        train_tiny(run)
    for broken in ({"crop_size": 4096, "load_size": None}, {"data": "/nowhere"}, {"best_by": "miou"}):
        with pytest.raises(I2IError):  # nor by a run that cannot start
            train_tiny(replace(run, overwrite=True, **broken))
    assert {p.name: p.read_bytes() for p in out.rglob("*.*")} == before

    train_tiny(replace(run, overwrite=True, steps=2), "encdec")
    assert not {"step_000006_AtoB.jpg", "step_000005_AtoB.jpg"} & {p.name for p in out.rglob("*.*")}
    assert load_generator(out / "best_net_G.safetensors")[1].recipe == "encdec"
    assert max(step for step, _ in read_metrics(out / "metrics.csv")["loss", "D"]) == 2

    # What is left of a run without a state cannot go on.
    (out / "state.pt").unlink()
    with pytest.raises(TrainingError, match=r"an earlier run \(latest_net_G\.safetensors\); choose anoth"):
        train_tiny(run)


def test_what_a_killed_process_left_half_written_goes(pictures: Path, tmp_path: Path) -> None:
    left = [tmp_path / ".state.partial123.pt", tmp_path / ".latest_net_G.partial123.safetensors"]
    for path in left:
        path.write_bytes(b"half")
    other = tmp_path / "notes.txt"
    other.write_text("mine")
    train_tiny(make_run(pictures, tmp_path, steps=1))
    assert other.exists() and not any(path.exists() for path in left)
