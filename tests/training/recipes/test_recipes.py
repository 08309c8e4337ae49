"""What every recipe promises: a step trains all its networks, and a run goes on where it stopped."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from lightning.fabric import Fabric
from tiny_networks import assert_same
from tiny_recipe import FAST, OPTIONS, TINY_D, TINY_DCGAN, copy_state, make_batch, make_recipe

from i2i_sdk.errors import TrainingError
from i2i_training.losses.gan import GAN_OBJECTIVES
from i2i_training.networks import (
    CompactConfig,
    EncoderDecoderConfig,
    ResnetConfig,
    UnitConfig,
    build_generator,
)
from i2i_training.recipes import RECIPES, Recipe

every_recipe = pytest.mark.parametrize("name", RECIPES)
ONE_TO_THREE = ResnetConfig(1, 3, width=4, blocks=1)
THREE_TO_ONE = ResnetConfig(3, 1, width=4, blocks=1)
SPECTRAL_D: dict[str, Any] = {"discriminator": replace(TINY_D, spectral_norm=True)}


def test_every_recipe_is_known_by_its_name() -> None:
    assert set(RECIPES) == set(OPTIONS)
    for name, method in RECIPES.items():
        assert method.recipe.name == name
        assert isinstance(OPTIONS[name], method.options)
        assert method.recipe.data in ("paired", "unpaired", "single")


# ---------------------------------------------------------------- a step


@every_recipe
def test_a_step_trains_every_layer_of_every_network(name: str) -> None:
    recipe = make_recipe(name)
    before = {n: copy_state(network) for n, network in recipe.networks.items()}
    losses = recipe.step(make_batch(recipe))
    assert losses and all(v.isfinite() and not v.requires_grad for v in losses.values())
    for n, network in recipe.networks.items():
        weights = [key for key, _ in network.named_parameters() if key.endswith("weight")]
        assert weights
        assert [k for k in weights if torch.equal(network.state_dict()[k], before[n][k])] == []
        assert all(p.requires_grad and p.grad is not None for p in network.parameters())


@every_recipe
def test_a_network_without_learning_rate_stays(name: str) -> None:
    """Nobody else's loss moves it."""
    for still in make_recipe(name).networks:
        recipe = make_recipe(name)
        for group in recipe.optimizers[still].param_groups:
            group["lr"] = 0.0
        before = {n: copy_state(network) for n, network in recipe.networks.items()}
        recipe.step(make_batch(recipe))
        for n, network in recipe.networks.items():
            moved = any(not torch.equal(p, before[n][k]) for k, p in network.named_parameters())
            assert moved == (n != still)


@every_recipe
def test_lightning_fabric_changes_nothing_on_the_cpu(name: str) -> None:
    """Bit for bit; and what Fabric trains are the recipe's own networks."""
    states = []
    for fabric in (None, Fabric(accelerator="cpu", devices=1)):
        recipe = make_recipe(name)
        if fabric:
            recipe.setup(fabric)
            assert all(recipe.run[n] is not network for n, network in recipe.networks.items())
        for seed in range(2):
            recipe.step(make_batch(recipe, seed))
        states.append(recipe.state_dict())
    assert_same(*states)


@every_recipe
@pytest.mark.parametrize("mode", GAN_OBJECTIVES)
def test_every_objective_works_in_mixed_precision(name: str, mode: str) -> None:
    """The gradient penalty goes back through D twice, which Fabric's mixed precision refuses."""
    recipe = make_recipe(name, gan_mode=mode)
    recipe.setup(Fabric(accelerator="cpu", devices=1, precision="bf16-mixed"))
    losses = recipe.step(make_batch(recipe))
    assert all(v.isfinite() and v.dtype == torch.float32 for v in losses.values())


# ---------------------------------------------------------------- what is left behind


@every_recipe
def test_generators_are_what_their_config_says(name: str) -> None:
    recipe = make_recipe(name)
    recipe.step(make_batch(recipe))
    made = recipe.list_generators(recipe.networks)
    both = [("_A", "AtoB"), ("_B", "BtoA")]
    assert recipe.trains_both_directions == (name in ("cyclegan", "unit"))
    expected = both if recipe.trains_both_directions else [("", "AtoB")]
    assert [(g.suffix, g.direction) for g in made] == expected
    batch = make_batch(recipe, 3)
    for g, x in zip(made, (batch.a, batch.b), strict=False):
        x = torch.randn(2, 3) if x is None else x
        alone = build_generator(g.config)
        alone.load_state_dict(g.module.state_dict())
        with torch.no_grad():
            assert torch.equal(alone.eval()(x), g.module.eval()(x))


CHANNELS: dict[str, list[dict[str, Any]]] = {
    "pix2pix": [{"resnet": ONE_TO_THREE}, {"resnet": THREE_TO_ONE}],
    "cyclegan": [{"resnet": c, "lambda_identity": 0.0} for c in (ONE_TO_THREE, THREE_TO_ONE)],
    "unit": [{"network": UnitConfig(a, b, width=2, blocks=1)} for a, b in ((1, 3), (3, 1))],
    "encdec": [
        {"network": EncoderDecoderConfig(a, b, width=4, downs=2), "lambda_rec": 0.0}
        for a, b in ((1, 3), (3, 1))
    ],
    "distill": [{"student": CompactConfig(a, b, width=4, blocks=2)} for a, b in ((1, 3), (3, 1))],
}


@pytest.mark.parametrize(("name", "changes"), [(n, c) for n, cs in CHANNELS.items() for c in cs])
def test_domains_may_differ_in_channels(name: str, changes: dict[str, Any]) -> None:
    recipe = make_recipe(name, **changes)
    batch = make_batch(recipe)
    assert batch.a is not None and batch.a.shape[1] != batch.b.shape[1]
    assert all(v.isfinite() for v in recipe.step(batch).values())
    there_and_back = [(batch.a, batch.b), (batch.b, batch.a)]
    for g, (x, y) in zip(recipe.list_generators(recipe.networks), there_and_back, strict=False):
        assert (g.config.in_channels, g.config.out_channels) == (x.shape[1], y.shape[1])
        assert g.module(x).shape == y.shape


def test_noise_becomes_gray_pictures() -> None:
    recipe = make_recipe("dcgan", network=replace(TINY_DCGAN, out_channels=1))
    assert all(v.isfinite() for v in recipe.step(make_batch(recipe)).values())


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("cut", {"resnet": ONE_TO_THREE}, "1 input and 3 output channels: .* they must be equal"),
        ("cyclegan", {"resnet": ONE_TO_THREE}, "1 and 3 channels: .* --lambda-identity 0"),
        (
            "encdec",
            {"network": EncoderDecoderConfig(1, 3)},
            "1 input and 3 output channels .* --lambda-rec 0",
        ),
    ],
)
def test_losses_that_compare_need_equal_channels(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        make_recipe(name, **changes)


# ---------------------------------------------------------------- resuming


def scale_losses(recipe: Recipe, scale: float) -> Recipe:
    """As 16-mixed has it, on the CPU: a scale of the losses that doubles after every update."""
    recipe.setup(Fabric(accelerator="cpu", devices=1))
    recipe.scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=1)
    recipe.backward = lambda loss: recipe.scaler.scale(loss).backward()
    return recipe


@every_recipe
def test_the_scale_of_losses_changes_nothing(name: str) -> None:
    """All optimizers of a loss divide by the scale that it was multiplied with."""
    torch.manual_seed(0)
    plain = make_recipe(name)
    torch.manual_seed(0)
    other = scale_losses(make_recipe(name), 2.0**10)
    for recipe in (plain, other):
        torch.manual_seed(1)
        for seed in range(3):
            recipe.step(make_batch(recipe, seed))
    assert other.scaler.get_scale() >= 2.0**16  # two updates a step at least
    for n, network in plain.networks.items():
        for key, value in copy_state(network).items():
            torch.testing.assert_close(other.networks[n].state_dict()[key], value, rtol=1e-3, atol=1e-5)


def test_the_scale_of_losses_is_remembered() -> None:
    old = scale_losses(make_recipe("cut"), 2.0**10)
    old.step(make_batch(old))
    new = scale_losses(make_recipe("cut"), 2.0**3)
    new.load_state_dict(old.state_dict(), torch.device("cpu"))
    assert new.scaler.get_scale() == old.scaler.get_scale() != 2.0**3
    new.load_state_dict(make_recipe("cut").state_dict(), torch.device("cpu"))  # of a run without a scale
    assert new.scaler.get_scale() == old.scaler.get_scale()


def test_every_pool_decides_for_itself() -> None:
    recipe = make_recipe("cyclegan")
    seen: list[list[bool]] = []
    for rank in (0, 1):
        recipe.restart_pools(rank)
        for pool in recipe.pools.values():
            images = [torch.full((1, 1, 1, 1), float(n)) for n in range(60)]
            seen.append([torch.equal(pool.swap(image), image) for image in images])
    assert len({tuple(decisions) for decisions in seen}) == 4


def test_a_state_does_not_bring_its_learning_rate() -> None:
    """Options say it; the moments of the gradient come from the state."""
    old = make_recipe("encdec")
    old.step(make_batch(old))
    new = make_recipe("encdec", optim=replace(FAST, lr=5e-4, beta1=0.9))
    new.load_state_dict(old.state_dict(), torch.device("cpu"))
    for name, optimizer in new.optimizers.items():
        assert [(group["lr"], group["betas"]) for group in optimizer.param_groups] == [(5e-4, (0.9, 0.999))]
        assert_same(optimizer.state_dict()["state"], old.optimizers[name].state_dict()["state"])
