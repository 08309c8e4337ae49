"""How a run goes: steps, learning rate, progress, sample grids, checkpoints."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path

import cv2
import numpy as np
import torch
from lightning.fabric import Fabric
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from i2i_sdk.errors import TrainingError
from i2i_sdk.frames import swapped
from i2i_sdk.quality import psnr, ssim
from i2i_sdk.sinks import write_image
from i2i_training.checkpoint import save_generator, set_test_mode
from i2i_training.data import Pair, batches, normalised, read_pairs, to_images, to_tensor
from i2i_training.networks import build_generator
from i2i_training.networks.spec import DIRECTIONS
from i2i_training.recipes.pix2pix import Pix2pix

LATEST = "latest_net_G.safetensors"  # upstream's name, so that people find it
SMALLEST_SSIM = 11  # pixels: its window


@dataclass(frozen=True)
class RunOptions:
    # data
    data: str = ""  # folder with train/ and val/ or test/
    direction: str = "AtoB"
    load_size: int | None = 286  # none keeps the images' size
    crop_size: int = 256
    flip: bool = True
    trained_on: str = "unknown"  # a few words for the manifest
    licence: str = "unknown"  # of the weights
    # run
    out: str = "out/run"
    overwrite: bool = False  # replace the generator of an earlier run in `out`
    steps: int = 20000
    decay_from: float = 0.5  # share of the steps after which the learning rate falls linearly to zero
    batch: int = 1
    precision: str = "32-true"  # Fabric's names: 32-true, bf16-mixed …
    seed: int = 0
    save_every: int = 500  # steps between checkpoints and sample grids

    def __post_init__(self) -> None:
        for name in ("crop_size", "steps", "batch", "save_every"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{name} is {getattr(self, name)}; at least 1")
        if not 0 <= self.decay_from <= 1:
            raise TrainingError(f"decay_from is {self.decay_from}; it is a share of the steps, 0 to 1")
        if self.direction not in DIRECTIONS:
            raise TrainingError(f"direction is {self.direction!r}; allowed: {', '.join(DIRECTIONS)}")


def train(recipe: Pix2pix, run: RunOptions) -> Path:
    """Train `recipe` and return the path of `latest_net_G.safetensors` in `run.out`.

    Writes there: the resolved options, `losses.csv`, sample grids (input, output, target) of held-out
    images with their PSNR and SSIM, and the generator, every `save_every` steps and at the end.
    Raises TrainingError when the data cannot be used or a loss is not finite.
    """
    _check_sizes(recipe, run)
    pairs = read_pairs(Path(run.data), "train", run.direction, run.load_size)
    held_out = _held_out(run, max(recipe.config.multiple_of, SMALLEST_SSIM))
    source = batches(pairs, run.batch, run.crop_size, run.flip, torch.Generator().manual_seed(run.seed))
    first = next(source)  # crops that do not fit are found before anything is written
    fabric = _fabric(run.precision)
    out = Path(run.out)
    if (out / LATEST).exists() and not run.overwrite:
        raise TrainingError(f"{out} holds a trained generator; choose another --out, or --overwrite true")
    out.mkdir(parents=True, exist_ok=True)
    (out / "options.json").write_text(
        json.dumps({"run": asdict(run), "recipe": asdict(recipe.options)}, indent=1)
    )

    recipe.setup(fabric)
    with _progress() as progress, (out / "losses.csv").open("w", newline="") as file:
        task = progress.add_task("training", total=run.steps, losses="", rate="")
        log = _LossLog(file)
        for step, batch in enumerate(islice(chain([first], source), run.steps), start=1):
            recipe.scale_learning_rate(learning_rate_factor(step, run.steps, run.decay_from))
            a, b = (normalised(fabric.to_device(x)) for x in batch)
            losses = recipe.step(a, b)
            progress.update(task, advance=1)
            saving = step % run.save_every == 0 or step == run.steps
            if saving or step % 50 == 0:
                _check_finite({f"loss {k}": v for k, v in losses.items()}, step, run)
                text = log.add(step, {k: float(v) for k, v in losses.items()})
                progress.update(task, losses=text, rate=f"{log.rate:.2f} steps/s")
            if saving:
                _save(recipe, run, step, out)
                scores = _sample(recipe, held_out, out / f"sample_{step:06d}.jpg")
                progress.console.print(f"step {step}: held-out PSNR {scores[0]:.2f} dB, SSIM {scores[1]:.3f}")
    return out / LATEST


def learning_rate_factor(step: int, steps: int, decay_from: float) -> float:
    """1 for the first `decay_from` of the steps, then linearly towards 0, as in the CycleGAN paper."""
    start = decay_from * steps
    return 1.0 if step <= start else max(0.0, (steps - step + 1) / (steps - start + 1))


def _check_sizes(recipe: Pix2pix, run: RunOptions) -> None:
    """Crops must suit both networks; said before anything is read."""
    config, smallest = recipe.config, recipe.options.discriminator.smallest
    if (config.in_channels, config.out_channels) != (3, 3):
        raise TrainingError(
            f"the {config.architecture} has {config.in_channels} input and {config.out_channels} output "
            f"channels; training reads RGB images, which need 3 and 3"
        )
    if run.crop_size % config.multiple_of:
        raise TrainingError(
            f"crop_size is {run.crop_size}; the {config.architecture} needs multiples of {config.multiple_of}"
        )
    if run.load_size is not None and run.load_size < run.crop_size:
        raise TrainingError(
            f"crop_size is {run.crop_size}; crops are cut from images of load_size {run.load_size}"
        )
    if run.crop_size < smallest:
        raise TrainingError(
            f"crop_size is {run.crop_size}; a discriminator of {recipe.options.discriminator.layers} layers "
            f"needs at least {smallest}"
        )


def _fabric(precision: str) -> Fabric:
    if precision.startswith("16") and not torch.accelerator.is_available():
        raise TrainingError(f"precision {precision} needs a GPU; here: 32-true, bf16-mixed")
    try:
        fabric = Fabric(accelerator="auto", devices=1, precision=precision)  # pyright: ignore[reportArgumentType]
    except ValueError as error:
        raise TrainingError(f"precision is {precision!r}: {error}") from error
    fabric.launch()
    return fabric


def _held_out(run: RunOptions, smallest: int) -> list[Pair]:
    for split in ("val", "test"):
        if (Path(run.data) / split).is_dir():
            pairs = read_pairs(Path(run.data), split, run.direction, run.load_size)
            small = [p.name for p in pairs if min(p.a.shape[:2]) < smallest]
            if small:
                raise TrainingError(
                    f"{run.data}/{split}: {len(small)} images are smaller than {smallest} pixels, which the "
                    f"generator and SSIM need; first {small[0]}"
                )
            return pairs
    raise TrainingError(f"{run.data}: no val/ or test/ folder; held-out images show how the training goes")


class _LossLog:
    """losses.csv, and the pace."""

    def __init__(self, file: object) -> None:
        self.writer = csv.writer(file)  # pyright: ignore[reportArgumentType]
        self.last = (0, time.perf_counter())
        self.rate = 0.0

    def add(self, step: int, losses: dict[str, float]) -> str:
        if self.last[0] == 0:
            self.writer.writerow(["step", *losses])
        self.writer.writerow([step, *losses.values()])
        now = time.perf_counter()
        self.rate = (step - self.last[0]) / (now - self.last[1])
        self.last = (step, now)
        return "  ".join(f"{name} {value:.3f}" for name, value in losses.items())


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[rate]}  {task.fields[losses]}"),
    )


def _check_finite(values: Mapping[str, Tensor], step: int, run: RunOptions) -> None:
    broken = [name for name, value in values.items() if not torch.isfinite(value).all()]
    if broken:
        saved = (step - 1) // run.save_every * run.save_every
        kept = f"the checkpoint of step {saved} is good" if saved else "no checkpoint was written"
        raise TrainingError(
            f"{', '.join(broken[:3])} is not finite at step {step}; {kept}. "
            f"Try a lower --optim.lr or --precision 32-true"
        )


def _save(recipe: Pix2pix, run: RunOptions, step: int, out: Path) -> Path:
    module = build_generator(recipe.config)
    module.load_state_dict(recipe.generator.state_dict())
    _check_finite(module.state_dict(), step, run)
    spec = recipe.spec(
        direction=run.direction,
        steps=step,
        size=run.crop_size,
        trained_on=run.trained_on,
        licence=run.licence,
    )
    return save_generator(out / LATEST, module, spec)


def _sample(recipe: Pix2pix, held_out: list[Pair], path: Path, rows: int = 6) -> tuple[float, float]:
    """Write a grid of input, output, target; return mean PSNR and SSIM over all held-out pairs."""
    module = build_generator(recipe.config)
    module.load_state_dict(recipe.generator.state_dict())
    set_test_mode(module, recipe.spec().norm_mode)
    scores, grid = [], []
    for index, pair in enumerate(held_out):
        a, b = _trimmed(pair, recipe.config.multiple_of)
        with torch.no_grad():
            (output,) = to_images(module(normalised(to_tensor([a]))))
        scores.append((psnr(output, b), ssim(output, b)))
        if index < rows:
            grid.append(np.hstack([a, output, b]))
    width = min(row.shape[1] for row in grid)
    sheet = np.vstack([cv2.resize(row, (width, round(row.shape[0] * width / row.shape[1]))) for row in grid])
    write_image(path, swapped(sheet))
    mean = np.mean(scores, axis=0)
    return float(mean[0]), float(mean[1])


def _trimmed(pair: Pair, multiple: int) -> tuple[np.ndarray, np.ndarray]:
    height, width = (side - side % multiple for side in pair.a.shape[:2])
    return pair.a[:height, :width], pair.b[:height, :width]
