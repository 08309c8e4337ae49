"""Options of a run as frozen dataclasses, changed by dotted flags: `--optim.lr 1e-4 --resnet.blocks 6`.

Wherever `options` are asked for, one dataclass will do (nested ones included), or a tuple of several that
share one flat set of names: `run, recipe = parse_flags((RunOptions(), CycleGANOptions()), flags)`.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from i2i_sdk.errors import TrainingError

T = TypeVar("T")

TYPE_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
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
MAX_FLAG_WIDTH = 36  # characters of the help's first column; a longer flag pushes its sentence to the right


@dataclass(frozen=True)
class OptionHelp:
    """One option, as `list_options` finds it."""

    name: str  # dotted: "optim.lr"
    default: Any
    kind: Any  # its annotation: int, str | None, Literal["a", "b"] …
    help: str = ""  # a sentence; empty where the field has none
    choices: tuple[Any, ...] = ()  # the only values allowed; empty: any of its kind


def option(default: T, help: str, choices: Collection[Any] | None = None) -> T:
    """A dataclass field that explains itself.

    Args:
        default: its value unless changed.
        help: a few words for `--help`.
        choices: the only values that flags, files and presets may give it. Where the annotation is a
            Literal they are known already.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Options:
        ...     init: str = option("normal", "how weights start", choices=("normal", "xavier"))
        >>> print(format_help(Options()))
          --init normal  how weights start [normal, xavier]
    """
    metadata = {"help": help, "choices": tuple(choices or ())}
    return dataclasses.field(default=default, metadata=metadata)


def list_options(options: Any) -> list[OptionHelp]:
    """Every option with its value, annotation, sentence and choices, in order of definition.

    Raises ValueError when two of several dataclasses share a name: a mistake in the program, not the user's.
    """
    parts = options if isinstance(options, tuple) else (options,)
    found = [leaf for part in parts for leaf in _iter_options(part, "")]
    names = [leaf.name for leaf in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        owners = ", ".join(type(part).__name__ for part in parts)
        raise ValueError(f"{owners} share options: {', '.join(twice)}; each name may be used once")
    return found


def format_help(options: Any, hidden: Collection[str] = ()) -> str:
    """Flags with their values and sentences, in aligned columns; each nested dataclass is a group.

    hidden: names of options that are not shown.

    A group is headed by its field's metadata "help", else by the first line of its class's docstring.
    """
    leaves = [leaf for leaf in list_options(options) if leaf.name not in hidden]
    flags = [f"--{leaf.name} {as_text(leaf.default)}" for leaf in leaves]
    width = max((len(flag) for flag in flags if len(flag) <= MAX_FLAG_WIDTH), default=0)
    titles = dict(_iter_titles(options))
    sections: dict[str, list[str]] = {}
    for leaf, flag in zip(leaves, flags, strict=True):
        lines = sections.setdefault(leaf.name.rpartition(".")[0], [])
        lines.append(f"  {flag:<{width}}  {_format_sentence(leaf)}".rstrip())
    blocks = [
        "\n".join([f"{name}:{titles[name]}", *lines] if name else lines)
        for name, lines in sorted(sections.items(), key=lambda section: section[0] != "")
    ]
    return "\n\n".join(blocks)


def parse_flags(defaults: T, flags: Sequence[str]) -> T:
    """Return `defaults` with `--name value` pairs applied.

    Raises TrainingError for an unknown flag, a missing value, or a value of the wrong type; the message
    lists what is allowed.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Options:
        ...     steps: int = 10
        >>> parse_flags(Options(), ["--steps", "20"])
        Options(steps=20)
    """
    known = {leaf.name: leaf for leaf in list_options(defaults)}
    changes: dict[str, Any] = {}
    labels: dict[str, str] = {}
    for name, text in split_flags(flags):
        if name not in known:
            raise make_unknown_option_error(name, known)
        labels[name] = f"--{name} {text}"
        try:
            changes[name] = from_text(known[name], text)
        except ValueError as error:
            raise TrainingError(f"{labels[name]}: {error}") from error
    return replace_options(defaults, changes, labels)


def split_flags(flags: Sequence[str]) -> list[tuple[str, str]]:
    """("optim.lr", "1e-4") of every `--optim.lr 1e-4`. Raises TrainingError where they do not alternate."""
    pairs: list[tuple[str, str]] = []
    rest = list(flags)
    while rest:
        flag, *values = rest
        if not flag.startswith("--"):
            raise TrainingError(f"{flag!r} is no option; options come as --name value")
        if not values or values[0].startswith("--"):
            raise TrainingError(f"{flag} has no value; options come as --name value, such as --flip false")
        pairs.append((flag.removeprefix("--").replace("-", "_"), values[0]))
        rest = values[1:]
    return pairs


def make_unknown_option_error(name: str, known: Iterable[str]) -> TrainingError:
    """The error for an option that nobody has."""
    known = list(known)
    listed = ", ".join(f"--{n}" for n in known)
    return TrainingError(f"unknown option --{name}{suggest_name(name, known, '--')}; known: {listed}")


def suggest_name(name: str, known: Sequence[str], prefix: str = "") -> str:
    """What may have been meant: ours for upstream's name, or the one that is spelled most alike."""
    if (ours := UPSTREAM_NAMES.get(name)) in known:
        return f", which is {prefix}{ours} here"
    alike = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    return f"; is {prefix}{alike[0]} meant?" if alike else ""


def flatten(options: Any) -> Iterator[tuple[str, Any]]:
    """All ("optim.lr", value)."""
    return ((leaf.name, leaf.default) for leaf in list_options(options))


def replace_options(options: T, changes: Mapping[str, Any], labels: Mapping[str, str]) -> T:
    """`options` with {"optim.lr": 1e-4} applied, all at once: those that depend on each other need no order.

    Names and types are right already. Raises TrainingError when a dataclass refuses its values, beginning
    with the `labels` of what it was given.
    """
    if isinstance(options, tuple):
        parts = [_select_changes(dict(flatten(part)), changes) for part in options]
        return tuple(replace_options(p, c, labels) for p, c in zip(options, parts, strict=True))  # pyright: ignore[reportReturnType]
    return _replace_nested(options, "", changes, labels)


def from_text(leaf: OptionHelp, text: str) -> Any:
    """The value that a flag's text means. Raises ValueError that says what is needed."""
    kind, optional = _strip_none(leaf.kind)
    if optional and text.lower() == "none":
        return None
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError("allowed: true, false")
        return text.lower() == "true"
    if typing.get_origin(kind) is tuple:
        return tuple(_parse_number(int, part) for part in text.split(","))
    if typing.get_origin(kind) is typing.Literal:
        return _check_choice(
            {as_text(choice): choice for choice in typing.get_args(kind)}.get(text, text), leaf
        )
    return _check_choice(_parse_number(kind, text) if kind in (int, float) else text, leaf)


def check_value(leaf: OptionHelp, value: Any) -> Any:
    """`value`, as a file or a preset gives it, in the option's type: whole numbers may stand for numbers,
    lists for tuples, "none" for None where that is allowed. Raises ValueError that says what is needed."""
    kind, optional = _strip_none(leaf.kind)
    if optional and (value is None or (isinstance(value, str) and value.lower() == "none")):
        return None
    if typing.get_origin(kind) is typing.Literal:
        return _check_choice(value, leaf)
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list | tuple) or not all(type(number) is int for number in value):
            raise ValueError(f"{value!r} is not a list of whole numbers")
        return tuple(value)
    if kind is float and type(value) is int:
        value = _parse_number(float, value)
    if type(value) is not kind:
        raise ValueError(f"{value!r} is not {TYPE_NAMES[kind]}{', or none' if optional else ''}")
    return _check_choice(value, leaf)


def as_text(value: Any) -> str:
    """A value as a flag takes it: 8,16,32 and true and none."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(as_text, value))
    return str(value) if value != "" else '""'


def _iter_options(options: Any, prefix: str) -> Iterator[OptionHelp]:
    kinds = typing.get_type_hints(type(options))
    for field in dataclasses.fields(options):
        name, value, kind = f"{prefix}{field.name}", getattr(options, field.name), kinds[field.name]
        if dataclasses.is_dataclass(value):
            yield from _iter_options(value, f"{name}.")
            continue
        literal, _ = _strip_none(kind)
        of_kind = typing.get_args(literal) if typing.get_origin(literal) is typing.Literal else ()
        choices = field.metadata.get("choices") or of_kind
        yield OptionHelp(name, value, kind, field.metadata.get("help", ""), choices)


def _iter_titles(options: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """("optim", " its sentence") of every nested dataclass."""
    for part in options if isinstance(options, tuple) else (options,):
        for field in dataclasses.fields(part):
            if dataclasses.is_dataclass(value := getattr(part, field.name)):
                first_line = (type(value).__doc__ or "").partition("\n")[0]
                written = not first_line.startswith(f"{type(value).__name__}(")  # else made by @dataclass
                title = field.metadata.get("help") or (first_line if written else "")
                yield f"{prefix}{field.name}", f" {title}".rstrip(" .")
                yield from _iter_titles(value, f"{prefix}{field.name}.")


def _format_sentence(leaf: OptionHelp) -> str:
    kind, optional = _strip_none(leaf.kind)
    allowed = ["true", "false"] if kind is bool else [as_text(choice) for choice in leaf.choices]
    if allowed:
        return f"{leaf.help} [{', '.join(allowed + ['none'] * optional)}]".strip()
    return f"{leaf.help} (or none)".strip() if optional else leaf.help


def _replace_nested(options: Any, prefix: str, changes: Mapping[str, Any], labels: Mapping[str, str]) -> Any:
    values = {name: value for name, value in changes.items() if "." not in name}
    for name in dict.fromkeys(path.partition(".")[0] for path in changes if "." in path):
        inner = {
            path.removeprefix(f"{name}."): v for path, v in changes.items() if path.startswith(f"{name}.")
        }
        values[name] = _replace_nested(getattr(options, name), f"{prefix}{name}.", inner, labels)
    try:
        return dataclasses.replace(options, **values)
    except ValueError as error:
        names = dict.fromkeys(labels[f"{prefix}{path}"] for path in changes)
        raise TrainingError(f"{' '.join(names)}: {error}") from error


def _select_changes(names: Collection[str], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in changes.items() if name in names}


def _strip_none(kind: Any) -> tuple[Any, bool]:
    """(int, True) of `int | None`, (int, False) of `int`."""
    if typing.get_origin(kind) not in (typing.Union, types.UnionType):
        return kind, False
    kinds = typing.get_args(kind)
    return next(k for k in kinds if k is not type(None)), type(None) in kinds


def _check_choice(value: Any, leaf: OptionHelp) -> Any:
    if leaf.choices and value not in leaf.choices:
        none = ", none" if _strip_none(leaf.kind)[1] else ""
        raise ValueError(f"allowed: {', '.join(map(as_text, leaf.choices))}{none}")
    return value


def _parse_number(kind: type, text: Any) -> Any:
    try:
        return kind(text)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is not {TYPE_NAMES[kind]}") from None
