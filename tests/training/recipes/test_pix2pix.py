"""pix2pix: the losses of the paper, and what one step changes."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from tiny_recipe import PAPER_LOSSES, TINY, Expected, assert_step, copy_state, make_double_step, make_recipe

from i2i_training.data import Batch
from i2i_training.networks import ResnetConfig, UnetConfig
from i2i_training.recipes.parts import DiscriminatorOptions, OptimOptions


def make_pair(seed: int = 0, count: int = 2, side: int = 16) -> Batch:
    """x, and y = its negative."""
    x = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return Batch(x, -x)


@pytest.mark.parametrize("mode", ["vanilla", "lsgan", "hinge"])
def test_a_step_follows_the_equations(mode: str) -> None:
    changes = {"gan_mode": mode, "lambda_l1": 30.0, "lambda_gan": 0.7}
    recipe, batch, (real, unreal, fooled) = make_double_step("pix2pix", **changes)
    x, y = batch.a, batch.b

    def compute_expected() -> Expected:
        g, d = recipe.networks["G"], recipe.networks["D"]
        fake = g(x)
        loss_d = (real(d(torch.cat([x, y], 1))) + unreal(d(torch.cat([x, fake.detach()], 1)))) / 2
        loss_gan = fooled(d(torch.cat([x, fake], 1)))
        l1 = (y - fake).abs().mean()
        return {"D": loss_d, "G_gan": loss_gan, "G_l1": l1}, {"D": loss_d, "G": 0.7 * loss_gan + 30 * l1}

    assert_step(recipe, batch, compute_expected)


def test_the_generator_is_judged_by_the_discriminator_that_just_learned() -> None:
    recipe = make_recipe("pix2pix")
    batch, generator = make_pair(), copy.deepcopy(recipe.networks["G"])
    losses = recipe.step(batch)
    with torch.no_grad():
        scores = recipe.networks["D"](batch.a, generator(batch.a))
    torch.testing.assert_close(losses["G_gan"], PAPER_LOSSES["vanilla"][2](scores))


def test_one_pair_is_learned_by_heart() -> None:
    recipe = make_recipe("pix2pix", optim=OptimOptions(lr=4e-3), resnet=ResnetConfig(width=8, blocks=1))
    batch = make_pair(count=1)
    first = float(recipe.step(batch)["G_l1"])
    for _ in range(40):
        last = float(recipe.step(batch)["G_l1"])
    assert last < first / 2


def test_batchnorm_runs_at_test_time_as_the_option_says() -> None:
    batch = {"resnet": replace(TINY.resnet, norm="batch")}
    running = {**batch, "norm_mode": "running_stats"}
    for changes, norm_mode in (({}, "none"), (batch, "batch_stats"), (running, "running_stats")):
        recipe = make_recipe("pix2pix", **changes)
        (generator,) = recipe.list_generators(recipe.networks)
        assert (generator.config, generator.norm_mode) == (recipe.options.resnet, norm_mode)


def test_the_unet_is_built_and_trains_on_one_pair() -> None:
    """BatchNorm sees one pixel of one picture at the bottom, where upstream has none."""
    recipe = make_recipe("pix2pix", generator="unet", unet=UnetConfig(width=2, downs=5))
    before = copy_state(recipe.networks["G"])
    losses = recipe.step(make_pair(count=1, side=32))
    assert all(v.isfinite() for v in losses.values())
    weights = [k for k in before if k.endswith("weight")]
    assert [k for k in weights if torch.equal(recipe.networks["G"].state_dict()[k], before[k])] == []


def test_the_usual_discriminator_is_the_papers() -> None:
    """70x70 patches, BatchNorm; pairs of 3 + 3 channels."""
    assert DiscriminatorOptions(norm="batch") == replace(TINY.discriminator, width=64, layers=3, norm="batch")
    first = next(make_recipe("pix2pix").networks["D"].parameters())
    assert first.shape[1] == 6
