"""Recipes with networks of a few channels, and what their tests share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i_training.data import Batch
from i2i_training.networks import CompactConfig, DcganConfig, EncoderDecoderConfig, ResnetConfig, UnitConfig
from i2i_training.recipes import RECIPES, Recipe
from i2i_training.recipes.cut import CutOptions
from i2i_training.recipes.cyclegan import CycleGANOptions
from i2i_training.recipes.dcgan import DcganOptions
from i2i_training.recipes.distill import DistillOptions
from i2i_training.recipes.encdec import EncoderDecoderOptions
from i2i_training.recipes.parts import DiscriminatorOptions, OptimOptions
from i2i_training.recipes.pix2pix import Pix2pixOptions
from i2i_training.recipes.unit import UnitOptions

TINY_D = DiscriminatorOptions(width=4, layers=1, norm="instance")
TINY_RESNET = ResnetConfig(width=4, blocks=1)
FAST = OptimOptions(lr=1e-3)
# The smallest pix2pix that still learns.
TINY = Pix2pixOptions(generator="resnet", resnet=TINY_RESNET, discriminator=TINY_D, optim=FAST)
TINY_DCGAN = DcganConfig(latent=3, width=2, size=32)
# Without the global branch, whose first layers learn from the second step on.
TINY_STUDENT = CompactConfig(width=4, blocks=2, global_places=0)

OPTIONS: dict[str, Any] = {
    "pix2pix": TINY,
    "cyclegan": CycleGANOptions(resnet=TINY_RESNET, discriminator=TINY_D, pool_size=3, optim=FAST),
    "cut": CutOptions(resnet=TINY_RESNET, discriminator=TINY_D, patches=6, optim=FAST),
    "unit": UnitOptions(network=UnitConfig(width=2, blocks=2), discriminator=TINY_D, optim=FAST),
    "encdec": EncoderDecoderOptions(
        network=EncoderDecoderConfig(width=4, downs=2), discriminator=TINY_D, optim=FAST
    ),
    # What begins at a share of the run would begin elsewhere in one of half the steps.
    "distill": DistillOptions(
        student=TINY_STUDENT, discriminator=TINY_D, gan_from=0.0, freeze_norm_from=1.0, size=32, optim=FAST
    ),
    "dcgan": DcganOptions(network=TINY_DCGAN, discriminator_width=2, optim=FAST),
}

# What the papers minimize, of scores of real and of generated images, and what G minimizes.
Expected = tuple[dict[str, Tensor], dict[str, Tensor]]
Losses = tuple[Callable[[Tensor], Tensor], ...]
PAPER_LOSSES: dict[str, Losses] = {
    "vanilla": (
        lambda s: -torch.sigmoid(s).log().mean(),
        lambda s: -(1 - torch.sigmoid(s)).log().mean(),
        lambda s: -torch.sigmoid(s).log().mean(),
    ),
    "lsgan": (lambda s: ((s - 1) ** 2).mean(), lambda s: (s**2).mean(), lambda s: ((s - 1) ** 2).mean()),
    "hinge": (
        lambda s: (1 - s).clamp(min=0).mean(),
        lambda s: (1 + s).clamp(min=0).mean(),
        lambda s: -s.mean(),
    ),
    "wgan-gp": (lambda s: -s.mean(), lambda s: s.mean(), lambda s: -s.mean()),
}


def make_recipe(name: str, seed: int = 0, **changes: Any) -> Recipe:
    torch.manual_seed(seed)
    return RECIPES[name].recipe(replace(OPTIONS[name], **changes), seed)


def make_double_step(name: str, count: int = 2, **changes: Any) -> tuple[Recipe, Batch, Losses]:
    """A recipe and a batch in float64, where equal means equal, and its paper's losses."""
    recipe = make_recipe(name, **changes)
    for network in recipe.networks.values():
        network.double()
    batch = make_batch(recipe, count=count, dtype=torch.float64)
    return recipe, batch, PAPER_LOSSES[recipe.options.gan_mode]


def make_batch(recipe: Recipe, seed: int = 0, count: int = 2, dtype: torch.dtype = torch.float32) -> Batch:
    """Noise of the channels that the recipe translates between."""
    random = torch.Generator().manual_seed(seed)
    config = recipe.list_generators(recipe.networks)[0].config
    single = recipe.data == "single"
    side = 32 if single else 16

    def make_noise(channels: int) -> Tensor:
        return torch.rand(count, channels, side, side, generator=random, dtype=dtype) * 2 - 1

    return Batch(None if single else make_noise(config.in_channels), make_noise(config.out_channels))


def copy_state(module: nn.Module) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in module.state_dict().items()}


def assert_step(recipe: Recipe, batch: Batch, expected: Callable[[], Expected]) -> None:
    """One step reports the expected losses, and leaves in every network the gradient of its own loss alone.

    expected: -> losses by reported name, and by the names of networks what each minimizes. It finds the
    networks as the step does, and draws the same noise. The learning rate is 0, so that D's update does not
    change what G is judged by.
    """
    recipe.set_learning_rate(0.0)
    torch.manual_seed(7)
    reported, minimized = expected()
    assert minimized.keys() == recipe.networks.keys()
    gradients = {
        name: torch.autograd.grad(minimized[name], list(network.parameters()), retain_graph=True)
        for name, network in recipe.networks.items()
    }
    torch.manual_seed(7)
    found = recipe.step(batch)
    assert found.keys() == reported.keys()
    for name, loss in found.items():
        assert not loss.requires_grad and loss.shape == ()
        torch.testing.assert_close(loss, reported[name].detach(), msg=lambda m, n=name: f"{n}: {m}")
    for name, network in recipe.networks.items():
        for (key, weights), gradient in zip(network.named_parameters(), gradients[name], strict=True):
            where = f"{name}.{key}"
            torch.testing.assert_close(weights.grad, gradient, msg=lambda m, w=where: f"{w}: {m}")


ORANGE = (1.0, 0.5, 0.0)


def make_blobs(count: int, color: tuple[float, float, float], random: torch.Generator) -> Tensor:
    """Soft spots of one color on black: float32 [N, 3, 16, 16] in -1..1."""
    gray = F.interpolate(torch.rand(count, 1, 4, 4, generator=random), size=16, mode="bicubic")
    return gray.clamp(0, 1) * torch.tensor(color)[:, None, None] * 2 - 1


def measure_color_error(recipe: Recipe, steps: int) -> float:
    """Train on gray blobs and, unpaired, orange ones; how far unseen gray ones then are from being orange.

    Returns the mean distance of the channels' means and spreads to those of orange blobs, as a share of what
    it is without translation. Which spot becomes bright is not asked: without pairs nothing says it.
    """
    random = torch.Generator().manual_seed(0)
    white = (1.0, 1.0, 1.0)
    for _ in range(steps):
        recipe.step(Batch(make_blobs(4, white, random), make_blobs(4, ORANGE, random)))
    gray, orange = make_blobs(32, white, random), make_blobs(32, ORANGE, random)
    with torch.no_grad():
        translated = recipe.list_generators(recipe.networks)[0].module(gray)

    def compute_statistics(images: Tensor) -> Tensor:
        return torch.cat([images.mean((0, 2, 3)), images.std((0, 2, 3))])

    truth = compute_statistics(orange)
    after, before = ((compute_statistics(x) - truth).abs().mean() for x in (translated, gray))
    return float(after / before)
