"""The calls behind `i2i train`: where a run's options come from, and the run itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from i2i_sdk.errors import TrainingError
from i2i_training.loop import TrainingResult, run_training
from i2i_training.options import RECIPE, apply_values, make_flags, parse_options, read_config
from i2i_training.recipes import RECIPES, RecipeSpec
from i2i_training.report.run_report import CONFIG, write_report
from i2i_training.run.run_options import RunOptions

StrPath = str | os.PathLike[str]


@dataclass(frozen=True)
class PreparedRun:
    """A run whose options are known and fit each other."""

    spec: RecipeSpec
    run: RunOptions
    options: Any  # of the recipe
    is_resumed: bool


def train(
    recipe: str = "",
    *,
    resume: StrPath | None = None,
    config: StrPath | None = None,
    preset: str = "",
    **options: Any,
) -> TrainingResult:
    """Train a network and write the run's report, as `i2i train` does.

    Args:
        recipe: "pix2pix", "cyclegan", "cut", "unit", "encdec" or "dcgan"; may be left out where `config` or
            `resume` names it.
        resume: folder of a run that goes on where it stopped.
        config: TOML file with options, such as a run's `config.toml`.
        preset: name of a preset of the recipe; `i2i train RECIPE --help` lists them.
        options: of the run and of the recipe, by the names of their flags; those of a network are a dict:
            `data="maps", steps=1000, unet={"width": 32}`. They win over `config`, which wins over `preset`.

    Returns:
        The generators' paths, the steps done, and why it stopped where it is not finished.

    Raises:
        TrainingError: for options or data that cannot be used, and for losses that diverge.
        CheckpointError: for a state that cannot be resumed.

    Example:
        >>> train("pix2pix", data="maps", out="out/maps", steps=1000).generator_paths  # doctest: +SKIP
        (PosixPath('out/maps/latest_net_G.safetensors'),)
    """
    flags = make_flags(options)
    return start_run(prepare_run(recipe, flags, resume=resume, config=config, preset=preset, source="train"))


def prepare_run(
    name: str,
    flags: Sequence[str],
    *,
    resume: StrPath | None = None,
    config: StrPath | None = None,
    preset: str = "",
    source: str = "",
) -> PreparedRun:
    """Gather the options of a run: defaults, preset, file, flags; each wins over those before.

    Args:
        name: of the recipe.
        flags: as `parse_options` has them.
        resume: as `train` has it.
        config: as `train` has it.
        preset: as `train` has it.
        source: as `parse_options` has it.

    Returns:
        What `start_run` takes.

    Raises:
        TrainingError: as `parse_options`, and where there are no data or no such recipe, preset or run.
        SystemExit: as `parse_options`.
    """
    if resume is not None and (preset or config is not None):
        raise TrainingError("--resume takes the options of the run itself; leave out --preset and --config")
    file = _find_config(Path(resume)) if resume is not None else config
    table = read_config(Path(file)) if file is not None else {}
    name = name or str(table.get(RECIPE, ""))
    spec = _find_recipe(name)
    if table.get(RECIPE, name) != name:
        raise TrainingError(f"{file}: it is for recipe {table[RECIPE]!r}, not {name!r}; leave the name out")
    if preset and preset not in spec.presets:
        raise TrainingError(f"preset {preset!r} is not known; known: {', '.join(spec.presets)}")
    options = apply_values((RunOptions(), spec.options()), spec.defaults, "defaults")
    options = apply_values(options, spec.presets.get(preset, {}), f"preset {preset}")
    run, recipe_options = apply_values(options, table, str(file))
    if resume is not None:  # a run goes on in its folder, even if that was moved or is named from elsewhere
        run = replace(run, out=os.fspath(resume))
    description = _describe_recipe(name)
    run, recipe_options = parse_options(
        (run, recipe_options), flags, prog=f"i2i train {name}", description=description, source=source
    )
    if resume is not None and Path(run.out).resolve() != Path(resume).resolve():
        raise TrainingError(f"a run is resumed where it is: leave out --out {run.out}")
    if not run.data:
        raise TrainingError("--data DIR is needed: a folder of images; i2i train --help lists the layouts")
    return PreparedRun(spec, run, recipe_options, resume is not None)


def start_run(prepared: PreparedRun) -> TrainingResult:
    """Train as `prepared` says, and write the report of a run that is finished. Raises as `train`."""
    torch.manual_seed(prepared.run.seed)
    recipe = prepared.spec.recipe(prepared.options, prepared.run.seed)
    result = run_training(recipe, prepared.run, resume=prepared.is_resumed)
    if result.is_finished and result.is_primary:
        write_report(Path(prepared.run.out))
    return result


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
