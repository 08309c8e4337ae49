"""UNIT, encoder-decoder, DCGAN, CUT's patches, spectral norm: shapes, sharing, files, starting weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_networks import has_same_weights, randomize_statistics
from torch import Tensor, nn

from i2i_training import networks
from i2i_training.checkpoint import load_generator, save_generator
from i2i_training.networks.init import INITS
from i2i_training.networks.patch_features import PatchSampler, count_feature_channels, select_feature_layers
from i2i_training.networks.spec import reverse_config

CONFIGS: list[networks.GeneratorConfig] = [
    networks.UnitConfig(1, 2, width=2, blocks=2),
    networks.UnitConfig(width=1, blocks=3, shared_blocks=3, norm="batch", padding="zero", upsample="nearest"),
    networks.UnitConfig(width=2, blocks=1, norm="none", padding="replicate", upsample="bilinear"),
    networks.EncoderDecoderConfig(2, 1, width=3, downs=1),
    networks.EncoderDecoderConfig(width=4, downs=3, norm="batch"),
    networks.EncoderDecoderConfig(width=2, downs=4, norm="instance"),
    networks.DcganConfig(latent=5, width=2, size=32),
    networks.DcganConfig(latent=3, out_channels=1, width=1, size=64, norm="none"),
    networks.DcganConfig(latent=3, width=1, size=256, norm="instance"),
    networks.CompactConfig(width=4, blocks=3),
    networks.CompactConfig(1, 3, width=2, blocks=1, norm="none", global_places=0),
]


def make_spec(config: networks.GeneratorConfig) -> networks.GeneratorSpec:
    return networks.GeneratorSpec(config, norm_mode="running_stats" if config.norm == "batch" else "none")


def make_inputs(spec: networks.GeneratorSpec, batch: int = 2) -> Tensor:
    side = max(16, 2 * spec.config.multiple_of)
    generator = torch.Generator().manual_seed(1)
    return torch.rand(batch, *spec.get_input_shape(side, 2 * side), generator=generator) * 2 - 1


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_files_keep_new_networks_bit_for_bit(config: networks.GeneratorConfig, tmp_path: Path) -> None:
    torch.manual_seed(0)
    spec = make_spec(config)
    net = randomize_statistics(networks.build_generator(config)).eval()
    assert networks.GeneratorSpec.from_json(spec.to_json()) == spec
    loaded, found = load_generator(save_generator(tmp_path / "net.safetensors", net, spec))
    assert found.config == config and has_same_weights(loaded, net)
    x = make_inputs(spec)
    with torch.no_grad():
        y = net(x)
        assert torch.equal(loaded(x), y)
    sides = (config.size, config.size) if isinstance(config, networks.DcganConfig) else x.shape[2:]
    assert y.shape == (2, config.out_channels, *sides)
    assert y.dtype == torch.float32 and y.abs().max() <= 1 and y.std() > 1e-4
    assert networks.count_macs(net, *x.shape[1:]) > 0


# ---------------------------------------------------------------- UNIT

TINY = networks.UnitConfig(in_channels=1, out_channels=3, width=2, blocks=2)


def make_domains(count: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return tuple(torch.rand(count, c, 16, 24, generator=generator) * 2 - 1 for c in (1, 3))  # pyright: ignore[reportReturnType]


def test_unit_layers_are_the_papers() -> None:
    with torch.device("meta"):
        net = networks.build_generator(networks.UnitConfig())
    shapes = {k: tuple(v.shape) for k, v in net.state_dict().items() if k.endswith("weight")}
    encoder = [shapes[f"encoder.own.{i}.weight"] for i in (1, 4, 7)]
    assert encoder == [(64, 3, 7, 7), (128, 64, 3, 3), (256, 128, 3, 3)]
    decoder = [shapes[f"decoder.own.{i}.weight"] for i in (3, 7)]
    assert decoder == [(256, 128, 3, 3), (3, 64, 1, 1)]  # transposed: input channels first
    blocks = [k for k in shapes if "conv_block" in k]
    assert len(blocks) == 2 * (4 + 4)  # two convolutions each
    assert [k for k in blocks if "shared" in k] == [
        f"{side}.shared.0.conv_block.{i}.weight" for side in ("encoder", "decoder") for i in (1, 5)
    ]


def test_unit_shares_the_same_tensors_and_nothing_else() -> None:
    nets = networks.UnitNetworks(TINY)
    for first, second in ((nets.encoder_a, nets.encoder_b), (nets.decoder_a, nets.decoder_b)):
        assert first.shared is second.shared
        ours, theirs = dict(first.named_parameters()), dict(second.named_parameters())
        shared = {k for k in ours if ours[k].data_ptr() == theirs[k].data_ptr()}
        assert shared == {k for k in ours if k.startswith("shared.")} and shared
    assert nets.encoder_a.shared is not nets.decoder_a.shared
    whole = {p for side in (nets.encoder_a, nets.encoder_b) for p in side.parameters()}
    assert sum(p in whole for p in nets.parameters()) == len(whole)  # each counted once
    one = networks.count_parameters(nets.encoder_a) + networks.count_parameters(nets.encoder_b)
    assert sum(p.numel() for p in whole) == one - networks.count_parameters(nets.encoder_a.shared)


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_unit_translators_are_ordinary_generators(direction: str, tmp_path: Path) -> None:
    nets = networks.initialize_weights(networks.UnitNetworks(TINY), gain=0.3).eval()
    a, b = make_domains()
    config = TINY if direction == "AtoB" else reverse_config(TINY)
    path = save_generator(
        tmp_path / "net.safetensors", nets.get_translator(direction), networks.GeneratorSpec(config)
    )
    alone, _ = load_generator(path)
    with torch.no_grad():
        outputs = nets(a, b)
        x, y = (a, outputs.ab) if direction == "AtoB" else (b, outputs.ba)
        assert torch.equal(alone(x), y)
        assert torch.equal(alone(x), alone(x))  # no noise


def test_unit_step_has_every_picture_and_mean() -> None:
    nets = networks.initialize_weights(networks.UnitNetworks(TINY), gain=0.3)
    a, b = make_domains()
    out = nets(a, b)
    assert all(getattr(out, name).shape == a.shape for name in ("aa", "ba", "aba"))
    assert all(getattr(out, name).shape == b.shape for name in ("bb", "ab", "bab"))
    assert all(getattr(out, f"mean_{name}").shape == (2, 8, 4, 6) for name in ("a", "b", "ab", "ba"))
    assert torch.equal(out.mean_ab, nets.encoder_b(out.ab))
    assert torch.equal(out.mean_ba, nets.encoder_a(out.ba))
    sum(each.square().mean() for each in out).backward()
    assert all(p.grad is not None for p in nets.parameters())  # DistributedDataParallel waits for all


def test_unit_noise_is_standard_normal_in_training_only() -> None:
    nets = networks.UnitNetworks(TINY)
    a, b = make_domains()
    seen: list[Tensor] = []
    nets.decoder_a.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    torch.manual_seed(4)
    with torch.no_grad():
        out = nets(a.repeat(40, 1, 1, 1), b.repeat(40, 1, 1, 1))
        noise = seen[1] - out.mean_a  # G_A takes z_b, z_a, z_ab in this order
        assert noise.mean().abs() < 0.03 and noise.std() == pytest.approx(1.0, abs=0.03)
        quiet = nets.eval()(a, b)
        assert torch.equal(quiet.aa, nets.decoder_a(quiet.mean_a))


# ---------------------------------------------------------------- encoder-decoder, DCGAN


def test_encoder_decoder_is_four_strided_convolutions_of_128() -> None:
    with torch.device("meta"):
        net = networks.build_generator(networks.EncoderDecoderConfig())
        convs = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
        assert net.encoder(torch.empty(1, 3, 64, 96)).shape == (1, 128, 4, 6)
    assert [(c.out_channels, c.kernel_size[0], c.stride[0]) for c in convs] == [(128, 3, 2)] * 7 + [(3, 3, 2)]
    slopes = [m.negative_slope for m in net.modules() if isinstance(m, nn.LeakyReLU)]
    assert slopes == [0.2] * 7


@pytest.mark.parametrize(
    ("size", "widths"),
    [(32, [256, 128, 64]), (64, [512, 256, 128, 64]), (256, [1024, 1024, 512, 256, 128, 64])],
)
def test_dcgan_widths(size: int, widths: list[int]) -> None:
    with torch.device("meta"):
        net, judge = (
            networks.build_generator(networks.DcganConfig(size=size)),
            networks.DcganDiscriminator(size=size),
        )
        ups = [m for m in net.modules() if isinstance(m, nn.ConvTranspose2d)]
        downs = [m for m in judge.modules() if isinstance(m, nn.Conv2d)]
        assert net(torch.empty(2, 100)).shape == (2, 3, size, size)
        assert judge(torch.empty(2, 3, size, size)).shape == (2, 1, 1, 1)
    assert [m.out_channels for m in ups] == [*widths, 3]
    assert [m.out_channels for m in downs] == [*widths[::-1], 1]
    for module in (net, judge):
        assert sum(isinstance(m, nn.BatchNorm2d) for m in module.modules()) == len(widths) - (module is judge)


def test_dcgan_pictures_stand_alone_at_test_time() -> None:
    torch.manual_seed(0)
    net = randomize_statistics(networks.build_generator(CONFIGS[6])).eval()
    z = torch.randn(4, 5)
    with torch.no_grad():
        torch.testing.assert_close(net(z)[:1], net(z[:1]))
        assert (net(z)[0] - net(z)[1]).abs().max() > 0.01


# ---------------------------------------------------------------- CUT


@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
def test_features_are_the_layers_outputs_and_change_nothing(norm: str) -> None:
    torch.manual_seed(0)
    config = networks.ResnetConfig(width=2, blocks=6, norm=norm)
    net = randomize_statistics(networks.build_generator(config)).eval()
    layers = select_feature_layers(config)
    assert layers == (0, 4, 7, 10, 14)
    seen: dict[int, Tensor] = {}
    for number in range(len(net.model)):
        net.model[number].register_forward_hook(lambda _, __, y, n=number: seen.update({n: y.clone()}))
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        found = net(x, layers, picture=False)
        assert max(seen) == 14  # nothing after the last
        assert all(torch.equal(f, seen[n]) for f, n in zip(found, layers, strict=True))
        picture, again = net(x, layers)
        assert torch.equal(picture, net(x))
        assert all(torch.equal(f, g) for f, g in zip(found, again, strict=True))
        assert torch.equal(found[0][:, :, 3:-3, 3:-3], x)  # the picture itself
    assert count_feature_channels(config, layers) == tuple(f.shape[1] for f in found) == (3, 4, 8, 8, 8)


def test_fewer_blocks_have_fewer_features() -> None:
    for blocks, last in ((1, ()), (2, (11,)), (5, (14,))):
        assert select_feature_layers(networks.ResnetConfig(blocks=blocks)) == (0, 4, 7, 10, *last)


def test_patches_come_from_the_same_places_of_both_lists() -> None:
    torch.manual_seed(0)
    maps = [torch.randn(2, 3, 20, 20), torch.randn(2, 5, 4, 4)]
    sampler = PatchSampler([3, 5], patches=64, width=7)
    assert len(list(sampler.parameters())) == 2 * 4  # there before the first call
    torch.manual_seed(1)
    first, second = sampler(maps, [2 * m for m in maps])
    torch.manual_seed(1)
    same, _ = sampler(maps, maps)
    other, _ = sampler(maps, maps)
    assert [v.shape for v in first] == [(2, 64, 7), (2, 16, 7)]  # 16: all there are
    for vectors in (*first, *second):
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(vectors.shape[:2]))
    assert torch.equal(first[0], same[0]) and not torch.equal(first[0], other[0])
    # Every vector is the head's of one pixel, and the second list's is that of the same pixel.
    once, twice = (
        nn.functional.normalize(sampler.heads[0](scale * maps[0].flatten(2).transpose(1, 2)), dim=-1)
        for scale in (1, 2)
    )
    places = torch.cdist(first[0][1], once[1]).argmin(dim=1)
    assert len(places.unique()) == 64
    torch.testing.assert_close(first[0], once[:, places])
    torch.testing.assert_close(second[0], twice[:, places])
    with pytest.raises(ValueError, match="zip"):
        sampler(maps, maps[:1])


# ---------------------------------------------------------------- discriminators and starting weights


@pytest.mark.parametrize("layers", [4, 5, 6])
def test_deep_patchgans_of_unit(layers: int) -> None:
    net = networks.PatchDiscriminator(3, 2, layers)
    assert net(torch.rand(1, 3, 3 * 2**layers, 2 ** (layers + 2))).shape == (1, 1, 1, 2)
    assert sum(isinstance(m, nn.Conv2d) for m in net.modules()) == layers + 2


@pytest.mark.parametrize("make", [networks.PatchDiscriminator, networks.DcganDiscriminator])
def test_spectral_norm_bounds_every_layer(make: type[nn.Module]) -> None:
    """From the first step on: its power iteration starts anew after the initialization."""
    torch.manual_seed(0)
    net = networks.initialize_weights(make(3, 4, spectral_norm=True), gain=0.5)
    for conv in (m for m in net.modules() if isinstance(m, nn.Conv2d)):
        norm = torch.linalg.matrix_norm(conv.weight.flatten(1), 2)
        assert norm.item() == pytest.approx(1.0, abs=0.05)
        assert conv.parametrizations.weight.original.std().item() > 0.2  # initialize reached what is trained
    net(torch.rand(2, 3, 64, 64)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    assert all("parametrizations" not in key for key in make(3, 4).state_dict())


@pytest.mark.parametrize("kind", INITS)
@pytest.mark.parametrize(
    "net",
    [
        networks.UnitNetworks(TINY),
        networks.build_generator(networks.EncoderDecoderConfig(width=4)),
        networks.build_generator(networks.DcganConfig(width=4)),
        networks.DcganDiscriminator(width=4, spectral_norm=True),
        PatchSampler([8, 4], width=8),
    ],
    ids=lambda net: type(net).__name__,
)
def test_every_initialization_reaches_every_layer(kind: str, net: nn.Module) -> None:
    for parameter in net.parameters():
        nn.init.constant_(parameter, 9.0)
    torch.manual_seed(0)
    networks.initialize_weights(net, kind)
    for name, parameter in net.named_parameters():
        assert parameter.abs().max() < 9.0, name
        assert (parameter == 0).all() if name.endswith("bias") else parameter.std() > 0, name


def test_a_config_of_another_network_is_refused() -> None:
    data = make_spec(networks.EncoderDecoderConfig(width=2)).to_json() | {"architecture": "unit"}
    with pytest.raises(ValueError, match="config: unknown key 'downs'"):
        networks.GeneratorSpec.from_json(data)


def test_default_sides() -> None:
    spec = make_spec(networks.EncoderDecoderConfig(width=2))
    assert replace(spec, size=None).default_side == 256 and replace(spec, size=64).default_side == 64
    assert replace(spec, config=networks.DcganConfig(norm="none", size=32), size=None).default_side == 32
