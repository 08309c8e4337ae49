"""The architecture told from keys and shapes: every network that can be built, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_networks import CONFIGS, make_tiny_network
from torch import Tensor

from i2i_training.dialects.upstream import (
    UnknownArchitectureError,
    infer_config,
    override_config,
    repair_state_dict,
)
from i2i_training.networks import (
    GeneratorConfig,
    MobileResnetConfig,
    ResnetConfig,
    UnetConfig,
    build_generator,
)

Shapes = dict[str, tuple[int, ...]]

counts = st.integers(1, 9)
common = {"in_channels": counts, "out_channels": counts, "dropout": st.booleans()}
common["norm"] = st.sampled_from(["instance", "batch", "none"])
layers = {
    "padding": st.sampled_from(["reflect", "replicate", "zero"]),
    "upsample": st.sampled_from(["transpose", "nearest", "bilinear"]),
}
resnets = st.builds(ResnetConfig, width=counts, blocks=st.integers(1, 12), **common, **layers)
mobiles = st.builds(
    MobileResnetConfig,
    down=st.tuples(counts, counts, counts),
    inner=st.lists(counts, min_size=1, max_size=12).map(tuple),
    up=st.tuples(counts, counts),
    **common,
    **layers,
)
unets = st.builds(UnetConfig, width=counts, downs=st.integers(5, 8), **common)


def list_shapes(config: GeneratorConfig) -> Shapes:
    with torch.device("meta"):
        return {k: tuple(v.shape) for k, v in build_generator(config).state_dict().items()}


def drop_unknowable(config: GeneratorConfig) -> GeneratorConfig:
    """Upstream's default wherever keys cannot tell."""
    if isinstance(config, UnetConfig):
        return replace(config, dropout=True)
    padding = "reflect" if config.padding == "replicate" else config.padding
    upsample = "nearest" if config.upsample == "bilinear" else config.upsample
    return replace(config, padding=padding, upsample=upsample)


@given(config=st.one_of(resnets, mobiles, unets))
def test_every_network_is_recognized(config: GeneratorConfig) -> None:
    assert infer_config(list_shapes(config))[0] == drop_unknowable(config)


@given(config=st.one_of(resnets, mobiles))
def test_assumptions_name_what_keys_cannot_tell_and_only_that(config: ResnetConfig) -> None:
    assumed = set(infer_config(list_shapes(config))[1])
    assert ("padding" in assumed) == (config.padding != "zero")
    assert ("upsample" in assumed) == (config.upsample != "transpose")
    assert assumed <= {"padding", "upsample"}


@given(config=st.one_of(resnets, mobiles))
def test_what_the_user_knows_gives_the_original_back(config: ResnetConfig) -> None:
    found = infer_config(list_shapes(config))[0]
    padding = None if config.padding == "zero" else config.padding
    upsample = None if config.upsample == "transpose" else config.upsample
    assert override_config(found, padding, upsample) == config


# What becomes of one tensor, by its name and shape.
CHANGES: dict[str, Callable[[str, tuple[int, ...]], Shapes]] = {
    "drop": lambda key, shape: {},
    "rename": lambda key, shape: {f"{key}x": shape},
    "elsewhere": lambda key, shape: {f"other.{key}": shape},
    "flat": lambda key, shape: {key: (97,)},
    "planes": lambda key, shape: {key: (3, 3, 3)},
    "empty": lambda key, shape: {key: tuple(0 for _ in shape) or (0,)},
    "grow": lambda key, shape: {key: tuple(n + 1 for n in shape) or (1,)},
    "huge": lambda key, shape: {key: tuple(10**9 for _ in shape) or (10**9,)},
}


def change_shape(shapes: Shapes, key: str, how: str) -> Shapes:
    return {**{k: v for k, v in shapes.items() if k != key}, **CHANGES[how](key, shapes[key])}


@pytest.mark.parametrize("how", CHANGES)
@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_one_wrong_tensor_is_noticed_whichever_it_is(config: GeneratorConfig, how: str) -> None:
    shapes = list_shapes(config)
    convolutions = [k for k in shapes if len(shapes[k]) == 4]
    for key in {*convolutions, *list(shapes)[:: max(1, len(shapes) // 12)]}:
        with pytest.raises(UnknownArchitectureError, match=r"\S"):
            infer_config(change_shape(shapes, key, how))


NONSENSE = """
model.1.weight model.4.weight model.10.conv_block.1.weight model.10.conv_block.x model.x.conv_block.1.weight
model.10.conv_block.1.conv.0.weight model.10.conv_block.5.weight model.99999999999999999999.weight
model.model.0.weight model.model.1.model.1.weight model.model.3.weight
""".split()  # noqa: SIM905


@given(st.dictionaries(st.sampled_from([*NONSENSE, ""]), st.lists(st.integers(0, 4), max_size=5).map(tuple)))
def test_nonsense_is_one_kind_of_error(shapes: Shapes) -> None:
    with pytest.raises(UnknownArchitectureError):
        infer_config(shapes)


def test_errors_say_what_was_found() -> None:
    with pytest.raises(UnknownArchitectureError, match=r"layers named conv1\.weight, conv2\.weight"):
        infer_config({"conv1.weight": (1, 1, 1, 1), "conv2.weight": (1, 1, 1, 1)})
    shapes = list_shapes(ResnetConfig(width=2, blocks=1))
    with pytest.raises(UnknownArchitectureError, match=r"resnet .*extra\.weight: \(5,\), expected nothing"):
        infer_config({**shapes, "extra.weight": (5,)})
    shifted = {k.replace("conv_block.5", "conv_block.7"): v for k, v in shapes.items()}
    with pytest.raises(UnknownArchitectureError, match=r"convolutions at \(1, 7\); known are \(1, 5\)"):
        infer_config(shifted)


def test_unets_of_other_depths_are_refused_by_depth() -> None:
    deep = list_shapes(UnetConfig(width=1, downs=8))
    inner = "model.model.1" + ".model.3" * 6 + ".model"
    deeper = {**deep, f"{inner}.3.model.1.weight": (8, 8, 4, 4)}
    with pytest.raises(UnknownArchitectureError, match=r"downs is 9; allowed: 5, 6, 7, 8"):
        infer_config(deeper)


def test_at_most_three_layers_are_listed() -> None:
    shapes = {**list_shapes(ResnetConfig(width=2, blocks=1)), **{f"extra.{n}": (1,) for n in range(9)}}
    with pytest.raises(UnknownArchitectureError, match="and 6 more"):
        infer_config(shapes)


# ---------------------------------------------------------------- repairs


def test_repairing_leaves_the_original_alone() -> None:
    state = {f"module.{k}": v.half() for k, v in make_tiny_network(CONFIGS[1]).state_dict().items()}
    before = dict(state)
    _, repairs = repair_state_dict(state)
    assert len(repairs) == 2 and list(state) == list(before)
    assert all(state[k] is before[k] for k in state)


def test_the_prefix_is_only_removed_when_all_have_it() -> None:
    state: dict[str, Tensor] = {"module.a.weight": torch.zeros(1), "b.weight": torch.zeros(1)}
    assert repair_state_dict(state)[0].keys() == state.keys()
