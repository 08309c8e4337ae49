"""DCGAN: the losses of the paper, and noise that becomes pictures of the data's kind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_recipe import TINY_DCGAN, Expected, assert_step, make_batch, make_double_step, make_recipe
from torch import Tensor, nn

from i2i_training.data import Batch
from i2i_training.recipes.parts import OptimOptions


@pytest.mark.parametrize(
    "changes", [{}, {"gan_mode": "hinge", "discriminator_norm": "none"}, {"gan_mode": "lsgan"}], ids=str
)
def test_a_step_follows_the_equation(changes: dict[str, Any]) -> None:
    recipe, batch, (real, unreal, fooled) = make_double_step("dcgan", count=3, **changes)

    def compute_expected() -> Expected:
        g, d = recipe.networks["G"], recipe.networks["D"]
        fake = g(torch.randn(3, TINY_DCGAN.latent).double())
        loss_d = (real(d(batch.b)) + unreal(d(fake.detach()))) / 2
        gan = fooled(d(fake))
        return {"D": loss_d, "G_gan": gan}, {"D": loss_d, "G": gan}

    assert_step(recipe, batch, compute_expected)


def test_every_step_draws_new_noise() -> None:
    recipe = make_recipe("dcgan")
    seen: list[Tensor] = []
    recipe.networks["G"].register_forward_hook(lambda _net, inputs, _out: seen.append(inputs[0]))
    for _ in range(2):
        recipe.step(make_batch(recipe))
    assert seen[0].shape == (2, TINY_DCGAN.latent)
    assert not torch.equal(seen[0], seen[1])


def test_its_generator_is_a_sampler_on_running_statistics() -> None:
    recipe = make_recipe("dcgan")
    (generator,) = recipe.list_generators(recipe.networks)
    assert (generator.suffix, generator.norm_mode) == ("", "running_stats")
    alone = replace(TINY_DCGAN, norm="none")
    assert make_recipe("dcgan", network=alone).list_generators(recipe.networks)[0].norm_mode == "none"


def test_the_discriminators_norm_is_the_options() -> None:
    kinds = {"batch": nn.BatchNorm2d, "instance": nn.InstanceNorm2d}
    for norm in ("batch", "instance", "none"):
        layers = list(make_recipe("dcgan", discriminator_norm=norm).networks["D"].modules())
        found = {name for name, kind in kinds.items() if any(isinstance(x, kind) for x in layers)}
        assert found == {norm} & set(kinds)


def test_the_color_of_constant_pictures_is_learned() -> None:
    recipe = make_recipe("dcgan", network=replace(TINY_DCGAN, width=4), optim=OptimOptions(lr=4e-3))
    color = torch.tensor((0.8, -0.1, -0.6))[:, None, None]
    noise = torch.randn(64, TINY_DCGAN.latent, generator=torch.Generator().manual_seed(1))

    def compute_error() -> float:
        with torch.no_grad():
            made = recipe.list_generators(recipe.networks)[0].module(noise)
        return float((made.mean((0, 2, 3)) - color.flatten()).abs().max())

    before = compute_error()
    for _ in range(150):
        recipe.step(Batch(None, color.expand(4, 3, 32, 32)))
    assert before > 0.5 and compute_error() < 0.3
