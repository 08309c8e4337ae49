"""JSON that strangers wrote, as the frozen dataclasses that describe it.

Reading is strict: unknown keys, missing keys and wrong types are errors that name the place.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
import unicodedata
from typing import Any, TypeVar

T = TypeVar("T")

MAX_NUMBER = 2**63  # a count beyond this is no count, and would not survive a division
MAX_DEPTH = 8  # what may hold anything holds scalars and short lists


class DecodeError(ValueError):
    """The data are not what the dataclass says; the message names the place."""


def decode(kind: type[T], data: object, where: str) -> T:
    """Build a dataclass from a dict, checking every key and type.

    Args:
        kind: the dataclass.
        data: parsed JSON.
        where: how errors call the place: "manifest".

    Returns:
        An instance of `kind`.

    Raises:
        DecodeError: naming the place.
    """
    if not isinstance(data, dict):
        raise DecodeError(f"{where}: got {_describe_type(data)}, expected an object")
    values = typing.cast("dict[str, Any]", data)
    fields = {f.name: f for f in dataclasses.fields(typing.cast(Any, kind))}
    none = dataclasses.MISSING
    required = {name for name, f in fields.items() if f.default is none and f.default_factory is none}
    if unknown := sorted(set(values) - set(fields)):
        raise DecodeError(f"{where}: unknown key {unknown[0]!r}; was it written by a newer version?")
    if missing := sorted(required - set(values)):
        raise DecodeError(f"{where}: the key {missing[0]!r} is missing")
    hints = typing.get_type_hints(kind)
    return kind(**{k: _decode_value(hints[k], v, f"{where}.{k}") for k, v in values.items()})


def _decode_value(hint: Any, value: object, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(value):  # which JSON has none of: decoded before, as one of several kinds
        return value
    if origin is typing.Literal:
        if (type(value), value) not in [(type(allowed), allowed) for allowed in arguments]:  # True is not 1
            raise DecodeError(f"{where} is {value!r}; allowed: {', '.join(map(str, arguments))}")
        return value
    if hint is Any:
        _check_plain(value, where, 0)
        return value
    if origin in (typing.Union, types.UnionType):
        return None if value is None else _decode_value(arguments[0], value, where)
    if dataclasses.is_dataclass(hint):
        return decode(typing.cast("type[Any]", hint), value, where)
    if origin is tuple and isinstance(value, list | tuple):
        items = typing.cast("list[object]", value)
        return tuple(_decode_value(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(items))
    if origin is dict and isinstance(value, dict):
        entries, inner = typing.cast("dict[str, object]", value), arguments[1]
        return {_check_text(k, where): _decode_value(inner, v, f"{where}.{k}") for k, v in entries.items()}
    if isinstance(value, int | float) and not isinstance(value, bool):
        _check_number(value, where)
        value = float(value) if hint is float else value
    expected: type = list if origin is tuple else origin or hint
    if not isinstance(value, expected) or isinstance(value, bool) is not (expected is bool):
        raise DecodeError(f"{where}: got {_describe_type(value)}, expected {expected.__name__}")
    return _check_text(value, where) if isinstance(value, str) else value


def _describe_type(value: object) -> str:
    return "null" if value is None else type(value).__name__


def _check_number(value: float, where: str) -> None:
    possible = abs(value) < MAX_NUMBER if isinstance(value, int) else math.isfinite(value)
    if not possible:
        raise DecodeError(f"{where}: got a number that is infinite, not a number or beyond 2^63")


def _check_text(value: str, where: str) -> str:
    """Return a text that a terminal can show: commands print what strangers wrote into a manifest."""
    if bad := [c for c in value if unicodedata.category(c) in ("Cc", "Cs")]:
        raise DecodeError(f"{where}: {bad[0]!a} may not stand in a text")
    return value


def _check_plain(value: object, where: str, depth: int) -> None:
    """Check that an option of any type can be printed, compared and written again."""
    if depth > MAX_DEPTH:
        raise DecodeError(f"{where}: is nested more than {MAX_DEPTH} deep")
    if isinstance(value, int | float):
        _check_number(value, where)
    elif isinstance(value, str):
        _check_text(value, where)
    elif isinstance(value, list | tuple):
        for item in typing.cast("list[object]", value):
            _check_plain(item, where, depth + 1)
    elif isinstance(value, dict):
        for key, item in typing.cast("dict[str, object]", value).items():
            _check_plain(item, f"{where}.{_check_text(key, where)}", depth + 1)
