"""Passes for coming targets: each keeps every generator's pictures, and says how many layers it changed."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from i2i_export.passes.channel_order import convert_to_bgr
from i2i_export.passes.conv_transpose import make_kernels_even
from i2i_export.passes.instance_norm import replace_instance_norm
from i2i_export.passes.reflection_pad import replace_reflection_pad
from i2i_sdk.errors import ExportError
from i2i_training.networks import ResnetConfig
from tests.export.conftest import SMALL, make_generator

GENERATORS = ("resnet", "resnet_batch", "mobile", "unet")
# pass -> layers it finds in each generator
PASSES: dict[str, tuple[Callable[[nn.Module], int], tuple[int, int, int, int]]] = {
    "reflection pads": (replace_reflection_pad, (6, 8, 6, 0)),
    "instance norms": (replace_instance_norm, (9, 0, 0, 0)),
    "even kernels": (make_kernels_even, (2, 0, 2, 0)),
}


def run_module(module: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return module.eval()(x)


@pytest.mark.parametrize("generator", GENERATORS)
@pytest.mark.parametrize("name", PASSES)
def test_a_pass_is_exact(name: str, generator: str) -> None:
    change, counts = PASSES[name]
    original = make_generator(SMALL[generator])
    changed = copy.deepcopy(original)
    assert change(changed) == counts[GENERATORS.index(generator)]
    x = torch.rand(2, 3, 64, 96) * 2 - 1
    assert torch.allclose(run_module(changed, x), run_module(original, x), atol=1e-5)
    exact = run_module(changed.double(), x.double()), run_module(original.double(), x.double())
    assert torch.allclose(*exact, atol=1e-10)


@pytest.fixture(params=GENERATORS)
def original(request: pytest.FixtureRequest) -> nn.Module:
    return make_generator(SMALL[request.param])


def test_all_passes_together(original: nn.Module) -> None:
    changed = copy.deepcopy(original)
    for change, _ in PASSES.values():
        change(changed)
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    assert torch.allclose(run_module(changed, x), run_module(original, x), atol=1e-5)


def test_bgr_goes_in_and_comes_out(original: nn.Module) -> None:
    changed = copy.deepcopy(original)
    assert convert_to_bgr(changed) == 2
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    expected = run_module(original, x)
    assert torch.allclose(run_module(changed, x.flip(1)).flip(1), expected, atol=1e-5)
    assert not torch.allclose(run_module(changed, x), expected, atol=1e-3)


def test_bgr_needs_three_channels() -> None:
    with pytest.raises(ExportError, match="3 channels"):
        convert_to_bgr(make_generator(ResnetConfig(in_channels=1, width=8, blocks=1)))


@pytest.mark.parametrize("padding", [(1, 1, 1, 1), (3, 0, 2, 1), (0, 0, 0, 0), (4, 3, 2, 5)])
def test_reflection_of_every_side(padding: tuple[int, int, int, int]) -> None:
    pad = nn.ReflectionPad2d(padding)
    module = nn.Sequential(pad)
    x = torch.randn(2, 3, 6, 7)
    assert replace_reflection_pad(module) == 1
    assert torch.equal(module(x), pad(x))


def test_half_precision_keeps_exact_statistics() -> None:
    """The mean of many halves around 1000 is not computed in half precision, where it would overflow."""
    x = (1000 + torch.randn(1, 2, 64, 64)).half()
    module = nn.Sequential(nn.InstanceNorm2d(2))
    expected = module(x.double())
    replace_instance_norm(module)
    assert module(x).dtype == torch.float16
    assert (module(x) - expected).abs().max() < 2e-3


def test_an_instance_norm_with_running_statistics_stays() -> None:
    module = nn.Sequential(nn.InstanceNorm2d(2, track_running_stats=True))
    assert replace_instance_norm(module) == 0
