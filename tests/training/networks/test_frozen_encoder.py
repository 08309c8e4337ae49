"""The frozen network that sees for a student's losses."""

from __future__ import annotations

import pytest
import torch
from tiny_networks import make_tiny_network
from torch import Tensor, nn

from i2i_training import networks
from i2i_training.networks.encoder import FrozenEncoder, find_residual_blocks

RESNET = networks.ResnetConfig(width=2, blocks=3, norm="batch", dropout=True)


def make_input(seed: int = 1) -> Tensor:
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_features_are_those_of_the_generators_layers() -> None:
    """Also of layers whose output the next one, a ReLU in place, changes."""
    net = make_tiny_network(RESNET).eval()
    layers = [1, 2, 3, 10, 11]
    encoder, maps, expected = FrozenEncoder(net, layers), make_input(), []
    with torch.no_grad():
        for number, layer in enumerate(net.model[:12]):
            maps = layer(maps)
            expected += [maps.clone()] if number in layers else []
        found = encoder(make_input())
    assert len(found) == len(expected) == 5
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert len(encoder.layers) == 12  # nothing after the last is kept


def test_it_learns_nothing_and_lets_gradients_through() -> None:
    encoder = FrozenEncoder(make_tiny_network(RESNET), [3, 11])
    x = make_input().requires_grad_()
    sum(maps.square().mean() for maps in encoder(x)).backward()
    assert x.grad is not None and x.grad.abs().max() > 0
    parameters = list(encoder.parameters())
    assert parameters and not any(p.requires_grad or p.grad is not None for p in parameters)


def test_it_stays_as_at_test_time() -> None:
    """No dropout, and no new statistics of BatchNorm."""
    encoder = FrozenEncoder(make_tiny_network(RESNET).eval(), [11])
    kept = {key: value.clone() for key, value in encoder.state_dict().items()}
    first = encoder.train()(make_input())[0]
    nn.Sequential(encoder).train()
    assert not any(module.training for module in encoder.modules())
    assert torch.equal(encoder(make_input())[0], first)
    assert all(torch.equal(value, kept[key]) for key, value in encoder.state_dict().items())


def test_other_networks_cannot_be_looked_into() -> None:
    for net, layers in (
        (make_tiny_network(networks.UnetConfig(width=1, downs=5)), [1]),
        (make_tiny_network(networks.CompactConfig(width=2, blocks=2)), [0]),
        (make_tiny_network(RESNET), [1, 99]),
    ):
        with pytest.raises(ValueError, match=r"do not follow one another; a ResNet's do"):
            FrozenEncoder(net, layers)


def test_residual_blocks_are_found() -> None:
    resnet = make_tiny_network(RESNET)
    mobile = make_tiny_network(networks.MobileResnetConfig(down=(2, 2, 2), inner=(3, 2), up=(2, 2)))
    assert find_residual_blocks(resnet) == [10, 11, 12]
    assert find_residual_blocks(mobile) == [10, 11]
    assert find_residual_blocks(make_tiny_network(networks.UnetConfig(width=1, downs=5))) == []
    assert find_residual_blocks(make_tiny_network(networks.CompactConfig(width=2, blocks=2))) == []
