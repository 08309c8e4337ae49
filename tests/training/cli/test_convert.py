"""Converting: weights survive bit for bit, upstream's networks load them, what is lost or assumed is said."""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import upstream_oracle as upstream
from checkpoint_files import RESNET, list_files, list_names, save_network, save_upstream_network
from tiny_networks import CONFIGS, has_same_weights, make_picture, make_tiny_network
from torch import nn

from i2i_sdk.errors import CheckpointError
from i2i_training.checkpoint import load_generator
from i2i_training.cli.convert import HISTORY, READING, convert, format_upstream_flags, main
from i2i_training.networks import (
    DcganConfig,
    EncoderDecoderConfig,
    GeneratorConfig,
    GeneratorSpec,
    MobileResnetConfig,
    ResnetConfig,
    UnetConfig,
    UnitConfig,
)

NORM_MODES = {False: ["none"], True: ["batch_stats", "running_stats"]}  # without BatchNorm, and with it
FLAG_CONFIGS: list[GeneratorConfig] = [  # what upstream's flags can build
    ResnetConfig(width=2),
    ResnetConfig(1, 2, width=3, blocks=6, norm="batch", dropout=True),
    ResnetConfig(width=1, blocks=6, dropout=True),
    ResnetConfig(width=1, blocks=6, norm="none"),
    UnetConfig(width=1, downs=7),
    UnetConfig(1, 4, width=1, norm="instance"),
]
CODE_CONFIGS: list[GeneratorConfig] = [  # what only its code can
    RESNET,
    ResnetConfig(2, 1, width=1, blocks=6, padding="zero"),
    ResnetConfig(width=1, blocks=6, padding="replicate", dropout=True),
    UnetConfig(1, 4, width=2, downs=6, norm="instance"),
]


def build_by_flags(flags: list[str]) -> nn.Module:
    """Upstream's define_G, and its test.py: train() unless --eval."""
    values = dict(zip(flags, [*flags[1:], ""], strict=True))
    channels = int(values["--input_nc"]), int(values["--output_nc"])
    ngf, norm, dropout = int(values["--ngf"]), values["--norm"], "--no_dropout" not in flags
    kind, size = values["--netG"].split("_")
    if kind == "unet":
        module = upstream.UpstreamUnet(channels, ngf, norm, {"128": 7, "256": 8}[size], dropout)
    else:
        blocks = {"6blocks": 6, "9blocks": 9}[size]
        module = upstream.UpstreamResnet(channels, ngf, norm, blocks, "reflect", dropout)
    return module.train("--eval" not in flags)


def build_by_code(config: GeneratorConfig) -> nn.Module:
    channels = config.in_channels, config.out_channels
    if isinstance(config, UnetConfig):
        return upstream.UpstreamUnet(channels, config.width, config.norm, config.downs, config.dropout)
    c = config
    return upstream.UpstreamResnet(channels, c.width, c.norm, c.blocks, c.padding, c.dropout)


def convert_to_upstream(folder: Path, config: GeneratorConfig, norm_mode: str | None = None) -> Path:
    source = save_network(
        folder / "net.safetensors", config, **({"norm_mode": norm_mode} if norm_mode else {})
    )
    ((path, _),) = convert(source, folder / "checkpoints" / "latest_net_G.pth")
    return path


# ---------------------------------------------------------------- both ways


@pytest.mark.parametrize("config", [*FLAG_CONFIGS, *CODE_CONFIGS], ids=str)
def test_upstream_files_have_upstreams_keys_and_our_weights(config: ResnetConfig, tmp_path: Path) -> None:
    state = torch.load(convert_to_upstream(tmp_path, config), weights_only=True)
    assert type(state) is OrderedDict
    assert list(state) == list(build_by_code(config).state_dict())
    ours = make_tiny_network(config).state_dict()
    assert all(v.dtype == ours[k].dtype and torch.equal(v, ours[k]) for k, v in state.items())
    build_by_code(config).load_state_dict(state, strict=True)


@pytest.mark.parametrize("config", [*FLAG_CONFIGS, *CODE_CONFIGS], ids=str)
def test_there_and_back_is_bit_for_bit(config: ResnetConfig, tmp_path: Path) -> None:
    path = convert_to_upstream(tmp_path, config)
    padding = None if isinstance(config, UnetConfig) or config.padding != "replicate" else "replicate"
    ((back, spec),) = convert(path, tmp_path / "back.safetensors", {"padding": padding} if padding else {})
    module, found = load_generator(back)
    assert has_same_weights(module, make_tiny_network(config))
    assert spec.config == found.config == config


@pytest.mark.parametrize("config", [c for c in CONFIGS if not isinstance(c, ResnetConfig)], ids=str)
def test_any_upstream_file_becomes_ours(config: MobileResnetConfig, tmp_path: Path) -> None:
    source = save_upstream_network(tmp_path / "net.pth", config, legacy=True)
    ((path, _),) = convert(source, tmp_path)
    assert path == tmp_path / "net.safetensors"
    assert has_same_weights(load_generator(path)[0], make_tiny_network(config))


@pytest.mark.parametrize(
    ("config", "mode"), [(c, m) for c in FLAG_CONFIGS for m in NORM_MODES[c.norm == "batch"]], ids=str
)
def test_upstreams_test_script_makes_our_pictures(config: ResnetConfig, mode: str, tmp_path: Path) -> None:
    path = convert_to_upstream(tmp_path, config, mode)
    ours, spec = load_generator(tmp_path / "net.safetensors")
    theirs = build_by_flags(format_upstream_flags(spec).split())
    theirs.load_state_dict(torch.load(path, weights_only=True), strict=True)
    noisy = isinstance(config, ResnetConfig) and config.dropout and spec.norm_mode == "batch_stats"
    if noisy:  # no flag switches dropout off but --eval, which would use the running statistics too
        for layer in theirs.modules():
            layer.train(not isinstance(layer, nn.Dropout))
    x = make_picture(config)
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x.clone()))


# ---------------------------------------------------------------- what a .pth cannot say


def test_what_the_user_knows_is_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = ResnetConfig(3, 3, 2, 2, norm="batch", padding="replicate", upsample="bilinear", dropout=True)
    source = save_upstream_network(tmp_path / "x_net_G_A.pth", config)
    values = ("BtoA", "CC0", "maps", "running_stats", "replicate", "bilinear")
    known = dict(zip((*HISTORY, *READING), values, strict=True))
    ((path, _),) = convert(source, tmp_path, known)
    _, spec = load_generator(path)
    assert replace(spec, source_sha256="") == GeneratorSpec(
        config, norm_mode="running_stats", direction="BtoA", license="CC0", trained_on="maps"
    )
    assert not caplog.records  # nothing is assumed any more


@pytest.mark.parametrize(
    ("name", "direction"), [("latest_net_G_A", "AtoB"), ("200_net_G_B", "BtoA"), ("latest_net_G", "unknown")]
)
def test_direction_is_told_by_the_name_and_said(
    name: str, direction: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = save_upstream_network(tmp_path / f"{name}.pth")
    ((path, spec),) = convert(source, tmp_path)
    assert spec.direction == direction
    said = [line for line in load_generator(path)[1].assumptions if line.startswith("direction")]
    assert len(said) == (direction != "unknown")
    assert all(any(line in record.getMessage() for record in caplog.records) for line in said)


def test_our_files_say_it_themselves(tmp_path: Path) -> None:
    source = save_network(tmp_path / "net.safetensors")
    with pytest.raises(CheckpointError, match="--license, --trained-on cannot be given"):
        convert(source, tmp_path, {"license": "CC0", "trained_on": "maps"})
    assert list_names(tmp_path) == ["net.safetensors"]


# ---------------------------------------------------------------- folders


def save_of_suffix(path: Path, seed: int) -> None:
    save = save_upstream_network if path.suffix == ".pth" else save_network
    save(path, seed=seed)


def make_run_folder(folder: Path, suffix: str, stems: str = "latest_net_G_A latest_net_G_B") -> Path:
    folder.mkdir()
    for seed, stem in enumerate(stems.split()):
        save_of_suffix(folder / f"{stem}{suffix}", seed)
    return folder


@pytest.mark.parametrize(("ours", "theirs"), [(".safetensors", ".pth"), (".pth", ".safetensors")])
def test_a_runs_folder_keeps_its_names(ours: str, theirs: str, tmp_path: Path) -> None:
    stems = "latest_net_G latest_net_G_A latest_net_G_B"
    source = make_run_folder(tmp_path / "run", ours, stems)
    before = list_files(source)
    written = convert(source, tmp_path / "deep" / "out")
    assert [path.name for path, _ in written] == [f"{stem}{theirs}" for stem in stems.split()]
    for seed, (path, _) in enumerate(written):
        assert has_same_weights(load_generator(path)[0], make_tiny_network(RESNET, seed))
    assert list_names(tmp_path / "deep" / "out") == [path.name for path, _ in written]
    assert list_files(source) == before


def test_directions_of_a_folder_come_from_its_names(tmp_path: Path) -> None:
    source = make_run_folder(tmp_path / "run", ".pth")
    assert [spec.direction for _, spec in convert(source, tmp_path / "out")] == ["AtoB", "BtoA"]
    with pytest.raises(CheckpointError, match=r"--direction .* latest_net_G_A\.pth, latest_net_G_B\.pth"):
        convert(source, tmp_path / "other", {"direction": "BtoA"})
    single = make_run_folder(tmp_path / "single", ".pth", "latest_net_G")
    ((_, spec),) = convert(single, tmp_path / "other", {"direction": "BtoA"})
    assert spec.direction == "BtoA"


@pytest.mark.parametrize(
    ("suffix", "message"),
    [(".pth", "latest_net_G_B"), (".safetensors", r"latest_net_G_B\.pth: .*with transposed")],
    ids=["not a checkpoint", "a network that upstream lacks"],
)
def test_one_bad_file_of_a_folder_writes_nothing(suffix: str, message: str, tmp_path: Path) -> None:
    source = make_run_folder(tmp_path / "run", suffix)
    if suffix == ".pth":
        (source / "latest_net_G_B.pth").write_bytes(b"PK\x03\x04 not a checkpoint")
    else:
        save_network(source / "latest_net_G_B.safetensors", replace(RESNET, upsample="nearest"))
    with pytest.raises(CheckpointError, match=message):
        convert(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("stems", "target", "message"),
    [
        ("latest_net_D", "out", "no latest_net_G, latest_net_G_A, latest_net_G_B"),
        ("latest_net_G", "out.pth", "into a folder, not into the file"),
        ("latest_net_G", "file", "into a folder, not into the file"),
        ("latest_net_G both", "out", r"\.safetensors and \.pth generators; give one file"),
    ],
)
def test_folders_that_cannot_be_converted(stems: str, target: str, message: str, tmp_path: Path) -> None:
    stems, _, both = stems.partition(" ")
    source = make_run_folder(tmp_path / "run", ".safetensors", stems)
    (tmp_path / "file").touch()
    if both:
        save_upstream_network(source / "latest_net_G_A.pth")
    with pytest.raises(CheckpointError, match=message):
        convert(source, tmp_path / target)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_nothing_is_replaced_without_force(suffix: str, tmp_path: Path) -> None:
    source = make_run_folder(tmp_path / "run", suffix)
    convert(source, tmp_path / "out")
    before = list_files(tmp_path)
    with pytest.raises(CheckpointError, match=r"latest_net_G_A\S+ exists; .*--force"):
        convert(source, tmp_path / "out")
    assert list_files(tmp_path) == before
    for file in source.iterdir():
        file.unlink()
    save_of_suffix(source / f"latest_net_G_A{suffix}", seed=9)
    ((path, _),) = convert(source, tmp_path / "out", force=True)
    assert has_same_weights(load_generator(path)[0], make_tiny_network(RESNET, seed=9))


@pytest.mark.parametrize(
    "config",
    [
        MobileResnetConfig(down=(2, 2, 2), inner=(2,), up=(2, 2)),
        UnitConfig(width=1, blocks=1),
        EncoderDecoderConfig(width=2, downs=1),
        DcganConfig(latent=2, width=1, size=32),
        ResnetConfig(width=2, blocks=6, upsample="bilinear"),
    ],
    ids=lambda config: config.architecture,
)
def test_networks_that_upstream_lacks_are_refused(config: GeneratorConfig, tmp_path: Path) -> None:
    mode = "running_stats" if config.norm == "batch" else "none"
    save_network(tmp_path / "net.safetensors", config, norm_mode=mode)
    message = f"this {config.architecture} cannot become an upstream file: .* i2i export"
    with pytest.raises(CheckpointError, match=message):
        convert(tmp_path / "net.safetensors", tmp_path / "net.pth", force=True)
    assert list_names(tmp_path) == ["net.safetensors"]


@pytest.mark.parametrize(
    ("source", "target", "wanted"),
    [
        ("net.safetensors", "x.safetensors", ".pth"),
        ("net.safetensors", "x", ".pth"),
        ("net.pth", "x.pth", ".safetensors"),
    ],
)
def test_targets_are_named_after_their_kind(source: str, target: str, wanted: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"becomes a \{wanted} file"):
        convert(tmp_path / source, tmp_path / target)


# ---------------------------------------------------------------- the command


def test_the_command_says_what_it_did_and_what_is_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    stems = "latest_net_G_A latest_net_G_B latest_net_D_A 5_net_G_A"
    source, out = make_run_folder(tmp_path / "run", ".pth", stems), tmp_path / "out"
    with caplog.at_level(logging.WARNING):
        assert main([str(source), str(out), "--license", "CC0", "--padding", "reflect"]) == 0
    said = capsys.readouterr().out
    assert f"wrote {out / 'latest_net_G_A.safetensors'}: resnet, AtoB direction" in said
    assert "only the latest generators" in said
    assert said.endswith(f"next: i2i export {out}\n")
    assert [record.getMessage().split(";")[0] for record in caplog.records] == [
        "latest_net_G_A.pth: assumed: direction: AtoB, by its name",
        "latest_net_G_B.pth: assumed: direction: BtoA, by its name",
    ]
    assert load_generator(out / "latest_net_G_B.safetensors")[1].license == "CC0"


def test_the_command_names_upstreams_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = save_network(tmp_path / "latest_net_G_B.safetensors", ResnetConfig(width=2))
    assert main([str(source), str(tmp_path / "mine") + "/latest_net_G_B.pth"]) == 0
    said = capsys.readouterr().out
    assert "weights only" in said and "checkpoints/mine/latest_net_G_B.pth" in said
    command = "python test.py --model test --name mine --model_suffix _B --dataroot DIR "
    assert command + "--netG resnet_9blocks --norm instance --ngf 2" in said


@pytest.mark.parametrize("config", CODE_CONFIGS, ids=str)
def test_the_command_says_where_upstream_has_no_flag(
    config: ResnetConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = save_network(tmp_path / "net.safetensors", config)
    assert main([str(source), str(tmp_path)]) == 0
    said = capsys.readouterr().out
    call = "UnetGenerator" if isinstance(config, UnetConfig) else "ResnetGenerator"
    assert f"no flag for this network; in its code, load {tmp_path / 'net.pth'} into a {call} " in said
    assert "test.py" not in said
