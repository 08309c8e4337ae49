"""A run's options as a TOML file, and presets: both say only what differs, and are as strict as flags.

recipe = "cyclegan"
steps = 20000
load_size = "none"     # TOML has no null

[optim]
lr = 1e-4
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import tomli_w

from i2i_sdk.errors import TrainingError
from i2i_sdk.files import write_atomically
from i2i_training.options.flags import check_value, flatten, list_options, replace_options, suggest_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")

RECIPE = "recipe"  # the key that names the recipe; no option of any dataclass
FORMER_NAMES = {"licence": "license"}  # options that had another name when a file was written


def read_config(path: Path) -> dict[str, Any]:
    """The tables of a TOML file, `recipe` among them. Raises TrainingError when it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainingError(
            f"{path}: cannot be read: {error.strerror}; --config takes a TOML file"
        ) from error
    except ValueError as error:  # TOML's own, and text that is not UTF-8
        raise TrainingError(f"{path}: not a TOML file: {error}") from error


def check_recipe(table: Mapping[str, Any], recipe: str, source: str = "config") -> None:
    """Raise TrainingError when `table` was written for another recipe; it need not name one."""
    found = table.get(RECIPE, recipe)
    if found != recipe:
        raise TrainingError(f"{source}: it is for recipe {found!r}, not {recipe!r}; use i2i train {found}")


def apply_config(defaults: T, table: Mapping[str, Any], source: str = "config") -> T:
    """Return `defaults`, one dataclass or a tuple of several, with a file's values in place of its own.

    Args:
        defaults: nested dataclasses are the file's tables.
        table: as `read_config` returns it; its `recipe` is left to `check_recipe`.
        source: the file's name, for messages.

    Raises TrainingError for an unknown key, listing the known ones, and for a value of the wrong type.

    Example:
        >>> from i2i_training.networks import ResnetConfig
        >>> apply_config(ResnetConfig(), {"blocks": 6, "norm": "batch"}).blocks
        6
    """
    values = {
        FORMER_NAMES.get(name, name): value for name, value in _flatten_table(table, source) if name != RECIPE
    }
    return _apply_values(defaults, values, source)


def apply_preset(defaults: T, presets: Mapping[str, Mapping[str, Any]], name: str) -> T:
    """Return `defaults` with the values of a preset: {"small": {"resnet.blocks": 6, "steps": 4000}}.

    Raises TrainingError for a preset that does not exist, listing those that do, and for one whose names
    or types are not those of `defaults`.
    """
    if name not in presets:
        raise TrainingError(f"preset {name!r} is not known; known: {', '.join(presets) or 'none'}")
    return _apply_values(defaults, presets[name], f"preset {name}")


def write_config(path: Path, recipe_name: str, *options: Any) -> Path:
    """Write every option of the given dataclasses as one TOML file, atomically, and return its path.

    `read_config` and `apply_config` bring the same dataclasses back. Raises ValueError when two of them
    share a name, and TrainingError when the file cannot be written.
    """
    table: dict[str, Any] = {RECIPE: recipe_name}
    for name, value in flatten(options):
        *groups, last = name.split(".")
        inner = table
        for group in groups:
            inner = inner.setdefault(group, {})
        if inner is table and last == RECIPE:
            raise ValueError(f"an option is called {RECIPE!r}; that key names the recipe")
        inner[last] = "none" if value is None else value
    text = f"# i2i train --config {path.name} --out ANOTHER trains with these options again.\n\n"
    try:
        with write_atomically(path) as temporary:
            temporary.write_bytes((text + tomli_w.dumps(table)).encode())
    except OSError as error:
        raise TrainingError(f"{path}: cannot be written: {error.strerror}") from error
    return path


def _apply_values(defaults: T, values: Mapping[str, Any], source: str) -> T:
    known = {leaf.name: leaf for leaf in list_options(defaults)}
    changes: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            meant = suggest_name(name, list(known))
            raise TrainingError(f"{source}: unknown option {name}{meant}; known: {', '.join(known)}")
        try:
            changes[name] = check_value(known[name], value)
        except ValueError as error:
            raise TrainingError(f"{source}: {name} = {value!r}: {error}") from error
    groups = {name: name.rpartition(".")[0] for name in changes}
    labels = {name: f"[{group}]" if group else "options" for name, group in groups.items()}
    try:
        return replace_options(defaults, changes, labels)
    except TrainingError as error:
        raise TrainingError(f"{source}: {error}") from error


def _flatten_table(table: Mapping[str, Any], source: str) -> Iterator[tuple[str, Any]]:
    """{"optim": {"lr": 1}} as ("optim.lr", 1)."""
    for name, value in table.items():
        if "." in name:
            raise TrainingError(f"{source}: {name!r} is one key in quotes; write {name} without them")
        if isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", v) for inner, v in _flatten_table(value, source))
        else:
            yield name, value
