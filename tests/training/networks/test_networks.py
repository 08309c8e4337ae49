"""Networks: upstream's keys and pictures, sizes, costs, receptive fields, initialization."""

from __future__ import annotations

import pytest
import torch
from tiny_networks import CONFIGS, randomize_statistics
from torch import nn
from upstream_oracle import UpstreamResnet, UpstreamUnet

from i2i_training.networks import (
    DcganConfig,
    GeneratorConfig,
    GeneratorSpec,
    MobileResnetConfig,
    PatchDiscriminator,
    ResnetConfig,
    UnetConfig,
    UnitConfig,
    build_generator,
    count_macs,
    count_parameters,
    initialize_weights,
)

NORMS = ("instance", "batch", "none")

# Copied out by hand from upstream's files.
RESNET_2_BLOCKS = """
model.1.weight model.1.bias model.4.weight model.4.bias model.7.weight model.7.bias
model.10.conv_block.1.weight model.10.conv_block.1.bias
model.10.conv_block.5.weight model.10.conv_block.5.bias
model.11.conv_block.1.weight model.11.conv_block.1.bias
model.11.conv_block.5.weight model.11.conv_block.5.bias
model.12.weight model.12.bias model.15.weight model.15.bias model.19.weight model.19.bias
"""

PATCH_70_BATCH = """
model.0.weight model.0.bias
model.2.weight model.3.weight model.3.bias
model.3.running_mean model.3.running_var model.3.num_batches_tracked
model.5.weight model.6.weight model.6.bias
model.6.running_mean model.6.running_var model.6.num_batches_tracked
model.8.weight model.9.weight model.9.bias
model.9.running_mean model.9.running_var model.9.num_batches_tracked
model.11.weight model.11.bias
"""

MOBILE_1_BLOCK = """
model.1.weight model.1.bias model.4.weight model.4.bias model.7.weight model.7.bias
model.10.conv_block.1.conv.0.weight model.10.conv_block.1.conv.0.bias
model.10.conv_block.1.conv.2.weight model.10.conv_block.1.conv.2.bias
model.10.conv_block.6.conv.0.weight model.10.conv_block.6.conv.0.bias
model.10.conv_block.6.conv.2.weight model.10.conv_block.6.conv.2.bias
model.11.weight model.11.bias model.14.weight model.14.bias model.18.weight model.18.bias
"""


def list_keys(config: GeneratorConfig) -> list[str]:
    with torch.device("meta"):
        return list(build_generator(config).state_dict())


def test_keys_copied_out_by_hand() -> None:
    assert list_keys(ResnetConfig(width=2, blocks=2)) == RESNET_2_BLOCKS.split()
    assert list_keys(MobileResnetConfig(down=(4, 4, 4), inner=(4,), up=(4, 4))) == MOBILE_1_BLOCK.split()
    assert list(PatchDiscriminator(6, 2, 3, "batch").state_dict()) == PATCH_70_BATCH.split()
    resized = list_keys(
        ResnetConfig(width=2, blocks=2, upsample="bilinear")
    )  # three layers for each doubling
    assert resized[-6::2] == ["model.14.weight", "model.19.weight", "model.23.weight"]


def test_shapes_of_upstreams_pix2pix_and_cyclegan_files() -> None:
    with torch.device("meta"):
        unet = build_generator(UnetConfig()).state_dict()
        resnet = build_generator(ResnetConfig()).state_dict()
        patch = PatchDiscriminator(6, norm="batch").state_dict()
        deep = PatchDiscriminator(3, width=2, layers=5, norm="batch").state_dict()
    deepest = "model.model.1" + ".model.3" * 6 + ".model"
    assert unet["model.model.0.weight"].shape == (64, 3, 4, 4)
    assert unet[f"{deepest}.1.weight"].shape == unet[f"{deepest}.3.weight"].shape == (512, 512, 4, 4)
    assert unet["model.model.3.weight"].shape == (128, 3, 4, 4)
    assert resnet["model.7.weight"].shape == (256, 128, 3, 3)
    assert resnet["model.18.conv_block.5.weight"].shape == (256, 256, 3, 3)
    assert resnet["model.19.weight"].shape == (256, 128, 3, 3)  # transposed: input channels first
    assert resnet["model.26.weight"].shape == (3, 64, 7, 7)
    shapes = [tuple(patch[f"model.{i}.weight"].shape[:2]) for i in (0, 2, 5, 8, 11)]
    assert shapes == [(64, 6), (128, 64), (256, 128), (512, 256), (1, 512)]
    widths = [deep[f"model.{i}.weight"].shape[0] for i in (0, 2, 5, 8, 11, 14, 17)]
    assert widths == [2, 4, 8, 16, 16, 16, 1]  # at most 8 times the first


def test_parameter_counts_are_the_published_ones() -> None:
    with torch.device("meta"):
        generators = [build_generator(ResnetConfig()), build_generator(UnetConfig())]
        networks = [*generators, PatchDiscriminator(3), PatchDiscriminator(6, norm="batch")]
    # Upstream prints 11.378 M, 54.414 M, 2.765 M and 2.769 M for these.
    counts = [round(count_parameters(network) / 1e6, 3) for network in networks]
    assert counts == [11.378, 54.414, 2.765, 2.769]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("padding", ["reflect", "replicate", "zero"])
@pytest.mark.parametrize("dropout", [False, True])
def test_resnet_makes_upstreams_pictures(norm: str, padding: str, dropout: bool) -> None:
    torch.manual_seed(0)
    config = ResnetConfig(2, 1, width=3, blocks=2, norm=norm, padding=padding, dropout=dropout)
    ours = randomize_statistics(build_generator(config)).eval()
    theirs = UpstreamResnet((2, 1), 3, norm, 2, padding, dropout).eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    x = torch.rand(2, 2, 16, 24) * 2 - 1
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x.clone()))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("training", [False, True])
def test_unet_skips_carry_what_upstreams_in_place_activation_leaves(norm: str, training: bool) -> None:
    torch.manual_seed(0)
    ours = randomize_statistics(build_generator(UnetConfig(2, 4, 3, 6, norm, dropout=False)))
    theirs = UpstreamUnet((2, 4), 3, norm, 6, dropout=False)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    x = torch.rand(2, 2, 64, 128) * 2 - 1
    with torch.no_grad():
        expected = theirs.train(training)(x.clone())
        assert torch.equal(ours.train(training)(x), expected)
    assert expected.std() > 0.05  # the comparison is of something


def test_unet_blocks_give_what_upstreams_blocks_give() -> None:
    """Inside as well, where the ReLU that follows has not yet hidden the sign of the skip connection."""
    torch.manual_seed(0)
    ours = randomize_statistics(build_generator(UnetConfig(3, 3, 2, 5, "batch"))).eval()
    theirs = UpstreamUnet((3, 3), 2, "batch", 5, dropout=True).eval()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    x = torch.randn(1, 2, 32, 32)
    with torch.no_grad():
        block = ours.model.model[1](x)
        assert torch.equal(block, theirs.model.model[1](x.clone()))
        assert torch.equal(block[:, :2], nn.functional.leaky_relu(x, 0.2))


def test_unet_input_is_left_alone() -> None:
    x = torch.full((1, 3, 32, 32), -1.0)
    with torch.no_grad():
        build_generator(UnetConfig(width=1, downs=5)).eval()(x)
    assert torch.equal(x, torch.full((1, 3, 32, 32), -1.0))


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_outputs_have_the_inputs_size_and_stay_within_one(config: GeneratorConfig) -> None:
    torch.manual_seed(1)
    net = initialize_weights(build_generator(config), gain=2.0).eval()  # large weights: tanh has to work
    step = config.multiple_of
    for height, width in ((step * 2, step * 2), (step * 3, step * 5)):
        if config.architecture != "unet" and min(height, width) < 8:
            continue  # reflection needs more pixels than it adds
        with torch.no_grad():
            y = net(torch.rand(2, config.in_channels, height, width) * 2 - 1)
        assert y.shape == (2, config.out_channels, height, width) and y.dtype == torch.float32
        assert 0.9 < y.abs().max() <= 1.0


def test_dropout_is_noise_in_training_only() -> None:
    torch.manual_seed(0)
    for config in (UnetConfig(width=2, downs=6, norm="none"), ResnetConfig(width=2, blocks=1, dropout=True)):
        net = initialize_weights(build_generator(config), gain=0.3)
        x = torch.rand(1, 3, 64, 64)
        with torch.no_grad():
            assert not torch.equal(net.train()(x), net(x))
            assert torch.equal(net.eval()(x), net(x))


@pytest.mark.parametrize(
    ("config", "expected"),
    [(ResnetConfig(), "49.6"), (UnetConfig(), "6.05"), (ResnetConfig(width=32, blocks=6), "9.07")],
    ids=["resnet-9", "unet-256", "resnet-6-32"],
)
def test_macs_count_multiplications_that_are_done(config: ResnetConfig | UnetConfig, expected: str) -> None:
    with torch.device("meta"):
        net = build_generator(config)
    assert f"{count_macs(net, 3, 256, 256) / 1e9:.3g}" == expected


def test_macs_of_single_layers() -> None:
    assert count_macs(nn.Conv2d(3, 8, 3, padding=1), 3, 10, 20) == 3 * 8 * 9 * 200
    assert count_macs(nn.Conv2d(4, 8, 4, stride=2, padding=1), 4, 10, 20) == 4 * 8 * 16 * 50
    assert count_macs(nn.Conv2d(6, 6, 3, padding=1, groups=6), 6, 10, 20) == 6 * 9 * 200
    assert count_macs(nn.ConvTranspose2d(4, 2, 4, stride=2, padding=1), 4, 10, 20) == 4 * 2 * 16 * 200


def test_counting_leaves_the_network_as_it_was() -> None:
    net = build_generator(ResnetConfig(width=2, blocks=1))
    before = {k: v.clone() for k, v in net.state_dict().items()}
    count_macs(net, 3, 64, 64)
    assert net.training and all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert not any(layer._forward_hooks for layer in net.modules())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ResnetConfig(norm="bacth"), "'bacth'; allowed: instance, batch, none"),
        (lambda: UnetConfig(downs=9), "downs is 9; allowed: 5, 6, 7, 8"),
        (lambda: ResnetConfig(blocks=0), "blocks is 0; allowed: whole numbers from 1"),
        (lambda: ResnetConfig(width=10**9), "width is 1000000000; allowed"),
        (lambda: MobileResnetConfig(down=(1, 2)), "down is .1, 2.; needed: 3 numbers"),
        (lambda: MobileResnetConfig(up=(1, 2, 3)), "up is .1, 2, 3.; needed: 2 numbers"),
        (lambda: MobileResnetConfig(inner=()), "inner has 0 numbers; allowed: 1 to 256"),
        (lambda: UnitConfig(blocks=2, shared_blocks=3), "shared_blocks is 3; there are 2 blocks"),
        (lambda: DcganConfig(latent=0), "latent is 0; allowed: whole numbers from 1"),
        (lambda: DcganConfig(size=96), "size is 96; allowed: 32, 64, 128, 256"),
        (lambda: GeneratorSpec(DcganConfig(), norm_mode="batch_stats"), "a DCGAN makes single images"),
    ],
)
def test_impossible_options_are_named_with_what_is_allowed(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # pyright: ignore[reportCallIssue]
