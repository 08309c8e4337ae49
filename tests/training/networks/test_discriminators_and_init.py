"""What discriminators see, and how weights start."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from i2i_training.networks import PatchDiscriminator, ResnetConfig, build_generator, initialize_weights


@pytest.mark.parametrize(("layers", "field"), [(1, 16), (2, 34), (3, 70)])
def test_patchgan_scores_see_patches_of_the_papers_size(layers: int, field: int) -> None:
    net = PatchDiscriminator(1, 1, layers, norm="none").double()
    for weights in net.parameters():
        nn.init.constant_(weights, 0.1)  # positive everywhere: gradients cannot cancel
    x = torch.rand(1, 1, 160, 160, dtype=torch.float64, requires_grad=True)
    scores = net(x)
    scores[0, 0, scores.shape[2] // 2, scores.shape[3] // 2].backward()
    rows, columns = torch.nonzero(x.grad[0, 0], as_tuple=True)
    assert (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1) == (field, field)
    assert len(rows) == field * field


def test_discriminators_see_input_and_output_together() -> None:
    torch.manual_seed(0)
    x, y, other = (torch.rand(2, 3, 64, 64) for _ in range(3))
    net = PatchDiscriminator(6, 4)
    scores = net(x, y)
    assert scores.shape[:2] == (2, 1) and torch.equal(scores, net(torch.cat([x, y], 1)))
    assert not torch.equal(scores, net(other, y)) and not torch.equal(scores, net(x, other))


def test_patchgan_scores_are_raw_numbers() -> None:
    torch.manual_seed(0)
    scores = initialize_weights(PatchDiscriminator(3, 4), gain=2.0)(torch.rand(1, 3, 70, 70))
    assert scores.shape == (1, 1, 6, 6)  # 70 -> 35 -> 17 -> 8 -> 7 -> 6
    assert scores.min() < 0.0 and scores.max() > 1.0


def list_weights(module: nn.Module) -> torch.Tensor:
    kinds = nn.Conv2d | nn.ConvTranspose2d
    return torch.cat([m.weight.flatten() for m in module.modules() if isinstance(m, kinds)]).detach()


def test_normal_initialization_has_the_papers_statistics() -> None:
    torch.manual_seed(0)
    net = initialize_weights(build_generator(ResnetConfig(width=16, blocks=2, norm="batch")))
    weights = list_weights(net)
    assert abs(weights.mean()) < 0.0005
    assert weights.std().item() == pytest.approx(0.02, rel=0.02)
    gains = torch.cat([m.weight for m in net.modules() if isinstance(m, nn.BatchNorm2d)])
    assert gains.mean().item() == pytest.approx(1.0, abs=0.005)
    assert gains.std().item() == pytest.approx(0.02, rel=0.2)
    for layer in net.modules():
        if getattr(layer, "bias", None) is not None:
            assert not layer.bias.any()


@pytest.mark.parametrize("kind", ["xavier", "kaiming"])
def test_scaled_initializations_follow_their_formulas(kind: str) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(32, 64, 3)
    initialize_weights(layer, kind, gain=0.5)
    fan_in, fan_out = 32 * 9, 64 * 9
    expected = {"xavier": 0.5 * math.sqrt(2 / (fan_in + fan_out)), "kaiming": math.sqrt(2 / fan_in)}[kind]
    assert layer.weight.std().item() == pytest.approx(expected, rel=0.03)
    assert not layer.bias.any()


def test_orthogonal_initialization_is_orthogonal() -> None:
    layer = initialize_weights(nn.Conv2d(8, 16, 3), "orthogonal", gain=0.5)
    rows = layer.weight.detach().flatten(1)
    torch.testing.assert_close(rows @ rows.T, 0.25 * torch.eye(16), atol=1e-5, rtol=0)
