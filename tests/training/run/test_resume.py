"""Going on is exact: a run that was stopped and resumed leaves what an uninterrupted one leaves."""

from __future__ import annotations

import signal
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_networks import assert_same
from tiny_runs import TINY, bit_for_bit, make_run, make_seeded_recipe, train_tiny, write_pictures
from torch import Tensor

from i2i_sdk.errors import CheckpointError, TrainingError
from i2i_training.data import Batch
from i2i_training.loop import run_training
from i2i_training.recipes import RECIPES, Recipe
from i2i_training.run.journal import read_metrics

STEPS = 20
# Everything that has a memory is on.
MEMORY: dict[str, Any] = {"steps": STEPS, "batch": 2, "ema": 0.9, "jitter": 0.3, "schedule": "plateau"}
MEMORY["save_every"] = 10


def read_weights(out: Path) -> dict[str, bytes]:
    """The weights that a run leaves, as bytes by file name."""
    return {path.name: path.read_bytes() for path in out.glob("*.safetensors")}


def load_state(out: Path) -> dict[str, Any]:
    return torch.load(out / "state.pt", weights_only=True)


def make_interrupted_recipe(name: str, at_step: int) -> Recipe:
    """The recipe in a process that gets Ctrl-C at the start of this step."""
    recipe = make_seeded_recipe(name)
    step, steps = recipe.step, count(1)

    def interrupt_step(batch: Batch) -> dict[str, Tensor]:
        if next(steps) == at_step:
            signal.raise_signal(signal.SIGINT)
        return step(batch)

    recipe.step = interrupt_step
    return recipe


@bit_for_bit
@pytest.mark.parametrize("name", RECIPES)
def test_twenty_steps_are_ten_and_ten(name: str, pictures: Path, tmp_path: Path) -> None:
    names = "whole", "halves", "stopped"
    whole, halves, stopped = (make_run(pictures, tmp_path / n, **MEMORY) for n in names)
    assert train_tiny(whole, name).is_finished

    assert train_tiny(replace(halves, steps=10), name).steps == 10
    assert train_tiny(halves, name, resume=True).steps == STEPS

    # Stopped between two checkpoints; then, after one step more, because the time is up.
    outcome = run_training(make_interrupted_recipe(name, at_step=7), stopped)
    assert (outcome.steps, outcome.is_finished, outcome.stop_reason) == (7, False, "SIGINT")
    outcome = train_tiny(replace(stopped, minutes=1e-9), name, resume=True)
    assert (outcome.steps, outcome.is_finished, outcome.stop_reason) == (8, False, "minutes")
    assert train_tiny(stopped, name, resume=True).is_finished

    expected, files = load_state(tmp_path / "whole"), read_weights(tmp_path / "whole")
    assert {p.split("_net_")[0] for p in files} == {"latest", "best"}
    for other in ("halves", "stopped"):
        assert_same(load_state(tmp_path / other), expected)
        assert read_weights(tmp_path / other) == files
    assert_state_is_complete(name, expected)


def assert_state_is_complete(name: str, state: dict[str, Any]) -> None:
    """Else the comparison could be one of nothing with nothing."""
    assert assert_same(state, state) > 40
    assert state["averages"]
    assert state["step"] == STEPS
    assert state["rate"]["best"] < float("inf")
    for optimizer in state["recipe"]["optimizers"].values():
        assert optimizer["state"]
        assert all(float(s["step"]) == STEPS for s in optimizer["state"].values())
    if name == "cyclegan":
        assert [len(pool["images"]) for pool in state["recipe"]["pools"].values()] == [3, 3]


@bit_for_bit
@pytest.mark.parametrize("schedule", ["linear", "cosine", "step"])
def test_the_learning_rate_goes_on_where_it_was(schedule: str, pictures: Path, tmp_path: Path) -> None:
    # 8 is no multiple of anything here: neither a checkpoint nor the step where the rate begins to fall.
    run = make_run(pictures, tmp_path / "whole", steps=12, schedule=schedule, decay_from=0.25, log_every=1)
    stopped = replace(run, out=str(tmp_path / "stopped"))
    train_tiny(run)
    run_training(make_interrupted_recipe("pix2pix", at_step=8), stopped)
    train_tiny(stopped, resume=True)
    rates = [read_metrics(Path(r.out) / "metrics.csv")["run", "lr"] for r in (run, stopped)]
    assert rates[0] == rates[1] and len(rates[0]) == 12
    assert len({rate for _, rate in rates[0]}) > 2
    assert read_weights(Path(run.out)) == read_weights(Path(stopped.out))


# ---------------------------------------------------------------- what may change, and what may not


def test_a_new_learning_rate_counts(pictures: Path, tmp_path: Path) -> None:
    """The error about losses that are not finite advises it."""
    run = make_run(pictures, tmp_path, steps=5, schedule="constant")
    train_tiny(run)
    before = {k: v.clone() for k, v in load_state(tmp_path)["recipe"]["networks"]["G"].items()}
    options = TINY["pix2pix"]
    slow = replace(options, optim=replace(options.optim, lr=1e-12, beta1=0.25))
    train_tiny(replace(run, steps=8), resume=True, options=slow)
    state = load_state(tmp_path)
    for name, value in state["recipe"]["networks"]["G"].items():
        if name.endswith("weight"):
            torch.testing.assert_close(value, before[name], rtol=0, atol=1e-7)
    group = state["recipe"]["optimizers"]["G"]["param_groups"][0]
    assert (group["lr"], group["betas"][0]) == (1e-12, 0.25)


def test_another_network_is_refused_and_nothing_is_lost(pictures: Path, tmp_path: Path) -> None:
    run = make_run(pictures, tmp_path, steps=5)
    train_tiny(run)
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    options = TINY["pix2pix"]
    wider = replace(options, resnet=replace(options.resnet, width=3))
    misfit = r"state\.pt: does not fit the options of this run: .*"
    for changes, name, options, message in (
        ({}, "pix2pix", wider, misfit + r"config.*size mismatch for"),
        ({}, "encdec", None, "version 1 of pix2pix; this run is version 1 of encdec"),
        ({"ema": 0.9}, "pix2pix", None, misfit + r"\('G'\)"),  # there is no average to go on with
    ):
        with pytest.raises(CheckpointError, match=message):
            train_tiny(replace(run, **changes), name, resume=True, options=options)
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
    assert train_tiny(replace(run, steps=6), resume=True).steps == 6


def test_other_images_are_refused(pictures: Path, tmp_path: Path) -> None:
    others = write_pictures(tmp_path / "others", train=6)
    run = make_run(pictures, tmp_path / "run", steps=5)
    train_tiny(run)
    with pytest.raises(TrainingError, match="not the images that the run began with"):
        train_tiny(replace(run, data=str(others), steps=9), resume=True)
    # They may be moved, though.
    moved = write_pictures(tmp_path / "moved")
    assert train_tiny(replace(run, data=str(moved), steps=9), resume=True).is_finished


class PickledCommand(dict):
    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("a state was executed",))


def test_states_that_are_none(pictures: Path, tmp_path: Path) -> None:
    run = make_run(pictures, tmp_path / "run", steps=1)
    with pytest.raises(CheckpointError, match=r"state\.pt: no such file"):
        train_tiny(run, resume=True)
    assert not (tmp_path / "run").exists()
    train_tiny(run)
    state = tmp_path / "run" / "state.pt"
    whole = state.read_bytes()
    content = load_state(tmp_path / "run")

    for broken, message in (
        (whole[: len(whole) // 2], "truncated, damaged or no state"),
        (b"", "truncated, damaged or no state"),
        (PickledCommand(), "truncated, damaged or no state"),
        ([1, 2], "it holds a list"),
        ({"version": 99, "recipe_name": "pix2pix"}, "state of version 99 of pix2pix; this run is version 1"),
        ({**content, "recipe": {}}, r"does not fit the options of this run: .*\('networks'\)"),
        ({k: v for k, v in content.items() if k != "step"}, r"does not fit the options .*\('step'\)"),
        ({**content, "random": {"cpu": torch.zeros(3)}}, "does not fit"),
    ):
        if isinstance(broken, bytes):
            state.write_bytes(broken)
        else:
            torch.save(broken, state)
        with pytest.raises(CheckpointError, match=message):
            train_tiny(replace(run, steps=2), resume=True)
    state.write_bytes(whole)
    assert train_tiny(replace(run, steps=2), resume=True).is_finished


def test_another_score_to_go_by_begins_a_new_comparison(pictures: Path, tmp_path: Path) -> None:
    """A best L1 says nothing about the SSIM that is to be the best from now on."""
    run = make_run(pictures, tmp_path, steps=8, save_every=2, minutes=None, best_by="l1")
    run_training(make_interrupted_recipe("pix2pix", 4), run)
    assert load_state(tmp_path)["best"]["by"] == "l1"
    run_training(make_seeded_recipe("pix2pix"), replace(run, best_by="ssim"), resume=True)
    best = load_state(tmp_path)["best"]
    assert best["by"] == "ssim" and best["step"] > 4
    scores = dict(read_metrics(tmp_path / "metrics.csv")["score", "ssim"])
    assert -best["score"] == max(value for step, value in scores.items() if step > 4)
