"""Packed checkpoints: small, loaded like every other, and refused when damaged."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_networks import make_spec, make_tiny_network

from i2i_sdk.errors import CheckpointError
from i2i_training.checkpoint import load_generator, save_generator
from i2i_training.dialects.packed import CODES, pack, unpack
from i2i_training.networks import ResnetConfig
from models.pack import main as pack_checkpoint

CONFIG = ResnetConfig(width=16, blocks=2)


def make_weights(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 0.02


def pack_and_unpack(value: torch.Tensor, coarseness: float) -> torch.Tensor:
    return unpack(pack({"w": value}, {"w": coarseness}), {"w": value.shape})["w"]


@pytest.mark.parametrize("coarseness", [0.1, 0.25, 1.0, 2.0])
def test_every_weight_is_rounded_to_the_nearest_multiple(coarseness: float) -> None:
    value = make_weights(8, 64, 3, 3)
    step = value.std(dim=(1, 2, 3), keepdim=True) * coarseness
    error = (pack_and_unpack(value, coarseness) - value).abs()
    assert (error <= step / 2 + 1e-7).all()
    assert error.max() > 0.3 * step.min()  # it is rounded at all


def test_bits_are_those_of_the_entropy() -> None:
    """log2(4.13 / coarseness) bits for normal weights, and LZMA within a tenth of it."""
    value = make_weights(64, 64, 4, 4)
    packed = pack({"w": value}, {"w": 0.25})
    bits = 8 * packed["w" + CODES].numel() / value.numel()
    assert bits == pytest.approx(4.05, rel=0.1)


def test_what_is_not_named_stays_as_it_is() -> None:
    state = {"w": make_weights(4, 4, 3, 3), "bias": make_weights(4), "count": torch.tensor(7)}
    packed = pack(state, {"w": 0.5})
    assert packed["bias"] is state["bias"] and packed["count"] is state["count"]
    assert "w" not in packed and pack(state, {}) == state


def test_a_channel_of_zeros_stays_zero() -> None:
    value = make_weights(2, 8, 3, 3)
    value[0] = 0
    assert (pack_and_unpack(value, 0.25)[0] == 0).all()


def test_a_packed_generator_loads_like_any_other(tmp_path: Path) -> None:
    module = make_tiny_network(CONFIG)
    names = [k for k, v in module.state_dict().items() if v.ndim == 4]
    path = save_generator(tmp_path / "g.safetensors", module, make_spec(CONFIG), dict.fromkeys(names, 0.05))
    loaded, spec = load_generator(path)
    assert spec.config == CONFIG
    x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        difference = (loaded(x) - module.eval()(x)).abs().mean()
    assert 0 < difference < 0.05


def test_the_command_says_what_was_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = save_generator(tmp_path / "g.safetensors", make_tiny_network(CONFIG), make_spec(CONFIG, steps=5))
    target = tmp_path / "small.safetensors"
    assert pack_checkpoint([str(source), str(target), "--coarseness", "0.5"]) == 0
    assert "bits per number" in capsys.readouterr().out
    assert target.stat().st_size < 0.5 * source.stat().st_size
    _, spec = load_generator(target)
    assert spec.steps == 5 and any("0.5 standard deviations" in line for line in spec.repairs)


@pytest.mark.parametrize("damage", ["cut", "longer", "garbage", "no steps"])
def test_damaged_weights_are_an_error(damage: str, tmp_path: Path) -> None:
    module = make_tiny_network(CONFIG)
    name = next(k for k, v in module.state_dict().items() if v.numel() > 5000)
    path = save_generator(tmp_path / "g.safetensors", module, make_spec(CONFIG), {name: 0.5})
    state = load_file(path)
    codes = state[name + CODES]
    match damage:
        case "cut":
            state[name + CODES] = codes[: len(codes) // 2].clone()
        case "longer":  # a bomb: unpacks to more than the tensor holds
            data = lzma.compress(bytes(10**7))
            state[name + CODES] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        case "garbage":
            state[name + CODES] = torch.full_like(codes, 7)
        case _:
            del state[name + "::steps"]
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file(state, path, metadata=metadata)
    with pytest.raises(CheckpointError, match=r"damaged|tensors are not those"):
        load_generator(path)
