"""Held-out scores: what is computed, that nothing is disturbed, and which checkpoint is the best."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_runs import TINY, fresh, go, run_of, write_pictures
from torch import nn

from i2i_sdk.errors import TrainingError
from i2i_training.checkpoint import load_generator
from i2i_training.data import HeldOut
from i2i_training.devices import launched
from i2i_training.journal import read_metrics
from i2i_training.loop import train
from i2i_training.metrics import HIGHER_IS_BETTER
from i2i_training.recipes import RECIPES, Recipe
from i2i_training.recipes.base import Generator
from i2i_training.run_options import RunOptions
from i2i_training.scoring import Evaluation, badness, evaluate, examination, snapshot

Image = NDArray[np.uint8]


def noise(count: int, channels: int = 3, seed: int = 0, side: int = 32) -> list[Image]:
    random = np.random.default_rng(seed)
    return list(random.integers(0, 256, (count, side, side, channels), np.uint8))


def maps(count: int) -> list[Image]:
    """Halves of red and blue."""
    images = np.zeros((count, 32, 32, 3), np.uint8)
    images[:, :16, :, 0] = images[:, 16:, :, 2] = 255
    return list(images)


def pairs(inputs: list[Image], targets: list[Image]) -> HeldOut:
    return HeldOut(inputs, targets, targets, [str(n) for n in range(len(inputs))])


def no_pairs(inputs: list[Image], others: list[Image]) -> HeldOut:
    return HeldOut(inputs, None, others, [str(n) for n in range(len(inputs))])


def directions(recipe: Recipe) -> list[str]:
    return [g.direction for g in recipe.generators(recipe.networks)]


def evaluated(name: str, held_out: HeldOut, run: RunOptions | None = None, options: Any = None) -> Evaluation:
    recipe = fresh(name, options)
    exam = examination(directions(recipe), held_out, run or RunOptions())
    return evaluate(recipe.generators(recipe.networks), exam, launched("32-true"))


# ---------------------------------------------------------------- nothing is disturbed


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_evaluating_changes_neither_weights_nor_random_numbers(name: str, precision: str) -> None:
    recipe = fresh(name)
    recipe.setup(fabric := launched(precision))
    held_out = pairs(noise(2), noise(2, seed=1)) if name != "dcgan" else no_pairs([], noise(2))
    exam = examination(directions(recipe), held_out, RunOptions())
    generators = recipe.generators(recipe.networks)
    before = {k: v.clone() for n in recipe.networks.values() for k, v in n.state_dict().items()}
    modes = [m.training for n in recipe.networks.values() for m in n.modules()]
    random = torch.get_rng_state(), np.random.get_state()[1].tolist()

    first, again = (evaluate(generators, exam, fabric) for _ in range(2))

    assert first.scores == again.scores
    assert all(np.array_equal(first.grids[name], again.grids[name]) for name in first.grids)
    assert torch.equal(torch.get_rng_state(), random[0])
    assert np.random.get_state()[1].tolist() == random[1]
    after = {k: v for n in recipe.networks.values() for k, v in n.state_dict().items()}
    assert all(torch.equal(after[k], v) for k, v in before.items())
    assert [m.training for n in recipe.networks.values() for m in n.modules()] == modes
    assert all(p.requires_grad for n in recipe.networks.values() for p in n.parameters())


def test_scores_are_those_of_the_generator_as_it_is_used() -> None:
    """BatchNorm on running statistics and without dropout, unlike in training."""
    options = replace(TINY["pix2pix"], norm_mode="running_stats")
    recipe = fresh("pix2pix", options)
    for layer in recipe.networks["G"].modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_var, 0.001, 0.01)
    generator = recipe.generators(recipe.networks)[0]
    module = snapshot(generator)
    assert not any(m.training for m in module.modules())
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        expected = recipe.networks["G"].eval()(x)
        assert torch.equal(module(x), expected)
        assert expected.abs().mean() > 0.01

    images = [np.asarray(((x[0].permute(1, 2, 0) + 1) * 127.5).round().byte())]
    exam = examination(["AtoB"], pairs(images, images), RunOptions())
    scores = evaluate([generator], exam, launched("32-true")).scores
    output = (expected[0].permute(1, 2, 0) * 127.5 + 127.5).round().clamp(0, 255).numpy()
    assert scores["l1"] == pytest.approx(float(np.abs(output - images[0]).mean()), abs=0.1)


# ---------------------------------------------------------------- which scores


@pytest.mark.parametrize(
    ("held_out", "run", "names", "best_by"),
    [
        (pairs(noise(2), noise(2)), {}, "l1 psnr ssim swd edge_similarity", "l1"),
        (pairs(noise(2), maps(2)), {"palette": "auto"}, "l1 psnr ssim pixel_accuracy miou swd edge_s", "l1"),
        (pairs(noise(2), maps(2)), {"palette": "#ff0000,#0000ff"}, "l1 psnr ssim pixel_accuracy miou", "l1"),
        (pairs(noise(2), maps(2)), {"palette": "auto", "best_by": "miou"}, "l1", "miou"),
        (pairs(noise(2), noise(2, 1)), {}, "l1 psnr ssim swd", "l1"),
        (pairs(noise(2, 5), noise(2)), {}, "l1 psnr ssim swd", "l1"),
        (pairs(noise(2), noise(2, 5)), {}, "l1", "l1"),
        (pairs(noise(2, 1), noise(2, 1)), {}, "l1 psnr ssim swd edge_similarity", "l1"),
        (no_pairs(noise(2), noise(3)), {}, "swd edge_similarity", "swd"),
        (no_pairs(noise(2), noise(3)), {"best_by": "edge_similarity"}, "swd edge_", "edge_similarity"),
        (no_pairs(noise(2), noise(3, 4)), {}, "", ""),
        (no_pairs(noise(2, side=48), noise(3)), {}, "swd edge_similarity", "swd"),  # sizes differ
    ],
)
def test_what_is_promised_is_computed(
    held_out: HeldOut, run: dict[str, Any], names: str, best_by: str
) -> None:
    options = RunOptions(**run)
    exam = examination(["AtoB"], held_out, options)
    assert " ".join(exam.ways["AtoB"].scores).startswith(names)
    assert exam.best_by == best_by
    resnet = replace(
        TINY["cut"].resnet,
        in_channels=held_out.inputs[0].shape[2],
        out_channels=held_out.others[0].shape[2],
    )
    result = evaluated(
        "pix2pix",
        held_out,
        options,
        replace(TINY["pix2pix"], resnet=resnet),
    )
    assert list(result.scores) == exam.ways["AtoB"].scores
    assert all(np.isfinite(value) for value in result.scores.values())


def test_the_way_back_has_its_own_scores_and_grid() -> None:
    result = evaluated("cyclegan", pairs(noise(3), maps(3)), RunOptions(palette="auto"))
    assert {"l1", "l1_BtoA", "miou", "swd_BtoA"} <= set(result.scores)
    assert "miou_BtoA" not in result.scores  # photos have no classes
    assert set(result.grids) == {"AtoB", "BtoA"}
    assert result.grids["AtoB"].shape[1] == 4 * (128 + 4) + 4  # input, output, cycle, target
    result = evaluated("cyclegan", no_pairs(noise(3), noise(4)))
    assert result.grids["BtoA"].shape[1] == 3 * (128 + 4) + 4
    assert set(result.scores) == {"swd", "edge_similarity", "swd_BtoA", "edge_similarity_BtoA"}


def test_classes_belong_to_the_domain_of_labels() -> None:
    held_out = pairs(maps(2), noise(2))
    exam = examination(["AtoB", "BtoA"], held_out, RunOptions(palette="auto", labels="A"))
    assert exam.ways["AtoB"].palette is None
    assert exam.ways["BtoA"].palette is not None
    assert len(exam.ways["BtoA"].palette) == 2
    # Of a run that translates back, AtoB is what it learns.
    run = RunOptions(palette="auto", labels="A", direction="BtoA")
    exam = examination(["AtoB"], pairs(noise(2), maps(2)), run)
    assert "miou" in exam.ways["AtoB"].scores


def test_perfect_classes_are_counted_so() -> None:
    exam = examination(["AtoB"], pairs(maps(2), maps(2)), RunOptions(palette="#ff0000,#0000ff"))

    class Same(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    recipe = fresh("cut")
    (generator,) = recipe.generators(recipe.networks)
    result = _evaluated_as(Same(), generator, exam)
    assert result["miou"] == result["pixel_accuracy"] == result["edge_similarity"] == result["ssim"] == 1
    assert result["l1"] == result["swd"] == 0


def _evaluated_as(module: nn.Module, generator: Generator, exam: Any) -> dict[str, float]:
    """Scores of a function that no architecture has."""
    from i2i_training.scoring import _scores, translated

    way = exam.ways[generator.direction]
    fabric = launched("32-true")
    return _scores(translated(module, way.inputs, fabric), way, fabric.device)


def test_palettes_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(TrainingError, match="palette is 'auto': pixel accuracy needs held-out pairs"):
        examination(["AtoB"], no_pairs(noise(2), maps(2)), RunOptions(palette="auto"))
    with pytest.raises(TrainingError, match="palette is 'auto': pixel accuracy needs held-out pairs"):
        examination(["AtoB"], pairs(noise(2), noise(2, 5)), RunOptions(palette="auto"))
    with pytest.raises(TrainingError, match="no colour covers"):
        examination(["AtoB"], pairs(noise(2), noise(2)), RunOptions(palette="auto"))


def test_inception_scores_need_two_images(tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_bytes(b"")
    run = RunOptions(inception=str(tmp_path / "net.pt"))
    with pytest.raises(TrainingError, match="FID and KID need at least 2 held-out images; AtoB has 1"):
        examination(["AtoB"], pairs(noise(1), noise(1)), run)
    assert {"fid", "kid"} <= set(examination(["AtoB"], pairs(noise(2), noise(2)), run).ways["AtoB"].scores)


# ---------------------------------------------------------------- the best


@pytest.mark.parametrize("name", HIGHER_IS_BETTER)
def test_lower_badness_is_better(name: str) -> None:
    better, worse = (2.0, 1.0) if HIGHER_IS_BETTER[name] else (1.0, 2.0)
    assert badness(name, better) < badness(name, worse)


@pytest.mark.parametrize("best_by", ["l1", "psnr"])
def test_the_best_checkpoint_is_kept(best_by: str, tmp_path: Path) -> None:
    """It gets worse, because the learning rate is far too high; then better."""
    pictures = write_pictures(tmp_path / "data")
    recipe = fresh("pix2pix", replace(TINY["pix2pix"], lambda_gan=0.0))
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
    run = run_of(pictures, tmp_path / "run", steps=5, save_every=1, best_by=best_by)
    train(recipe, run)
    scores = dict(read_metrics(tmp_path / "run" / "metrics.csv")["score", best_by])
    best = (min if best_by == "l1" else max)(scores, key=scores.__getitem__)
    assert best == 2
    assert load_generator(tmp_path / "run" / "best_net_G.safetensors")[1].steps == 2
    assert load_generator(tmp_path / "run" / "latest_net_G.safetensors")[1].steps == 5
    state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
    assert state["best"] == {"step": 2, "score": badness(best_by, scores[2]), "by": best_by}

    # A resumed run knows what was best before.
    go(replace(run, steps=6), resume=True)
    assert load_generator(tmp_path / "run" / "best_net_G.safetensors")[1].steps in (2, 6)


# ---------------------------------------------------------------- colours gone wrong


def photos(count: int) -> list[Image]:
    """A sky above dark ground, each a bit different."""
    sky = np.linspace((90, 150, 230), (40, 60, 20), 32)
    rows = np.clip(sky[None] + np.arange(count)[:, None, None] * 2, 0, 255).astype(np.uint8)
    return list(np.repeat(rows[:, :, None], 32, axis=2))


def test_inverted_colours_reach_the_screen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import cv2

    for folder in ("trainA", "trainB", "testA"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        for n, photo in enumerate(photos(12)):
            cv2.imwrite(str(tmp_path / "data" / folder / f"{n}.png"), photo[..., ::-1])
    recipe = fresh("encdec", replace(TINY["encdec"], network=replace(TINY["encdec"].network, width=3)))
    data = {"load_size": 32, "flip": False, "batch": 4, "eval_images": 12, "schedule": "constant"}
    run = run_of(tmp_path / "data", tmp_path / "run", steps=1, **data)

    def step(batch: Any) -> dict[str, torch.Tensor]:
        """The generator becomes x -> -x, on average over 4x4 pixels."""
        with torch.no_grad():
            for layer in recipe.networks["G"].modules():
                if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                    layer.weight.zero_()
                    layer.bias.zero_()
            convs = [m for m in recipe.networks["G"].modules() if isinstance(m, nn.Conv2d)]
            backs = [m for m in recipe.networks["G"].modules() if isinstance(m, nn.ConvTranspose2d)]
            for conv in convs:
                conv.bias.fill_(2.0 if conv is convs[0] else 0.0)  # keeps LeakyReLU linear
                for c in range(3):
                    conv.weight[c, c, 1, 1] = 1.0
            for back in backs:
                sign = -1.0 if back is backs[-1] else 1.0
                for c in range(3):
                    back.weight[c, c] = sign * 0.25 if back.weight.shape[-1] == 4 else sign
            backs[-1].bias.fill_(2.0)
        return {"D": torch.zeros(())}

    recipe.step = step
    train(recipe, run)
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("warning: AtoB: light and dark are inverted (-") for line in lines), lines


def test_pairs_and_label_maps_are_not_suspected() -> None:
    """There the truth may turn colours round."""
    for held_out, run in (
        (pairs(photos(12), photos(12)), RunOptions()),
        (no_pairs(photos(12), photos(12)), RunOptions(labels="B")),
    ):
        ways = examination(["AtoB", "BtoA"], held_out, run).ways
        assert not any(way.keeps_colours for way in ways.values())
    ways = examination(["AtoB", "BtoA"], no_pairs(photos(2), photos(2)), RunOptions()).ways
    assert all(way.keeps_colours for way in ways.values())
