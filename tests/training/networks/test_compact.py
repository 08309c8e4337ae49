"""The generator for the device: what it costs, what it sees of the frame, and its way to a bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tiny_networks import has_same_weights, make_tiny_network
from torch import Tensor, nn

from i2i_export import export
from i2i_export.canonical import wrap_for_export
from i2i_export.options import ExportOptions
from i2i_sdk import Translator
from i2i_training import networks
from i2i_training.checkpoint import load_generator, save_generator
from i2i_training.data import normalize_images, to_images, to_tensor
from i2i_training.data.image_tensors import Image
from i2i_training.networks.compact import OVERVIEW_STRIDE, CompactGenerator
from i2i_training.networks.spec import CompactConfig
from i2i_training.recipes.distill import build_student

TINY = CompactConfig(width=6, blocks=3, global_places=2)


def make_noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def make_compact(config: CompactConfig = TINY, seed: int = 0) -> CompactGenerator:
    """With weights that matter, those of the branch's last layer included."""
    net = make_tiny_network(config, seed)
    assert isinstance(net, CompactGenerator)
    if net.branch is not None:
        for conv in (*net.branch.gains, *net.branch.biases):
            nn.init.normal_(conv.weight, 0.0, 0.5)
            nn.init.normal_(conv.bias, 0.0, 0.5)
    return net.eval()


# ---------------------------------------------------------------- what it costs


@pytest.mark.parametrize(
    ("width", "blocks", "parameters", "macs"),
    [(32, 4, 103_311, 1_962_934_272), (48, 6, 312_591, 5_605_687_296)],
)
def test_the_cost_of_a_student(width: int, blocks: int, parameters: int, macs: int) -> None:
    """Of the presets nano and small, without the branch."""
    net = networks.build_generator(CompactConfig(width=width, blocks=blocks, global_places=0))
    assert networks.count_parameters(net) == parameters
    assert networks.count_macs(net, 3, 512, 512) == macs


def test_the_branch_costs_next_to_nothing() -> None:
    plain, whole = (
        networks.count_macs(networks.build_generator(CompactConfig(global_places=n)), 3, 512, 512)
        for n in (0, 2)
    )
    assert 0 < whole - plain < plain / 1000


def test_sides_are_multiples_of_four() -> None:
    assert TINY.multiple_of == 4
    net = make_compact(replace(TINY, global_places=0))
    with torch.no_grad():
        assert net(make_noise(2, 3, 4, 12)).shape == (2, 3, 4, 12)
        with pytest.raises(RuntimeError):
            net(make_noise(1, 3, 8, 10))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 7}, "width is 7; it must be even"),
        ({"blocks": 3, "global_places": 4}, "global_places is 4; there are 3 blocks"),
        ({"global_places": -1}, "global_places is -1; allowed: whole numbers from 0"),
        ({"blocks": 0}, "blocks is 0; allowed: whole numbers from 1"),
        ({"norm": "instance"}, "norm is 'instance'; allowed: batch, none"),
    ],
)
def test_options_that_make_no_student(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CompactConfig(**options)


# ---------------------------------------------------------------- the frame as a whole


@pytest.mark.parametrize(
    ("blocks", "places", "first"), [(6, 2, [0, 3]), (4, 3, [0, 1, 2]), (3, 3, [0, 1, 2]), (5, 1, [0])]
)
def test_places_are_spread_evenly(blocks: int, places: int, first: list[int]) -> None:
    """A place's style changes nothing before its block, and its block's maps."""
    net = make_compact(CompactConfig(width=4, blocks=blocks, global_places=places))
    x = make_noise(1, 3, 16, 16)
    assert net.branch is not None
    for place in range(places):
        with torch.no_grad():
            _, before = net(x, with_features=True)
            net.branch.gains[place].bias += 1.0
            net.branch.biases[place].bias += 1.0
            _, after = net(x, with_features=True)
        changed = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
        assert changed == [number >= first[place] for number in range(blocks)]


@pytest.mark.parametrize("is_student", [False, True])
def test_the_branch_begins_without_effect(is_student: bool) -> None:
    """Also after the weights were initialized, which knows nothing of the branch."""
    torch.manual_seed(0)
    net = (build_student(TINY, "kaiming") if is_student else networks.build_generator(TINY)).eval()
    plain = networks.build_generator(replace(TINY, global_places=0)).eval()
    plain.load_state_dict({k: v for k, v in net.state_dict().items() if not k.startswith("branch.")})
    x = make_noise(2, 3, 24, 32)
    with torch.no_grad():
        assert torch.equal(net(x), plain(x))
        assert (plain(x) - x).abs().max() > 1e-3


def test_the_branch_sees_the_color_of_the_whole_frame() -> None:
    """A corner changes what happens far outside of the convolutions' reach."""
    net = make_compact()
    x = make_noise(1, 3, 64, 160)
    other = x.clone()
    other[..., :32] = 1.0
    with torch.no_grad():
        far = (net(x) - net(other))[..., 120:].abs().max()
        assert net.branch is not None
        for conv in (*net.branch.gains, *net.branch.biases):
            conv.weight.zero_()
        blind = (net(x) - net(other))[..., 120:].abs().max()
    assert far > 1e-3 and blind == 0


def test_an_overview_stands_for_the_frame() -> None:
    net = make_compact().double()
    x = make_noise(2, 3, 40, 64).double()
    overviews = F.avg_pool2d(x, OVERVIEW_STRIDE)
    with torch.no_grad():
        torch.testing.assert_close(net(x, list(overviews)), net(x), rtol=0, atol=1e-9)
        swapped = net(x, list(overviews.flip(0)))
        assert (swapped - net(x)).abs().amax((1, 2, 3)).min() > 1e-4  # each is its own picture's


def test_overviews_may_differ_in_size() -> None:
    net = make_compact().double()
    x = make_noise(3, 3, 16, 16).double()
    overviews = [make_noise(3, *side).double() for side in ((5, 9), (8, 4), (1, 1))]
    with torch.no_grad():
        together = net(x, overviews)
        alone = torch.cat([net(x[i : i + 1], [overviews[i]]) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-9)


def test_a_frames_size_does_not_matter_to_the_branch() -> None:
    """A flat frame of any size gives the same style, borders aside."""
    net = make_compact()
    assert net.branch is not None
    for layer in (net.branch.look[0], net.branch.look[2]):
        assert isinstance(layer, nn.Conv2d)
        layer.weight.data[..., 0, :] = 0  # nothing from outside of the frame
        layer.weight.data[..., :, 0] = 0
    with torch.no_grad():
        small, large = (net.branch(torch.full((1, 3, *sides), 0.3)) for sides in ((32, 32), (96, 160)))
    for one, other in zip(small, large, strict=True):
        torch.testing.assert_close(one, other)


# ---------------------------------------------------------------- the picture


def test_only_at_test_time_the_picture_is_limited() -> None:
    net = make_compact()
    with torch.no_grad():
        net.last.bias.fill_(3.0)
        x = make_noise(2, 3, 16, 16)
        limited, free = net(x), net.train()(x)
    assert limited.max() == 1.0 and free.max() > 1.5


def test_the_input_is_in_the_picture_where_channels_agree() -> None:
    net = make_compact()
    assert net.input_gain is not None
    x = make_noise(1, 3, 16, 16) / 2
    with torch.no_grad():
        net.last.weight.zero_()
        net.last.bias.zero_()
        net.input_gain.fill_(0.5)
        torch.testing.assert_close(net(x), x / 2)
    colored = make_compact(CompactConfig(1, 3, width=6, blocks=1, global_places=1))
    assert colored.input_gain is None and not any("input_gain" in key for key in colored.state_dict())
    assert colored(make_noise(2, 1, 16, 16)).shape == (2, 3, 16, 16)


def test_features_are_what_each_block_gives() -> None:
    net = make_compact()
    seen: list[Tensor] = []
    for block in net.blocks:
        block.register_forward_hook(lambda _, __, maps: seen.append(maps.clone()))
    x = make_noise(2, 3, 16, 24)
    with torch.no_grad():
        picture, features = net(x, with_features=True)
        assert all(torch.equal(a, b) for a, b in zip(features, seen, strict=True))
        assert [f.shape for f in features] == [(2, 6, 4, 6)] * 3
        assert torch.equal(picture, net(x))


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_a_file_keeps_a_student(norm: str, tmp_path: Path) -> None:
    config = replace(TINY, norm=norm)
    net, mode = make_compact(config), "running_stats" if norm == "batch" else "none"
    spec = networks.GeneratorSpec(config, mode)
    loaded, found = load_generator(save_generator(tmp_path / "net.safetensors", net, spec))
    assert found.config == config and found.norm_mode == mode and has_same_weights(loaded, net)
    with torch.no_grad():
        x = make_noise(1, 3, 16, 24)
        assert torch.equal(loaded(x), net(x))


def compute_picture(net: nn.Module, photo: Image) -> NDArray[np.int64]:
    with torch.no_grad():
        return to_images(net(normalize_images(to_tensor([photo]))))[0].astype(np.int64)


def make_photo(height: int, width: int) -> Image:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(("height", "width", "places"), [(64, 64, 2), (12, 36, 2), (20, 76, 0)])
def test_folding_keeps_the_picture(height: int, width: int, places: int) -> None:
    net = make_compact(replace(TINY, global_places=places))
    photo = make_photo(height, width)
    expected = compute_picture(net, photo)
    ready = wrap_for_export(net, networks.GeneratorSpec(replace(TINY, global_places=places), "running_stats"))
    assert not any(isinstance(layer, nn.BatchNorm2d | nn.InstanceNorm2d) for layer in ready.modules())
    with torch.no_grad():
        picture = ready(torch.from_numpy(photo)[None])[0].numpy()
    assert np.abs(picture - expected).max() <= 1 and expected.std() > 5


def test_a_bundle_gives_the_same_picture(tmp_path: Path) -> None:
    """Its sides are no multiples of the overview's pixels."""
    net, photo = make_compact(), make_photo(68, 100)
    spec = networks.GeneratorSpec(TINY, "running_stats", steps=1)
    path = save_generator(tmp_path / "net.safetensors", net, spec)
    export(path, [("ort", "fp32")], tmp_path / "x.i2i", ExportOptions(size=(68, 100)))
    with Translator(tmp_path / "x.i2i", backend="ort") as translator:
        picture = translator(photo, color="rgb")
    expected = compute_picture(net, photo)
    assert np.abs(picture - expected).max() <= 1 and expected.std() > 5
    graph = (tmp_path / "x.i2i" / "reference.onnx").read_bytes()
    assert b"BatchNormalization" not in graph and b"InstanceNormalization" not in graph
