"""Transposed convolutions as four ordinary ones: the pictures and the multiplications stay."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from i2i_export.passes.conv_transpose import replace_transposed_convolutions
from tests.export.conftest import SMALL, make_generator

COUNTS = {"resnet": 2, "resnet_batch": 0, "mobile": 2, "unet": 5}  # of transposed convolutions


def run_module(module: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return module.eval()(x)


@pytest.mark.parametrize("name", COUNTS)
def test_pictures_stay(name: str) -> None:
    original = make_generator(SMALL[name]).double()
    changed = copy.deepcopy(original)
    assert replace_transposed_convolutions(changed) == COUNTS[name]
    x = torch.rand(2, 3, 64, 96, dtype=torch.float64) * 2 - 1
    assert torch.allclose(run_module(changed, x), run_module(original, x), atol=1e-10)


@pytest.mark.parametrize(
    ("kernel", "padding", "extra"),
    [(2, 0, 0), (3, 1, 1), (3, 0, -1), (4, 1, 0), (5, 2, 1), (6, 2, 0), (8, 3, 0)],
)
@pytest.mark.parametrize("bias", [True, False])
def test_every_kernel(kernel: int, padding: int, extra: int, bias: bool) -> None:
    conv = nn.ConvTranspose2d(3, 5, kernel, 2, padding, max(extra, 0), bias=bias)
    module = nn.Sequential(conv)
    x = torch.randn(2, 3, 7, 9)
    expected = conv(x)
    doubled = extra >= 0
    assert replace_transposed_convolutions(module) == int(doubled)
    assert torch.allclose(module(x), expected, atol=1e-5)
    if doubled:
        multiplications = sum(p.weight[0, 0].numel() for p in module[0].parts)
        assert multiplications == kernel * kernel  # not one more than before


@pytest.mark.parametrize(
    "conv",
    [
        nn.ConvTranspose2d(4, 4, 4, 2, 1, groups=2),
        nn.ConvTranspose2d(4, 4, 4, 1, 1),
        nn.ConvTranspose2d(4, 4, (4, 2), 2, (1, 0)),
        nn.ConvTranspose2d(4, 4, 1, 2, 0, 1),
        nn.ConvTranspose2d(4, 4, 3, 2, 1, 1, dilation=2),
    ],
    ids=["groups", "stride 1", "not square", "one tap", "dilated"],
)
def test_others_stay(conv: nn.ConvTranspose2d) -> None:
    module = nn.Sequential(conv)
    assert replace_transposed_convolutions(module) == 0
    assert module[0] is conv


def test_a_layer_that_stands_twice_stays_one() -> None:
    shared = nn.ConvTranspose2d(3, 3, 4, 2, 1)
    module = nn.Sequential(shared, nn.Sequential(shared))
    assert replace_transposed_convolutions(module) == 1
    assert module[0] is module[1][0]
