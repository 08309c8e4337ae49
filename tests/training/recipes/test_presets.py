"""Every preset of every recipe: its options exist, its networks take its crops and learn from them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from i2i_training.data import Batch
from i2i_training.networks import CompactConfig, GeneratorSpec, build_generator, count_macs, count_parameters
from i2i_training.options import apply_values
from i2i_training.recipes import RECIPES
from i2i_training.run.run_options import RunOptions

PRESETS = [(name, preset) for name, method in RECIPES.items() for preset in method.presets]


def apply_preset(name: str, preset: str) -> tuple[Any, ...]:
    """The options of a run and of its recipe, as the command line has them."""
    method = RECIPES[name]
    options = apply_values((RunOptions(), method.options()), method.defaults, "defaults")
    return apply_values(options, method.presets[preset], preset)


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_presets_make_runs_that_work(name: str, preset: str) -> None:
    """At full size, with tensors that have shapes and no numbers: nothing is computed."""
    method = RECIPES[name]
    run, options = apply_preset(name, preset)
    assert run.load_size is None or run.load_size >= run.crop_size
    with FakeTensorMode():
        recipe = method.recipe(options, run.seed)
        recipe.check_crop(run.crop_size)
        configs = [g.config for g in recipe.list_generators(recipe.networks)]
        shape = (run.batch, configs[0].out_channels, run.crop_size, run.crop_size)
        a = None if recipe.data == "single" else torch.empty(shape[0], configs[0].in_channels, *shape[2:])
        losses = recipe.step(Batch(a, torch.empty(shape)))
    assert all(loss.shape == () for loss in losses.values())


def count_macs_of_a_step(name: str, preset: str) -> int:
    """Of the generators' pictures of one batch."""
    run, options = apply_preset(name, preset)
    with FakeTensorMode():
        recipe = RECIPES[name].recipe(options, run.seed)
        made = [GeneratorSpec(g.config, g.norm_mode) for g in recipe.list_generators(recipe.networks)]
    macs = 0
    for spec in made:
        with torch.device("meta"):
            module = build_generator(spec.config)
        macs += run.batch * count_macs(module, *spec.get_input_shape(run.crop_size, run.crop_size))
    return macs


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_has_a_small_preset_for_the_cpu(name: str) -> None:
    """Few crops that are small, or for a network that is."""
    assert "small" in RECIPES[name].presets
    run, _ = apply_preset(name, "small")
    assert run.steps <= RunOptions().steps
    assert count_macs_of_a_step(name, "small") < 6e9 < count_macs_of_a_step("cyclegan", "resnet9_256")


def test_students_differ_in_size_alone() -> None:
    """The presets of distill: what is learned from, and how long, is the same."""
    runs, options = zip(*(apply_preset("distill", name) for name in ("nano", "small", "medium")), strict=True)
    assert runs[0] == runs[1] == runs[2]
    assert (runs[0].load_size, runs[0].crop_size, runs[0].steps) == (None, 160, 4000)
    assert [(o.student.width, o.student.blocks) for o in options] == [(32, 4), (48, 6), (64, 6)]
    assert len({replace(o, student=CompactConfig()) for o in options}) == 1
    parameters = [count_parameters(build_generator(o.student)) for o in options]
    assert parameters == sorted(set(parameters))
