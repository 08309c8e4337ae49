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
from i2i_sdk.files import written_atomically
from i2i_training.checkpoint import load_generator, save_generator
from i2i_training.networks import GeneratorConfig, GeneratorSpec, ResnetConfig, UnetConfig
from i2i_training.networks.spec import DIRECTIONS

log = logging.getLogger(__name__)

OURS, THEIRS = ".safetensors", ".pth"
LATEST = ("latest_net_G", "latest_net_G_A", "latest_net_G_B")  # the generators of a run's folder
DIRECTION_OF_NAME = {"_net_G_A": "AtoB", "_net_G_B": "BtoA"}
NOT_UPSTREAM = {
    "mobile_resnet": "its separable blocks are those of GAN Compression",
    "unit": "UNIT's encoders and generators are another method's",
    "encoder_decoder": "it is this project's plain baseline",
    "dcgan": "it makes pictures of noise, and upstream translates images",
}


@dataclass(frozen=True)
class Known:
    """What a `.pth` cannot say and its owner may know; None leaves it unknown, or to upstream's default."""

    direction: str | None = None  # AtoB or BtoA of the data set: what this generator translates
    licence: str | None = None  # of the weights
    trained_on: str | None = None  # a few words
    norm_mode: str | None = None  # these three as in load_generator
    padding: str | None = None
    upsample: str | None = None

    def given(self) -> list[str]:
        """The flags of everything that is not None."""
        names = [field.name for field in fields(self) if getattr(self, field.name) is not None]
        return [f"--{name.replace('_', '-')}" for name in names]


def main(argv: Sequence[str]) -> int:
    """Convert, and print what was written and what to run next. Raises CheckpointError."""
    args = _parser().parse_args(argv)
    known = Known(**{field.name: getattr(args, field.name) for field in fields(Known)})
    written = convert(args.source, args.target, known, force=args.force)
    for path, spec in written:
        print(f"wrote {path}: {spec.config.architecture}, {spec.direction} direction")
    if left := _left_out(args.source):
        print(f"left out: {left}; only the latest generators of a folder are converted")
    if written[0][0].suffix == OURS:
        first = written[0][0] if args.source.is_file() else args.target
        print(f"next: i2i export {shlex.quote(str(first))}")
        return 0
    print("these hold weights only; recipe, direction, steps and licence stay in the .safetensors")
    for path, spec in written:
        print(next_upstream(path, spec))
    return 0


def convert(
    source: Path, target: Path, known: Known | None = None, force: bool = False
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
    known = known or Known()
    jobs = _jobs_of_folder(source, target, known) if source.is_dir() else [_job_of_file(source, target)]
    existing = [path for _, path in jobs if path.exists()]
    if existing and not force:
        raise CheckpointError(f"{existing[0]} exists; choose another name, or replace it with --force")
    loaded = [(path, *_load(file, known)) for file, path in jobs]
    for path, _, spec in loaded:
        if path.suffix == THEIRS:
            _check_upstream_has(spec.config, path)
    for path, module, spec in loaded:
        (save_generator if path.suffix == OURS else save_upstream)(path, module, spec)
    return [(path, spec) for path, _, spec in loaded]


def save_upstream(path: Path, module: nn.Module, spec: GeneratorSpec) -> Path:
    """Write the bare state dict that upstream's `load_networks` reads, atomically; returns the path.

    Keys, order and types are upstream's: no statistics of InstanceNorm, all five tensors of BatchNorm.
    Raises CheckpointError for a network that upstream does not have.
    """
    _check_upstream_has(spec.config, path)
    try:
        with written_atomically(path) as temporary, temporary.open("wb") as file:
            torch.save(module.state_dict(), file)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error}") from error
    return path


def next_upstream(path: Path, spec: GeneratorSpec) -> str:
    """How to make our pictures with an upstream file in the upstream repository, in one line."""
    if code := _only_in_code(spec.config):
        return f"next: upstream has no flag for this network; in its code, load {path} into {code}"
    folder, suffix = path.parent.resolve().name, path.stem.removeprefix("latest_net_G")
    name_fits = path.stem in LATEST
    model_suffix = f" --model_suffix {suffix}" if name_fits and suffix else ""
    place = f"checkpoints/{folder}/{path.name if name_fits else 'latest_net_G.pth'}"
    return (
        f"next: put {path} at {place} in the upstream repository and run there: python test.py --model test "
        f"--name {shlex.quote(folder)}{model_suffix} --dataroot DIR {' '.join(upstream_flags(spec))}"
    )


def upstream_flags(spec: GeneratorSpec) -> list[str]:
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


def _load(file: Path, known: Known) -> tuple[nn.Module, GeneratorSpec]:
    if file.suffix == OURS:
        if given := known.given():
            raise CheckpointError(f"{file}: {', '.join(given)} cannot be given: its header says it already")
        return load_generator(file)
    module, spec = load_generator(
        file, norm_mode=known.norm_mode, padding=known.padding, upsample=known.upsample
    )
    by_name = next((d for end, d in DIRECTION_OF_NAME.items() if file.stem.endswith(end)), None)
    if by_name and not known.direction:
        line = f"direction: {by_name}, by its name; a BtoA run swaps them (--direction {_other(by_name)})"
        log.warning("%s: assumed: %s", file.name, line)
        spec = replace(spec, assumptions=(*spec.assumptions, line))
    history = {
        "direction": known.direction or by_name,
        "licence": known.licence,
        "trained_on": known.trained_on,
    }
    return module, replace(spec, **{name: value for name, value in history.items() if value is not None})


def _job_of_file(source: Path, target: Path) -> tuple[Path, Path]:
    wanted = THEIRS if source.suffix == OURS else OURS
    if target.is_dir():
        return source, target / f"{source.stem}{wanted}"
    if target.suffix != wanted:
        raise CheckpointError(
            f"{target}: {source.name} becomes a {wanted} file; name it so, or give a folder"
        )
    return source, target


def _jobs_of_folder(source: Path, target: Path, known: Known) -> list[tuple[Path, Path]]:
    found = [file for stem in LATEST for s in (OURS, THEIRS) if (file := source / f"{stem}{s}").is_file()]
    suffixes = {file.suffix for file in found}
    if not found:
        raise CheckpointError(f"{source}: no {', '.join(LATEST)} ({OURS}, {THEIRS}) in it; give one file")
    if len(suffixes) > 1:
        raise CheckpointError(f"{source}: it holds {OURS} and {THEIRS} generators; give one file")
    if target.is_file() or target.suffix in (OURS, THEIRS):
        raise CheckpointError(f"{target}: a folder is converted into a folder, not into a file")
    if known.direction and len(found) > 1:
        raise CheckpointError(
            f"{source}: --direction is what one generator translates, and there are {len(found)}: "
            f"{', '.join(file.name for file in found)}; give one file, or leave it to their names"
        )
    wanted = THEIRS if suffixes == {OURS} else OURS
    return [(file, target / f"{file.stem}{wanted}") for file in found]


def _check_upstream_has(config: GeneratorConfig, path: Path) -> None:
    if isinstance(config, ResnetConfig) and config.upsample != "transpose":
        why = f"its upsampling is {config.upsample} resizing, and upstream's is a transposed convolution"
    elif isinstance(config, ResnetConfig | UnetConfig):
        return
    else:
        why = NOT_UPSTREAM.get(config.architecture, "it is none of upstream's networks")
    raise CheckpointError(
        f"{path}: a {config.architecture} cannot become an upstream file: {why}. Upstream has ResNets and "
        f"U-Nets; for anything else keep the {OURS}, and make a bundle of it with i2i export"
    )


def _only_in_code(config: GeneratorConfig) -> str:
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


def _left_out(source: Path) -> str:
    """Networks of a folder that are not converted: discriminators, earlier epochs."""
    if not source.is_dir():
        return ""
    networks = sorted(file for suffix in (OURS, THEIRS) for file in source.glob(f"*{suffix}"))
    names = [file.name for file in networks if file.stem not in LATEST]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _other(direction: str) -> str:
    return next(d for d in DIRECTIONS if d != direction)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="i2i convert", description="Generators between i2i-sdk's .safetensors and upstream's .pth."
    )
    parser.add_argument("source", type=Path, help=".safetensors, upstream .pth, or the folder of a run")
    parser.add_argument("target", type=Path, help="file of the other kind, or a folder")
    parser.add_argument("--force", action="store_true", help="replace files that exist")
    group = parser.add_argument_group("what an upstream .pth cannot say of itself")
    group.add_argument("--direction", choices=DIRECTIONS, help="of the data set; default: by the file's name")
    group.add_argument("--licence", help="of the weights")
    group.add_argument("--trained-on", help="a few words")
    group.add_argument("--norm-mode", choices=("batch_stats", "running_stats"))
    group.add_argument("--padding", choices=("reflect", "replicate"))
    group.add_argument("--upsample", choices=("nearest", "bilinear"))
    return parser
