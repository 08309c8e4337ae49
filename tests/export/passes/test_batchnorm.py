"""The exported module gives the pictures of the loaded one: exact rewrites of BatchNorm."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from i2i_export.canonical import Uint8Translator
from i2i_export.passes.batch_norm import prepare_for_export
from i2i_training.checkpoint import set_test_mode
from i2i_training.networks import MobileResnetConfig, ResnetConfig, UnetConfig
from tests.export.conftest import make_generator

NETWORKS = {
    "resnet": ResnetConfig(width=8, blocks=2, norm="batch", dropout=True),
    "mobile": MobileResnetConfig(down=(8, 12, 16), inner=(8, 20), up=(12, 8), norm="batch"),
    "unet": UnetConfig(width=8, downs=5),
}


@pytest.mark.parametrize(("mode", "batch"), [("batch_stats", 1), ("running_stats", 2)])
@pytest.mark.parametrize("name", NETWORKS)
def test_batch_norm_becomes_instance_norm_or_convolutions_exactly(name: str, mode: str, batch: int) -> None:
    original = set_test_mode(make_generator(NETWORKS[name]), mode).double()
    exported = prepare_for_export(original, mode)
    x = torch.rand(batch, 3, 64, 64, dtype=torch.float64) * 2 - 1
    with torch.no_grad():
        assert torch.allclose(original(x), exported(x), atol=1e-10)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in exported.modules())


def test_batch_statistics_match_upstreams_train_mode() -> None:
    """Upstream's test script without --eval leaves the network in train mode; only dropout is off here."""
    original = set_test_mode(make_generator(ResnetConfig(width=8, blocks=2, norm="batch")), "batch_stats")
    exported = prepare_for_export(original, "batch_stats")
    upstream = make_generator(ResnetConfig(width=8, blocks=2, norm="batch")).train()
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        assert torch.allclose(upstream(x), exported(x), atol=1e-5)


def test_the_original_is_left_alone() -> None:
    module = set_test_mode(make_generator(NETWORKS["unet"]), "batch_stats")
    before = {k: v.clone() for k, v in module.state_dict().items()}
    kinds = [type(m) for m in module.modules()]
    prepare_for_export(module, "batch_stats")
    prepare_for_export(module, "running_stats")
    assert [type(m) for m in module.modules()] == kinds
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


def test_batch_norm_that_follows_no_convolution_stays() -> None:
    module = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)).eval()
    exported = prepare_for_export(module, "running_stats")
    assert [type(m) for m in exported] == [nn.BatchNorm2d, nn.Conv2d, nn.Identity]


def test_uint8_contract_rounds_halves_to_even_and_clips() -> None:
    class FixedOutput(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            values = torch.tensor([-3.0, -1.0, 1 / 255, 3 / 255, 1.0, 7.0])  # 1/255 -> 128, 3/255 -> 129
            return values.view(1, 1, 1, -1).expand(x.shape[0], 3, 1, -1)

    output = Uint8Translator(FixedOutput())(torch.zeros(1, 1, 6, 3, dtype=torch.uint8))
    assert output.dtype == torch.uint8
    assert output[0, 0, :, 0].tolist() == [0, 0, 128, 129, 255, 255]


def test_uint8_contract_gives_back_every_value() -> None:
    values = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).expand(1, 16, 16, 3)
    assert torch.equal(Uint8Translator(nn.Identity())(values), values)
