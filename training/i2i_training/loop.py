"""How a run goes: steps, checkpoints, held-out scores, and going on exactly where it stopped."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.fabric import Fabric
from torch import Tensor

from i2i_sdk.errors import TrainingError
from i2i_sdk.frames import swapped
from i2i_sdk.sinks import write_image
from i2i_training.checkpoint import save_generator
from i2i_training.config_file import write_config
from i2i_training.data import HeldOut, open_training_data, read_held_out
from i2i_training.devices import agreed, launched
from i2i_training.ema import Averages
from i2i_training.networks import DcganConfig, GeneratorSpec
from i2i_training.recipes.base import Recipe
from i2i_training.report import CONFIG, write_report
from i2i_training.run_options import RunOptions
from i2i_training.schedules import LearningRate
from i2i_training.scoring import SMALLEST, badness, best_by, evaluate, snapshot
from i2i_training.state import STATE, Session, load_state, save_state
from i2i_training.stopping import StopSignals
from i2i_training.watch import Watch

SAMPLES = "samples"
LATEST, BEST = "latest_net_G", "best_net_G"  # upstream's name, so that people find it


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    steps: int  # done so far
    finished: bool
    stopped_by: str  # "", "SIGINT", "SIGTERM" or "minutes"
    generators: tuple[Path, ...]


def train(recipe: Recipe, run: RunOptions, resume: bool = False) -> Outcome:
    """Train `recipe` as `run` says; the folder `run.out` holds what comes of it.

    Writes there, every `save_every` steps and at the end: `state.pt`, from which `resume=True` goes on as
    if nothing had happened; the latest and the best generators; sample grids; `metrics.csv`; at the end
    `report.html`. SIGINT and SIGTERM end the run after the step at hand, with its state saved.
    Raises TrainingError when the data cannot be used or a loss is not finite, CheckpointError for a state
    that cannot be resumed.
    """
    check_sizes(recipe, run)
    fabric = launched(run.precision)
    out, multiple = Path(run.out), multiple_of(recipe)
    held_out = read_held_out(run, recipe.data, multiple, max(multiple, SMALLEST), run.eval_images)
    picks = best_by(run, held_out)
    source = open_training_data(
        run, recipe.data, run.batch, run.seed, rank=fabric.global_rank, world=fabric.world_size
    )
    with closing(source) as data:
        claim_folder(recipe, run, resume)
        recipe.setup(fabric, run.compile)
        rate = LearningRate(run.schedule, run.steps, run.decay_from)
        session = Session(recipe, data, rate, Averages(recipe, run.ema))
        torch.manual_seed(run.seed + fabric.global_rank)  # noise differs between processes, weights do not
        if resume:
            load_state(out / STATE, session, fabric)
        watch = Watch(run, recipe.options, session.step, speaks=fabric.is_global_zero)
        with watch, StopSignals() as signals:
            stopped_by = _steps(session, run, fabric, watch, signals, held_out, picks)
        if fabric.is_global_zero and session.step == run.steps:
            write_report(out)
    paths = tuple(out / f"{LATEST}{g.suffix}.safetensors" for g in recipe.generators(recipe.networks))
    return Outcome(session.step, session.step >= run.steps, stopped_by, paths)


def _steps(
    session: Session,
    run: RunOptions,
    fabric: Fabric,
    watch: Watch,
    signals: StopSignals,
    held_out: HeldOut,
    picks: str,
) -> str:
    """From the session's step to the last one; returns what stopped it before, if anything did."""
    deadline = time.monotonic() + 60 * (run.minutes or float("inf"))
    saved = session.step
    stopped_by = ""
    while session.step < run.steps and not stopped_by:
        step = session.step + 1
        session.recipe.set_learning_rate(session.rate.factor(step))
        losses = session.recipe.step(session.data.next(fabric.device))
        session.averages.update()
        session.step = step
        stopped_by = agreed(fabric, signals.asked or ("minutes" if time.monotonic() > deadline else ""))
        due = step % run.save_every == 0 or step == run.steps
        if due or stopped_by or step % run.log_every == 0:
            check_finite({f"loss {k}": v for k, v in losses.items()}, step, saved)
            lr = session.recipe.options.optim.lr * session.rate.factor(step)
            watch.step(step, {k: float(v) for k, v in losses.items()}, lr)
        else:
            watch.step(step)
        if due:
            _evaluate(session, run, fabric, watch, held_out, picks, saved)
        if due or stopped_by:
            _save(session, run, fabric, LATEST, saved)
            saved = step
    return stopped_by


def _evaluate(
    session: Session,
    run: RunOptions,
    fabric: Fabric,
    watch: Watch,
    held_out: HeldOut,
    picks: str,
    saved: int,
) -> None:
    """Score the held-out images; keep the generators if they are the best so far."""
    score = 0.0
    if fabric.is_global_zero:
        generators = session.recipe.generators(session.averages.networks())
        result = evaluate(generators, held_out, run, fabric)
        watch.scores(session.step, result.scores, result.warnings)
        for name, grid in result.grids.items():
            path = Path(run.out) / SAMPLES / f"step_{session.step:06d}_{name}.jpg"
            write_image(path, swapped(grid))
            watch.grid(session.step, path)
        score = badness(picks, result.scores[picks])
    score = float(fabric.broadcast(score))
    session.rate.observe(score)
    if not session.best or score < session.best["score"]:
        session.best = {"step": session.step, "score": score}
        if fabric.is_global_zero:
            write_generators(session, run, BEST, saved)


def _save(session: Session, run: RunOptions, fabric: Fabric, name: str, saved: int) -> None:
    """Generators first: they refuse weights that are not finite, and the state before stays."""
    if fabric.is_global_zero:
        write_generators(session, run, name, saved)
        save_state(Path(run.out) / STATE, session)
    fabric.barrier()


def write_generators(session: Session, run: RunOptions, name: str, saved: int) -> None:
    """All generators as `.safetensors`, each with its history."""
    for g in session.recipe.generators(session.averages.networks()):
        check_finite(g.module.state_dict(), session.step, saved)
        spec = GeneratorSpec(
            g.config,
            norm_mode=g.norm_mode,
            recipe=session.recipe.name,
            direction=data_direction(g.direction, run.direction),
            steps=session.step,
            size=run.crop_size,
            trained_on=run.trained_on,
            licence=run.licence,
        )
        save_generator(Path(run.out) / f"{name}{g.suffix}.safetensors", snapshot(g), spec)


def data_direction(generator: str, run: str) -> str:
    """A generator's direction in the data set's own names: a BtoA run swaps them."""
    return generator if run == "AtoB" else {"AtoB": "BtoA", "BtoA": "AtoB"}[generator]


def check_finite(values: Mapping[str, Tensor], step: int, saved: int) -> None:
    """Raise TrainingError naming the values that are not finite, and the last good checkpoint."""
    broken = [name for name, value in values.items() if not torch.isfinite(value).all()]
    if broken:
        kept = f"the checkpoint of step {saved} is good" if saved else "no checkpoint was written"
        raise TrainingError(
            f"{', '.join(broken[:3])} is not finite at step {step}; {kept}. "
            f"Try a lower --optim.lr or --precision 32-true"
        )


def check_sizes(recipe: Recipe, run: RunOptions) -> None:
    """Crops must suit all networks; said before anything is read."""
    recipe.check_crop(run.crop_size)
    if run.load_size is not None and run.load_size < run.crop_size:
        raise TrainingError(
            f"crop_size is {run.crop_size}; crops are cut from images of load_size {run.load_size}"
        )
    if recipe.trains_both_directions and run.direction != "AtoB":
        raise TrainingError(
            f"direction is {run.direction!r}; {recipe.name} trains both: leave it out, and say "
            f"--direction {run.direction} when you export"
        )


def multiple_of(recipe: Recipe) -> int:
    """What the sides of held-out images must divide by: all generators take them."""
    configs = [g.config for g in recipe.generators(recipe.networks)]
    return max(1 if isinstance(config, DcganConfig) else config.multiple_of for config in configs)


def claim_folder(recipe: Recipe, run: RunOptions, resume: bool) -> None:
    """Make `run.out` and write the resolved options. Raises TrainingError where an earlier run would go."""
    out = Path(run.out)
    if resume:
        write_config(out / CONFIG, recipe.name, run, recipe.options)  # it may go on with more steps
        return
    held = [path for path in (out / STATE, *out.glob(f"{LATEST}*.safetensors")) if path.exists()]
    if held and not run.overwrite:
        raise TrainingError(
            f"{out} holds an earlier run ({held[0].name}); go on with it: i2i train --resume {out}; or "
            f"choose another --out, or --overwrite true"
        )
    for path in (*held, *(out / SAMPLES).glob("step_*.jpg"), *out.glob(f"{BEST}*.safetensors")):
        path.unlink()
    out.mkdir(parents=True, exist_ok=True)
    write_config(out / CONFIG, recipe.name, run, recipe.options)
