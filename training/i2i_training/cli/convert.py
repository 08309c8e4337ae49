"""`i2i convert SRC DST`: generators between our `.safetensors` and the upstream repository's `.pth`.

Upstream is https://github.com/junyanz/pytorch-CycleGAN-and-pix2pix. Its files are bare state dicts, so that
way only weights travel; the other way, what the keys cannot say is assumed as upstream's defaults are, said,
and replaced by options.
"""

from __future__ import annotations

import argparse
import logging
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from i2i_sdk.cli.common import UPSTREAM_GROUP, UPSTREAM_OPTIONS, add_options
from i2i_sdk.errors import CheckpointError
from i2i_sdk.files import write_atomically
from i2i_training.checkpoint import LATEST, load_generator, save_generator
from i2i_training.networks import GeneratorConfig, GeneratorSpec, ResnetConfig, UnetConfig

log = logging.getLogger(__name__)

SUFFIXES = OWN_SUFFIX, UPSTREAM_SUFFIX = ".safetensors", ".pth"
LATEST_NAMES = (LATEST, f"{LATEST}_A", f"{LATEST}_B")  # the generators of a run's folder
DIRECTION_OF_NAME = {"_net_G_A": "AtoB", "_net_G_B": "BtoA"}
# What a `.pth` cannot say and its owner may know: of the data set and the weights; as in load_generator.
HISTORY, READING = ("direction", "license", "trained_on"), ("norm_mode", "padding", "upsample")


def main(argv: Sequence[str]) -> int:
    """Convert, and print what was written and what to run next. Raises CheckpointError."""
    args = _build_parser().parse_args(argv)
    known = {name: vars(args)[name] for name in (*HISTORY, *READING) if vars(args)[name] is not None}
    written = convert(args.source, args.target, known, force=args.force)
    for path, spec in written:
        print(f"wrote {path}: {spec.config.architecture}, {spec.direction} direction")
    if args.source.is_dir():
        print("only the latest generators of a folder are converted; give others one by one")
    if written[0][0].suffix == OWN_SUFFIX:
        first = written[0][0] if args.source.is_file() else args.target
        if not written[0][1].explain_no_bundle():
            print(f"next: i2i export {shlex.quote(str(first))}")
        return 0
    print("these hold weights only; recipe, direction, steps and license stay in the .safetensors")
    for path, spec in written:
        print(format_upstream_hint(path, spec))
    return 0


def convert(
    source: Path, target: Path, known: Mapping[str, str] | None = None, force: bool = False
) -> list[tuple[Path, GeneratorSpec]]:
    """Write `source` in the other format; returns each file written, with the spec of its generator.

    Args:
        source: a `.safetensors`, an upstream `.pth`, or a run's folder with the latest generators of one
            kind.
        target: a file of the other kind, or a folder, where files keep their names but for the suffix.
        known: values of HISTORY and READING. For a `.safetensors`, which says it, anything here is an error.
        force: replace files that exist.

    Returns:
        Paths and specs of what was written.

    Raises:
        CheckpointError: for files that cannot be read or replaced, and for networks upstream lacks.
            All files are read and checked before the first is written; each is written atomically.
    """
    known = known or {}
    jobs = _plan_jobs(source, target, known)
    existing = [path for _, path in jobs if path.exists()]
    if existing and not force:
        raise CheckpointError(f"{existing[0]} exists; choose another name, or replace it with --force")
    loaded = [(path, *_load_source(file, known)) for file, path in jobs]
    for path, _, spec in loaded:
        if path.suffix == UPSTREAM_SUFFIX:
            _check_upstream_support(spec.config, path)
    for path, module, spec in loaded:
        if path.suffix == OWN_SUFFIX:
            save_generator(path, module, spec)
        else:
            # Keys, order and types are upstream's: no statistics of InstanceNorm, five tensors of BatchNorm.
            with write_atomically(path) as temporary, temporary.open("wb") as file:
                torch.save(module.state_dict(), file)
    return [(path, spec) for path, _, spec in loaded]


def format_upstream_hint(path: Path, spec: GeneratorSpec) -> str:
    """How to make our pictures with an upstream file in the upstream repository, in one line."""
    if not _find_upstream_name(spec.config):
        kind = f"{type(spec.config).__name__.removesuffix('Config')}Generator"
        return (
            f"next: upstream has no flag for this network; in its code, load {path} into a {kind} "
            f"as in our {spec.config}"
        )
    folder, suffix = path.parent.resolve().name, path.stem.removeprefix(LATEST)
    name_fits = path.stem in LATEST_NAMES
    model_suffix = f" --model_suffix {suffix}" if name_fits and suffix else ""
    place = f"checkpoints/{folder}/{path.name if name_fits else f'{LATEST}.pth'}"
    return (
        f"next: put {path} at {place} in the upstream repository and run there: python test.py --model test "
        f"--name {shlex.quote(folder)}{model_suffix} --dataroot DIR {format_upstream_flags(spec)}"
    )


def format_upstream_flags(spec: GeneratorSpec) -> str:
    """The options of upstream's test.py that build this network and run it as we do, dropout off."""
    config = spec.config
    assert isinstance(config, ResnetConfig | UnetConfig)
    flags = (
        f"--netG {_find_upstream_name(config)} --norm {config.norm} --ngf {config.width} "
        f"--input_nc {config.in_channels} --output_nc {config.out_channels}"
    )
    # A ResNet's dropout has a place among the keys, so it has to be built, and is off with --eval only.
    has_slot = config.dropout and isinstance(config, ResnetConfig)
    needs_eval = spec.norm_mode == "running_stats" or (has_slot and spec.norm_mode == "none")
    return flags + " --no_dropout" * (not has_slot) + " --eval" * needs_eval


def _find_upstream_name(config: GeneratorConfig) -> str:
    """The value of --netG that builds this network; empty where there is none."""
    if isinstance(config, UnetConfig) and config.downs in (7, 8):
        return f"unet_{2**config.downs}"
    if isinstance(config, ResnetConfig) and config.blocks in (6, 9) and config.padding == "reflect":
        return f"resnet_{config.blocks}blocks"
    return ""


def _load_source(file: Path, known: Mapping[str, str]) -> tuple[nn.Module, GeneratorSpec]:
    if file.suffix == OWN_SUFFIX:
        if known:
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in known)
            raise CheckpointError(f"{file}: {flags} cannot be given: its header says it already")
        return load_generator(file)
    module, spec = load_generator(file, **{name: known[name] for name in known if name in READING})
    by_name = DIRECTION_OF_NAME.get(file.stem[-len("_net_G_A") :])
    if by_name and "direction" not in known:
        line = f"direction: {by_name}, by its name; a BtoA run swaps them: then give --direction"
        log.warning("%s: assumed: %s", file.name, line)
        spec = replace(spec, direction=by_name, assumptions=(*spec.assumptions, line))
    return module, replace(spec, **{name: known[name] for name in known if name in HISTORY})


def _plan_jobs(source: Path, target: Path, known: Mapping[str, str]) -> list[tuple[Path, Path]]:
    """Which files become which."""
    is_folder, files = source.is_dir(), [source]
    if is_folder:
        files = [path for stem in LATEST_NAMES for s in SUFFIXES if (path := source / f"{stem}{s}").is_file()]
    kinds = {file.suffix for file in files}
    wanted = UPSTREAM_SUFFIX if kinds == {OWN_SUFFIX} else OWN_SUFFIX
    problem = ""
    if not files:
        problem = f"no {', '.join(LATEST_NAMES)} ({', '.join(SUFFIXES)}) in it; give one file"
    elif len(kinds) > 1:
        problem = f"it holds {' and '.join(SUFFIXES)} generators; give one file"
    elif is_folder and (target.is_file() or target.suffix in SUFFIXES):
        problem = f"a folder is converted into a folder, not into the file {target}"
    elif not is_folder and not target.is_dir() and target.suffix != wanted:
        problem = f"it becomes a {wanted} file, not {target}; name it so, or give a folder"
    elif "direction" in known and len(files) > 1:
        names = ", ".join(file.name for file in files)
        problem = f"--direction is of one generator, and there are {names}; give one file, or leave it out"
    if problem:
        raise CheckpointError(f"{source}: {problem}")
    if not is_folder and not target.is_dir():
        return [(source, target)]
    return [(file, target / f"{file.stem}{wanted}") for file in files]


def _check_upstream_support(config: GeneratorConfig, path: Path) -> None:
    if isinstance(config, UnetConfig) or (
        isinstance(config, ResnetConfig) and config.upsample == "transpose"
    ):
        return
    raise CheckpointError(
        f"{path}: this {config.architecture} cannot become an upstream file: upstream has U-Nets and ResNets "
        f"with transposed convolutions. Keep the {OWN_SUFFIX}, and make a bundle of it with i2i export"
    )


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="i2i convert", description="Generators between i2i-sdk's .safetensors and upstream's .pth."
    )
    parser.add_argument("source", type=Path, help=".safetensors, upstream .pth, or the folder of a run")
    parser.add_argument("target", type=Path, help="file of the other kind, or a folder")
    add_options(parser.add_argument, force="")
    add_options(parser.add_argument_group(UPSTREAM_GROUP).add_argument, **UPSTREAM_OPTIONS)
    return parser
