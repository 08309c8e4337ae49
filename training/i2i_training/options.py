"""Options of a run as frozen dataclasses, changed by dotted flags: `--optim.lr 1e-4 --resnet.blocks 6`."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from i2i_sdk.errors import TrainingError

T = TypeVar("T")


def parse_flags(defaults: T, flags: Sequence[str]) -> T:
    """Return `defaults` (a frozen dataclass, nested ones included) with `--name value` pairs applied.

    Raises TrainingError for an unknown flag, a missing value, or a value of the wrong type; the message
    lists what is allowed.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Options:
        ...     steps: int = 10
        >>> parse_flags(Options(), ["--steps", "20"])
        Options(steps=20)
    """
    names = dict(flatten(defaults))
    if len(flags) % 2:
        raise TrainingError(f"{flags[-1]} has no value; flags come as --name value")
    for flag, text in zip(flags[::2], flags[1::2], strict=True):
        name = flag.removeprefix("--").replace("-", "_")
        if not flag.startswith("--") or name not in names:
            raise TrainingError(f"unknown option {flag}; known: {', '.join(f'--{n}' for n in names)}")
        defaults = _replaced(defaults, name.split("."), text)
    return defaults


def flatten(options: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All ("optim.lr", value) of nested dataclasses."""
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if dataclasses.is_dataclass(value):
            yield from flatten(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", value


def _replaced(options: Any, path: list[str], text: str) -> Any:
    name, *rest = path
    if rest:
        return dataclasses.replace(options, **{name: _replaced(getattr(options, name), rest, text)})
    kind = typing.get_type_hints(type(options))[name]
    try:
        return dataclasses.replace(options, **{name: _value(kind, text)})
    except ValueError as error:
        raise TrainingError(f"--{name} {text}: {error}") from error


def _value(kind: Any, text: str) -> Any:
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        if text.lower() == "none":
            return None
        kind = next(k for k in typing.get_args(kind) if k is not type(None))
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError("allowed: true, false")
        return text.lower() == "true"
    if typing.get_origin(kind) is tuple:
        return tuple(int(part) for part in text.split(","))
    return kind(text)
