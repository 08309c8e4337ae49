"""Options of a run: frozen dataclasses, changed by presets, TOML files and flags, which are read alike.

tyro makes a flag of each field and its help of the comment beside it. Presets and files are turned into the
flags that they stand for, so there is one set of names, types and errors.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tomli_w
import tyro

from i2i_sdk.errors import TrainingError
from i2i_sdk.files import write_atomically

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RECIPE = "recipe"  # the key of a file that names the recipe; no option of any dataclass
FORMER_NAMES = {"licence": "license"}  # options that had another name when a file was written
# The first flags that someone from the original repository types; docs/upstream_flags.md has them all.
UPSTREAM_NAMES = {
    "dataroot": "data",
    "batch_size": "batch",
    "lr": "optim.lr",
    "beta1": "optim.beta1",
    "checkpoints_dir": "out",
    "name": "out",
    "netG": "generator",
    "ngf": "resnet.width",
    "ndf": "discriminator.width",
    "lambda_A": "lambda_cycle",
    "lambda_B": "lambda_cycle",
    "lambda_L1": "lambda_l1",
    "norm": "resnet.norm",
    "init_type": "init",
    "lr_policy": "schedule",
    "save_epoch_freq": "save_every",
    "print_freq": "log_every",
}


def check_value(name: str, value: object, is_allowed: bool, allowed: str) -> None:
    """Refuse the value of an option.

    Args:
        name: of the option, as its flag has it.
        value: what was given.
        is_allowed: whether it can be used.
        allowed: what can be used, in words.

    Raises:
        TrainingError: with name, value and what is allowed, where it is not.
    """
    if not is_allowed:
        raise TrainingError(f"{name} is {value}; {allowed}")


def or_none(kind: type) -> Any:
    """An annotation that makes tyro take "none", in any case, for an option of `kind | None`."""
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar=f"{kind.__name__.upper()}|none",
        instance_from_str=lambda texts: None if texts[0].lower() == "none" else kind(texts[0]),
        is_instance=lambda value: value is None or isinstance(value, kind),
        str_from_instance=lambda value: ["none" if value is None else str(value)],
    )


def parse_options(
    defaults: tuple[Any, ...],
    flags: Sequence[str],
    *,
    prog: str = "i2i train",
    description: str = "",
    source: str = "",
) -> tuple[Any, ...]:
    """Dataclasses that share one flat set of flags, with `flags` applied to them.

    Args:
        defaults: frozen dataclasses; those nested in them have their field's name before their own options.
        flags: `--optim.lr 1e-4 --no-flip`; hyphens and underscores are the same.
        prog: the command, for the help and errors.
        description: what `--help` says above the options.
        source: the file or preset that the flags stand for, for errors; empty for a command line.

    Returns:
        New dataclasses, in the order of `defaults`.

    Raises:
        TrainingError: for values that do not fit each other, a flag of the original repository, and for
            flags from a `source` that are refused.
        SystemExit: with the code 2 for flags of a command line that are refused, after tyro said why; with 0
            after `--help`.

    Example:
        >>> from i2i_training.run.run_options import RunOptions
        >>> run, = parse_options((RunOptions(),), ["--steps", "20", "--no-flip"])
        >>> run.steps, run.flip
        (20, False)
    """
    _refuse_upstream_flags(
        flags, {name for part in defaults for name, _ in flatten(dataclasses.asdict(part))}
    )
    fields = [f"part{number}" for number in range(len(defaults))]
    kinds = [Annotated[type(part), tyro.conf.arg(name="")] for part in defaults]
    together = dataclasses.make_dataclass("Options", zip(fields, kinds, strict=True), frozen=True)
    try:
        found = tyro.cli(
            together, prog=prog, description=description, args=flags, default=together(*defaults)
        )
    except SystemExit as error:
        if source and error.code:
            raise TrainingError(f"{source}: its options cannot be used, for the reason above") from None
        raise
    except ValueError as error:
        raise TrainingError(f"{source}: {error}" if source else str(error)) from error
    return tuple(getattr(found, name) for name in fields)


def apply_values(defaults: tuple[Any, ...], values: Mapping[str, Any], source: str) -> tuple[Any, ...]:
    """Change dataclasses as a preset or a file says.

    Args:
        defaults: as `parse_options` has them.
        values: {"resnet.blocks": 6, "optim": {"lr": 1e-4}}.
        source: of the values, for errors.

    Returns:
        New dataclasses, in the order of `defaults`.

    Raises:
        TrainingError: as `parse_options`.
    """
    flags = make_flags(values)
    return parse_options(defaults, flags, source=source) if flags else defaults


def make_flags(table: Mapping[str, Any]) -> list[str]:
    """The flags that options stand for.

    Example:
        >>> make_flags({"recipe": "cut", "flip": False, "optim": {"lr": 1e-4}})
        ['--no-flip', '--optim.lr=0.0001']
    """
    flags: list[str] = []
    for name, value in flatten({FORMER_NAMES.get(k, k): v for k, v in table.items() if k != RECIPE}):
        name = name.replace("_", "-")
        group, dot, last = name.rpartition(".")
        match value:
            case bool():
                flags.append(f"--{group}{dot}{'' if value else 'no-'}{last}")
            case list() | tuple():
                flags += [f"--{name}", *map(str, value)]
            case _:
                flags.append(f"--{name}={value}")
    return flags


def flatten(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """{"optim": {"lr": 1}} as ("optim.lr", 1)."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", v) for inner, v in flatten(value))
        else:
            yield name, value


def read_config(path: Path) -> dict[str, Any]:
    """The tables of a TOML file, `recipe` among them. Raises TrainingError when it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainingError(f"{path}: cannot be read: {error.strerror}; a TOML file is needed") from error
    except ValueError as error:  # TOML's own, and text that is not UTF-8
        raise TrainingError(f"{path}: not a TOML file: {error}") from error


def write_config(path: Path, recipe: str, *options: Any) -> Path:
    """Write every option of the dataclasses as one TOML file, atomically, and return its path.

    `read_config` and `apply_values` bring the same dataclasses back.
    """
    table = {RECIPE: recipe}
    for part in options:
        table |= dataclasses.asdict(part, dict_factory=_spell_none)
    text = f"# i2i train --config {path.name} --out ANOTHER trains with these options again.\n\n"
    with write_atomically(path) as temporary:
        temporary.write_bytes((text + tomli_w.dumps(table)).encode())
    return path


def _spell_none(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """TOML has no null."""
    return {name: "none" if value is None else value for name, value in items}


def _refuse_upstream_flags(flags: Sequence[str], known: set[str]) -> None:
    for flag in flags:
        name = flag.removeprefix("--").partition("=")[0].replace("-", "_")
        if name not in known and (ours := UPSTREAM_NAMES.get(name)) in known:
            raise TrainingError(f"unknown option --{name}, which is --{ours} here")
