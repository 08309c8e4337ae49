"""`i2i train RECIPE --data DIR [--option value …]`, `i2i train --resume DIR`."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from i2i_sdk.errors import TrainingError
from i2i_training.config_file import apply_config, apply_preset, check_recipe, read_config
from i2i_training.data.layout import LAYOUTS, SINGLE_LAYOUTS
from i2i_training.loop import BEST, LATEST, Outcome, train
from i2i_training.options import as_text, flag_pairs, help_text, parse_flags
from i2i_training.recipes import RECIPES, Method, Recipe
from i2i_training.report import CONFIG, REPORT, write_report
from i2i_training.run_options import RunOptions

STOPPED = 130  # the exit code of a run that a signal ended; its state is saved


def main(argv: Sequence[str]) -> int:
    """Train, or go on, and print what to run next. Returns the exit code; raises TrainingError."""
    if not argv or {"-h", "--help"} & set(argv):
        print(usage(next((a for a in argv if a in RECIPES), None)))
        return 0
    named, flags = _name_and_flags(argv)
    sources, flags = _taken_out(flags, "resume", "config", "preset")
    resumed = sources.get("resume")
    if resumed is not None:
        sources["config"] = str(_config_of(Path(resumed)))
    table = read_config(Path(sources["config"])) if "config" in sources else {}
    name = named or str(table.get("recipe", ""))
    check_recipe(table, name, sources.get("config", "config"))
    method = _method(name)
    options = defaults_of(method)
    if "preset" in sources:
        options = apply_preset(options, method.presets, sources["preset"])
    if table:
        options = apply_config(options, table, sources["config"])
    if resumed is not None:
        options = (_where_it_is(options[0], resumed, flags), options[1])
    run, recipe_options = parse_flags(options, flags)
    if not run.data:
        raise TrainingError("--data DIR is needed: a folder of images; i2i train --help lists the layouts")
    torch.manual_seed(run.seed)
    recipe = method.recipe(recipe_options, run.seed)
    outcome = train(recipe, run, resume=resumed is not None)
    if outcome.finished and outcome.first:
        write_report(Path(run.out))
    return _told(outcome, run, recipe)


def usage(recipe: str | None = None) -> str:
    """Every option of a recipe with its default; without one, the recipes."""
    lines = [
        "usage: i2i train RECIPE --data DIR [--option value …]",
        "       i2i train --resume DIR [--option value …]    go on with a run where it stopped",
        "",
        "--config FILE.toml takes options from a file, --preset NAME from a list; flags win over both.",
        "",
    ]
    if recipe is None:
        lines += [f"  {name:<10}{method.summary}" for name, method in RECIPES.items()]
        single = [layout.format("B") for layout in SINGLE_LAYOUTS]
        lines += ["", "layouts of the data folder:", *(f"  {layout}" for layout in LAYOUTS)]
        lines += ["for dcgan, which takes one domain:", *(f"  {layout}" for layout in single)]
        lines += ["", "i2i train RECIPE --help lists its options and presets; those of every run:", ""]
        return "\n".join([*lines, help_text(RunOptions())])
    method = RECIPES[recipe]
    lines += [f"{recipe}: {method.summary}", "", "presets, and what they change:"]
    for preset, values in method.presets.items():
        changes = ", ".join(f"{name} {as_text(value)}" for name, value in values.items())
        text = f"  {preset:<12}{changes or 'nothing: these are the defaults'}"
        lines += textwrap.wrap(text, 110, subsequent_indent=" " * 14)
    hidden = ("direction",) if method.recipe.trains_both_directions else ()
    return "\n".join([*lines, "", help_text(defaults_of(method), hidden)])


def defaults_of(method: Method) -> tuple[RunOptions, Any]:
    """The options of a run and of the method, before anyone changes them."""
    return apply_config((RunOptions(), method.options()), method.defaults, "defaults")


def _name_and_flags(argv: Sequence[str]) -> tuple[str, list[str]]:
    return ("", list(argv)) if argv[0].startswith("--") else (argv[0], list(argv[1:]))


def _taken_out(flags: Sequence[str], *names: str) -> tuple[dict[str, str], list[str]]:
    """The flags that say where options come from, and the rest."""
    taken: dict[str, str] = {}
    rest: list[str] = []
    for name, value in flag_pairs(flags):
        if name in names:
            taken[name] = value
        else:
            rest += [f"--{name}", value]
    if {"resume", "config"} <= set(taken):
        raise TrainingError("--resume takes the options of the run itself; leave out --config")
    if {"resume", "preset"} <= set(taken):
        raise TrainingError("--resume takes the options of the run itself; leave out --preset")
    return taken, rest


def _config_of(folder: Path) -> Path:
    if not (folder / CONFIG).is_file():
        raise TrainingError(f"--resume {folder}: no {CONFIG} in it; give the --out folder of an earlier run")
    return folder / CONFIG


def _where_it_is(run: RunOptions, folder: str, flags: Sequence[str]) -> RunOptions:
    """A run goes on in its folder, even if that was moved or is named from elsewhere."""
    given = dict(flag_pairs(flags)).get("out", folder)
    if Path(given).resolve() != Path(folder).resolve():
        raise TrainingError(f"a run is resumed where it is: leave out --out {given}")
    return replace(run, out=folder)


def _method(name: str) -> Method:
    if name not in RECIPES:
        what = f"recipe {name!r} is not known" if name else "no recipe is named"
        raise TrainingError(f"{what}; known: {', '.join(RECIPES)}. i2i train RECIPE --data DIR")
    return RECIPES[name]


def _told(outcome: Outcome, run: RunOptions, recipe: Recipe) -> int:
    """Print what there is now and what to run next; the exit code. Only one of several processes prints."""
    lines = [f"wrote {path}" for path in outcome.generators]
    if outcome.finished:
        better = [path.with_name(path.name.replace(LATEST, BEST)) for path in outcome.generators]
        lines += [f"best:  {path}, by the held-out score" for path in better if path.is_file()]
        lines += [f"report: {Path(run.out) / REPORT}", *_next(outcome.generators, run, recipe)]
    else:
        lines += [
            f"stopped by {_reason(outcome, run)} after step {outcome.steps} of {run.steps}, with its state"
        ]
        lines += [f"next: i2i train --resume {shlex.quote(run.out)}"]
    if outcome.first:
        print("\n".join(lines))
    return 0 if outcome.finished or outcome.stopped_by == "minutes" else STOPPED


def _reason(outcome: Outcome, run: RunOptions) -> str:
    return f"--minutes {run.minutes:g}" if outcome.stopped_by == "minutes" else outcome.stopped_by


def _next(generators: Sequence[Path], run: RunOptions, recipe: Recipe) -> list[str]:
    """The commands that show what was trained."""
    if recipe.data == "single":
        return [f"next: i2i sample {shlex.quote(str(generators[0]))}"]
    out = shlex.quote(run.out)
    lines = [f"next: i2i export {out}"]
    if recipe.trains_both_directions:
        back = shlex.quote(f"{Path(run.out).resolve().name}_BtoA.i2i")
        lines += [f"      i2i export {out} --direction BtoA -o {back}"]
    return lines
