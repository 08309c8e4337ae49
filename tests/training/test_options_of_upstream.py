"""docs/upstream_flags.md: every upstream flag has its row, and every flag of ours in it exists."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from i2i_training.options import flatten
from i2i_training.recipes import RECIPES
from i2i_training.run.run_options import RunOptions

UPSTREAM = """
dataroot name gpu_ids checkpoints_dir model input_nc output_nc ngf ndf netD netG n_layers_D norm init_type
init_gain no_dropout dataset_mode direction serial_batches num_threads batch_size load_size crop_size
max_dataset_size preprocess no_flip display_winsize epoch load_iter verbose suffix use_wandb
wandb_project_name display_freq display_ncols display_id display_server display_env display_port
update_html_freq print_freq no_html save_latest_freq save_epoch_freq save_by_iter continue_train epoch_count
phase n_epochs n_epochs_decay beta1 lr gan_mode pool_size lr_policy lr_decay_iters lambda_A lambda_B
lambda_identity lambda_L1
"""
NOT_OPTIONS = {"resume", "config", "preset"}  # flags of i2i train that say where options come from


@pytest.fixture(scope="module")
def rows(root: Path) -> list[list[str]]:
    """The table's three columns, without headings."""
    lines = (root / "docs" / "upstream_flags.md").read_text().splitlines()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [row for row in table[2:] if not row[0].startswith("**")]


def list_names(*options: Any) -> list[str]:
    return [name for part in options for name, _ in flatten(asdict(part))]


def find_flags(cell: str) -> list[str]:
    return [name.replace("-", "_") for name in re.findall(r"--([\w.-]+)", cell)]


def test_every_upstream_flag_has_its_row(rows: list[list[str]]) -> None:
    assert all(len(row) == 3 for row in rows)
    found = [find_flags(row[0]) for row in rows]
    assert all(len(names) == 1 for names in found)
    names = [name for (name,) in found]
    assert sorted(set(names)) == sorted(UPSTREAM.split())
    assert [name for name in names if names.count(name) > 1] == ["netG", "netG"]  # ResNet, U-Net


def test_every_flag_of_ours_exists(rows: list[list[str]]) -> None:
    known = {name for method in RECIPES.values() for name in list_names(RunOptions(), method.options())}
    known |= {f"{group}{dot}no_{last}" for group, dot, last in (name.rpartition(".") for name in known)}
    for _, ours, remarks in rows:
        assert ours == "none" or ours == "`i2i train RECIPE`" or find_flags(ours), ours
        assert set(find_flags(ours + remarks)) <= known | NOT_OPTIONS


def test_recipes_that_rows_speak_of_have_their_flags(rows: list[list[str]]) -> None:
    for _, ours, remarks in rows:
        first = re.split(r"\W", remarks)[0]
        if first in RECIPES:
            assert set(find_flags(ours)) <= set(list_names(RECIPES[first].options()))
