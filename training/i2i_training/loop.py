"""How a run goes: steps, checkpoints, held-out scores, and going on exactly where it stopped."""

from __future__ import annotations

import math
import shlex
import time
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NoReturn

import torch
from lightning.fabric import Fabric

from i2i_sdk.errors import TrainingError
from i2i_sdk.imaging.geometry import swap_red_and_blue
from i2i_sdk.media.images import write_image
from i2i_training.checkpoint import LATEST, save_generator
from i2i_training.data import TrainingData, read_held_out
from i2i_training.networks import DcganConfig, GeneratorSpec
from i2i_training.networks.spec import Direction
from i2i_training.options import write_config
from i2i_training.recipes.base import Recipe
from i2i_training.report.run_report import CONFIG, GATES, HELD_OUT_GRID, REPORT
from i2i_training.run.devices import average_losses, launch_fabric, reduce_stop_reason
from i2i_training.run.ema import WeightAverages
from i2i_training.run.evaluation import (
    MIN_SIZE,
    EvalPlan,
    copy_generator,
    evaluate,
    plan_evaluation,
    value_to_minimize,
)
from i2i_training.run.finite import MAX_LOSS, MAX_PENALIZED_LOSS, LossTracker
from i2i_training.run.journal import RunJournal, open_journal
from i2i_training.run.run_options import RunOptions
from i2i_training.run.schedules import LearningRateSchedule
from i2i_training.run.state import STATE, RunState, load_state, save_state
from i2i_training.run.stopping import StopSignals

SAMPLES = "samples"
BEST = "best_net_G"
MIN_ADVICE_STEPS = 1000  # before, pictures look wrong in any run


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended."""

    steps: int  # done so far
    is_finished: bool
    stop_reason: str  # "", "SIGINT", "SIGTERM" or "minutes"
    generator_paths: tuple[Path, ...]
    is_primary: bool = True  # of several processes, the one that tells


@dataclass(frozen=True)
class RunContext:
    """What stays the same while the steps go by."""

    run: RunOptions
    fabric: Fabric
    plan: EvalPlan
    journal: RunJournal | None  # of the first process
    signals: StopSignals
    losses: LossTracker


def run_training(recipe: Recipe, run: RunOptions, resume: bool = False) -> TrainingResult:
    """Train `recipe` as `run` says; the folder `run.out` holds what comes of it.

    Writes there, every `save_every` steps and at the end: `state.pt`, from which `resume=True` goes on as
    if nothing had happened; the latest and the best generators; sample grids; `metrics.csv`. SIGINT and
    SIGTERM end the run after the step at hand, with its state saved. Of several processes all train, and
    the first one writes.

    Args:
        recipe: a fresh one.
        run: where, how long, with which images.
        resume: whether the run in the folder goes on.

    Returns:
        How it ended.

    Raises:
        TrainingError: when options or data cannot be used, or the run diverges.
        CheckpointError: for a state that cannot be resumed.
    """
    check_options(recipe, run)
    fabric = launch_fabric(run.precision)
    out, multiple = Path(run.out), compute_size_multiple(recipe)
    held_out = read_held_out(run, recipe.data, multiple, max(multiple, MIN_SIZE), run.eval_images)
    directions = [g.direction for g in recipe.list_generators(recipe.networks)]
    plan = plan_evaluation(directions, held_out, run, recipe.has_teacher)
    process = fabric.global_rank, fabric.world_size
    source = TrainingData(run, recipe.data, run.batch, run.seed, *process, recipe.overview_stride)
    with closing(source) as data:
        if not resume:
            check_folder(out, run.overwrite)
        recipe.setup(fabric, run.compile)
        rate = LearningRateSchedule(run.schedule, run.steps, run.decay_from)
        session = RunState(recipe, data, rate, WeightAverages(recipe, run.ema))
        torch.manual_seed(run.seed + fabric.global_rank)  # noise differs between processes, weights do not
        if resume:
            load_state(out / STATE, session, fabric)
            check_steps_left(session.step, run)
        fabric.barrier()  # all have looked at the folder before the first one changes it
        if fabric.is_global_zero:
            _prepare_folder(recipe, run, resume)
        config = {**asdict(run), **asdict(recipe.options)}
        opened = open_journal(run, config, session.step) if fabric.is_global_zero else nullcontext()
        with opened as journal, StopSignals() as signals:
            limit = MAX_PENALIZED_LOSS if recipe.options.gan_mode == "wgan-gp" else MAX_LOSS
            context = RunContext(run, fabric, plan, journal, signals, LossTracker(limit))
            stopped_by = _run_steps(session, context)
    paths = tuple(out / f"{LATEST}{g.suffix}.safetensors" for g in recipe.list_generators(recipe.networks))
    return TrainingResult(session.step, session.step >= run.steps, stopped_by, paths, fabric.is_global_zero)


def _run_steps(state: RunState, context: RunContext) -> str:
    """From the session's step to the last one; returns what stopped it before, if anything did."""
    run, fabric = context.run, context.fabric
    deadline = time.monotonic() + 60 * (float("inf") if run.minutes is None else run.minutes)
    stopped_by = ""
    while state.step < run.steps and not stopped_by:
        step = state.step + 1
        factor = state.learning_rate.compute_factor(step)
        state.recipe.set_learning_rate(factor)
        state.recipe.progress = state.step / run.steps
        losses = state.recipe.step(state.data.next(fabric.device))
        context.losses.update(step, losses)
        state.averages.update()
        state.step = step
        late = "minutes" if time.monotonic() > deadline else ""
        stopped_by = reduce_stop_reason(fabric, step, context.signals.signal_name or late)
        due = step % run.save_every == 0 or step == run.steps
        averages = None
        if due or stopped_by or step % run.log_every == 0:
            _check_losses(state, context)
            averages = average_losses(fabric, losses)
        if context.journal is not None:
            context.journal.log_step(step, averages, state.recipe.options.optim.lr * factor)
        if due or stopped_by:
            _check_weights(state, run)
        if due:
            _evaluate_and_keep_best(state, context)
        if due or stopped_by:
            _save_checkpoint(state, context)
    return stopped_by


def _evaluate_and_keep_best(state: RunState, context: RunContext) -> None:
    """Score the held-out images; keep the generators if they are the best so far."""
    run, fabric, plan = context.run, context.fabric, context.plan
    if state.best.get("by", plan.best_by) != plan.best_by:  # resumed with another --best-by
        state.best = {}
        state.learning_rate.reset()
    score = 0.0
    if context.journal is not None:
        result = evaluate(state.recipe.list_generators(state.averages.get_networks()), plan, fabric)
        # Early on, colors that are wrong say nothing yet.
        warnings = result.warnings if state.step >= max(MIN_ADVICE_STEPS, run.steps / 4) else []
        context.journal.log_scores(state.step, result.scores, warnings)
        for name, grid in result.grids.items():
            path = Path(run.out) / SAMPLES / f"step_{state.step:06d}_{name}.jpg"
            write_image(path, swap_red_and_blue(grid))
            context.journal.log_grid(state.step, path)
        if plan.best_by:
            score = value_to_minimize(plan.best_by, result.scores[plan.best_by])
    if not plan.best_by:
        return
    score = float(fabric.broadcast(score))
    state.learning_rate.observe(score)
    if not state.best or score < state.best["score"]:
        state.best = {"step": state.step, "score": score, "by": plan.best_by}
        if fabric.is_global_zero:
            _write_generators(state, run, BEST)


def _save_checkpoint(state: RunState, context: RunContext) -> None:
    """The latest generators and the state. Killed in between, the run goes on from the state before."""
    if context.fabric.is_global_zero:
        _write_generators(state, context.run, LATEST)
        save_state(Path(context.run.out) / STATE, state)
    context.fabric.barrier()
    state.saved_step = state.step


def _write_generators(state: RunState, run: RunOptions, name: str) -> None:
    """All generators as `.safetensors`, each with its history."""
    for g in state.recipe.list_generators(state.averages.get_networks()):
        spec = GeneratorSpec(
            g.config,
            norm_mode=g.norm_mode,
            recipe=state.recipe.name,
            direction=to_data_direction(g.direction, run.direction),
            steps=state.step,
            size=state.recipe.size or run.crop_size,
            trained_on=run.trained_on,
            license=run.license,
        )
        save_generator(Path(run.out) / f"{name}{g.suffix}.safetensors", copy_generator(g), spec)


def to_data_direction(generator: Direction, run: Direction) -> Direction:
    """A generator's direction in the data set's own names: a BtoA run swaps them."""
    return "AtoB" if generator == run else "BtoA"


def _check_weights(state: RunState, run: RunOptions) -> None:
    """The losses were computed before the step; nothing that it broke may replace a good checkpoint."""
    for name, network in state.averages.get_networks().items():
        weights = network.state_dict()
        if broken := [f"{name}.{key}" for key, value in weights.items() if not value.isfinite().all()]:
            _raise_non_finite(broken, state.step, state, run)


def _check_losses(state: RunState, context: RunContext) -> None:
    """Raise TrainingError if a loss was not finite, or beyond any use, in any step so far."""
    step, broken = context.losses.find_first(context.fabric)
    if not broken:
        return
    if names := [f"loss {name}" for name, value in broken.items() if not math.isfinite(value)]:
        _raise_non_finite(names, step, state, context.run)
    name, value = next(iter(broken.items()))
    problem = f"loss {name} grew to {value:.1e} at step {step}, so the training has diverged"
    _raise_diverged(problem, state, context.run, "a lower --optim.lr")


def _raise_non_finite(names: list[str], step: int, state: RunState, run: RunOptions) -> NoReturn:
    problem = f"{', '.join(names[:3])} is not finite at step {step}"
    _raise_diverged(problem, state, run, "a lower --optim.lr or --precision 32-true")


def _raise_diverged(problem: str, state: RunState, run: RunOptions, advice: str) -> NoReturn:
    """Raise TrainingError with what went wrong, and the last good checkpoint."""
    kept, start = "no checkpoint was written", "Begin again with"
    if state.saved_step:
        kept = f"the checkpoint of step {state.saved_step} in {run.out} is good"
        start = f"Go on from there: i2i train --resume {shlex.quote(run.out)}, with"
    raise TrainingError(f"{problem}; {kept}. {start} {advice}")


def check_options(recipe: Recipe, run: RunOptions) -> None:
    """What recipe and run must agree about; said before anything is read. Raises TrainingError."""
    recipe.check_crop(run.crop_size)
    if recipe.trains_both_directions and run.direction != "AtoB":
        raise TrainingError(
            f"direction is {run.direction!r}; {recipe.name} trains both: leave it out, and say "
            f"--direction {run.direction} when you export"
        )
    for g in recipe.list_generators(recipe.networks):
        source, target = to_data_direction(g.direction, run.direction).split("to")
        ends = [(target, "gives", g.config.out_channels)]
        if not isinstance(g.config, DcganConfig):
            ends = [(source, "takes", g.config.in_channels), *ends]
        for domain, verb, channels in ends:
            if channels != run.get_channels(domain):
                raise TrainingError(
                    f"channels_{domain.lower()} is {run.get_channels(domain)}, but the network {verb} "
                    f"{channels}: set its in_channels and out_channels, or those of the data"
                )


def compute_size_multiple(recipe: Recipe) -> int:
    """What the sides of held-out images must divide by: all generators take them."""
    configs = [g.config for g in recipe.list_generators(recipe.networks)]
    return max(1 if isinstance(config, DcganConfig) else config.multiple_of for config in configs)


def check_steps_left(steps_done: int, run: RunOptions) -> None:
    """Raise TrainingError for a run that has nothing to do: its folder then stays as it is."""
    if steps_done >= run.steps:
        raise TrainingError(
            f"{run.out}: finished, {steps_done} of {run.steps} steps; nothing was trained. "
            f"To go on: i2i train --resume {shlex.quote(run.out)} --steps {2 * steps_done}"
        )


def check_folder(out: Path, overwrite: bool) -> None:
    """Raise TrainingError where an earlier run would go."""
    held = [path for path in _list_run_files(out) if path.name == STATE or path.name.startswith(LATEST)]
    if not held or overwrite:
        return
    resume = f"go on with it: i2i train --resume {shlex.quote(str(out))}; or " * (out / STATE).exists()
    raise TrainingError(
        f"{out} holds an earlier run ({held[0].name}); {resume}choose another --out, or --overwrite"
    )


def _prepare_folder(recipe: Recipe, run: RunOptions, resume: bool) -> None:
    """Make `run.out`, remove an earlier run unless it goes on, and write the resolved options.

    What a killed process left half-written goes too. The permission to overwrite is not written: it was
    given once.
    """
    out = Path(run.out)
    judged = [path for path in (out / GATES, out / SAMPLES / HELD_OUT_GRID) if path.exists()]
    for path in (*(judged if resume else _list_run_files(out)), *out.glob(".*.partial*")):
        path.unlink()
    write_config(out / CONFIG, recipe.name, replace(run, overwrite=False), recipe.options)


def _list_run_files(out: Path) -> list[Path]:
    """What an earlier run left behind that a new one may not replace."""
    patterns = (STATE, f"{LATEST}*.safetensors", f"{BEST}*.safetensors", f"{SAMPLES}/step_*.jpg", REPORT)
    patterns += (GATES, f"{SAMPLES}/{HELD_OUT_GRID}")
    return [path for pattern in patterns for path in sorted(out.glob(pattern))]
