"""`i2i convert SRC DST`: generators between our `.safetensors` and the upstream repository's `.pth`.

Upstream is https://github.com/junyanz/pytorch-CycleGAN-and-pix2pix. Its files are bare state dicts, so that
way only weights travel; the other way, what the keys cannot say is assumed as upstream's defaults are, said,
and replaced by options.
"""

from __future__ import annotations

import argparse
import logging
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from torch import nn

from i2i_sdk.errors import CheckpointError
from i2i_sdk.files import write_atomically
from i2i_training.checkpoint import LATEST, load_generator, save_generator
from i2i_training.networks import GeneratorConfig, GeneratorSpec, ResnetConfig, UnetConfig
from i2i_training.networks.spec import DIRECTIONS

log = logging.getLogger(__name__)

OWN_SUFFIX, UPSTREAM_SUFFIX = ".safetensors", ".pth"
LATEST_NAMES = (LATEST, f"{LATEST}_A", f"{LATEST}_B")  # the generators of a run's folder
DIRECTION_OF_NAME = {"_net_G_A": "AtoB", "_net_G_B": "BtoA"}
NOT_UPSTREAM = {
    "mobile_resnet": "its separable blocks are those of GAN Compression",
    "unit": "UNIT's encoders and generators are another method's",
    "encoder_decoder": "it is this project's plain baseline",
    "dcgan": "it makes pictures of noise, and upstream translates images",
}


@dataclass(frozen=True)
class ConvertOptions:
    """What a `.pth` cannot say and its owner may know; None leaves it unknown, or to upstream's default."""

    direction: str | None = None  # AtoB or BtoA of the data set: what this generator translates
    license: str | None = None  # of the weights
    trained_on: str | None = None  # a few words
    norm_mode: str | None = None  # these three as in load_generator
    padding: str | None = None
    upsample: str | None = None

    def list_flags(self) -> list[str]:
        """The flags of everything that is not None."""
        names = [field.name for field in fields(self) if getattr(self, field.name) is not None]
        return [f"--{name.replace('_', '-')}" for name in names]


def main(argv: Sequence[str]) -> int:
    """Convert, and print what was written and what to run next. Raises CheckpointError."""
    args = _build_parser().parse_args(argv)
    known = ConvertOptions(**{field.name: getattr(args, field.name) for field in fields(ConvertOptions)})
    written = convert(args.source, args.target, known, force=args.force)
    for path, spec in written:
        print(f"wrote {path}: {spec.config.architecture}, {spec.direction} direction")
    if left := _describe_skipped(args.source):
        print(f"left out: {left}; only the latest generators of a folder are converted")
    if written[0][0].suffix == OWN_SUFFIX:
        first = written[0][0] if args.source.is_file() else args.target
        print(f"next: i2i export {shlex.quote(str(first))}")
        return 0
    print("these hold weights only; recipe, direction, steps and license stay in the .safetensors")
    for path, spec in written:
        print(format_upstream_hint(path, spec))
    return 0


def convert(
    source: Path, target: Path, options: ConvertOptions | None = None, force: bool = False
) -> list[tuple[Path, GeneratorSpec]]:
    """Write `source` in the other format; returns each file written, with the spec of its generator.

    Args:
        source: a `.safetensors`, an upstream `.pth`, or a run's folder with the latest generators of one
            kind.
        target: a file of the other kind, or a folder, where files keep their names but for the suffix.
        known: what a `.pth` cannot say. For a `.safetensors`, which says it, anything here is an error.
        force: replace files that exist.

    All files are read and checked before the first is written; each is written atomically. Raises
    CheckpointError for files that cannot be read, written or replaced, and for networks upstream lacks.
    """
    options = options or ConvertOptions()
    jobs = _plan_folder(source, target, options) if source.is_dir() else [_plan_file(source, target)]
    existing = [path for _, path in jobs if path.exists()]
    if existing and not force:
        raise CheckpointError(f"{existing[0]} exists; choose another name, or replace it with --force")
    loaded = [(path, *_load_source(file, options)) for file, path in jobs]
    for path, _, spec in loaded:
        if path.suffix == UPSTREAM_SUFFIX:
            _check_upstream_support(spec.config, path)
    for path, module, spec in loaded:
        (save_generator if path.suffix == OWN_SUFFIX else save_upstream)(path, module, spec)
    return [(path, spec) for path, _, spec in loaded]


def save_upstream(path: Path, module: nn.Module, spec: GeneratorSpec) -> Path:
    """Write the bare state dict that upstream's `load_networks` reads, atomically; returns the path.

    Keys, order and types are upstream's: no statistics of InstanceNorm, all five tensors of BatchNorm.
    Raises CheckpointError for a network that upstream does not have.
    """
    _check_upstream_support(spec.config, path)
    try:
        with write_atomically(path) as temporary, temporary.open("wb") as file:
            torch.save(module.state_dict(), file)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error}") from error
    return path


def format_upstream_hint(path: Path, spec: GeneratorSpec) -> str:
    """How to make our pictures with an upstream file in the upstream repository, in one line."""
    if code := _format_upstream_call(spec.config):
        return f"next: upstream has no flag for this network; in its code, load {path} into {code}"
    folder, suffix = path.parent.resolve().name, path.stem.removeprefix(LATEST)
    name_fits = path.stem in LATEST_NAMES
    model_suffix = f" --model_suffix {suffix}" if name_fits and suffix else ""
    place = f"checkpoints/{folder}/{path.name if name_fits else f'{LATEST}.pth'}"
    return (
        f"next: put {path} at {place} in the upstream repository and run there: python test.py --model test "
        f"--name {shlex.quote(folder)}{model_suffix} --dataroot DIR {' '.join(list_upstream_flags(spec))}"
    )


def list_upstream_flags(spec: GeneratorSpec) -> list[str]:
    """The options of upstream's test.py that build this network and run it as we do, dropout off."""
    config = spec.config
    assert isinstance(config, ResnetConfig | UnetConfig)
    is_unet = isinstance(config, UnetConfig)
    net = f"unet_{2**config.downs}" if is_unet else f"resnet_{config.blocks}blocks"
    flags = ["--netG", net, "--norm", config.norm, "--ngf", str(config.width)]
    flags += ["--input_nc", str(config.in_channels), "--output_nc", str(config.out_channels)]
    # A ResNet's dropout has a place among the keys, so it has to be built, and is off with --eval only.
    slot = config.dropout and not is_unet
    needs_eval = spec.norm_mode == "running_stats" or (slot and spec.norm_mode == "none")
    return flags + ([] if slot else ["--no_dropout"]) + (["--eval"] if needs_eval else [])


def _load_source(file: Path, options: ConvertOptions) -> tuple[nn.Module, GeneratorSpec]:
    if file.suffix == OWN_SUFFIX:
        if flags := options.list_flags():
            raise CheckpointError(f"{file}: {', '.join(flags)} cannot be given: its header says it already")
        return load_generator(file)
    module, spec = load_generator(
        file, norm_mode=options.norm_mode, padding=options.padding, upsample=options.upsample
    )
    by_name = next((d for end, d in DIRECTION_OF_NAME.items() if file.stem.endswith(end)), None)
    if by_name and not options.direction:
        other = _reverse_direction(by_name)
        line = f"direction: {by_name}, by its name; a BtoA run swaps them (--direction {other})"
        log.warning("%s: assumed: %s", file.name, line)
        spec = replace(spec, assumptions=(*spec.assumptions, line))
    history = {
        "direction": options.direction or by_name,
        "license": options.license,
        "trained_on": options.trained_on,
    }
    return module, replace(spec, **{name: value for name, value in history.items() if value is not None})


def _plan_file(source: Path, target: Path) -> tuple[Path, Path]:
    wanted = UPSTREAM_SUFFIX if source.suffix == OWN_SUFFIX else OWN_SUFFIX
    if target.is_dir():
        return source, target / f"{source.stem}{wanted}"
    if target.suffix != wanted:
        raise CheckpointError(
            f"{target}: {source.name} becomes a {wanted} file; name it so, or give a folder"
        )
    return source, target


def _plan_folder(source: Path, target: Path, options: ConvertOptions) -> list[tuple[Path, Path]]:
    found = [
        file
        for stem in LATEST_NAMES
        for s in (OWN_SUFFIX, UPSTREAM_SUFFIX)
        if (file := source / f"{stem}{s}").is_file()
    ]
    suffixes = {file.suffix for file in found}
    if not found:
        raise CheckpointError(
            f"{source}: no {', '.join(LATEST_NAMES)} ({OWN_SUFFIX}, {UPSTREAM_SUFFIX}) in it; give one file"
        )
    if len(suffixes) > 1:
        raise CheckpointError(
            f"{source}: it holds {OWN_SUFFIX} and {UPSTREAM_SUFFIX} generators; give one file"
        )
    if target.is_file() or target.suffix in (OWN_SUFFIX, UPSTREAM_SUFFIX):
        raise CheckpointError(f"{target}: a folder is converted into a folder, not into a file")
    if options.direction and len(found) > 1:
        raise CheckpointError(
            f"{source}: --direction is what one generator translates, and there are {len(found)}: "
            f"{', '.join(file.name for file in found)}; give one file, or leave it to their names"
        )
    wanted = UPSTREAM_SUFFIX if suffixes == {OWN_SUFFIX} else OWN_SUFFIX
    return [(file, target / f"{file.stem}{wanted}") for file in found]


def _check_upstream_support(config: GeneratorConfig, path: Path) -> None:
    if isinstance(config, ResnetConfig) and config.upsample != "transpose":
        why = f"its upsampling is {config.upsample} resizing, and upstream's is a transposed convolution"
    elif isinstance(config, ResnetConfig | UnetConfig):
        return
    else:
        why = NOT_UPSTREAM.get(config.architecture, "it is none of upstream's networks")
    raise CheckpointError(
        f"{path}: a {config.architecture} cannot become an upstream file: {why}. Upstream has ResNets and "
        f"U-Nets; for anything else keep the {OWN_SUFFIX}, and make a bundle of it with i2i export"
    )


def _format_upstream_call(config: GeneratorConfig) -> str:
    """The call that builds a network which none of upstream's flags build; empty when flags do."""
    start = f"{config.in_channels}, {config.out_channels}"
    norm = f"norm_layer=get_norm_layer({config.norm!r})"
    if isinstance(config, UnetConfig) and config.downs not in (7, 8):
        return f"UnetGenerator({start}, {config.downs}, {config.width}, {norm})"
    if isinstance(config, ResnetConfig) and (config.blocks not in (6, 9) or config.padding != "reflect"):
        return (
            f"ResnetGenerator({start}, {config.width}, {norm}, use_dropout={config.dropout}, "
            f"n_blocks={config.blocks}, padding_type={config.padding!r})"
        )
    return ""


def _describe_skipped(source: Path) -> str:
    """Networks of a folder that are not converted: discriminators, earlier epochs."""
    if not source.is_dir():
        return ""
    networks = sorted(file for suffix in (OWN_SUFFIX, UPSTREAM_SUFFIX) for file in source.glob(f"*{suffix}"))
    names = [file.name for file in networks if file.stem not in LATEST_NAMES]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _reverse_direction(direction: str) -> str:
    return next(d for d in DIRECTIONS if d != direction)


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="i2i convert", description="Generators between i2i-sdk's .safetensors and upstream's .pth."
    )
    parser.add_argument("source", type=Path, help=".safetensors, upstream .pth, or the folder of a run")
    parser.add_argument("target", type=Path, help="file of the other kind, or a folder")
    parser.add_argument("--force", action="store_true", help="replace files that exist")
    group = parser.add_argument_group("what an upstream .pth cannot say of itself")
    group.add_argument("--direction", choices=DIRECTIONS, help="of the data set; default: by the file's name")
    group.add_argument("--license", help="of the weights")
    group.add_argument("--trained-on", help="a few words")
    group.add_argument("--norm-mode", choices=("batch_stats", "running_stats"))
    group.add_argument("--padding", choices=("reflect", "replicate"))
    group.add_argument("--upsample", choices=("nearest", "bilinear"))
    return parser
