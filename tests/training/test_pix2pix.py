"""pix2pix: the losses of the paper, and what one step changes."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.fabric import Fabric
from tiny_recipe import TINY
from torch import Tensor, nn

from i2i_sdk.errors import TrainingError
from i2i_training.loop import RunOptions, learning_rate_factor
from i2i_training.networks import ResnetConfig
from i2i_training.objectives import GAN_OBJECTIVES
from i2i_training.recipes.pix2pix import DiscriminatorOptions, OptimOptions, Pix2pix, Pix2pixOptions


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


# ---------------------------------------------------------------- options


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
