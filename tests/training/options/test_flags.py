"""Options from flags: nested names, types, and errors that list what is allowed."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from i2i_sdk.errors import TrainingError
from i2i_training.networks import MobileResnetConfig
from i2i_training.options.flags import flatten, parse_flags


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    widths: tuple[int, ...] = (1, 2)


@dataclass(frozen=True)
class Options:
    steps: int = 10
    name: str = "run"
    flip: bool = True
    load_size: int | None = 286
    note: str | None = None
    inner: Inner = field(default_factory=Inner)
    mobile: MobileResnetConfig = field(default_factory=MobileResnetConfig)


def test_no_flags_change_nothing() -> None:
    assert parse_flags(Options(), []) == Options()


def test_every_kind_of_value() -> None:
    flags = (
        "--steps 20 --name none --flip false --load_size none --note hello --inner.rate 1e-4 "
        "--inner.widths 3,4,5 --mobile.down 8,16,32 --mobile.norm batch"
    )
    options = parse_flags(Options(), flags.split())
    assert options == Options(
        steps=20,
        name="none",  # text stays text
        flip=False,
        load_size=None,
        note="hello",
        inner=Inner(1e-4, (3, 4, 5)),
        mobile=MobileResnetConfig(down=(8, 16, 32), norm="batch"),
    )


@pytest.mark.parametrize(("text", "value"), [("True", True), ("true", True), ("FALSE", False)])
def test_truth_in_any_case(text: str, value: bool) -> None:
    assert parse_flags(Options(flip=not value), ["--flip", text]).flip is value


@pytest.mark.parametrize(("text", "value"), [("None", None), ("none", None), ("64", 64)])
def test_optional_numbers(text: str, value: int | None) -> None:
    assert parse_flags(Options(), ["--load_size", text]).load_size == value


def test_dashes_are_underscores() -> None:
    assert parse_flags(Options(), ["--load-size", "32"]).load_size == 32


def test_negative_numbers_are_values() -> None:
    assert parse_flags(Options(), ["--steps", "-3", "--inner.rate", "-0.5"]) == Options(
        steps=-3, inner=Inner(-0.5)
    )


def test_the_last_of_two_wins() -> None:
    assert parse_flags(Options(), ["--steps", "1", "--steps", "2"]).steps == 2


def test_defaults_are_not_changed() -> None:
    defaults = Options()
    parse_flags(defaults, ["--inner.rate", "9", "--steps", "9"])
    assert defaults == Options()


def test_flatten_names_every_leaf() -> None:
    names = dict(flatten(Options()))
    assert list(names)[:7] == [
        "steps",
        "name",
        "flip",
        "load_size",
        "note",
        "inner.rate",
        "inner.widths",
    ]
    assert names["inner.widths"] == (1, 2)
    assert "inner" not in names


@given(
    steps=st.integers(),
    rate=st.floats(allow_nan=False),
    widths=st.lists(st.integers(), min_size=1).map(tuple),
    flip=st.booleans(),
)
def test_what_flatten_shows_can_be_given_back(
    steps: int, rate: float, widths: tuple[int, ...], flip: bool
) -> None:
    flags = ["--steps", str(steps), "--inner.rate", str(rate), "--flip", str(flip)]
    flags += ["--inner.widths", ",".join(map(str, widths))]
    assert parse_flags(Options(), flags) == Options(steps=steps, flip=flip, inner=Inner(rate, widths))


@pytest.mark.parametrize("flag", ["--step", "--inner", "--inner.size", "--rate", "--inner.rate.x"])
def test_unknown_flags_list_the_known_ones(flag: str) -> None:
    with pytest.raises(TrainingError) as caught:
        parse_flags(Options(), [flag, "1"])
    message = str(caught.value)
    assert f"unknown option {flag};" in message
    for name, _ in flatten(Options()):
        assert f"--{name}" in message


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--steps"], "--steps has no value"),
        (["--steps", "5", "--name"], "--name has no value"),
        (["--steps", "--name", "x"], "--steps has no value"),
        (["--steps", "--flip", "true", "5"], "--steps has no value"),
        (["steps", "5"], "'steps' is no option"),
        (["--steps", "5", "6"], "'6' is no option"),
        (["-s", "5"], "'-s' is no option"),
    ],
)
def test_a_missing_value_is_blamed_on_its_flag(flags: list[str], message: str) -> None:
    with pytest.raises(TrainingError, match=message) as caught:
        parse_flags(Options(), flags)
    assert "--name value" in str(caught.value)


@pytest.mark.parametrize(
    ("flag", "text", "needed"),
    [
        ("--steps", "many", "a whole number"),
        ("--steps", "1.5", "a whole number"),
        ("--steps", "none", "a whole number"),
        ("--load_size", "big", "a whole number"),
        ("--inner.rate", "fast", "a number"),
        ("--inner.widths", "1,x", "a whole number"),
        ("--inner.widths", "", "a whole number"),
        ("--flip", "yes", "allowed: true, false"),
        ("--mobile.norm", "group", "allowed: instance, batch, none"),
        ("--mobile.down", "1,2", "needed: 3 numbers"),
    ],
)
def test_wrong_types_say_what_is_needed_and_by_which_flag(flag: str, text: str, needed: str) -> None:
    with pytest.raises(TrainingError, match=needed) as caught:
        parse_flags(Options(), [flag, text])
    assert str(caught.value).startswith(f"{flag} {text}: ")
