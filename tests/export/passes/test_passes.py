"""Every pass keeps the pictures of every generator, in place, and says how many layers it changed."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from i2i_export import passes
from i2i_sdk.errors import ExportError
from i2i_training.networks import MobileResnetConfig, ResnetConfig, UnetConfig
from i2i_training.networks.spec import GeneratorConfig
from tests.export.conftest import make_generator

GENERATORS: dict[str, GeneratorConfig] = {
    "resnet": ResnetConfig(width=8, blocks=2),
    "resnet, batch norm": ResnetConfig(width=8, blocks=2, norm="batch", upsample="bilinear"),
    "mobile": MobileResnetConfig(down=(8, 12, 16), inner=(8, 20), up=(12, 8)),
    "unet": UnetConfig(width=8, downs=5),
}
# pass -> layers it finds in each generator
PASSES: dict[str, tuple[Callable[[nn.Module], int], tuple[int, int, int, int]]] = {
    "reflection pads": (passes.replace_reflection_pad, (6, 8, 6, 0)),
    "instance norms": (passes.replace_instance_norm, (9, 0, 13, 0)),
    "even kernels": (passes.make_kernels_even, (2, 0, 2, 0)),
    "transposed": (passes.replace_transposed_convolutions, (2, 0, 2, 5)),
}


def run_module(module: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return module.eval()(x)


@pytest.mark.parametrize("generator", GENERATORS)
@pytest.mark.parametrize("name", PASSES)
def test_a_pass_is_exact(name: str, generator: str) -> None:
    change, counts = PASSES[name]
    original = make_generator(GENERATORS[generator])
    changed = copy.deepcopy(original)
    assert change(changed) == counts[list(GENERATORS).index(generator)]
    x = torch.rand(2, 3, 64, 96) * 2 - 1
    assert torch.allclose(run_module(changed, x), run_module(original, x), atol=1e-5)
    exact = run_module(changed.double(), x.double()), run_module(original.double(), x.double())
    assert torch.allclose(*exact, atol=1e-10)


@pytest.fixture(params=GENERATORS)
def original(request: pytest.FixtureRequest) -> nn.Module:
    return make_generator(GENERATORS[request.param])


def test_all_passes_together(original: nn.Module) -> None:
    changed = copy.deepcopy(original)
    for change, _ in PASSES.values():
        change(changed)
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    assert torch.allclose(run_module(changed, x), run_module(original, x), atol=1e-5)


def test_bgr_goes_in_and_comes_out(original: nn.Module) -> None:
    changed = copy.deepcopy(original)
    assert passes.convert_to_bgr(changed) == 2
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    expected = run_module(original, x)
    assert torch.allclose(run_module(changed, x.flip(1)).flip(1), expected, atol=1e-5)
    assert not torch.allclose(run_module(changed, x), expected, atol=1e-3)


def test_bgr_needs_three_channels() -> None:
    with pytest.raises(ExportError, match="3 channels"):
        passes.convert_to_bgr(make_generator(ResnetConfig(in_channels=1, width=8, blocks=1)))


@pytest.mark.parametrize(
    ("kernel", "padding", "extra"),
    [(2, 0, 0), (3, 1, 1), (3, 0, -1), (4, 1, 0), (5, 2, 1), (6, 2, 0), (8, 3, 0)],
)
@pytest.mark.parametrize("bias", [True, False])
def test_transposed_convolutions_of_every_kernel(kernel: int, padding: int, extra: int, bias: bool) -> None:
    conv = nn.ConvTranspose2d(3, 5, kernel, 2, padding, max(extra, 0), bias=bias)
    module = nn.Sequential(conv)
    x = torch.randn(2, 3, 7, 9)
    expected = conv(x)
    doubled = extra >= 0
    assert passes.replace_transposed_convolutions(module) == int(doubled)
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
def test_other_transposed_convolutions_stay(conv: nn.ConvTranspose2d) -> None:
    module = nn.Sequential(conv)
    assert passes.replace_transposed_convolutions(module) == 0
    assert module[0] is conv


@pytest.mark.parametrize("padding", [(1, 1, 1, 1), (3, 0, 2, 1), (0, 0, 0, 0), (4, 3, 2, 5)])
def test_reflection_of_every_side(padding: tuple[int, int, int, int]) -> None:
    pad = nn.ReflectionPad2d(padding)
    module = nn.Sequential(pad)
    x = torch.randn(2, 3, 6, 7)
    assert passes.replace_reflection_pad(module) == 1
    assert torch.equal(module(x), pad(x))


def test_half_precision_keeps_exact_statistics() -> None:
    """The mean of many halves around 1000 is not computed in half precision, where it would overflow."""
    x = (1000 + torch.randn(1, 2, 64, 64)).half()
    module = nn.Sequential(nn.InstanceNorm2d(2))
    expected = module(x.double())
    passes.replace_instance_norm(module)
    assert module(x).dtype == torch.float16
    assert (module(x) - expected).abs().max() < 2e-3


def test_an_instance_norm_with_running_statistics_stays() -> None:
    module = nn.Sequential(nn.InstanceNorm2d(2, track_running_stats=True))
    assert passes.replace_instance_norm(module) == 0


def test_a_layer_that_stands_twice_stays_one() -> None:
    shared = nn.ReflectionPad2d(1)
    module = nn.Sequential(shared, nn.Sequential(shared))
    assert passes.replace_reflection_pad(module) == 1
    assert module[0] is module[1][0]
