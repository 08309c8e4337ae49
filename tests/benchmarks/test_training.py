"""Parts of a training step, and rows of known times."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.training import breakdown, opened, prepared, row_of, write_images
from i2i_sdk.measure.record import VALUES
from i2i_training.config_file import apply_config
from i2i_training.recipes import RECIPES
from i2i_training.run_options import RunOptions


def test_a_row_tells_images_a_second() -> None:
    row = row_of(
        "cyclegan", "i2i train", [100.0, 50.0, 50.0], RunOptions(crop_size=128, batch=4), {"faster": 2.0}
    )
    assert (row.height, row.width, row.batch) == (128, 128, 4)
    assert row.times["step"].median_ms == 50.0
    assert row.values == {"images": 80.0, "faster": 2.0}


def test_the_parts_of_a_step_are_all_of_it_and_leave_the_recipe_as_it_was(tmp_path: Path) -> None:
    write_images(tmp_path, 4)
    given = {"data": str(tmp_path / "domains"), "load_size": 48, "crop_size": 32}
    given |= {"resnet": {"width": 8, "blocks": 2}, "discriminator": {"width": 8, "layers": 2}}
    run, options = apply_config((RunOptions(), RECIPES["cyclegan"].options()), given)
    recipe, device = prepared("cyclegan", options, "32-true", False)
    before = recipe.backward, [optimizer.step for optimizer in recipe.optimizers.values()]
    with closing(opened("cyclegan", run)) as data:
        shares = breakdown(recipe, data, device, rounds=2)
    assert set(shares) == {"waiting", "forward", "backward", "optimisers"} <= set(VALUES)
    assert sum(shares.values()) == pytest.approx(1)
    assert all(share > 0 for share in shares.values())
    assert before == (recipe.backward, [optimizer.step for optimizer in recipe.optimizers.values()])
