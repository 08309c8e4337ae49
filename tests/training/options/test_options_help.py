"""Explained options: choices that bind, help that is complete, several dataclasses as one set of names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest

from i2i_sdk.errors import TrainingError
from i2i_training.networks import ResnetConfig
from i2i_training.options.flags import OptionHelp, flatten, format_help, list_options, option, parse_flags


@dataclass(frozen=True)
class HelpOptim:
    lr: float = option(2e-4, "learning rate")
    kind: Literal["adam", "sgd"] = option("adam", "optimizer")


@dataclass(frozen=True)
class HelpJudge:
    """A PatchGAN."""

    layers: int = 3


@dataclass(frozen=True)
class HelpRecipe:
    optim: HelpOptim = field(default_factory=HelpOptim, metadata={"help": "how weights change"})
    judge: HelpJudge = field(default_factory=HelpJudge)
    init: str = option("normal", "how weights start", choices=("normal", "xavier"))
    ema: float | None = option(None, "decay of the average")
    copies: Literal[1, 2] | None = None


@dataclass(frozen=True)
class HelpRun:
    steps: int = option(100, "optimizer updates")
    flip: bool = option(True, "mirror at random")
    load_size: int | None = option(286, "shorter side, in pixels")
    widths: tuple[int, ...] = (8, 16)
    out: str = ""
    first: int = 1
    last: int = 9

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise ValueError(f"first is {self.first}, after last {self.last}")


def test_explain_knows_everything_of_every_option() -> None:
    assert list_options(HelpRecipe()) == [
        OptionHelp("optim.lr", 2e-4, float, "learning rate"),
        OptionHelp("optim.kind", "adam", Literal["adam", "sgd"], "optimizer", ("adam", "sgd")),
        OptionHelp("judge.layers", 3, int),
        OptionHelp("init", "normal", str, "how weights start", ("normal", "xavier")),
        OptionHelp("ema", None, float | None, "decay of the average"),
        OptionHelp("copies", None, Literal[1, 2] | None, "", (1, 2)),
    ]


def test_values_are_those_of_the_instance() -> None:
    assert dict(flatten(HelpRecipe(optim=HelpOptim(lr=1.0))))["optim.lr"] == 1.0
    assert "--optim.lr 1.0" in format_help(HelpRecipe(optim=HelpOptim(lr=1.0)))


def test_help_is_aligned_and_grouped() -> None:
    assert (
        format_help((HelpRun(), HelpRecipe()))
        == """\
  --steps 100        optimizer updates
  --flip true        mirror at random [true, false]
  --load_size 286    shorter side, in pixels (or none)
  --widths 8,16
  --out ""
  --first 1
  --last 9
  --init normal      how weights start [normal, xavier]
  --ema none         decay of the average (or none)
  --copies none      [1, 2, none]

optim: how weights change
  --optim.lr 0.0002  learning rate
  --optim.kind adam  optimizer [adam, sgd]

judge: A PatchGAN
  --judge.layers 3"""
    )


def test_long_values_do_not_widen_the_columns() -> None:
    @dataclass(frozen=True)
    class Long:
        inner: tuple = option((256,) * 20, "channels")
        steps: int = option(1, "updates")

    first, second = format_help(Long()).splitlines()
    assert first.endswith("256  channels")
    assert second == "  --steps 1  updates"


def test_every_flag_of_the_help_can_be_given_back() -> None:
    pairs = [line.split()[:2] for line in format_help((HelpRun(), HelpRecipe())).splitlines() if "--" in line]
    flags = [part if part != '""' else "" for pair in pairs for part in pair]
    assert parse_flags((HelpRun(), HelpRecipe()), flags) == (HelpRun(), HelpRecipe())


@pytest.mark.parametrize(
    ("flag", "text", "allowed"),
    [
        ("--init", "zeros", "normal, xavier"),
        ("--init", "", "normal, xavier"),
        ("--init", "none", "normal, xavier"),
        ("--optim.kind", "Adam", "adam, sgd"),
        ("--copies", "3", "1, 2, none"),
    ],
)
def test_choices_bind_and_are_named(flag: str, text: str, allowed: str) -> None:
    with pytest.raises(TrainingError) as caught:
        parse_flags(HelpRecipe(), [flag, text])
    assert str(caught.value) == f"{flag} {text}: allowed: {allowed}"


def test_choices_that_exist_are_taken() -> None:
    flags = ["--init", "xavier", "--optim.kind", "sgd", "--copies", "2"]
    assert parse_flags(HelpRecipe(), flags) == HelpRecipe(HelpOptim(kind="sgd"), init="xavier", copies=2)
    assert parse_flags(HelpRecipe(copies=2), ["--copies", "none"]).copies is None


def test_several_dataclasses_are_one_set_of_names() -> None:
    run, recipe = parse_flags(
        (HelpRun(), HelpRecipe()), ["--optim.lr", "1", "--steps", "5", "--init", "xavier"]
    )
    assert run == HelpRun(steps=5)
    assert recipe == HelpRecipe(HelpOptim(lr=1.0), init="xavier")
    with pytest.raises(TrainingError) as caught:
        parse_flags((HelpRun(), HelpRecipe()), ["--stepz", "5"])
    assert all(f"--{name}" in str(caught.value) for name, _ in flatten((HelpRun(), HelpRecipe())))


def test_shared_names_are_a_mistake_in_the_program() -> None:
    with pytest.raises(ValueError, match="HelpOptim, HelpRun, HelpOptim share options: kind, lr; each name"):
        parse_flags((HelpOptim(), HelpRun(), HelpOptim()), [])


def test_options_that_depend_on_each_other_need_no_order() -> None:
    for flags in ("--first 20 --last 30", "--last 30 --first 20"):
        assert parse_flags(HelpRun(), flags.split()) == HelpRun(first=20, last=30)
    with pytest.raises(TrainingError, match=r"^--first 20 --last 10: first is 20, after last 10$"):
        parse_flags(HelpRun(), ["--first", "20", "--last", "10"])


def test_networks_without_sentences_are_listed() -> None:
    text = format_help(ResnetConfig())
    assert [line.split()[0] for line in text.splitlines()] == [
        f"--{name}" for name, _ in flatten(ResnetConfig())
    ]
