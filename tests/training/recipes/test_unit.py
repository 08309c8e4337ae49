"""UNIT: the losses of the paper, with both KL terms, and one latent space for two domains."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_recipe import PAPER_LOSSES, assert_step, make_batch, make_recipe, measure_color_error, to_double
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from i2i_training.networks import UnitConfig
from i2i_training.recipes.parts import OptimOptions
from i2i_training.recipes.unit import UnitOptions, compute_kl_divergence


def test_kl_is_that_of_the_distributions() -> None:
    mean = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    one = torch.ones_like(mean)
    torch.testing.assert_close(
        compute_kl_divergence(mean), kl_divergence(Normal(mean, one), Normal(0 * mean, one)).mean()
    )
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
    recipe = to_double(make_recipe("unit", **changes))
    batch = make_batch(recipe, dtype=torch.float64)
    a, b, o = batch.a, batch.b, recipe.options
    assert a is not None
    real, unreal, fooled = PAPER_LOSSES[o.gan_mode]

    def sample_code(mean: Tensor) -> Tensor:
        return mean + torch.randn(mean.shape, dtype=mean.dtype)

    def compute_divergence(mean: Tensor) -> Tensor:
        return 0.5 * (mean**2).mean()

    def compute_l1(x: Tensor, y: Tensor) -> Tensor:
        return (x - y).abs().mean()

    def compute_expected() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        nets: Any = recipe.networks["G"]
        judge_a, judge_b = recipe.networks["D_A"], recipe.networks["D_B"]
        mean_a, mean_b = nets.encoder_a(a), nets.encoder_b(b)
        z_a = sample_code(mean_a)
        z_b = sample_code(mean_b)
        ab, ba = nets.decoder_b(z_a), nets.decoder_a(z_b)
        mean_ab, mean_ba = nets.encoder_b(ab), nets.encoder_a(ba)
        aba = nets.decoder_a(sample_code(mean_ab))
        bab = nets.decoder_b(sample_code(mean_ba))
        aa, bb = nets.decoder_a(z_a), nets.decoder_b(z_b)

        vae = o.lambda_kl * (compute_divergence(mean_a) + compute_divergence(mean_b))  # equation 2
        vae = vae + o.lambda_rec * (compute_l1(aa, a) + compute_l1(bb, b))
        gan_a, gan_b = fooled(judge_a(ba)), fooled(judge_b(ab))  # equation 3
        cycle = o.lambda_kl * (
            compute_divergence(mean_a) + compute_divergence(mean_ab)
        )  # equation 4, of a and of b
        cycle = cycle + o.lambda_kl * (compute_divergence(mean_b) + compute_divergence(mean_ba))
        cycle = cycle + o.lambda_cycle * (compute_l1(aba, a) + compute_l1(bab, b))
        loss = vae + o.lambda_gan * (gan_a + gan_b) + cycle

        d_a = o.lambda_gan * (real(judge_a(a)) + unreal(judge_a(ba.detach()))) / 2
        d_b = o.lambda_gan * (real(judge_b(b)) + unreal(judge_b(ab.detach()))) / 2
        means = [mean_a, mean_a, mean_b, mean_b, mean_ab, mean_ba]
        losses = {
            "D_A": d_a,
            "D_B": d_b,
            "gan_A": gan_a,
            "gan_B": gan_b,
            "rec": compute_l1(aa, a) + compute_l1(bb, b),
            "cycle": compute_l1(aba, a) + compute_l1(bab, b),
            "kl": torch.stack([compute_divergence(mean) for mean in means]).sum(),
        }
        return losses, {"G": loss, "D_A": d_a, "D_B": d_b}

    assert_step(recipe, batch, compute_expected)


def test_translators_are_without_noise_and_share_the_trained_weights() -> None:
    recipe = make_recipe("unit")
    recipe.step(make_batch(recipe))
    there, back = recipe.list_generators(recipe.networks)
    x = make_batch(recipe).b
    assert torch.equal(there.module(x), there.module(x))
    first, second = there.module.state_dict(), back.module.state_dict()
    shared = {k for k in first if first[k].data_ptr() == second[k].data_ptr()}
    assert shared == {k for k in first if ".shared." in k} and shared
    recipe.step(make_batch(recipe))  # the same tensors as those that train on
    assert all(torch.equal(v, there.module.state_dict()[k]) for k, v in first.items())


def test_defaults_are_the_papers() -> None:
    o = UnitOptions()
    assert (o.lambda_gan, o.lambda_kl, o.lambda_rec, o.lambda_cycle) == (10.0, 0.1, 100.0, 100.0)
    assert o.gan_mode == "vanilla" and o.optim == OptimOptions(1e-4, 0.5, 0.999)
    assert 4 <= o.discriminator.layers <= 6


def test_gray_becomes_orange_without_pairs() -> None:
    recipe = make_recipe("unit", network=UnitConfig(width=4, blocks=1), optim=OptimOptions(lr=5e-3))
    translated, untouched = measure_color_error(recipe, steps=60)
    assert translated < 0.6 * untouched
