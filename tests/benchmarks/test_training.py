"""Parts of a training step, and rows of known times."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.training import make_row, measure_breakdown, open_data, prepare_recipe, write_images
from i2i_sdk.perf.record import VALUES
from i2i_training.options import apply_values
from i2i_training.recipes import RECIPES
from i2i_training.run.run_options import RunOptions


def test_a_row_tells_images_a_second() -> None:
    options = RunOptions(crop_size=128, batch=4)
    row = make_row("cyclegan", "i2i train", [100.0, 50.0, 50.0], options, {"faster": 2.0})
    assert (row.height, row.width, row.batch) == (128, 128, 4)
    assert row.times["step"].median_ms == 50.0
    assert row.values == {"images": 80.0, "faster": 2.0}


def test_the_parts_of_a_step_are_all_of_it_and_leave_the_recipe_as_it_was(tmp_path: Path) -> None:
    write_images(tmp_path, 4)
    config = {"data": str(tmp_path / "domains"), "load_size": 48, "crop_size": 32}
    config |= {"resnet": {"width": 8, "blocks": 2}, "discriminator": {"width": 8, "layers": 2}}
    run, options = apply_values((RunOptions(), RECIPES["cyclegan"].options()), config, "test")
    recipe, device = prepare_recipe("cyclegan", options, "32-true", False)
    before = recipe.backward, [optimizer.step for optimizer in recipe.optimizers.values()]
    with closing(open_data("cyclegan", run)) as data:
        shares = measure_breakdown(recipe, data, device, rounds=2)
    assert set(shares) == {"waiting", "forward", "backward", "optimizers"} <= set(VALUES)
    assert sum(shares.values()) == pytest.approx(1)
    assert all(share > 0 for share in shares.values())
    assert before == (recipe.backward, [optimizer.step for optimizer in recipe.optimizers.values()])
