"""CUT: the contrastive loss against a loop over patches, and what G, H and D each learn from."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tiny_recipe import Expected, assert_step, make_batch, make_double_step, make_recipe, measure_color_error
from torch import Tensor, nn

from i2i_training.networks import ResnetConfig
from i2i_training.networks.patch_features import select_feature_layers
from i2i_training.recipes.cut import CutOptions, compute_patch_nce
from i2i_training.recipes.parts import OptimOptions
from i2i_training.run.devices import launch_fabric


def compute_naive_nce(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """Equation 3, patch by patch: [N, P, C] each."""
    losses = []
    for query, key in zip(queries, keys, strict=True):
        for s in range(len(query)):
            similar = (key @ query[s] / temperature).exp()
            losses.append(-(similar[s] / similar.sum()).log())
    return torch.stack(losses).mean()


def test_patches_are_compared_within_their_own_image() -> None:
    random = torch.Generator().manual_seed(0)
    queries, keys = (
        nn.functional.normalize(torch.randn(3, 5, 4, generator=random, dtype=torch.float64), dim=-1)
        for _ in range(2)
    )
    torch.testing.assert_close(compute_patch_nce(queries, keys, 0.3), compute_naive_nce(queries, keys, 0.3))
    turned = keys.roll(1, 0)  # another image's patches
    assert not torch.allclose(compute_patch_nce(queries, turned, 0.3), compute_patch_nce(queries, keys, 0.3))


def test_contrast_is_low_for_the_same_patches_and_high_for_exchanged_ones() -> None:
    patches = torch.eye(4)[None]
    assert float(compute_patch_nce(patches, patches, 0.07)) < 1e-4
    assert float(compute_patch_nce(patches, patches.roll(1, 1), 0.07)) == pytest.approx(1 / 0.07, abs=1e-3)
    silence = compute_patch_nce(torch.zeros(1, 4, 4), patches, 0.07)
    assert float(silence) == pytest.approx(math.log(4), abs=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"identity": False, "lambda_nce": 10.0, "gan_mode": "vanilla"},
        {"lambda_gan": 0.5, "temperature": 0.2, "patches": 70},
    ],
    ids=str,
)
def test_a_step_follows_the_equations(changes: dict[str, Any]) -> None:
    recipe, batch, (real, unreal, fooled) = make_double_step("cut", **changes)
    a, b, o = batch.a, batch.b, recipe.options
    layers = select_feature_layers(o.resnet)

    def compute_vectors(images: Tensor, layer: int, head: Any, places: Tensor) -> Tensor:
        maps = recipe.networks["G"].model[: layer + 1](images)
        found = head(maps.flatten(2).transpose(1, 2)[:, places])
        return found / found.norm(dim=-1, keepdim=True)

    def compute_expected() -> Expected:
        g, d, heads = recipe.networks["G"], recipe.networks["D"], recipe.networks["H"].heads
        sides = dict(zip(layers, (22, 8, 4, 4), strict=True))  # of the maps of 16x16 images
        pairs = [(a, g(a))] + ([(b, g(b))] if o.identity else [])
        terms = []
        for layer, head in zip(layers, heads, strict=True):
            places = torch.randperm(sides[layer] ** 2)[: o.patches]
            for source, output in pairs:
                queries, keys = (compute_vectors(x, layer, head, places) for x in (output, source))
                terms.append(compute_naive_nce(queries, keys.detach(), o.temperature))
        nce = torch.stack(terms).mean()
        fake = pairs[0][1]
        loss_d = (real(d(b)) + unreal(d(fake.detach()))) / 2
        gan = fooled(d(fake))
        loss_g = o.lambda_gan * gan + o.lambda_nce * nce
        return {"D": loss_d, "G_gan": gan, "nce": nce}, {"D": loss_d, "G": loss_g, "H": loss_g}

    assert_step(recipe, batch, compute_expected)


@pytest.mark.parametrize(
    ("precision", "computed"), [("bf16-mixed", torch.bfloat16), ("64-true", torch.float64)]
)
def test_every_pass_computes_in_the_runs_precision(precision: str, computed: torch.dtype) -> None:
    recipe = make_recipe("cut")
    recipe.setup(launch_fabric(precision))
    seen: list[torch.dtype] = []
    for layer in (m for m in recipe.networks["G"].modules() if isinstance(m, nn.Conv2d)):
        layer.register_forward_hook(lambda _n, _x, y: seen.append(y.dtype))
    batch = make_batch(recipe, dtype=torch.float64 if precision == "64-true" else torch.float32)
    losses = recipe.step(batch)
    assert set(seen) == {computed}
    assert losses["nce"].dtype == torch.float32  # which Fabric hands out


def test_defaults_are_the_papers() -> None:
    options = CutOptions()
    assert (options.lambda_gan, options.lambda_nce, options.identity) == (1.0, 1.0, True)
    assert (options.patches, options.temperature, options.gan_mode) == (256, 0.07, "lsgan")


def test_gray_becomes_orange_without_pairs() -> None:
    resnet = ResnetConfig(width=8, blocks=1)
    recipe = make_recipe("cut", resnet=resnet, patches=32, optim=OptimOptions(lr=5e-3))
    assert measure_color_error(recipe, steps=60) < 0.5
