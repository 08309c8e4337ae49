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
from i2i_training.checkpoint import LATEST
from i2i_training.data.layout import LAYOUTS, SINGLE_LAYOUTS
from i2i_training.loop import BEST, TrainingResult, train
from i2i_training.options.config_file import apply_config, apply_preset, check_recipe, read_config
from i2i_training.options.flags import as_text, format_help, parse_flags, split_flags
from i2i_training.recipes import RECIPES, Recipe, RecipeSpec
from i2i_training.report.run_report import CONFIG, REPORT, write_report
from i2i_training.run.run_options import RunOptions

EXIT_STOPPED = 130  # the exit code of a run that a signal ended; its state is saved


def main(argv: Sequence[str]) -> int:
    """Train, or go on, and print what to run next. Returns the exit code; raises TrainingError."""
    if not argv or {"-h", "--help"} & set(argv):
        print(format_usage(next((a for a in argv if a in RECIPES), None)))
        return 0
    named, flags = _split_name(argv)
    sources, flags = _split_source_flags(flags, "resume", "config", "preset")
    resumed = sources.get("resume")
    if resumed is not None:
        sources["config"] = str(_find_config(Path(resumed)))
    table = read_config(Path(sources["config"])) if "config" in sources else {}
    name = named or str(table.get("recipe", ""))
    check_recipe(table, name, sources.get("config", "config"))
    method = _find_recipe(name)
    options = get_defaults(method)
    if "preset" in sources:
        options = apply_preset(options, method.presets, sources["preset"])
    if table:
        options = apply_config(options, table, sources["config"])
    if resumed is not None:
        options = (_set_out_folder(options[0], resumed, flags), options[1])
    run, recipe_options = parse_flags(options, flags)
    if not run.data:
        raise TrainingError("--data DIR is needed: a folder of images; i2i train --help lists the layouts")
    torch.manual_seed(run.seed)
    recipe = method.recipe(recipe_options, run.seed)
    outcome = train(recipe, run, resume=resumed is not None)
    if outcome.is_finished and outcome.is_primary:
        write_report(Path(run.out))
    return _print_result(outcome, run, recipe)


def format_usage(recipe: str | None = None) -> str:
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
        return "\n".join([*lines, format_help(RunOptions())])
    method = RECIPES[recipe]
    lines += [f"{recipe}: {method.summary}", "", "presets, and what they change:"]
    for preset, values in method.presets.items():
        changes = ", ".join(f"{name} {as_text(value)}" for name, value in values.items())
        text = f"  {preset:<12}{changes or 'nothing: these are the defaults'}"
        lines += textwrap.wrap(text, 110, subsequent_indent=" " * 14)
    hidden = ("direction",) if method.recipe.trains_both_directions else ()
    return "\n".join([*lines, "", format_help(get_defaults(method), hidden)])


def get_defaults(spec: RecipeSpec) -> tuple[RunOptions, Any]:
    """The options of a run and of the method, before anyone changes them."""
    return apply_config((RunOptions(), spec.options()), spec.defaults, "defaults")


def _split_name(argv: Sequence[str]) -> tuple[str, list[str]]:
    return ("", list(argv)) if argv[0].startswith("--") else (argv[0], list(argv[1:]))


def _split_source_flags(flags: Sequence[str], *names: str) -> tuple[dict[str, str], list[str]]:
    """The flags that say where options come from, and the rest."""
    source_flags: dict[str, str] = {}
    rest: list[str] = []
    for name, value in split_flags(flags):
        if name in names:
            source_flags[name] = value
        else:
            rest += [f"--{name}", value]
    if {"resume", "config"} <= set(source_flags):
        raise TrainingError("--resume takes the options of the run itself; leave out --config")
    if {"resume", "preset"} <= set(source_flags):
        raise TrainingError("--resume takes the options of the run itself; leave out --preset")
    return source_flags, rest


def _find_config(folder: Path) -> Path:
    if not (folder / CONFIG).is_file():
        raise TrainingError(f"--resume {folder}: no {CONFIG} in it; give the --out folder of an earlier run")
    return folder / CONFIG


def _set_out_folder(run: RunOptions, folder: str, flags: Sequence[str]) -> RunOptions:
    """A run goes on in its folder, even if that was moved or is named from elsewhere."""
    out_folder = dict(split_flags(flags)).get("out", folder)
    if Path(out_folder).resolve() != Path(folder).resolve():
        raise TrainingError(f"a run is resumed where it is: leave out --out {out_folder}")
    return replace(run, out=folder)


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
