"""Config files and presets: what is written is read back, and nothing is guessed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from i2i_sdk.errors import TrainingError
from i2i_training.networks import MobileResnetConfig
from i2i_training.options.config_file import (
    apply_config,
    apply_preset,
    check_recipe,
    read_config,
    write_config,
)
from i2i_training.options.flags import flatten, option


@dataclass(frozen=True)
class FileOptim:
    lr: float = 2e-4
    warm: int | None = None


@dataclass(frozen=True)
class FileNested:
    optim: FileOptim = field(default_factory=FileOptim)
    widths: tuple[int, ...] = (1,)


@dataclass(frozen=True)
class FileRecipe:
    nested: FileNested = field(default_factory=FileNested)
    mobile: MobileResnetConfig = field(default_factory=MobileResnetConfig)
    kind: Literal["adam", "sgd"] = "adam"
    init: str = option("normal", "how weights start", choices=("normal", "xavier"))


@dataclass(frozen=True)
class FileRun:
    steps: int = 10
    flip: bool = True
    load_size: int | None = 286
    note: str | None = None
    name: str = "run"
    share: float = 0.5


NUMBERS = st.floats(allow_nan=False)
# The text "none" stands for None where None is allowed, in files as in flags.
NOTES = st.none() | st.text().filter(lambda text: text.lower() != "none")
RUNS = st.builds(
    FileRun,
    st.integers(),
    st.booleans(),
    st.none() | st.integers(),
    NOTES,
    st.text() | st.just("none"),
    NUMBERS,
)
NESTED = st.builds(
    FileNested,
    st.builds(FileOptim, NUMBERS, st.none() | st.integers()),
    st.lists(st.integers()).map(tuple),
)
RECIPES = st.builds(
    FileRecipe,
    NESTED,
    st.builds(MobileResnetConfig, inner=st.lists(st.integers(1, 4096), min_size=1, max_size=12).map(tuple)),
    st.sampled_from(["adam", "sgd"]),
    st.sampled_from(["normal", "xavier"]),
)


@given(run=RUNS, recipe=RECIPES, name=st.text())
def test_what_is_written_is_read_back(run: FileRun, recipe: FileRecipe, name: str) -> None:
    with TemporaryDirectory() as folder:
        path = write_config(Path(folder) / "config.toml", "cyclegan", run, recipe)
        table = read_config(path)
        assert [p.name for p in Path(folder).iterdir()] == ["config.toml"]
    assert table["recipe"] == "cyclegan"
    assert apply_config((FileRun(), FileRecipe()), table) == (run, recipe)


def test_written_files_can_be_read_by_people(tmp_path: Path) -> None:
    path = write_config(tmp_path / "deep" / "config.toml", "cut", FileRun(load_size=None), FileNested())
    assert (
        path.read_text()
        == """\
# i2i train --config config.toml --out ANOTHER trains with these options again.

recipe = "cut"
steps = 10
flip = true
load_size = "none"
note = "none"
name = "run"
share = 0.5
widths = [
    1,
]

[optim]
lr = 0.0002
warm = "none"
"""
    )


def test_only_what_differs_has_to_be_written(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'steps = 7\nshare = 1\nnested.optim.lr = 1e-3\n[mobile]\ndown = [1, 2, 3]\nnorm = "none"\n'
    )
    run, recipe = apply_config((FileRun(flip=False), FileRecipe()), read_config(path))
    assert run == FileRun(steps=7, flip=False, share=1.0)
    assert type(run.share) is float
    assert recipe == FileRecipe(FileNested(FileOptim(1e-3)), MobileResnetConfig(down=(1, 2, 3), norm="none"))


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").touch()
    assert apply_config(FileRun(), read_config(tmp_path / "mine.toml")) == FileRun()


@pytest.mark.parametrize(
    "table",
    [
        {"step": 1},
        {"nested": 3},
        {"nested": {"lr": 1}},
        {"steps": {"a": 1}},
        {"nested": {"optim": {"lrr": 1}}},
    ],
    ids=str,
)
def test_unknown_keys_list_the_known_ones(table: dict[str, Any]) -> None:
    with pytest.raises(TrainingError) as caught:
        apply_config((FileRun(), FileRecipe()), table, "mine.toml")
    message = str(caught.value)
    assert message.startswith("mine.toml: unknown option ")
    assert all(name in message for name, _ in flatten((FileRun(), FileRecipe())))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"steps": "many"}, "steps = 'many': 'many' is not a whole number"),
        ({"steps": 1.0}, "steps = 1.0: 1.0 is not a whole number"),
        ({"steps": True}, "steps = True: True is not a whole number"),
        ({"steps": "none"}, "steps = 'none': 'none' is not a whole number"),
        ({"load_size": "big"}, "load_size = 'big': 'big' is not a whole number, or none"),
        ({"share": "half"}, "share = 'half': 'half' is not a number"),
        ({"share": False}, "share = False: False is not a number"),
        ({"share": 10**400}, "is not a number"),
        ({"flip": 1}, "flip = 1: 1 is not true or false"),
        ({"flip": "true"}, "flip = 'true': 'true' is not true or false"),
        ({"name": 3}, "name = 3: 3 is not text"),
        ({"nested": {"widths": 3}}, "nested.widths = 3: 3 is not a list of whole numbers"),
        ({"nested": {"widths": [1, "2"]}}, "is not a list of whole numbers"),
        ({"nested": {"widths": [True]}}, "is not a list of whole numbers"),
        ({"kind": "Adam"}, "kind = 'Adam': allowed: adam, sgd"),
        ({"init": "zeros"}, "init = 'zeros': allowed: normal, xavier"),
        ({"mobile": {"down": [1, 2]}}, "[mobile]: down is (1, 2); needed: 3 numbers"),
        ({"mobile.norm": "batch"}, "'mobile.norm' is one key in quotes"),
    ],
    ids=str,
)
def test_wrong_values_say_what_is_needed_and_where(table: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingError) as caught:
        apply_config((FileRun(), FileRecipe()), table, "mine.toml")
    assert str(caught.value).startswith("mine.toml: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"steps = \n", r"not a TOML file: .*line 1"),
        (b"steps = 1\nsteps = 2\n", "not a TOML file"),
        (b"\xff\xfe", "not a TOML file: .*utf-8"),
        (b"steps = null\n", "not a TOML file"),
    ],
)
def test_files_that_are_no_toml(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(TrainingError, match=message) as caught:
        read_config(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_missing_files_and_folders_are_said(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.toml"):
        with pytest.raises(TrainingError, match=r"cannot be read: .*; --config takes a TOML file"):
            read_config(path)


def test_a_file_of_another_recipe_is_refused() -> None:
    check_recipe({}, "cut")
    check_recipe({"recipe": "cut"}, "cut")
    with pytest.raises(TrainingError, match=r"mine\.toml: it is for recipe 'cyclegan', not 'cut'"):
        check_recipe({"recipe": "cyclegan"}, "cut", "mine.toml")


def test_shared_names_write_nothing(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class NamedOptions:
        recipe: str = "x"

    with pytest.raises(ValueError, match=r"share options: .*steps"):
        write_config(tmp_path / "c.toml", "cut", FileRun(), FileRun())
    with pytest.raises(ValueError, match="names the recipe"):
        write_config(tmp_path / "c.toml", "cut", FileRun(), NamedOptions())
    assert not list(tmp_path.iterdir())


def test_files_that_cannot_be_written_are_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match="cannot be written"):
        write_config(tmp_path / "file" / "c.toml", "cut", FileRun())


# ---------------------------------------------------------------- presets

PRESETS = {
    "paper": {},
    "small": {"steps": 5, "mobile.inner": (4, 4), "nested.optim.warm": 3, "load_size": None},
    "typo": {"step": 5},
    "wrong": {"nested.optim.lr": "fast"},
}


def test_presets_say_what_differs() -> None:
    assert apply_preset((FileRun(), FileRecipe()), PRESETS, "paper") == (FileRun(), FileRecipe())
    run, recipe = apply_preset((FileRun(name="mine"), FileRecipe()), PRESETS, "small")
    assert run == FileRun(steps=5, load_size=None, name="mine")
    assert recipe == FileRecipe(FileNested(FileOptim(warm=3)), MobileResnetConfig(inner=(4, 4)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("big", "preset 'big' is not known; known: paper, small, typo, wrong"),
        ("typo", "preset typo: unknown option step; is steps meant?; known: steps, flip"),
        ("wrong", "preset wrong: nested.optim.lr = 'fast': 'fast' is not a number"),
    ],
)
def test_presets_are_as_strict_as_files(name: str, message: str) -> None:
    with pytest.raises(TrainingError) as caught:
        apply_preset((FileRun(), FileRecipe()), PRESETS, name)
    assert message in str(caught.value)


def test_no_presets_at_all() -> None:
    with pytest.raises(TrainingError, match="known: none"):
        apply_preset(FileRun(), {}, "small")
