"""Every preset of every recipe: its options exist, its networks take its crops and learn from them."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from i2i_training.data import Batch
from i2i_training.options import apply_values
from i2i_training.recipes import RECIPES
from i2i_training.run.run_options import RunOptions

PRESETS = [(name, preset) for name, method in RECIPES.items() for preset in method.presets]


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_presets_make_runs_that_work(name: str, preset: str) -> None:
    """At full size, with tensors that have shapes and no numbers: nothing is computed."""
    method = RECIPES[name]
    run, options = apply_values((RunOptions(), method.options()), method.presets[preset], preset)
    assert run.load_size is None or run.load_size >= run.crop_size
    with FakeTensorMode():
        recipe = method.recipe(options, run.seed)
        recipe.check_crop(run.crop_size)
        configs = [g.config for g in recipe.list_generators(recipe.networks)]
        shape = (run.batch, configs[0].out_channels, run.crop_size, run.crop_size)
        a = None if recipe.data == "single" else torch.empty(shape[0], configs[0].in_channels, *shape[2:])
        losses = recipe.step(Batch(a, torch.empty(shape)))
    assert all(loss.shape == () for loss in losses.values())


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_has_a_small_preset_for_the_cpu(name: str) -> None:
    method = RECIPES[name]
    assert "small" in method.presets
    run, _ = apply_values((RunOptions(), method.options()), method.presets["small"], "small")
    assert run.crop_size <= 128 and run.steps <= RunOptions().steps
