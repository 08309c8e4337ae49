"""How good trained translators are on images they never saw, in one table.

    python -m benchmarks.quality pairs DATA NAME=CHECKPOINT …      where the truth is known
    python -m benchmarks.quality domains DATA NAME=CHECKPOINT …    where it is not

`pairs` compares with the held-out targets. `domains` trains a classifier on the real images of both
domains, which must tell held-out ones apart, and asks it what it takes the translations for. Copying the
input is always in the table: what does not beat it has learned nothing. So is, with pairs, a blank sheet of
the targets' median color: figures that approve of it say nothing about roads. The sheet of pictures is
written beside the figures, because a number that approves a bad picture is the wrong number.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from lightning.fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from i2i_sdk.cli.tables import print_table
from i2i_sdk.imaging.geometry import swap_red_and_blue
from i2i_sdk.media.images import write_image
from i2i_sdk.perf.machine import describe_machine
from i2i_training.checkpoint import load_generator
from i2i_training.data import DataOptions, HeldOutSet, TrainingData, normalize_images, read_held_out
from i2i_training.metrics import compute_edge_similarity, compute_paired_scores, compute_sliced_wasserstein
from i2i_training.networks import count_parameters
from i2i_training.run.evaluation import resolve_palette, translate_images
from i2i_training.run.sample_grids import draw_sample_grid

OUT = Path("out/quality")  # beside the records of out/bench, whose format these files do not have
Image = NDArray[np.uint8]
Scores = dict[str, float]

COPY, BLANK = "copy the input", "one color"
CLASSIFIER_STEPS, CLASSIFIER_CROP, CLASSIFIER_BATCH = 600, 128, 16
MIN_ACCURACY = 0.9  # of held-out real images that the classifier must tell right


def main(argv: Sequence[str]) -> int:
    """Score the named checkpoints and write table and sheet to out/quality/."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality")
    parser.add_argument("kind", choices=("pairs", "domains"))
    parser.add_argument("data", type=Path)
    parser.add_argument("checkpoints", nargs="+", metavar="NAME=CHECKPOINT")
    parser.add_argument("--direction", default="AtoB")
    parser.add_argument("--size", type=int, default=256, help="side that images are stretched to")
    parser.add_argument("--palette", default="none", help="of pairs: auto, or #rrggbb,…")
    parser.add_argument("--images", type=int, default=100, help="held-out images at most")
    args = parser.parse_args(argv)
    options = DataOptions(
        str(args.data), direction=args.direction, load_size=args.size, crop_size=CLASSIFIER_CROP
    )
    held_out = read_held_out(options, "unpaired", 16, 64, args.images)
    outputs = {COPY: held_out.inputs}
    if held_out.targets is not None:
        outputs[BLANK] = make_blank_sheets(held_out.targets)
    outputs |= translate_all(args.checkpoints, held_out.inputs)
    if args.kind == "pairs":
        scores = {name: score_pairs(images, held_out, args.palette) for name, images in outputs.items()}
    else:
        scores = score_domains(outputs, held_out, options)
    halves = held_out.references[::2], held_out.references[1::2]
    print(f"swd of two halves of the real images: {compute_sliced_wasserstein(*halves)['mean']:.1f}")
    show(args, scores, outputs, held_out)
    return 0


def translate_all(checkpoints: Sequence[str], inputs: Sequence[Image]) -> dict[str, list[Image]]:
    """What each "NAME=CHECKPOINT" makes of the inputs, in FP32."""
    fabric = Fabric(accelerator="auto", devices=1)
    found: dict[str, list[Image]] = {}
    for text in checkpoints:
        name, _, path = text.partition("=")
        module, spec = load_generator(path)
        size = f"{count_parameters(module) / 1e6:.2f} M parameters, {spec.steps} steps"
        found[f"{name} ({size})"] = translate_images(module.to(fabric.device), inputs, fabric)
    return found


def make_blank_sheets(targets: Sequence[Image]) -> list[Image]:
    """Each target's shape, filled with the median color of all."""
    color = np.median(np.concatenate([target.reshape(-1, target.shape[2]) for target in targets]), axis=0)
    return [np.full_like(target, color.astype(np.uint8)) for target in targets]


def score_pairs(outputs: Sequence[Image], held_out: HeldOutSet, palette: str) -> Scores:
    """Distances from the truth.

    Args:
        outputs: of a translator, uint8 [H, W, 3] RGB.
        held_out: with targets.
        palette: "none", "auto", or colors as #rrggbb with commas.

    Returns:
        Scores by name.
    """
    if held_out.targets is None:
        raise SystemExit("these images have no pairs; use: python -m benchmarks.quality domains")
    scores = compute_paired_scores(outputs, held_out.targets, resolve_palette(palette, held_out.targets))
    return {**scores, "swd": compute_sliced_wasserstein(outputs, held_out.references)["mean"]}


def score_domains(
    outputs: Mapping[str, Sequence[Image]], held_out: HeldOutSet, options: DataOptions
) -> dict[str, Scores]:
    """What a classifier of the two domains takes the outputs for, and what is left of the input's edges.

    Args:
        outputs: of every method, by its name.
        held_out: inputs and references.
        options: of the data.

    Returns:
        Scores by name, of each method.
    """
    # The way back holds out images of both domains even where there is no testB.
    back = replace(options, direction="BtoA" if options.direction == "AtoB" else "AtoB")
    real = read_held_out(back, "unpaired", 16, 64)
    classifier = train_classifier(back)
    right = (1 + compute_b_share(classifier, real.inputs) - compute_b_share(classifier, real.references)) / 2
    count = f"{len(real.inputs)}+{len(real.references)}"
    print(f"the classifier tells {100 * right:.1f} % of {count} real images right")
    if right < MIN_ACCURACY:
        least = f"{100 * MIN_ACCURACY:.0f} %"
        raise SystemExit(f"that is less than {least}: its opinion of translations is worth nothing")
    return {
        name: {
            "taken for B": compute_b_share(classifier, images),
            "swd": compute_sliced_wasserstein(images, held_out.references)["mean"],
            "edge_similarity": compute_edge_similarity(images, held_out.inputs),
        }
        for name, images in outputs.items()
    }


def train_classifier(backward_options: DataOptions) -> nn.Module:
    """Which domain is a crop from? `back` translates from B to A; a score above 0 says B."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in ((3, 32), (32, 64), (64, 128), (128, 128)):
        layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(128, 1))
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, CLASSIFIER_STEPS)
    data = TrainingData(backward_options, "unpaired", CLASSIFIER_BATCH, seed=0)
    for _ in range(CLASSIFIER_STEPS):
        batch = data.next("cpu")
        assert batch.a is not None
        scores = net(torch.cat([batch.a, batch.b])).squeeze(1)
        labels = torch.cat([torch.ones(len(batch.a)), torch.zeros(len(batch.b))])
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(scores, labels).backward()
        optimizer.step()
        schedule.step()
    data.close()
    return net.eval()


def compute_b_share(classifier: nn.Module, images: Sequence[Image]) -> float:
    """Share of the images that the classifier takes for B, by the mean score of their four quarters."""
    with torch.no_grad():
        return float(np.mean([float(classifier(crop_quarters(image)).mean()) > 0 for image in images]))


def crop_quarters(image: Image) -> Tensor:
    """Four crops as the classifier was trained on: float32 [4, 3, crop, crop] in -1..1."""
    x = normalize_images(torch.from_numpy(image).permute(2, 0, 1))
    c = CLASSIFIER_CROP
    return torch.stack([x[:, :c, :c], x[:, :c, -c:], x[:, -c:, :c], x[:, -c:, -c:]])


def show(
    args: argparse.Namespace,
    scores: Mapping[str, Scores],
    outputs: Mapping[str, list[Image]],
    held_out: HeldOutSet,
) -> None:
    """The table on screen, the same as JSON, and the first rows as pictures.

    Args:
        args: of the command.
        scores: of each method.
        outputs: of each method, uint8 [H, W, 3] RGB.
        held_out: inputs, and targets where there are some.
    """
    names = list(next(iter(scores.values())))
    rows = [[method, *(f"{values[name]:.3f}" for name in names)] for method, values in scores.items()]
    print_table(f"{args.data.name}, {len(held_out.inputs)} held-out images", ["", *names], rows)
    columns = {"input": held_out.inputs}
    columns |= {name.split(" (")[0]: images for name, images in outputs.items() if name not in (COPY, BLANK)}
    if held_out.targets is not None:
        columns["target"] = held_out.targets
    OUT.mkdir(parents=True, exist_ok=True)
    sheet = draw_sample_grid({name: images[:6] for name, images in columns.items()})
    path = OUT / args.data.name
    write_image(path.with_suffix(".png"), swap_red_and_blue(sheet))
    record = {"data": args.data.name, "images": len(held_out.inputs)}
    record |= {"machine": describe_machine(), "scores": scores}
    path.with_suffix(".json").write_text(json.dumps(record, indent=1))
    print(f"wrote {path}.png and {path}.json")


if __name__ == "__main__":
    main(sys.argv[1:])
