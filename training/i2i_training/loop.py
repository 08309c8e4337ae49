"""How a run goes: steps, checkpoints, held-out scores, and going on exactly where it stopped."""

from __future__ import annotations

import shlex
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import torch
from lightning.fabric import Fabric

from i2i_sdk.errors import TrainingError
from i2i_sdk.frames import swapped
from i2i_sdk.sinks import write_image
from i2i_training.checkpoint import save_generator
from i2i_training.config_file import write_config
from i2i_training.data import open_training_data, read_held_out
from i2i_training.devices import agreed, averaged, launched
from i2i_training.ema import Averages
from i2i_training.finite import FirstBreak, broken_weights
from i2i_training.networks import DcganConfig, GeneratorSpec
from i2i_training.recipes.base import Recipe
from i2i_training.report import CONFIG, REPORT
from i2i_training.run_options import RunOptions
from i2i_training.schedules import LearningRate
from i2i_training.scoring import SMALLEST, Examination, badness, evaluate, examination, snapshot
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
    first: bool = True  # of several processes, the one that tells


@dataclass(frozen=True)
class Setting:
    """What stays the same while the steps go by."""

    run: RunOptions
    fabric: Fabric
    exam: Examination
    watch: Watch
    signals: StopSignals
    breaks: FirstBreak


def train(recipe: Recipe, run: RunOptions, resume: bool = False) -> Outcome:
    """Train `recipe` as `run` says; the folder `run.out` holds what comes of it.

    Writes there, every `save_every` steps and at the end: `state.pt`, from which `resume=True` goes on as
    if nothing had happened; the latest and the best generators; sample grids; `metrics.csv`. SIGINT and
    SIGTERM end the run after the step at hand, with its state saved. Of several processes all train, and
    the first one writes.
    Raises TrainingError when options or data cannot be used or a loss is not finite, CheckpointError for a
    state that cannot be resumed.
    """
    check_options(recipe, run)
    fabric = launched(run.precision)
    out, multiple = Path(run.out), multiple_of(recipe)
    held_out = read_held_out(run, recipe.data, multiple, max(multiple, SMALLEST), run.eval_images)
    exam = examination([g.direction for g in recipe.generators(recipe.networks)], held_out, run)
    source = open_training_data(
        run, recipe.data, run.batch, run.seed, rank=fabric.global_rank, world=fabric.world_size
    )
    with closing(source) as data:
        if not resume:
            check_folder(out, run.overwrite)
        recipe.setup(fabric, run.compile)
        rate = LearningRate(run.schedule, run.steps, run.decay_from)
        session = Session(recipe, data, rate, Averages(recipe, run.ema))
        torch.manual_seed(run.seed + fabric.global_rank)  # noise differs between processes, weights do not
        if resume:
            load_state(out / STATE, session, fabric)
            check_steps_left(session.step, run)
        fabric.barrier()  # all have looked at the folder before the first one changes it
        if fabric.is_global_zero:
            prepare_folder(recipe, run, resume)
        watch = Watch(run, recipe.options, session.step, speaks=fabric.is_global_zero)
        with watch, StopSignals() as signals:
            stopped_by = _steps(session, Setting(run, fabric, exam, watch, signals, FirstBreak()))
    paths = tuple(out / f"{LATEST}{g.suffix}.safetensors" for g in recipe.generators(recipe.networks))
    return Outcome(session.step, session.step >= run.steps, stopped_by, paths, fabric.is_global_zero)


def _steps(session: Session, setting: Setting) -> str:
    """From the session's step to the last one; returns what stopped it before, if anything did."""
    run, fabric, watch = setting.run, setting.fabric, setting.watch
    deadline = time.monotonic() + 60 * (float("inf") if run.minutes is None else run.minutes)
    stopped_by = ""
    while session.step < run.steps and not stopped_by:
        step = session.step + 1
        factor = session.rate.factor(step)
        session.recipe.set_learning_rate(factor)
        losses = session.recipe.step(session.data.next(fabric.device))
        setting.breaks.look(step, losses)
        session.averages.update()
        session.step = step
        late = "minutes" if time.monotonic() > deadline else ""
        stopped_by = agreed(fabric, step, setting.signals.asked or late)
        due = step % run.save_every == 0 or step == run.steps
        if due or stopped_by or step % run.log_every == 0:
            _check_losses(session, setting)
            lr = session.recipe.options.optim.lr * factor
            watch.step(step, averaged(fabric, losses), lr)
        else:
            watch.step(step)
        if due or stopped_by:
            _check_weights(session, run)
        if due:
            _evaluate(session, setting)
        if due or stopped_by:
            _save(session, setting)
    return stopped_by


def _evaluate(session: Session, setting: Setting) -> None:
    """Score the held-out images; keep the generators if they are the best so far."""
    run, fabric, exam = setting.run, setting.fabric, setting.exam
    if session.best.get("by", exam.best_by) != exam.best_by:  # resumed with another --best_by
        session.best = {}
        session.rate.forget()
    score = 0.0
    if fabric.is_global_zero:
        result = evaluate(session.recipe.generators(session.averages.networks()), exam, fabric)
        # Early on, colours that are wrong say nothing yet.
        warnings = result.warnings if 4 * session.step >= run.steps else []
        setting.watch.scores(session.step, result.scores, warnings)
        for name, grid in result.grids.items():
            path = Path(run.out) / SAMPLES / f"step_{session.step:06d}_{name}.jpg"
            write_image(path, swapped(grid))
            setting.watch.grid(session.step, path)
        if exam.best_by:
            score = badness(exam.best_by, result.scores[exam.best_by])
    if not exam.best_by:
        return
    score = float(fabric.broadcast(score))
    session.rate.observe(score)
    if not session.best or score < session.best["score"]:
        session.best = {"step": session.step, "score": score, "by": exam.best_by}
        if fabric.is_global_zero:
            write_generators(session, run, BEST)


def _save(session: Session, setting: Setting) -> None:
    """The latest generators and the state. Killed in between, the run goes on from the state before."""
    if setting.fabric.is_global_zero:
        write_generators(session, setting.run, LATEST)
        save_state(Path(setting.run.out) / STATE, session)
    setting.fabric.barrier()
    session.saved = session.step


def write_generators(session: Session, run: RunOptions, name: str) -> None:
    """All generators as `.safetensors`, each with its history."""
    for g in session.recipe.generators(session.averages.networks()):
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


def _check_weights(session: Session, run: RunOptions) -> None:
    """The losses were computed before the step; nothing that it broke may replace a good checkpoint."""
    for name, network in session.averages.networks().items():
        if broken := broken_weights({f"{name}.{k}": v for k, v in network.state_dict().items()}):
            _fail(broken, session.step, session, run)


def _check_losses(session: Session, setting: Setting) -> None:
    """Raise TrainingError if a loss was not finite in any step so far."""
    step, names = setting.breaks.found(setting.fabric)
    if names:
        _fail([f"loss {name}" for name in names], step, session, setting.run)


def _fail(broken: list[str], step: int, session: Session, run: RunOptions) -> NoReturn:
    """Raise TrainingError naming what is not finite, and the last good checkpoint."""
    kept, start = "no checkpoint was written", "Begin again with"
    if session.saved:
        kept = f"the checkpoint of step {session.saved} in {run.out} is good"
        start = f"Go on from there: i2i train --resume {shlex.quote(run.out)}, with"
    raise TrainingError(
        f"{', '.join(broken[:3])} is not finite at step {step}; {kept}. "
        f"{start} a lower --optim.lr or --precision 32-true"
    )


def check_options(recipe: Recipe, run: RunOptions) -> None:
    """What recipe and run must agree about; said before anything is read. Raises TrainingError."""
    recipe.check_crop(run.crop_size)
    if recipe.trains_both_directions and run.direction != "AtoB":
        raise TrainingError(
            f"direction is {run.direction!r}; {recipe.name} trains both: leave it out, and say "
            f"--direction {run.direction} when you export"
        )
    for g in recipe.generators(recipe.networks):
        source, target = data_direction(g.direction, run.direction).split("to")
        ends = [(target, "gives", g.config.out_channels)]
        if not isinstance(g.config, DcganConfig):
            ends = [(source, "takes", g.config.in_channels), *ends]
        for domain, verb, channels in ends:
            if channels != run.channels(domain):
                raise TrainingError(
                    f"channels_{domain.lower()} is {run.channels(domain)}, but the network {verb} "
                    f"{channels}: set its in_channels and out_channels, or those of the data"
                )


def multiple_of(recipe: Recipe) -> int:
    """What the sides of held-out images must divide by: all generators take them."""
    configs = [g.config for g in recipe.generators(recipe.networks)]
    return max(1 if isinstance(config, DcganConfig) else config.multiple_of for config in configs)


def check_steps_left(done: int, run: RunOptions) -> None:
    """Raise TrainingError for a run that has nothing to do: its folder then stays as it is."""
    out = shlex.quote(run.out)
    if done > run.steps:
        raise TrainingError(f"{run.out}: {done} steps are done already, more than --steps {run.steps}")
    if done == run.steps:
        raise TrainingError(
            f"{run.out}: finished, {done} of {run.steps} steps; nothing was trained. "
            f"To go on: i2i train --resume {out} --steps {2 * done}"
        )


def check_folder(out: Path, overwrite: bool) -> None:
    """Raise TrainingError where an earlier run would go."""
    held = [path for path in _left(out) if path.name == STATE or path.name.startswith(LATEST)]
    if not held or overwrite:
        return
    resume = f"go on with it: i2i train --resume {shlex.quote(str(out))}; or " * (out / STATE).exists()
    raise TrainingError(
        f"{out} holds an earlier run ({held[0].name}); {resume}choose another --out, or --overwrite true"
    )


def prepare_folder(recipe: Recipe, run: RunOptions, resume: bool) -> None:
    """Make `run.out`, remove an earlier run unless it goes on, and write the resolved options.

    What a killed process left half-written goes too. The permission to overwrite is not written: it was
    given once.
    """
    out = Path(run.out)
    out.mkdir(parents=True, exist_ok=True)
    for path in (*([] if resume else _left(out)), *out.glob(".*.partial*")):
        path.unlink()
    write_config(out / CONFIG, recipe.name, replace(run, overwrite=False), recipe.options)


def _left(out: Path) -> list[Path]:
    """What an earlier run left behind that a new one may not replace."""
    patterns = (STATE, f"{LATEST}*.safetensors", f"{BEST}*.safetensors", f"{SAMPLES}/step_*.jpg", REPORT)
    return [path for pattern in patterns for path in sorted(out.glob(pattern))]
