"""Images per second of every recipe against a plain eager FP32 loop, and where a step's time goes.

    python -m benchmarks.training [--recipes cyclegan,pix2pix] [--rounds 20]
    python -m benchmarks.training --flat 2000      # does memory grow?

The plain loop has the same networks, losses and batch: FP32, default Adam, one forward pass per image and
purpose, images decoded from their files at every step, as the usual research code does.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import torch
import torch.nn.functional as F
from skimage import data as photos
from torch import Tensor

from benchmarks.reporting.publish import publish
from i2i_sdk.perf.quiet import QuietMonitor
from i2i_sdk.perf.record import Row
from i2i_sdk.perf.timing import compute_median_ratio, compute_statistics, time_interleaved
from i2i_training.data import Batch, TrainingData
from i2i_training.losses.image_pool import ImagePool
from i2i_training.options import apply_values
from i2i_training.recipes import RECIPES, Recipe
from i2i_training.run.devices import launch_fabric
from i2i_training.run.run_options import RunOptions

PLAIN, OURS = "plain FP32 loop", "i2i train"
Values = dict[str, float]
SIZE = 128  # pixels: crops on a CPU; a GPU takes 256
RECIPE_NAMES = ("cyclegan", "pix2pix", "cut", "unit", "encdec", "dcgan")


def get_overrides(name: str, size: int) -> dict[str, Any]:
    """What differs from a recipe's defaults: the published networks for crops of 128 or 256 pixels."""
    small = size < 256
    cases: dict[str, dict[str, Any]] = {
        "cyclegan": {"resnet": {"blocks": 6 if small else 9}},
        "pix2pix": {"unet": {"downs": 7 if small else 8}},
        "cut": {"resnet": {"blocks": 6 if small else 9}},
        "unit": {"network": {"width": 32}},
        "encdec": {},
        "dcgan": {"network": {"size": 128}, "batch": 16},
    }
    return cases[name]


def main(argv: Sequence[str]) -> int:
    """Measure the chosen recipes; leave the machine alone meanwhile."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training")
    parser.add_argument("--recipes", default=",".join(RECIPE_NAMES))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--size", type=int, default=SIZE, choices=(128, 256), help="of the crops")
    parser.add_argument("--batch", type=int, help="images a step; default: 1, for dcgan 16")
    parser.add_argument("--precision", default="bf16-mixed", help="of our loop")
    parser.add_argument("--compile", action="store_true", help="our loop with torch.compile")
    parser.add_argument("--flat", type=int, help="instead: memory over so many steps of a small CycleGAN")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder))
        if args.flat:
            return print_memory(Path(folder), args.flat)
        rows: list[Row] = []
        with QuietMonitor() as quiet:
            for name in args.recipes.split(","):
                print(f"training {name}")
                rows += compare_loops(name, Path(folder), args)
                quiet.check_steady()
    facts = {
        "threads": torch.get_num_threads(),
        "precision": args.precision,
        "compiled": args.compile,
        "rounds": args.rounds,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
    }
    return publish("training", "one step of training", rows, quiet.conditions, facts, baseline=PLAIN)


def compare_loops(name: str, folder: Path, args: argparse.Namespace) -> list[Row]:
    """One recipe: both loops interleaved in one process whose threads they share; then our step's parts.

    Args:
        name: of the recipe.
        folder: with the images.
        args: of the command.

    Returns:
        A row for each loop.
    """
    run, options = make_run_options(name, folder, args.size, args.batch)
    with closing(open_data(name, run)) as data:
        ours, device = prepare_recipe(name, options, args.precision, args.compile)
        plain, _ = prepare_recipe(name, options, "32-true", False)
        if name == "cyclegan":
            plain_step = PlainCycleGAN(plain, options.pool_size).step
        else:
            unfuse(plain)
            plain_step = plain.step
        source = iter_decoded_batches(run, name, device)
        calls: dict[str, Callable[[], object]] = {
            PLAIN: lambda: synchronize(plain_step(next(source)), device),
            OURS: lambda: synchronize(ours.step(data.next(device)), device),
        }
        times = time_interleaved(calls, rounds=args.rounds, warmup=3)
        values = {"faster": compute_median_ratio(times[PLAIN], times[OURS])}
        values |= measure_breakdown(ours, data, device, rounds=args.rounds)
    return [make_row(name, loop, times[loop], run, values if loop == OURS else {}) for loop in calls]


def make_row(recipe: str, loop: str, times: Sequence[float], run: RunOptions, values: Values) -> Row:
    """One loop's steps.

    Args:
        recipe: its name.
        loop: `PLAIN` or `OURS`.
        times: milliseconds of its steps.
        run: options of the run.
        values: of the row, besides images a second.

    Returns:
        A row of a record.
    """
    step = compute_statistics(times)
    values = {"images": 1000 * run.batch / step.median_ms, **values}
    return Row(recipe, loop, run.crop_size, run.crop_size, run.batch, times={"step": step}, values=values)


def make_run_options(name: str, folder: Path, size: int, batch: int | None) -> tuple[RunOptions, Any]:
    """Options of a case.

    Args:
        name: of the recipe.
        folder: with the images.
        size: of the crops: 128 or 256 pixels.
        batch: images a step; None: the recipe's default.

    Returns:
        Options of the run, and the recipe's.
    """
    values: dict[str, Any] = {"data": str(folder / ("pairs" if name == "pix2pix" else "domains"))}
    size = 128 if name == "dcgan" else size
    values |= {"load_size": size + size // 8, "crop_size": size, **get_overrides(name, size)}
    if batch:
        values["batch"] = batch
    return apply_values((RunOptions(), RECIPES[name].options()), values, "benchmark")


def open_data(name: str, run: RunOptions) -> TrainingData:
    return TrainingData(run, RECIPES[name].recipe.data, run.batch, run.seed)


def prepare_recipe(name: str, options: Any, precision: str, compiled: bool) -> tuple[Recipe, torch.device]:
    """A recipe and its device, weights as seed 0 makes them.

    Args:
        name: of the recipe.
        options: its own.
        precision: as Lightning's Fabric names it.
        compiled: by torch.compile.

    Returns:
        The recipe, set up, and its device.
    """
    torch.manual_seed(0)
    recipe, fabric = RECIPES[name].recipe(options, 0), launch_fabric(precision)
    recipe.setup(fabric, compiled)
    return recipe, fabric.device


def unfuse(recipe: Recipe) -> None:
    """Adam as research code calls it."""
    for optimizer in recipe.optimizers.values():
        for group in optimizer.param_groups:
            group["fused"] = None


class PlainCycleGAN:
    """CycleGAN's step as it is usually written: every translation its own forward pass."""

    def __init__(self, recipe: Recipe, pool_size: int) -> None:
        nets = recipe.networks
        self.g_a, self.g_b, self.d_a, self.d_b = (nets[k] for k in ("G_A", "G_B", "D_A", "D_B"))
        both = itertools.chain(self.g_a.parameters(), self.g_b.parameters())
        judges = itertools.chain(self.d_a.parameters(), self.d_b.parameters())
        self.optimizer_g = torch.optim.Adam(both, lr=2e-4, betas=(0.5, 0.999))
        self.optimizer_d = torch.optim.Adam(judges, lr=2e-4, betas=(0.5, 0.999))
        self.pools = ImagePool(pool_size), ImagePool(pool_size)

    def step(self, batch: Batch) -> dict[str, Tensor]:
        assert batch.a is not None
        a, b = batch.a, batch.b
        fake_b, fake_a = self.g_a(a), self.g_b(b)
        back_a, back_b = self.g_b(fake_b), self.g_a(fake_a)
        for net in (self.d_a, self.d_b):
            net.requires_grad_(False)
        self.optimizer_g.zero_grad()
        identity = 5.0 * (F.l1_loss(self.g_a(b), b) + F.l1_loss(self.g_b(a), a))
        cycle = 10.0 * (F.l1_loss(back_a, a) + F.l1_loss(back_b, b))
        judged = compute_lsgan_loss(self.d_a, fake_b, 1.0) + compute_lsgan_loss(self.d_b, fake_a, 1.0)
        loss = judged + cycle + identity
        loss.backward()
        self.optimizer_g.step()

        for net in (self.d_a, self.d_b):
            net.requires_grad_(True)
        self.optimizer_d.zero_grad()
        sides = (self.d_a, b, fake_b, self.pools[0]), (self.d_b, a, fake_a, self.pools[1])
        for net, real, fake, pool in sides:
            loss_real = compute_lsgan_loss(net, real, 1.0)
            loss_fake = compute_lsgan_loss(net, pool.swap(fake.detach()), 0.0)
            (0.5 * (loss_real + loss_fake)).backward()
        self.optimizer_d.step()
        return {"G": loss.detach()}


def compute_lsgan_loss(discriminator: torch.nn.Module, images: Tensor, label: float) -> Tensor:
    """Least squares distance of D's scores from a label.

    Args:
        discriminator: that scores images.
        images: float32 [N, 3, H, W] in -1..1.
        label: 1 for real, 0 for fake.

    Returns:
        A scalar.
    """
    scores = discriminator(images)
    return F.mse_loss(scores, torch.full_like(scores, label))


def iter_decoded_batches(run: RunOptions, name: str, device: torch.device) -> Iterator[Batch]:
    """Batches whose files are read again each time: decoded, resized, cropped, flipped, converted.

    Args:
        run: options of the run.
        name: of the recipe.
        device: of the batches.
    """
    random = np.random.default_rng(0)
    root = Path(run.data)
    pairs = sorted((root / "train").glob("*"))
    files = {side: sorted((root / f"train{side}").glob("*")) for side in "AB"}
    while True:
        a: list[Tensor] = []
        b: list[Tensor] = []
        for _ in range(run.batch):
            if name == "pix2pix":
                both = cv2.imread(str(pairs[random.integers(len(pairs))]))
                assert both is not None
                left, right = np.hsplit(both, 2)
            else:
                left, right = (cv2.imread(str(files[s][random.integers(len(files[s]))])) for s in "AB")
            assert left is not None and right is not None
            a.append(crop_image(left, run, random))
            b.append(crop_image(right, run, random))
        yield Batch(torch.stack(a).to(device), torch.stack(b).to(device))


def crop_image(image: np.ndarray, run: RunOptions, random: np.random.Generator) -> Tensor:
    """float32 [3, crop, crop] in -1..1.

    Args:
        image: uint8 [H, W, 3] BGR.
        run: with the sides of the enlarged image and of the crop.
        random: of place and mirroring.

    Returns:
        A tensor.
    """
    assert run.load_size is not None
    image = cv2.resize(image, (run.load_size, run.load_size), interpolation=cv2.INTER_CUBIC)
    top, left = random.integers(0, run.load_size - run.crop_size + 1, 2)
    image = image[top : top + run.crop_size, left : left + run.crop_size, ::-1]
    image = image[:, :: random.choice((1, -1))]
    return torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 127.5 - 1


def measure_breakdown(recipe: Recipe, data: TrainingData, device: torch.device, rounds: int) -> Values:
    """Shares of our step: waiting for data, backward passes, optimizers; the rest is forward passes.

    Args:
        recipe: that is set up.
        data: that is open.
        device: of the recipe.
        rounds: steps.

    Returns:
        Shares by name; they add up to 1.
    """
    spent: Values = {"waiting": 0.0, "backward": 0.0, "optimizers": 0.0}

    def add_timing(part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run_timed(*args: Any, **kwargs: Any) -> Any:
            synchronize(None, device)
            start = time.perf_counter()
            result = synchronize(call(*args, **kwargs), device)
            spent[part] += time.perf_counter() - start
            return result

        return run_timed

    backward, steps = recipe.backward, {n: o.step for n, o in recipe.optimizers.items()}
    recipe.backward = add_timing("backward", backward)
    for name, step in steps.items():
        recipe.optimizers[name].step = add_timing("optimizers", step)
    next_batch = add_timing("waiting", data.next)
    start = time.perf_counter()
    for _ in range(rounds):
        synchronize(recipe.step(next_batch(device)), device)
    total = time.perf_counter() - start
    recipe.backward = backward
    for name, step in steps.items():
        recipe.optimizers[name].step = step
    shares = {part: seconds / total for part, seconds in spent.items()}
    return {**shares, "forward": 1 - sum(shares.values())}


def synchronize(result: Any, device: torch.device) -> Any:
    """Wait for a GPU, so that its time is counted where it belongs."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return result


def print_memory(folder: Path, steps: int) -> int:
    """Resident memory of a small CycleGAN, ten times over the run."""
    values = {"data": str(folder / "domains"), "load_size": 48, "crop_size": 32, "ema": 0.999}
    values |= {"resnet": {"width": 8, "blocks": 2}, "discriminator": {"width": 8, "layers": 2}}
    run, options = apply_values((RunOptions(), RECIPES["cyclegan"].options()), values, "benchmark")
    recipe, device = prepare_recipe("cyclegan", options, "bf16-mixed", False)
    with closing(open_data("cyclegan", run)) as data:
        for step in range(1, steps + 1):
            recipe.step(data.next(device))
            if step % max(1, steps // 10) == 0:
                gc.collect()
                print(f"step {step}: {psutil.Process().memory_info().rss / 1e6:.1f} MB")
        print(f"waited for data: {data.wait_s:.2f} s of the run")
    return 0


def write_images(folder: Path, count: int = 24) -> None:
    """Two unpaired domains and pairs, all of scikit-image's photos, as JPEG files of 256 pixels."""
    originals = [photos.astronaut(), photos.coffee(), photos.chelsea(), photos.rocket()]
    for name in ("domains/trainA", "domains/trainB", "domains/testA", "pairs/train", "pairs/val"):
        (folder / name).mkdir(parents=True)
    for index in range(count):
        photo = originals[index % len(originals)][..., ::-1]
        top, left = (index * 7) % 40, (index * 13) % 40
        image = cv2.resize(photo[top : top + 256, left : left + 256], (256, 256))
        negative = np.ascontiguousarray(255 - image[:, ::-1])
        cv2.imwrite(str(folder / f"domains/trainA/{index}.jpg"), image)
        cv2.imwrite(str(folder / f"domains/trainB/{index}.jpg"), negative)
        for split in ("train", "val"):
            cv2.imwrite(str(folder / f"pairs/{split}/{index}.jpg"), np.hstack([image, 255 - image]))
        cv2.imwrite(str(folder / f"domains/testA/{index}.jpg"), image)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
