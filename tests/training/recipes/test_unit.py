"""UNIT: the losses of the paper, with both KL terms, and one latent space for two domains."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_recipe import Expected, assert_step, make_double_step, make_recipe, measure_color_error
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from i2i_training.networks import UnitConfig
from i2i_training.recipes.parts import OptimOptions
from i2i_training.recipes.unit import UnitOptions, compute_kl_divergence


def test_kl_is_that_of_the_distributions() -> None:
    mean = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    one = torch.ones_like(mean)
    expected = kl_divergence(Normal(mean, one), Normal(0 * mean, one)).mean()
    torch.testing.assert_close(compute_kl_divergence(mean), expected)
    assert compute_kl_divergence(torch.zeros(1, 2)) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"gan_mode": "lsgan", "lambda_gan": 2.0, "lambda_kl": 3.0, "lambda_rec": 5.0, "lambda_cycle": 7.0},
        {"network": UnitConfig(1, 3, width=2, blocks=1, norm="none"), "lambda_kl": 50.0},
    ],
    ids=str,
)
def test_a_step_follows_the_equations(changes: dict[str, Any]) -> None:
    recipe, batch, (real, unreal, fooled) = make_double_step("unit", **changes)
    a, b, o = batch.a, batch.b, recipe.options

    def sample_code(mean: Tensor) -> Tensor:
        return mean + torch.randn(mean.shape, dtype=mean.dtype)

    def compute_divergence(mean: Tensor) -> Tensor:
        return 0.5 * (mean**2).mean()

    def compute_l1(x: Tensor, y: Tensor) -> Tensor:
        return (x - y).abs().mean()

    def compute_expected() -> Expected:
        nets: Any = recipe.networks["G"]
        judge_a, judge_b = recipe.networks["D_A"], recipe.networks["D_B"]
        mean_a, mean_b = nets.encoder_a(a), nets.encoder_b(b)
        z_a, z_b = sample_code(mean_a), sample_code(mean_b)
        ab, ba = nets.decoder_b(z_a), nets.decoder_a(z_b)
        mean_ab, mean_ba = nets.encoder_b(ab), nets.encoder_a(ba)
        aba, bab = nets.decoder_a(sample_code(mean_ab)), nets.decoder_b(sample_code(mean_ba))
        aa, bb = nets.decoder_a(z_a), nets.decoder_b(z_b)

        kl_a, kl_b, kl_ab, kl_ba = map(compute_divergence, (mean_a, mean_b, mean_ab, mean_ba))
        rec = compute_l1(aa, a) + compute_l1(bb, b)
        cycle = compute_l1(aba, a) + compute_l1(bab, b)
        gan_a, gan_b = fooled(judge_a(ba)), fooled(judge_b(ab))
        loss = o.lambda_kl * (kl_a + kl_b) + o.lambda_rec * rec  # equation 2
        loss = loss + o.lambda_gan * (gan_a + gan_b)  # equation 3
        # Equation 4, of a and of b.
        loss = loss + o.lambda_kl * (kl_a + kl_ab + kl_b + kl_ba) + o.lambda_cycle * cycle

        d_a = o.lambda_gan * (real(judge_a(a)) + unreal(judge_a(ba.detach()))) / 2
        d_b = o.lambda_gan * (real(judge_b(b)) + unreal(judge_b(ab.detach()))) / 2
        kl = 2 * kl_a + 2 * kl_b + kl_ab + kl_ba
        losses = {
            "D_A": d_a,
            "D_B": d_b,
            "gan_A": gan_a,
            "gan_B": gan_b,
            "rec": rec,
            "cycle": cycle,
            "kl": kl,
        }
        return losses, {"G": loss, "D_A": d_a, "D_B": d_b}

    assert_step(recipe, batch, compute_expected)


def test_defaults_are_the_papers() -> None:
    o = UnitOptions()
    assert (o.lambda_gan, o.lambda_kl, o.lambda_rec, o.lambda_cycle) == (10.0, 0.1, 100.0, 100.0)
    assert o.gan_mode == "vanilla" and o.optim == OptimOptions(1e-4, 0.5, 0.999)
    assert 4 <= o.discriminator.layers <= 6


def test_gray_becomes_orange_without_pairs() -> None:
    recipe = make_recipe("unit", network=UnitConfig(width=4, blocks=1), optim=OptimOptions(lr=5e-3))
    assert measure_color_error(recipe, steps=60) < 0.6
