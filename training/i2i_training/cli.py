"""`i2i train RECIPE --data DIR [--option value …]`, `i2i train --resume DIR`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import torch

from i2i_sdk.errors import TrainingError
from i2i_training.config_file import apply_config, apply_preset, check_recipe, read_config
from i2i_training.loop import Outcome, train
from i2i_training.options import flag_pairs, help_text, parse_flags
from i2i_training.recipes import RECIPES, Method
from i2i_training.report import CONFIG
from i2i_training.run_options import RunOptions

STOPPED = 130  # the exit code of a run that a signal ended; its state is saved


def main(argv: Sequence[str]) -> int:
    """Train, or go on, and print what to run next. Returns the exit code; raises TrainingError."""
    if not argv or {"-h", "--help"} & set(argv):
        print(usage(next((a for a in argv if a in RECIPES), None)))
        return 0
    named, flags = _name_and_flags(argv)
    sources, flags = _taken_out(flags, "resume", "config", "preset")
    if "resume" in sources:
        sources["config"] = str(_config_of(Path(sources["resume"])))
    table = read_config(Path(sources["config"])) if "config" in sources else {}
    name = named or str(table.get("recipe", ""))
    check_recipe(table, name, sources.get("config", "config"))
    method = _method(name)
    options = (RunOptions(), method.options())
    if "preset" in sources:
        options = apply_preset(options, method.presets, sources["preset"])
    if table:
        options = apply_config(options, table, sources["config"])
    run, recipe_options = parse_flags(options, flags)
    if "resume" in sources and Path(run.out) != Path(sources["resume"]):
        raise TrainingError(f"a run is resumed where it is: leave out --out {run.out}")
    if not run.data:
        raise TrainingError(
            "--data DIR is needed: a folder of images; i2i train --help says in which layouts"
        )
    torch.manual_seed(run.seed)
    recipe = method.recipe(recipe_options, run.seed)
    outcome = train(recipe, run, resume="resume" in sources)
    return _report(outcome, run, "sample" if recipe.data == "single" else "export")


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
        lines += ["", "i2i train RECIPE --help lists its options and presets; those of every run:", ""]
        return "\n".join([*lines, help_text(RunOptions())])
    method = RECIPES[recipe]
    lines += [f"{recipe}: {method.summary}", f"presets: {', '.join(method.presets)}", ""]
    return "\n".join([*lines, help_text((RunOptions(), method.options()))])


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


def _method(name: str) -> Method:
    if name not in RECIPES:
        raise TrainingError(f"recipe {name!r} is not known; there is: {', '.join(RECIPES)}")
    return RECIPES[name]


def _report(outcome: Outcome, run: RunOptions, command: str) -> int:
    out = shlex.quote(run.out)
    for path in outcome.generators:
        print(f"wrote {path}")
    if outcome.finished:
        print(f"report: {Path(run.out) / 'report.html'}")
        print(f"next: i2i {command} {out}")
        return 0
    print(f"stopped by {outcome.stopped_by} after step {outcome.steps} of {run.steps}; the state is saved")
    print(f"next: i2i train --resume {out}")
    return 0 if outcome.stopped_by == "minutes" else STOPPED
