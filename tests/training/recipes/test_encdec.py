"""The baseline: reconstruction and an adversary, nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_recipe import Expected, assert_step, make_double_step, make_recipe, measure_color_error

from i2i_training.networks import EncoderDecoderConfig
from i2i_training.recipes.parts import OptimOptions

SHALLOW = {"network": EncoderDecoderConfig(width=16, downs=1), "optim": OptimOptions(lr=5e-3)}


@pytest.mark.parametrize(
    "changes", [{}, {"gan_mode": "hinge", "lambda_gan": 0.3, "lambda_rec": 4.0}, {"lambda_rec": 0.0}], ids=str
)
def test_a_step_follows_the_equation(changes: dict[str, Any]) -> None:
    recipe, batch, (real, unreal, fooled) = make_double_step("encdec", **changes)
    a, b, o = batch.a, batch.b, recipe.options

    def compute_expected() -> Expected:
        g, d = recipe.networks["G"], recipe.networks["D"]
        fake = g(a)
        loss_d = (real(d(b)) + unreal(d(fake.detach()))) / 2
        gan = fooled(d(fake))
        rec = (fake - a).abs().mean()
        losses = {"D": loss_d, "G_gan": gan, "rec": rec if o.lambda_rec else 0 * rec}
        return losses, {"D": loss_d, "G": o.lambda_gan * gan + o.lambda_rec * rec}

    assert_step(recipe, batch, compute_expected)


def test_a_fresh_network_lets_its_input_through() -> None:
    """Four halvings and as many doublings without norm: N(0, 0.02) would leave 1e-7 of it."""
    recipe = make_recipe("encdec", network=EncoderDecoderConfig(width=32, downs=4))
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        made = recipe.networks["G"](torch.rand(4, 3, 32, 32, generator=random) * 2 - 1)
    assert made.std(0).mean() > 0.01


def test_gray_becomes_orange_without_pairs() -> None:
    assert measure_color_error(make_recipe("encdec", **SHALLOW, lambda_rec=1.0), steps=100) < 0.4
