"""`i2i train RECIPE --data DIR [--option value …]`."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from i2i_sdk.errors import TrainingError
from i2i_training.loop import RunOptions, train
from i2i_training.options import flatten, parse_flags
from i2i_training.recipes.pix2pix import Pix2pix, Pix2pixOptions

RECIPES = {"pix2pix": (Pix2pix, Pix2pixOptions)}


def main(argv: Sequence[str]) -> int:
    """Train and print what to run next. Returns the exit code; raises TrainingError for bad options."""
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return 0
    if argv[0] not in RECIPES:
        raise TrainingError(f"recipe {argv[0]!r} is not known; there is: {', '.join(RECIPES)}")
    recipe_class, options_class = RECIPES[argv[0]]
    run_flags, recipe_flags = _split_flags(argv[1:])
    run = parse_flags(RunOptions(), run_flags)
    options = parse_flags(options_class(), recipe_flags)
    if not run.data:
        raise TrainingError("--data DIR is needed: a folder with train/ and val/ of side-by-side AB images")
    torch.manual_seed(run.seed)
    path = train(recipe_class(options), run)
    print(f"wrote {path}\nnext: i2i export {path}")
    return 0


def usage() -> str:
    """Every option of every recipe with its default."""
    lines = ["usage: i2i train RECIPE --data DIR [--option value …]", "", "every run:"]
    lines += [f"  --{name} {value}" for name, value in flatten(RunOptions())]
    for recipe, (_, options) in RECIPES.items():
        lines += ["", f"{recipe}:"] + [f"  --{name} {value}" for name, value in flatten(options())]
    return "\n".join(lines)


def _split_flags(flags: Sequence[str]) -> tuple[list[str], list[str]]:
    """Flags of the run and flags of the recipe; unknown ones go to the recipe, which refuses them."""
    names = {f"--{name.replace('_', '-')}" for name, _ in flatten(RunOptions())}
    run: list[str] = []
    recipe: list[str] = []
    for index in range(0, len(flags), 2):
        target = run if flags[index].replace("_", "-") in names else recipe
        target += flags[index : index + 2]
    return run, recipe
