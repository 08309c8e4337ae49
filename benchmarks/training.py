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
import torch
import torch.nn.functional as F
from skimage import data as photos
from torch import Tensor

from benchmarks.report import publish
from i2i_sdk.measure import interleaved, machine, statistics
from i2i_sdk.measure.quiet import Quiet
from i2i_sdk.measure.record import Row, make_record
from i2i_sdk.measure.timing import ratio
from i2i_training.config_file import apply_config
from i2i_training.data import Batch, TrainingData, open_training_data
from i2i_training.devices import launched
from i2i_training.pool import ImagePool
from i2i_training.recipes import RECIPES, Recipe
from i2i_training.run_options import RunOptions

PLAIN = "plain FP32 loop"
SIZE = 128  # pixels: crops on a CPU; a GPU takes 256
RECIPE_NAMES = ("cyclegan", "pix2pix", "cut", "unit", "encdec", "dcgan")


def differences(name: str, size: int) -> dict[str, Any]:
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
        with Quiet() as quiet:
            for name in args.recipes.split(","):
                print(f"training {name}")
                rows += compared(name, Path(folder), args)
                quiet.look()
    facts = {
        "threads": torch.get_num_threads(),
        "precision": args.precision,
        "compiled": args.compile,
        "rounds": args.rounds,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
    }
    title = "one step of training"
    record = make_record(
        "training", title, tuple(rows), machine(), quiet.conditions, baseline=PLAIN, facts=facts
    )
    publish(record)
    return 0


def compared(name: str, folder: Path, args: argparse.Namespace) -> list[Row]:
    """One recipe: both loops interleaved in one process whose threads they share; then our step's parts."""
    run, options = run_of(name, folder, args.size, args.batch)
    with closing(opened(name, run)) as data:
        ours, device = prepared(name, options, args.precision, args.compile)
        plain, _ = prepared(name, options, "32-true", False)
        if name == "cyclegan":
            plain_step = PlainCycleGAN(plain, options.pool_size).step
        else:
            unfuse(plain)
            plain_step = plain.step
        source = decoded_batches(run, name, device)
        calls: dict[str, Callable[[], object]] = {
            PLAIN: lambda: synchronised(plain_step(next(source)), device),
            "i2i train": lambda: synchronised(ours.step(data.next(device)), device),
        }
        times = interleaved(calls, rounds=args.rounds, warmup=3)
        values = {"faster": ratio(times[PLAIN], times["i2i train"])}
        values |= breakdown(ours, data, device, rounds=args.rounds)
    return [
        row_of(name, PLAIN, times[PLAIN], run, {}),
        row_of(name, "i2i train", times["i2i train"], run, values),
    ]


def row_of(recipe: str, loop: str, times: Sequence[float], run: RunOptions, values: dict[str, float]) -> Row:
    """One loop's steps."""
    step = statistics(times)
    values = {"images": 1000 * run.batch / step.median_ms, **values}
    return Row(recipe, loop, run.crop_size, run.crop_size, run.batch, times={"step": step}, values=values)


def run_of(name: str, folder: Path, size: int, batch: int | None) -> tuple[RunOptions, Any]:
    """Options of a case."""
    given: dict[str, Any] = {"data": str(folder / ("pairs" if name == "pix2pix" else "domains"))}
    size = 128 if name == "dcgan" else size
    given |= {"load_size": size + size // 8, "crop_size": size, **differences(name, size)}
    if batch:
        given["batch"] = batch
    return apply_config((RunOptions(), RECIPES[name].options()), given)


def opened(name: str, run: RunOptions) -> TrainingData:
    return open_training_data(run, RECIPES[name].recipe.data, run.batch, run.seed)


def prepared(name: str, options: Any, precision: str, compiled: bool) -> tuple[Recipe, torch.device]:
    """A recipe and its device, weights as seed 0 makes them."""
    torch.manual_seed(0)
    recipe, fabric = RECIPES[name].recipe(options, 0), launched(precision)
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
        loss = judged(self.d_a, fake_b, 1.0) + judged(self.d_b, fake_a, 1.0) + cycle + identity
        loss.backward()
        self.optimizer_g.step()

        for net in (self.d_a, self.d_b):
            net.requires_grad_(True)
        self.optimizer_d.zero_grad()
        for net, real, fake, pool in zip(
            (self.d_a, self.d_b), (b, a), (fake_b, fake_a), self.pools, strict=True
        ):
            loss_d = 0.5 * (judged(net, real, 1.0) + judged(net, pool.swap(fake.detach()), 0.0))
            loss_d.backward()
        self.optimizer_d.step()
        return {"G": loss.detach()}


def judged(discriminator: torch.nn.Module, images: Tensor, label: float) -> Tensor:
    """Least squares distance of D's scores from a label."""
    scores = discriminator(images)
    return F.mse_loss(scores, torch.full_like(scores, label))


def decoded_batches(run: RunOptions, name: str, device: torch.device) -> Iterator[Batch]:
    """Batches whose files are read again each time: decoded, resized, cropped, flipped, converted."""
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
            a.append(cropped(left, run, random))
            b.append(cropped(right, run, random))
        yield Batch(torch.stack(a).to(device), torch.stack(b).to(device))


def cropped(image: np.ndarray, run: RunOptions, random: np.random.Generator) -> Tensor:
    """float32 [3, crop, crop] in -1..1."""
    assert run.load_size is not None
    image = cv2.resize(image, (run.load_size, run.load_size), interpolation=cv2.INTER_CUBIC)
    top, left = random.integers(0, run.load_size - run.crop_size + 1, 2)
    image = image[top : top + run.crop_size, left : left + run.crop_size, ::-1]
    image = image[:, :: random.choice((1, -1))]
    return torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 127.5 - 1


def breakdown(recipe: Recipe, data: TrainingData, device: torch.device, rounds: int) -> dict[str, float]:
    """Shares of our step: waiting for data, backward passes, optimisers; the rest is forward passes."""
    spent: dict[str, float] = {"waiting": 0.0, "backward": 0.0, "optimisers": 0.0}

    def timed(part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def measured(*args: Any, **kwargs: Any) -> Any:
            synchronised(None, device)
            start = time.perf_counter()
            result = synchronised(call(*args, **kwargs), device)
            spent[part] += time.perf_counter() - start
            return result

        return measured

    backward, steps = recipe.backward, {n: o.step for n, o in recipe.optimizers.items()}
    recipe.backward = timed("backward", backward)
    for name, step in steps.items():
        recipe.optimizers[name].step = timed("optimisers", step)
    next_batch = timed("waiting", data.next)
    start = time.perf_counter()
    for _ in range(rounds):
        synchronised(recipe.step(next_batch(device)), device)
    total = time.perf_counter() - start
    recipe.backward = backward
    for name, step in steps.items():
        recipe.optimizers[name].step = step
    shares = {part: seconds / total for part, seconds in spent.items()}
    return {**shares, "forward": 1 - sum(shares.values())}


def synchronised(result: Any, device: torch.device) -> Any:
    """Wait for a GPU, so that its time is counted where it belongs."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return result


def print_memory(folder: Path, steps: int) -> int:
    """Resident memory of a small CycleGAN, ten times over the run."""
    given = {"data": str(folder / "domains"), "load_size": 48, "crop_size": 32, "ema": 0.999}
    given |= {"resnet": {"width": 8, "blocks": 2}, "discriminator": {"width": 8, "layers": 2}}
    run, options = apply_config((RunOptions(), RECIPES["cyclegan"].options()), given)
    recipe, device = prepared("cyclegan", options, "bf16-mixed", False)
    with closing(opened("cyclegan", run)) as data:
        for step in range(1, steps + 1):
            recipe.step(data.next(device))
            if step % max(1, steps // 10) == 0:
                gc.collect()
                print(f"step {step}: {resident_mb():.1f} MB")
        print(f"waited for data: {data.waited_s:.2f} s of the run")
    return 0


def resident_mb() -> float:
    """MB of memory that this process has now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


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
