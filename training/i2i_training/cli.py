"""`i2i train RECIPE --data DIR [--option value …]`."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence

import torch

from i2i_sdk.errors import TrainingError
from i2i_training.loop import RunOptions, train
from i2i_training.options import flag_pairs, flatten, parse_flags, unknown_option
from i2i_training.recipes.pix2pix import Pix2pix, Pix2pixOptions

RECIPES = {"pix2pix": (Pix2pix, Pix2pixOptions)}


def main(argv: Sequence[str]) -> int:
    """Train and print what to run next. Returns the exit code; raises TrainingError for bad options."""
    if not argv or {"-h", "--help"} & set(argv):
        print(usage())
        return 0
    if argv[0] not in RECIPES:
        raise TrainingError(f"recipe {argv[0]!r} is not known; there is: {', '.join(RECIPES)}")
    recipe_class, options_class = RECIPES[argv[0]]
    run_flags, recipe_flags = _split_flags(argv[1:], dict(flatten(options_class())))
    run = parse_flags(RunOptions(), run_flags)
    options = parse_flags(options_class(), recipe_flags)
    if not run.data:
        raise TrainingError("--data DIR is needed: a folder with train/ and val/ of side-by-side AB images")
    torch.manual_seed(run.seed)
    path = train(recipe_class(options), run)
    print(f"wrote {path}\nnext: i2i export {shlex.quote(str(path))}")
    return 0


def usage() -> str:
    """Every option of every recipe with its default."""
    lines = ["usage: i2i train RECIPE --data DIR [--option value …]", "", "every run:"]
    lines += [f"  --{name} {value}" for name, value in flatten(RunOptions())]
    for recipe, (_, options) in RECIPES.items():
        lines += ["", f"{recipe}:"] + [f"  --{name} {value}" for name, value in flatten(options())]
    return "\n".join(lines)


def _split_flags(flags: Sequence[str], of_recipe: Collection[str]) -> tuple[list[str], list[str]]:
    """Flags of the run and flags of the recipe. Raises TrainingError for those of neither."""
    of_run = dict(flatten(RunOptions()))
    run: list[str] = []
    recipe: list[str] = []
    for name, value in flag_pairs(flags):
        if name not in of_run and name not in of_recipe:
            raise unknown_option(name, [*of_run, *of_recipe])
        (run if name in of_run else recipe).extend((f"--{name}", value))
    return run, recipe
