"""Held-out scores: what is computed, that nothing is disturbed, and which checkpoint is the best."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_folders import write_image
from numpy.typing import NDArray
from tiny_runs import TINY, make_run, make_seeded_recipe, train_tiny, write_pictures
from torch import nn

from i2i_sdk.errors import TrainingError
from i2i_training import loop
from i2i_training.checkpoint import load_generator
from i2i_training.data import HeldOutSet
from i2i_training.loop import run_training
from i2i_training.networks import ResnetConfig
from i2i_training.recipes import RECIPES, Recipe
from i2i_training.run import evaluation
from i2i_training.run.devices import launch_fabric
from i2i_training.run.evaluation import (
    Evaluation,
    _compute_scores,
    copy_generator,
    evaluate,
    plan_evaluation,
    translate_images,
    value_to_minimize,
)
from i2i_training.run.journal import read_metrics
from i2i_training.run.run_options import RunOptions

Image = NDArray[np.uint8]
DEFAULTS = RunOptions()


def make_noise(count: int, channels: int = 3, seed: int = 0, side: int = 32) -> list[Image]:
    random = np.random.default_rng(seed)
    return list(random.integers(0, 256, (count, side, side, channels), np.uint8))


def make_maps(count: int) -> list[Image]:
    """Halves of red and blue."""
    images = np.zeros((count, 32, 32, 3), np.uint8)
    images[:, :16, :, 0] = images[:, 16:, :, 2] = 255
    return list(images)


def make_pairs(inputs: list[Image], targets: list[Image]) -> HeldOutSet:
    return HeldOutSet(inputs, targets, targets)


def make_unpaired(inputs: list[Image], others: list[Image]) -> HeldOutSet:
    return HeldOutSet(inputs, None, others)


def list_directions(recipe: Recipe) -> list[str]:
    return [g.direction for g in recipe.list_generators(recipe.networks)]


def evaluate_recipe(
    name: str, held_out: HeldOutSet, run: RunOptions = DEFAULTS, options: Any = None
) -> Evaluation:
    recipe = make_seeded_recipe(name, options)
    plan = plan_evaluation(list_directions(recipe), held_out, run)
    return evaluate(recipe.list_generators(recipe.networks), plan, launch_fabric("32-true"))


# ---------------------------------------------------------------- nothing is disturbed


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_evaluating_changes_neither_weights_nor_random_numbers(name: str, precision: str) -> None:
    recipe = make_seeded_recipe(name)
    recipe.setup(fabric := launch_fabric(precision))
    pairs = make_pairs(make_noise(2), make_noise(2, seed=1))
    held_out = pairs if name != "dcgan" else make_unpaired([], make_noise(2))
    plan = plan_evaluation(list_directions(recipe), held_out, DEFAULTS)
    generators = recipe.list_generators(recipe.networks)
    networks = nn.ModuleDict(recipe.networks)
    before = {k: v.clone() for k, v in networks.state_dict().items()}
    modes = [m.training for m in networks.modules()]
    random = torch.get_rng_state(), np.random.get_state()[1].tolist()

    first, again = (evaluate(generators, plan, fabric) for _ in range(2))

    assert first.scores == again.scores
    assert all(np.array_equal(first.grids[name], again.grids[name]) for name in first.grids)
    assert torch.equal(torch.get_rng_state(), random[0])
    assert np.random.get_state()[1].tolist() == random[1]
    assert all(torch.equal(v, before[k]) for k, v in networks.state_dict().items())
    assert [m.training for m in networks.modules()] == modes
    assert all(p.requires_grad for p in networks.parameters())


def test_scores_are_those_of_the_generator_as_it_is_used() -> None:
    """BatchNorm on running statistics and without dropout, unlike in training."""
    options = replace(TINY["pix2pix"], norm_mode="running_stats")
    recipe = make_seeded_recipe("pix2pix", options)
    for layer in recipe.networks["G"].modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_var, 0.001, 0.01)
    generator = recipe.list_generators(recipe.networks)[0]
    module = copy_generator(generator)
    assert not any(m.training for m in module.modules())
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        expected = recipe.networks["G"].eval()(x)
        assert torch.equal(module(x), expected)
        assert expected.abs().mean() > 0.01

    images = [np.asarray(((x[0].permute(1, 2, 0) + 1) * 127.5).round().byte())]
    plan = plan_evaluation(["AtoB"], make_pairs(images, images), DEFAULTS)
    scores = evaluate([generator], plan, launch_fabric("32-true")).scores
    output = (expected[0].permute(1, 2, 0) * 127.5 + 127.5).round().clamp(0, 255).numpy()
    assert scores["l1"] == pytest.approx(float(np.abs(output - images[0]).mean()), abs=0.1)


# ---------------------------------------------------------------- which scores


LABELED = make_pairs(make_noise(2), make_maps(2))
UNPAIRED = make_unpaired(make_noise(2), make_noise(3))


@pytest.mark.parametrize(
    ("held_out", "run", "names", "best_by"),
    [
        (make_pairs(make_noise(2), make_noise(2)), {}, "l1 psnr ssim swd edge_similarity", "l1"),
        (LABELED, {"palette": "auto"}, "l1 psnr ssim pixel_accuracy miou swd edge_s", "l1"),
        (LABELED, {"palette": "auto", "best_by": "miou"}, "l1", "miou"),
        (make_pairs(make_noise(2), make_noise(2, 5)), {}, "l1", "l1"),
        (make_pairs(make_noise(2, 1), make_noise(2, 1)), {}, "l1 psnr ssim swd edge_similarity", "l1"),
        (UNPAIRED, {}, "swd edge_similarity", "swd"),
        (make_unpaired(make_noise(2), make_noise(3, 4)), {}, "", ""),
        (make_unpaired(make_noise(2, side=48), make_noise(3)), {}, "swd edge_similarity", "swd"),
    ],
)
def test_promises_are_kept(held_out: HeldOutSet, run: dict[str, Any], names: str, best_by: str) -> None:
    options = RunOptions(**run)
    plan = plan_evaluation(["AtoB"], held_out, options)
    assert " ".join(plan.eval_sets["AtoB"].score_names).startswith(names)
    assert plan.best_by == best_by
    channels = (images[0].shape[2] for images in (held_out.inputs, held_out.references))
    recipe_options = replace(TINY["pix2pix"], resnet=ResnetConfig(*channels, width=2, blocks=1))
    result = evaluate_recipe("pix2pix", held_out, options, recipe_options)
    assert list(result.scores) == plan.eval_sets["AtoB"].score_names
    assert all(np.isfinite(value) for value in result.scores.values())


def test_the_way_back_has_its_own_scores_and_grid() -> None:
    result = evaluate_recipe("cyclegan", make_pairs(make_noise(3), make_maps(3)), RunOptions(palette="auto"))
    assert {"l1", "l1_BtoA", "miou", "swd_BtoA"} <= set(result.scores)
    assert "miou_BtoA" not in result.scores  # photos have no classes
    assert set(result.grids) == {"AtoB", "BtoA"}
    assert result.grids["AtoB"].shape[1] == 4 * (128 + 4) + 4  # input, output, cycle, target
    result = evaluate_recipe("cyclegan", make_unpaired(make_noise(3), make_noise(4)))
    assert result.grids["BtoA"].shape[1] == 3 * (128 + 4) + 4
    assert set(result.scores) == {"swd", "edge_similarity", "swd_BtoA", "edge_similarity_BtoA"}


def test_classes_belong_to_the_domain_of_labels() -> None:
    held_out = make_pairs(make_maps(2), make_noise(2))
    plan = plan_evaluation(["AtoB", "BtoA"], held_out, RunOptions(palette="auto", labels="A"))
    assert plan.eval_sets["AtoB"].palette is None and len(plan.eval_sets["BtoA"].palette) == 2
    # Of a run that translates back, AtoB is what it learns.
    run = RunOptions(palette="auto", labels="A", direction="BtoA")
    plan = plan_evaluation(["AtoB"], make_pairs(make_noise(2), make_maps(2)), run)
    assert "miou" in plan.eval_sets["AtoB"].score_names


def test_perfect_classes_are_counted_so() -> None:
    run = RunOptions(palette="#ff0000,#0000ff")
    eval_set = plan_evaluation(["AtoB"], make_pairs(make_maps(2), make_maps(2)), run).eval_sets["AtoB"]
    fabric = launch_fabric("32-true")
    result = _compute_scores(
        translate_images(nn.Identity(), eval_set.inputs, fabric), eval_set, fabric.device
    )
    assert result["miou"] == result["pixel_accuracy"] == result["edge_similarity"] == result["ssim"] == 1
    assert result["l1"] == result["swd"] == 0


@pytest.mark.parametrize(
    ("held_out", "message"),
    [
        (
            make_unpaired(make_noise(2), make_maps(2)),
            "palette is 'auto': pixel accuracy needs held-out pairs",
        ),
        (make_pairs(make_noise(2), make_noise(2, 5)), "palette is 'auto': pixel accuracy needs held-out"),
        (make_pairs(make_noise(2), make_noise(2)), "no color covers"),
    ],
    ids=["no pairs", "no pictures", "no maps"],
)
def test_palettes_that_cannot_be_used_are_refused(held_out: HeldOutSet, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        plan_evaluation(["AtoB"], held_out, RunOptions(palette="auto"))


def test_inception_scores_need_two_images(tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_bytes(b"")
    run = RunOptions(inception=str(tmp_path / "net.pt"))
    with pytest.raises(TrainingError, match="FID and KID need at least 2 held-out images; AtoB has 1"):
        plan_evaluation(["AtoB"], make_pairs(make_noise(1), make_noise(1)), run)
    plan = plan_evaluation(["AtoB"], make_pairs(make_noise(2), make_noise(2)), run)
    assert {"fid", "kid"} <= set(plan.eval_sets["AtoB"].score_names)


# ---------------------------------------------------------------- the best


@pytest.mark.parametrize("best_by", ["l1", "psnr"])
def test_the_best_checkpoint_is_kept(best_by: str, tmp_path: Path) -> None:
    """It gets worse, because the learning rate is far too high; then better."""
    pictures = write_pictures(tmp_path / "data")
    recipe = make_seeded_recipe("pix2pix", replace(TINY["pix2pix"], lambda_gan=0.0))
    blends = iter([0.5, 0.1, 0.9, 0.3, 0.2])  # of the targets' mean: how wrong the output is

    def step(batch: Any) -> dict[str, torch.Tensor]:
        """The last layer gives one gray, near to or far from the truth."""
        last = [m for m in recipe.networks["G"].modules() if isinstance(m, nn.Conv2d)][-1]
        with torch.no_grad():
            for p in recipe.networks["G"].parameters():
                p.zero_()
            last.bias.fill_(next(blends))
        return {"D": torch.zeros(())}

    recipe.step = step
    run = make_run(pictures, tmp_path / "run", steps=5, save_every=1, best_by=best_by)
    run_training(recipe, run)
    scores = dict(read_metrics(tmp_path / "run" / "metrics.csv")["score", best_by])
    best = (min if best_by == "l1" else max)(scores, key=scores.__getitem__)
    assert best == 2
    assert load_generator(tmp_path / "run" / "best_net_G.safetensors")[1].steps == 2
    assert load_generator(tmp_path / "run" / "latest_net_G.safetensors")[1].steps == 5
    state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
    assert state["best"] == {"step": 2, "score": value_to_minimize(best_by, scores[2]), "by": best_by}

    # A resumed run knows what was best before.
    train_tiny(replace(run, steps=6), resume=True)
    assert load_generator(tmp_path / "run" / "best_net_G.safetensors")[1].steps in (2, 6)


# ---------------------------------------------------------------- colors gone wrong


def make_photos(count: int) -> list[Image]:
    """A sky above dark ground, each a bit different."""
    sky = np.linspace((90, 150, 230), (40, 60, 20), 32)
    rows = np.clip(sky[None] + np.arange(count)[:, None, None] * 2, 0, 255).astype(np.uint8)
    return list(np.repeat(rows[:, :, None], 32, axis=2))


@pytest.mark.parametrize(("steps", "enough", "is_said"), [(1, 1, True), (20, 1000, False), (8, 5, True)])
def test_inverted_colors_reach_the_screen_when_that_means_something(
    steps: int,
    enough: int,
    is_said: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for folder in ("trainA", "trainB", "testA"):
        for n, photo in enumerate(make_photos(12)):
            write_image(tmp_path / "data" / folder / f"{n}.png", photo)
    monkeypatch.setattr(
        evaluation, "translate_images", lambda module, images, fabric: [255 - x for x in images]
    )
    assert loop.MIN_ADVICE_STEPS == 1000
    monkeypatch.setattr(loop, "MIN_ADVICE_STEPS", enough)
    changes = {"steps": steps, "save_every": 4, "load_size": 32, "eval_images": 12}
    train_tiny(make_run(tmp_path / "data", tmp_path / "run", **changes), "encdec")
    lines = capsys.readouterr().out.splitlines()
    said = [line for line in lines if line.startswith("warning: AtoB: light and dark are inverted (-")]
    assert len(said) == is_said, lines  # of 8 steps, those before the fifth say nothing


def test_pairs_and_label_maps_are_not_suspected() -> None:
    """There the truth may turn colors round."""
    photos = make_photos(12)
    for held_out, run, keeps_colors in (
        (make_pairs(photos, photos), DEFAULTS, False),
        (make_unpaired(photos, photos), RunOptions(labels="B"), False),
        (make_unpaired(photos, photos), DEFAULTS, True),
    ):
        ways = plan_evaluation(["AtoB", "BtoA"], held_out, run).eval_sets
        assert {eval_set.keeps_colors for eval_set in ways.values()} == {keeps_colors}
