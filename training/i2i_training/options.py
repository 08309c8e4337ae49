"""Options of a run as frozen dataclasses, changed by dotted flags: `--optim.lr 1e-4 --resnet.blocks 6`."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from i2i_sdk.errors import TrainingError

T = TypeVar("T")

NEEDED = {int: "a whole number", float: "a number"}


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
    known = dict(flatten(defaults))
    for name, text in flag_pairs(flags):
        if name not in known:
            raise unknown_option(name, known)
        try:
            defaults = _replaced(defaults, name.split("."), text)
        except ValueError as error:
            raise TrainingError(f"--{name} {text}: {error}") from error
    return defaults


def flag_pairs(flags: Sequence[str]) -> list[tuple[str, str]]:
    """("optim.lr", "1e-4") of every `--optim.lr 1e-4`. Raises TrainingError where they do not alternate."""
    pairs: list[tuple[str, str]] = []
    rest = list(flags)
    while rest:
        flag, *values = rest
        if not flag.startswith("--"):
            raise TrainingError(f"{flag!r} is no option; options come as --name value")
        if not values or values[0].startswith("--"):
            raise TrainingError(f"{flag} has no value; options come as --name value")
        pairs.append((flag.removeprefix("--").replace("-", "_"), values[0]))
        rest = values[1:]
    return pairs


def unknown_option(name: str, known: Iterable[str]) -> TrainingError:
    """The error for an option that nobody has."""
    return TrainingError(f"unknown option --{name}; known: {', '.join(f'--{n}' for n in known)}")


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
    return dataclasses.replace(options, **{name: _value(kind, text)})


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
        return tuple(_number(int, part) for part in text.split(","))
    return _number(kind, text) if kind in NEEDED else kind(text)


def _number(kind: type, text: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"{text!r} is not {NEEDED[kind]}") from None
