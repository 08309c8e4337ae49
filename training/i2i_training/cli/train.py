"""`i2i train RECIPE --data DIR [--option value …]`, `i2i train --resume DIR`."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from i2i_sdk.cli.common import add_options
from i2i_training.api import PreparedRun, prepare_run, start_run
from i2i_training.checkpoint import LATEST
from i2i_training.data.layout import LAYOUTS, SINGLE_LAYOUTS
from i2i_training.loop import BEST, TrainingResult
from i2i_training.recipes import RECIPES
from i2i_training.report.run_report import REPORT, list_next_commands

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
    name, rest = ("", argv) if argv[0].startswith("-") else (argv[0], argv[1:])
    parser = argparse.ArgumentParser("i2i train", add_help=False, allow_abbrev=False)
    add_options(parser.add_argument, resume="")
    parser.add_argument("--config")
    parser.add_argument("--preset", default="")
    args, flags = parser.parse_known_args(rest)
    prepared = prepare_run(name, flags, **vars(args))
    return print_result(start_run(prepared), prepared)


def format_recipes() -> str:
    """The recipes, and how their data may be laid out."""
    single = [layout.format("B") for layout in SINGLE_LAYOUTS]
    lines = [f"  {name:<10}{spec.summary}" for name, spec in RECIPES.items()]
    lines += ["", "layouts of the data folder:", *(f"  {layout}" for layout in LAYOUTS)]
    lines += ["for dcgan, which takes one domain:", *(f"  {layout}" for layout in single)]
    return "\n".join([USAGE, *lines, "", "i2i train RECIPE --help lists its options and presets."])


def print_result(result: TrainingResult, prepared: PreparedRun) -> int:
    """Print what there is now and what to run next; the exit code. Only one of several processes prints."""
    run, recipe = prepared.run, prepared.spec.recipe
    lines = [f"wrote {path}" for path in result.generator_paths]
    if result.is_finished:
        better = [path.with_name(path.name.replace(LATEST, BEST)) for path in result.generator_paths]
        lines += [f"best:  {path}, by the held-out score" for path in better if path.is_file()]
        lines += [f"report: {Path(run.out) / REPORT}"]
        config = {"recipe": recipe.name, **vars(run)}
        lines += ["next: " + "\n      ".join(list_next_commands(Path(run.out), config))]
    else:
        reason = f"--minutes {run.minutes:g}" if result.stop_reason == "minutes" else result.stop_reason
        lines += [f"stopped by {reason} after step {result.steps} of {run.steps}, with its state"]
        command = "distill" if recipe.has_teacher else "train"
        lines += [f"next: i2i {command} --resume {shlex.quote(run.out)}"]
    if result.is_primary:
        print("\n".join(lines))
    return 0 if result.is_finished or result.stop_reason == "minutes" else EXIT_STOPPED
