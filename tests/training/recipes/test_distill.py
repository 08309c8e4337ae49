"""distill: which losses a student has, when the discriminator comes in, and what a teacher adds."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from checkpoint_files import save_network
from tiny_networks import assert_same
from tiny_recipe import OPTIONS, TINY_D, copy_state, make_recipe
from torch import nn

from i2i_sdk.errors import TrainingError
from i2i_training.checkpoint import load_generator
from i2i_training.data import Batch
from i2i_training.losses.energy import compute_energy_loss
from i2i_training.losses.haar import compute_haar_loss
from i2i_training.losses.perceptual import compute_feature_loss, compute_gram_loss
from i2i_training.losses.ssim import compute_ssim_loss
from i2i_training.networks import CompactConfig, ResnetConfig, UnetConfig
from i2i_training.recipes import Recipe
from i2i_training.recipes.parts import OptimOptions

STUDENT = CompactConfig(width=4, blocks=3, global_places=2)
NAMES = ["D", "gan", "l1", "ssim", "energy", "haar", "feature", "gram", "adapter"]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A ResNet's checkpoint."""
    path = tmp_path_factory.mktemp("teacher") / "resnet.safetensors"
    return str(save_network(path, ResnetConfig(width=2, blocks=5)))


def make_pair(seed: int = 0, count: int = 2, side: int = 32) -> Batch:
    """x, y = its negative, and overviews of different sizes."""
    random = torch.Generator().manual_seed(seed)
    x = F.interpolate(torch.rand(count, 3, 8, 8, generator=random) * 2 - 1, size=side, mode="bilinear")
    overviews = tuple(torch.rand(3, 4 + n, 6, generator=random) * 2 - 1 for n in range(count))
    return Batch(x, -x, overviews)


def make_distill(teacher: str = "", progress: float = 0.99, **changes: Any) -> Recipe:
    known = {"student": STUDENT, "teacher": teacher, "freeze_norm_from": 1.0}
    recipe = make_recipe("distill", **{**known, **changes})
    recipe.progress = progress
    return recipe


def weigh_only(*names: str) -> dict[str, float]:
    return {f"lambda_{name}": float(name in names) for name in NAMES if name != "D"}


# ---------------------------------------------------------------- losses


def test_every_loss_is_reported_in_one_order(teacher: str) -> None:
    """Before the discriminator comes in as after: columns of a table."""
    recipe = make_distill(teacher, gan_from=0.5)
    for progress in (0.0, 0.4, 0.5, 1.0):
        recipe.progress = progress
        losses = recipe.step(make_pair())
        assert list(losses) == NAMES
        assert all(v.isfinite() and v.shape == () and not v.requires_grad for v in losses.values())
        assert [float(losses[name]) == 0 for name in ("D", "gan")] == [progress < 0.5] * 2
        assert all(float(losses[name]) > 0 for name in NAMES[2:])


def test_losses_are_what_they_are_called(teacher: str) -> None:
    recipe, batch = make_distill(teacher), make_pair()
    assert batch.a is not None
    with torch.no_grad():
        fake, _ = recipe.networks["G"](batch.a, batch.overviews, with_features=True)
        seen, wanted = (recipe.encoder(images) for images in (fake, batch.b))
    found = recipe.step(batch)
    expected = {
        "l1": (fake - batch.b).abs().mean(),
        "ssim": compute_ssim_loss(fake, batch.b),
        "energy": compute_energy_loss(fake - batch.a, batch.b - batch.a),
        "haar": compute_haar_loss(fake, batch.b),
        "feature": compute_feature_loss(seen, wanted),
        "gram": compute_gram_loss(seen, wanted),
    }
    for name, loss in expected.items():
        torch.testing.assert_close(found[name], loss)


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_weight_of_zero_leaves_its_loss_out(teacher: str, name: str) -> None:
    recipe = make_distill(teacher, **{f"lambda_{name}": 0.0})
    losses = recipe.step(make_pair())
    left_out = {"D", "gan"} if name == "gan" else {name}
    assert list(losses) == [each for each in NAMES if each not in left_out]
    assert ("D" in recipe.networks) == (name != "gan")
    assert ("A" in recipe.networks) == (name != "adapter")


@pytest.mark.parametrize("name", NAMES[1:])
def test_the_student_learns_from_each_loss_by_its_weight(teacher: str, name: str) -> None:
    """Its gradient doubles with the weight."""
    gradients = []
    for weight in (1.0, 2.0):
        recipe = make_distill(teacher, **{**weigh_only(name), f"lambda_{name}": weight})
        recipe.set_learning_rate(0.0)
        assert list(recipe.step(make_pair())) == (["D", "gan"] if name == "gan" else [name])
        gradients.append(recipe.networks["G"].encode[0].weight.grad.clone())
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(2 * gradients[0], gradients[1])


def test_one_pair_is_learned_by_heart(teacher: str) -> None:
    # By default strength counts for more than place.
    exact = {"lambda_l1": 5.0, "lambda_haar": 10.0, "lambda_energy": 3.0, "lambda_gram": 5.0}
    recipe = make_distill(teacher, gan_from=1.0, progress=0.0, optim=OptimOptions(lr=1e-2), **exact)
    batch = make_pair(count=1)
    first = recipe.step(batch)
    for _ in range(60):
        last = recipe.step(batch)
    assert float(last["l1"]) < 0.7 * float(first["l1"])
    assert all(last[name] < first[name] for name in ("l1", "ssim", "haar"))
    weights = {name: getattr(recipe.options, f"lambda_{name}") for name in NAMES[2:]}
    totals = [
        sum(float(weight * losses[name]) for name, weight in weights.items()) for losses in (first, last)
    ]
    assert totals[1] < 0.9 * totals[0]


def test_every_layer_learns_in_the_second_step(teacher: str) -> None:
    """In the first one the branch's last layer, which is 0, keeps gradients from those before it."""
    recipe = make_distill(teacher)
    before = {name: copy_state(network) for name, network in recipe.networks.items()}
    for seed in range(2):
        recipe.step(make_pair(seed))
    for name, network in recipe.networks.items():
        weights = [key for key, _ in network.named_parameters() if key.endswith(("weight", "gain"))]
        assert [k for k in weights if torch.equal(network.state_dict()[k], before[name][k])] == []


def test_the_student_sees_the_whole_images() -> None:
    """Other overviews, another picture: once the branch has learned something."""
    recipe, batch = make_distill(progress=0.0, gan_from=1.0), make_pair()
    recipe.step(batch)
    recipe.set_learning_rate(0.0)
    seen = [float(recipe.step(replace(batch, overviews=o))["l1"]) for o in (batch.overviews, None)]
    assert seen[0] != seen[1]


# ---------------------------------------------------------------- statistics


def copy_statistics(recipe: Recipe) -> dict[str, torch.Tensor]:
    return {k: v for k, v in copy_state(recipe.networks["G"]).items() if "running" in k}


def test_batch_norm_stops_looking_at_the_batch_when_it_is_time() -> None:
    recipe, batch = make_distill(progress=0.4, freeze_norm_from=0.5, lambda_gan=0.0), make_pair()
    assert batch.a is not None
    before = copy_statistics(recipe)
    recipe.step(batch)
    moved = copy_statistics(recipe)
    assert all(not torch.equal(before[name], moved[name]) for name in before)
    recipe.progress = 0.5
    student = recipe.networks["G"]
    gains = [layer.weight.clone() for layer in student.modules() if isinstance(layer, nn.BatchNorm2d)]
    recipe.step(batch)
    assert_same(copy_statistics(recipe), moved)
    now = [layer.weight for layer in student.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert all(not torch.equal(*pair) for pair in zip(gains, now, strict=True))
    # The pictures that it learns from are those of test time, apart from their limits.
    learned, shown = student(batch.a), copy.deepcopy(student).eval()(batch.a)
    assert torch.equal(learned.clamp(-1, 1), shown)


# ---------------------------------------------------------------- the discriminator


def test_the_discriminator_comes_in_when_it_is_time() -> None:
    recipe = make_distill(gan_from=0.25, discriminator=replace(TINY_D, norm="none", spectral_norm=True))
    before = copy_state(recipe.networks["D"])
    for progress in (0.0, 0.1, 0.2499):
        recipe.progress = progress
        recipe.step(make_pair())
    assert_same(copy_state(recipe.networks["D"]), before)
    assert not recipe.optimizers["D"].state_dict()["state"]
    recipe.progress = 0.25
    losses = recipe.step(make_pair())
    assert float(losses["D"]) != 0 and float(losses["gan"]) != 0
    assert not torch.equal(next(recipe.networks["D"].parameters()), next(iter(before.values())))


def test_the_discriminator_judges_pairs() -> None:
    recipe = make_distill()
    seen: list[tuple[torch.Tensor, ...]] = []
    recipe.networks["D"].register_forward_pre_hook(lambda _, images: seen.append(images))
    batch = make_pair()
    assert batch.a is not None
    recipe.step(batch)
    assert all(torch.equal(images[0], batch.a) for images in seen) and len(seen) == 3
    assert torch.equal(seen[0][1], batch.b)
    assert torch.equal(seen[1][1], seen[2][1].detach()) and seen[2][1].requires_grad


# ---------------------------------------------------------------- teacher and encoder


def test_adapters_exist_only_with_residual_blocks(teacher: str, tmp_path: Path) -> None:
    unet = str(save_network(tmp_path / "unet.safetensors", UnetConfig(width=1, downs=5)))
    assert "A" not in make_distill().networks
    with_unet = make_distill(unet, encoder=teacher)
    assert "A" not in with_unet.networks and "adapter" not in with_unet.step(make_pair())
    adapters = make_distill(teacher).networks["A"]
    # Three of five blocks, whose maps have 4 times the teacher's width.
    assert [tuple(conv.weight.shape) for conv in adapters.convs] == [(8, 4, 1, 1)] * 3


def test_the_teachers_blocks_are_spread_evenly(teacher: str, tmp_path: Path) -> None:
    """The numbers of layers in the ResNet: its blocks begin at 10."""
    assert make_distill(teacher).teacher.wanted == (10, 12, 14)
    two = str(save_network(tmp_path / "two.safetensors", ResnetConfig(width=2, blocks=2)))
    assert make_distill(two).teacher.wanted == (10, 11)


def test_the_encoder_sees_with_the_first_layers(teacher: str, tmp_path: Path) -> None:
    other = str(save_network(tmp_path / "other.safetensors", ResnetConfig(width=3, blocks=1)))
    encoder = make_distill(teacher, encoder=other).encoder
    maps = encoder(torch.rand(1, 3, 16, 16) * 2 - 1)
    assert [tuple(each.shape[1:]) for each in maps] == [(3, 16, 16), (6, 8, 8), (12, 4, 4), (12, 4, 4)]
    assert all(float(each.min()) >= 0 for each in maps[:3])  # after ReLU
    assert make_distill(teacher).encoder.wanted == (3, 6, 9, 11)  # the teacher's own
    assert make_distill().encoder is None


def test_a_student_begins_with_the_weights_of_another(tmp_path: Path) -> None:
    path = save_network(tmp_path / "net.safetensors", STUDENT)
    begun = make_distill(start=str(path))
    weights, found = load_generator(path)[0].state_dict(), begun.networks["G"].state_dict()
    assert list(found) == list(weights) and all(torch.equal(found[k], weights[k]) for k in weights)
    assert begun.networks["G"].training
    save_network(path, replace(STUDENT, width=8))
    with pytest.raises(TrainingError, match=r"start .*net.safetensors: is Compact.* and the student is"):
        make_distill(start=str(path))


@pytest.mark.parametrize("network", [UnetConfig(width=1, downs=5), CompactConfig(width=2, blocks=2)])
def test_an_encoder_that_is_no_resnet_is_refused(network: Any, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_network(path, network)
    message = r"encoder .*net.safetensors: is no ResNet of pictures with 3 channels; give one, or --lambda"
    with pytest.raises(TrainingError, match=message):
        make_recipe("distill", encoder=str(path))
    assert make_recipe("distill", teacher=str(path)).encoder is None


def test_the_frozen_networks_are_not_trained(teacher: str) -> None:
    recipe = make_distill(teacher)
    before = [copy_state(network) for network in recipe.frozen]
    for seed in range(2):
        recipe.step(make_pair(seed))
    assert len(before) == 2
    for network, state in zip(recipe.frozen, before, strict=True):
        assert_same(copy_state(network), state)
        assert all(p.grad is None for p in network.parameters())


# ---------------------------------------------------------------- going on


def test_a_run_goes_on_exactly(teacher: str) -> None:
    changes = {"discriminator": replace(TINY_D, norm="none", spectral_norm=True)}
    old = make_distill(teacher, **changes)
    for seed in range(2):
        old.step(make_pair(seed))
    new = make_distill(teacher, **changes)
    new.networks["G"].last.bias.data += 1
    new.load_state_dict(copy.deepcopy(old.state_dict()), torch.device("cpu"))
    for seed in (2, 3):
        assert_same(new.step(make_pair(seed)), old.step(make_pair(seed)))
    assert assert_same(new.state_dict(), old.state_dict()) > 100
    assert set(old.state_dict()["networks"]) == {"G", "D", "A"}  # the frozen ones come from their files


def test_batchnorm_folds_away_unless_the_option_says_otherwise() -> None:
    for changes, mode in (
        ({}, "running_stats"),
        ({"norm_mode": "batch_stats"}, "batch_stats"),
        ({"student": replace(STUDENT, norm="none")}, "none"),
    ):
        recipe = make_recipe("distill", **changes)
        (generator,) = recipe.list_generators(recipe.networks)
        assert generator.norm_mode == mode and generator.config == recipe.options.student
    assert OPTIONS["distill"].norm_mode == "running_stats"


def test_the_gan_loss_alone_waits_for_its_time() -> None:
    recipe = make_distill(progress=0.0, gan_from=0.5, **weigh_only("gan"))
    before = copy_state(recipe.networks["G"])
    recipe.step(make_pair())
    assert torch.equal(recipe.networks["G"].last.weight, before["last.weight"])
