"""Options: what flags, files and presets say is applied alike, written down, and read back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from i2i_sdk.errors import TrainingError
from i2i_training import options


@dataclass(frozen=True)
class Optim:
    """Adam."""

    lr: float = 2e-4  # learning rate
    amsgrad: bool = False  # keep the largest second moment


@dataclass(frozen=True)
class Network:
    optim: Optim = field(default_factory=Optim)
    widths: tuple[int, ...] = (1,)  # of the layers
    kind: Literal["resnet", "unet"] = "resnet"  # which network

    def __post_init__(self) -> None:
        if sum(self.widths) > 10**6:
            raise ValueError(f"widths are {self.widths}; too much")


@dataclass(frozen=True)
class Run:
    data: str = ""  # folder
    load_size: Annotated[int | None, options.or_none(int)] = 286  # side in pixels
    flip: bool = True  # mirror them
    license: str = "unknown"  # of the weights


DEFAULTS = (Run(), Network())
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]))
RUNS = st.builds(Run, TEXTS, st.none() | st.integers(), st.booleans(), TEXTS)
NETWORKS = st.builds(
    Network,
    st.builds(Optim, st.floats(allow_nan=False), st.booleans()),
    st.lists(st.integers(0, 99), min_size=1, max_size=5).map(tuple),
    st.sampled_from(["resnet", "unet"]),
)


@given(run=RUNS, network=NETWORKS)
def test_what_is_written_is_read_back(run: Run, network: Network) -> None:
    with TemporaryDirectory() as folder:
        table = options.read_config(options.write_config(Path(folder) / "config.toml", "cut", run, network))
        assert [path.name for path in Path(folder).iterdir()] == ["config.toml"]
    assert table["recipe"] == "cut"
    assert options.apply_values(DEFAULTS, table, "config.toml") == (run, network)


def test_written_files_can_be_read_by_people(tmp_path: Path) -> None:
    path = options.write_config(tmp_path / "deep" / "config.toml", "cut", Run(load_size=None), Optim())
    assert path.read_text().splitlines() == [
        "# i2i train --config config.toml --out ANOTHER trains with these options again.",
        "",
        'recipe = "cut"',
        'data = ""',
        'load_size = "none"',
        "flip = true",
        'license = "unknown"',
        "lr = 0.0002",
        "amsgrad = false",
    ]


@pytest.mark.parametrize(
    ("flags", "changes"),
    [
        ("", {}),
        ("--load-size 3 --no-flip", {"load_size": 3, "flip": False}),
        ("--load_size=None --data a=b", {"load_size": None, "data": "a=b"}),
        ("--optim.lr 1e-3 --optim.amsgrad --flip", {"optim": Optim(1e-3, True)}),
        ("--widths 4 5 --kind unet --flip", {"widths": (4, 5), "kind": "unet"}),
    ],
)
def test_flags_change_what_they_name(flags: str, changes: dict[str, Any]) -> None:
    run, network = options.parse_options(DEFAULTS, flags.split())
    mine = {name: value for name, value in changes.items() if hasattr(run, name)}
    assert run == replace(Run(), **mine)
    assert network == replace(Network(), **{n: v for n, v in changes.items() if n not in mine})


def test_only_what_differs_has_to_be_written(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('licence = "MIT"\nwidths = [1, 2, 3]\n[optim]\nlr = 1\namsgrad = true\n')
    run, network = options.apply_values((Run(flip=False), Network()), options.read_config(path), "mine.toml")
    assert run == Run(flip=False, license="MIT")  # by its former name
    assert network == Network(Optim(1.0, True), (1, 2, 3))
    assert type(network.optim.lr) is float


def test_tables_are_the_flags_that_they_stand_for() -> None:
    table = {"recipe": "cut", "load_size": "none", "optim": {"lr": 1e-4, "amsgrad": False}, "widths": [1, 2]}
    flags = ["--load-size=none", "--optim.lr=0.0001", "--optim.no-amsgrad", "--widths", "1", "2"]
    assert options.make_flags(table) == flags
    assert options.make_flags(dict(options.flatten(table))) == flags  # as presets write them


REFUSED = [
    ({"dat": "x"}, "Unrecognized options: --dat=x"),
    ({"optim": {"lrr": 1}}, "--optim.lr"),  # is it this that was meant?
    ({"optim": 3}, "--optim=3"),
    ({"load_size": "big"}, "--load-size"),
    ({"load_size": 1.5}, "--load-size"),
    ({"optim": {"lr": "fast"}}, "could not convert string to float: 'fast'"),
    ({"flip": "yes"}, "Unrecognized options: yes"),
    ({"kind": "vit"}, "invalid choice 'vit' for argument '--kind'. Expected one of ('resnet',"),
    ({"widths": ["a"]}, "--widths"),
]


@pytest.mark.parametrize(("table", "message"), REFUSED, ids=str)
def test_what_is_refused_is_named(
    table: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(TrainingError, match=r"^mine\.toml: its options cannot be used"):
        options.apply_values(DEFAULTS, table, "mine.toml")
    assert message in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        options.parse_options(DEFAULTS, options.make_flags(table))
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_values_that_do_not_fit_each_other_are_an_error() -> None:
    with pytest.raises(TrainingError, match=r"^mine\.toml: widths are \(2000000,\); too much"):
        options.apply_values(DEFAULTS, {"widths": [2_000_000]}, "mine.toml")
    with pytest.raises(TrainingError, match=r"^widths are \(2000000,\); too much"):
        options.parse_options(DEFAULTS, ["--widths", "2000000"])


def test_help_explains_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        options.parse_options(DEFAULTS, ["--help"], prog="i2i train cut", description="What it is.")
    assert not caught.value.code
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for part in (
        "usage: i2i train cut",
        "What it is.",
        "--load-size INT|none side in pixels (default: 286)",
        "--flip, --no-flip mirror them (default: True)",
        "--kind {resnet,unet} which network (default: resnet)",
        "Adam.",
        "--optim.lr FLOAT learning rate (default: 0.0002)",
    ):
        assert part in text


@pytest.mark.parametrize("flag", ["--dataroot", "--dataroot=x"])
def test_flags_of_the_original_repository_lead_to_ours(flag: str) -> None:
    with pytest.raises(TrainingError, match="unknown option --dataroot, which is --data here"):
        options.parse_options(DEFAULTS, [flag, "x"])
    assert "lr" in options.UPSTREAM_NAMES
    with pytest.raises(SystemExit):  # nothing here is called discriminator.width
        options.parse_options(DEFAULTS, ["--ndf", "3"])


@pytest.mark.parametrize("content", [b"steps = \n", b"a = 1\na = 2\n", b"\xff\xfe", b"steps = null\n"])
def test_files_that_are_no_toml(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(TrainingError, match=r"mine\.toml: not a TOML file: "):
        options.read_config(path)


def test_files_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.toml"):
        with pytest.raises(TrainingError, match=r"cannot be read: .*; a TOML file is needed"):
            options.read_config(path)
