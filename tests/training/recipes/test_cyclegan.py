"""CycleGAN: the losses of the paper, who judges what, and the pool of older fakes."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_recipe import (
    PAPER_LOSSES,
    TINY_RESNET,
    Expected,
    assert_step,
    make_batch,
    make_double_step,
    make_recipe,
    measure_color_error,
)

from i2i_training.networks import ResnetConfig
from i2i_training.recipes.cyclegan import CycleGANOptions
from i2i_training.recipes.parts import OptimOptions


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"gan_mode": "vanilla", "lambda_cycle": 7.0, "lambda_identity": 0.25},
        {"gan_mode": "hinge", "lambda_identity": 0.0},
        {"resnet": replace(TINY_RESNET, norm="batch")},
        {"resnet": replace(TINY_RESNET, norm="none")},
    ],
    ids=str,
)
def test_a_step_follows_the_equations(changes: dict[str, Any]) -> None:
    """Translation and identity may share a batch, but give what two calls give."""
    recipe, batch, (real, unreal, fooled) = make_double_step("cyclegan", **changes)
    a, b, o = batch.a, batch.b, recipe.options

    def compute_expected() -> Expected:
        a_to_b, b_to_a = recipe.networks["G_A"], recipe.networks["G_B"]
        judge_of_b, judge_of_a = recipe.networks["D_A"], recipe.networks["D_B"]  # upstream's names
        fake_b, fake_a = a_to_b(a), b_to_a(b)
        cycle_a, cycle_b = (b_to_a(fake_b) - a).abs().mean(), (a_to_b(fake_a) - b).abs().mean()
        identity = (a_to_b(b) - b).abs().mean() + (b_to_a(a) - a).abs().mean()
        gan_a, gan_b = fooled(judge_of_b(fake_b)), fooled(judge_of_a(fake_a))
        loss_g = gan_a + gan_b + o.lambda_cycle * (cycle_a + cycle_b)
        loss_g = loss_g + o.lambda_cycle * o.lambda_identity * identity
        losses = {"G_A": gan_a, "G_B": gan_b, "cycle_A": cycle_a, "cycle_B": cycle_b}
        losses["identity"] = identity if o.lambda_identity else torch.zeros_like(identity)
        # The pool is empty at first, and hands the new fakes on.
        losses["D_A"] = (real(judge_of_b(b)) + unreal(judge_of_b(fake_b.detach()))) / 2
        losses["D_B"] = (real(judge_of_a(a)) + unreal(judge_of_a(fake_a.detach()))) / 2
        minimized = {"G_A": loss_g, "G_B": loss_g, "D_A": losses["D_A"], "D_B": losses["D_B"]}
        return losses, minimized

    assert_step(recipe, batch, compute_expected)


def test_only_discriminators_see_the_pool() -> None:
    recipe = make_recipe("cyclegan", pool_size=1, gan_mode="lsgan")
    recipe.set_learning_rate(0.0)
    real, unreal, fooled = PAPER_LOSSES["lsgan"]
    older = 0
    for seed in range(8):
        batch = make_batch(recipe, seed, count=1)
        with torch.no_grad():
            fakes = {"D_A": recipe.networks["G_A"](batch.a), "D_B": recipe.networks["G_B"](batch.b)}
            shown = {name: copy.deepcopy(recipe.pools[name]).swap(fake) for name, fake in fakes.items()}
        losses = recipe.step(batch)
        with torch.no_grad():
            for name, judged, truth in (("D_A", "G_A", batch.b), ("D_B", "G_B", batch.a)):
                d = recipe.networks[name]
                torch.testing.assert_close(losses[name], (real(d(truth)) + unreal(d(shown[name]))) / 2)
                torch.testing.assert_close(losses[judged], fooled(d(fakes[name])))
                older += not torch.equal(shown[name], fakes[name])
    assert older > 0


def test_no_identity_loss_means_no_work_for_it() -> None:
    recipe = make_recipe("cyclegan", lambda_identity=0.0)
    calls: list[int] = []
    recipe.networks["G_A"].register_forward_hook(lambda _net, inputs, _out: calls.append(len(inputs[0])))
    losses = recipe.step(make_batch(recipe))
    assert calls == [2, 2]  # the translation of a, and the way back of b
    assert float(losses["identity"]) == 0


def test_defaults_are_the_papers() -> None:
    options = CycleGANOptions()
    assert (options.lambda_cycle, options.lambda_identity, options.pool_size) == (10.0, 0.5, 50)
    assert options.gan_mode == "lsgan" and options.optim == OptimOptions(2e-4, 0.5, 0.999)
    assert options.resnet == ResnetConfig(3, 3, width=64, blocks=9, norm="instance")


def test_gray_becomes_orange_without_pairs() -> None:
    recipe = make_recipe("cyclegan", lambda_identity=0.0, lambda_cycle=3.0, optim=OptimOptions(lr=5e-3))
    assert measure_color_error(recipe, steps=60) < 0.4
