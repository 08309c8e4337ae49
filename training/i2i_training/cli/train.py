"""`i2i train RECIPE --data DIR [--option value …]`, `i2i train --resume DIR`."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from i2i_sdk.errors import TrainingError
from i2i_training.checkpoint import LATEST
from i2i_training.data.layout import LAYOUTS, SINGLE_LAYOUTS
from i2i_training.loop import BEST, TrainingResult, train
from i2i_training.options import RECIPE, apply_values, make_flags, parse_options, read_config
from i2i_training.recipes import RECIPES, Recipe, RecipeSpec
from i2i_training.report.run_report import CONFIG, REPORT, write_report
from i2i_training.run.run_options import RunOptions

EXIT_STOPPED = 130  # the exit code of a run that a signal ended; its state is saved
USAGE = """\
usage: i2i train RECIPE --data DIR [--option value …]
       i2i train --resume DIR [--option value …]    go on with a run where it stopped

--config FILE.toml takes options from a file, --preset NAME from a list; flags win over both.
"""


def main(argv: Sequence[str]) -> int:
    """Train, or go on, and print what to run next. Returns the exit code; raises TrainingError."""
    if not argv or argv[0] in ("-h", "--help"):
        print(format_recipes())
        return 0
    spec, run, recipe_options, is_resumed = parse_run(argv)
    if not run.data:
        raise TrainingError("--data DIR is needed: a folder of images; i2i train --help lists the layouts")
    torch.manual_seed(run.seed)
    recipe = spec.recipe(recipe_options, run.seed)
    outcome = train(recipe, run, resume=is_resumed)
    if outcome.is_finished and outcome.is_primary:
        write_report(Path(run.out))
    return _print_result(outcome, run, recipe)


def parse_run(argv: Sequence[str]) -> tuple[RecipeSpec, RunOptions, Any, bool]:
    """What a command line asks for: the method, the options of the run and of the method; does it go on?

    Raises TrainingError and SystemExit as `parse_options`.
    """
    name, rest = ("", argv) if argv[0].startswith("-") else (argv[0], argv[1:])
    parser = argparse.ArgumentParser("i2i train", add_help=False, allow_abbrev=False)
    sources = parser.add_mutually_exclusive_group()
    sources.add_argument("--resume", type=Path)
    sources.add_argument("--config", type=Path)
    parser.add_argument("--preset")
    args, flags = parser.parse_known_args(rest)
    if args.resume and args.preset:
        raise TrainingError("--resume takes the options of the run itself; leave out --preset")
    config = _find_config(args.resume) if args.resume else args.config
    table = read_config(config) if config else {}
    name = name or str(table.get(RECIPE, ""))
    spec = _find_recipe(name)
    if table.get(RECIPE, name) != name:
        raise TrainingError(f"{config}: it is for recipe {table[RECIPE]!r}, not {name!r}; leave the name out")
    options = get_defaults(spec)
    if args.preset:
        options = apply_preset(options, spec, args.preset)
    options = apply_values(options, table, str(config))
    if args.resume:  # a run goes on in its folder, even if that was moved or is named from elsewhere
        options = (replace(options[0], out=str(args.resume)), options[1])
    run, recipe_options = parse_options(
        options, flags, prog=f"i2i train {name}", description=_describe_recipe(name)
    )
    if args.resume and Path(run.out).resolve() != args.resume.resolve():
        raise TrainingError(f"a run is resumed where it is: leave out --out {run.out}")
    return spec, run, recipe_options, args.resume is not None


def format_recipes() -> str:
    """The recipes, and how their data may be laid out."""
    single = [layout.format("B") for layout in SINGLE_LAYOUTS]
    lines = [f"  {name:<10}{spec.summary}" for name, spec in RECIPES.items()]
    lines += ["", "layouts of the data folder:", *(f"  {layout}" for layout in LAYOUTS)]
    lines += ["for dcgan, which takes one domain:", *(f"  {layout}" for layout in single)]
    return "\n".join([USAGE, *lines, "", "i2i train RECIPE --help lists its options and presets."])


def get_defaults(spec: RecipeSpec) -> tuple[RunOptions, Any]:
    """The options of a run and of the method, before anyone changes them."""
    run, options = apply_values((RunOptions(), spec.options()), spec.defaults, "defaults")
    return run, options


def apply_preset(options: tuple[RunOptions, Any], spec: RecipeSpec, name: str) -> tuple[RunOptions, Any]:
    """The options with what a preset changes. Raises TrainingError for one that does not exist."""
    if name not in spec.presets:
        raise TrainingError(f"preset {name!r} is not known; known: {', '.join(spec.presets) or 'none'}")
    run, recipe_options = apply_values(options, spec.presets[name], f"preset {name}")
    return run, recipe_options


def _describe_recipe(name: str) -> str:
    spec = RECIPES[name]
    presets = [
        f"  {preset}: {' '.join(make_flags(values)) or 'these defaults'}"
        for preset, values in spec.presets.items()
    ]
    return "\n".join([f"{name}: {spec.summary}", "", "Presets, and what they change:", *presets])


def _find_config(folder: Path) -> Path:
    if not (folder / CONFIG).is_file():
        raise TrainingError(f"--resume {folder}: no {CONFIG} in it; give the --out folder of an earlier run")
    return folder / CONFIG


def _find_recipe(name: str) -> RecipeSpec:
    if name not in RECIPES:
        what = f"recipe {name!r} is not known" if name else "no recipe is named"
        raise TrainingError(f"{what}; known: {', '.join(RECIPES)}. i2i train RECIPE --data DIR")
    return RECIPES[name]


def _print_result(result: TrainingResult, run: RunOptions, recipe: Recipe) -> int:
    """Print what there is now and what to run next; the exit code. Only one of several processes prints."""
    lines = [f"wrote {path}" for path in result.generator_paths]
    if result.is_finished:
        better = [path.with_name(path.name.replace(LATEST, BEST)) for path in result.generator_paths]
        lines += [f"best:  {path}, by the held-out score" for path in better if path.is_file()]
        lines += [
            f"report: {Path(run.out) / REPORT}",
            *_list_next_commands(result.generator_paths, run, recipe),
        ]
    else:
        lines += [
            f"stopped by {_format_reason(result, run)} after step {result.steps} of {run.steps}, "
            "with its state"
        ]
        lines += [f"next: i2i train --resume {shlex.quote(run.out)}"]
    if result.is_primary:
        print("\n".join(lines))
    return 0 if result.is_finished or result.stop_reason == "minutes" else EXIT_STOPPED


def _format_reason(result: TrainingResult, run: RunOptions) -> str:
    return f"--minutes {run.minutes:g}" if result.stop_reason == "minutes" else result.stop_reason


def _list_next_commands(generators: Sequence[Path], run: RunOptions, recipe: Recipe) -> list[str]:
    """The commands that show what was trained."""
    if recipe.data == "single":
        return [f"next: i2i sample {shlex.quote(str(generators[0]))}"]
    out = shlex.quote(run.out)
    lines = [f"next: i2i export {out}"]
    if recipe.trains_both_directions:
        back = shlex.quote(f"{Path(run.out).resolve().name}_BtoA.i2i")
        lines += [f"      i2i export {out} --direction BtoA -o {back}"]
    return lines
