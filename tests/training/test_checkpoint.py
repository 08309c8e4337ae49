"""Checkpoints: both formats, every repair said, and files from strangers that run nothing."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pickle
import random
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_networks import CONFIGS, picture, same_weights, spec_of, tiny
from torch import Tensor, nn
from upstream_oracle import UpstreamResnet, UpstreamUnet

from i2i_sdk.errors import CheckpointError
from i2i_training.checkpoint import load_generator, save_generator, set_test_mode
from i2i_training.networks import GeneratorSpec, ResnetConfig, UnetConfig, build_generator

RESNET = ResnetConfig(width=2, blocks=2)
BATCH_RESNET = ResnetConfig(width=2, blocks=1, norm="batch", dropout=True)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def listing(folder: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of everything in a folder."""
    found = sorted(folder.rglob("*"))
    return [(str(p.relative_to(folder)), p.stat().st_size, p.stat().st_mtime_ns) for p in found]


def refused(path: Path, **options: str) -> str:
    """Loading raises one CheckpointError, of one line, that names the file; nothing is written."""
    before = listing(path.parent)
    with pytest.raises(CheckpointError) as caught:
        load_generator(path, **options)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert "weights_only" not in message  # PyTorch's advice to unpickle anything is not passed on
    assert listing(path.parent) == before
    return message


def says_what_is_supported(message: str) -> bool:
    return "Supported" in message or "give a .safetensors or .pth generator" in message


def saved(path: Path, config: ResnetConfig = RESNET, **history: object) -> Path:
    return save_generator(path, tiny(config), spec_of(config, **history))


def upstream_file(path: Path, state: dict[str, Tensor], legacy: bool = False) -> Path:
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    return path


# ---------------------------------------------------------------- our own files


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_saved_generators_come_back_bit_for_bit(config: ResnetConfig, tmp_path: Path) -> None:
    module = tiny(config)
    spec = spec_of(
        config,
        recipe="pix2pix",
        direction="BtoA",
        steps=1234,
        size=96,
        trained_on="maps, 400 pairs",
        licence="research-only",
        repairs=("one",),
        assumptions=("two", "three"),
    )
    path = save_generator(tmp_path / "net.safetensors", module, spec)
    loaded, found = load_generator(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert found == replace(spec, source_sha256=digest)
    assert same_weights(loaded, module)
    assert names(tmp_path) == ["net.safetensors"]


def test_saving_replaces_the_file_whole_or_not_at_all(tmp_path: Path) -> None:
    path = saved(tmp_path / "deep" / "er" / "net.safetensors")
    good = path.read_bytes()
    with pytest.raises(CheckpointError, match=r"not the resnet that its spec describes: model\.12"):
        save_generator(path, tiny(RESNET), spec_of(replace(RESNET, blocks=3)))
    assert path.read_bytes() == good
    save_generator(path, tiny(RESNET, seed=5), spec_of(RESNET))
    assert same_weights(load_generator(path)[0], tiny(RESNET, seed=5))
    assert names(path.parent) == ["net.safetensors"]


@pytest.mark.parametrize("change", [nn.Module.half, nn.Module.bfloat16, nn.Module.double])
def test_only_float32_is_saved(change: Callable[[nn.Module], nn.Module], tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"model\.1\.weight: .*float.*, expected float32 \[2, 3, 7, 7\]"
    ):
        save_generator(tmp_path / "net.safetensors", change(tiny(RESNET)), spec_of(RESNET))
    assert not names(tmp_path)


def test_generators_are_written_as_safetensors_only(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"written as \.safetensors, not '\.pth'"):
        saved(tmp_path / "net.pth")
    assert not names(tmp_path)


def test_any_memory_layout_is_saved(tmp_path: Path) -> None:
    module = tiny(RESNET).to(memory_format=torch.channels_last)
    path = save_generator(tmp_path / "net.safetensors", module, spec_of(RESNET))
    assert same_weights(load_generator(path)[0], module)


def test_loading_changes_neither_file_nor_folder(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.safetensors")
    pth = upstream_file(tmp_path / "net.pth", tiny(RESNET).state_dict())
    before = listing(tmp_path)
    load_generator(path)
    load_generator(pth)
    assert listing(tmp_path) == before


def test_paths_may_be_text(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.safetensors")
    assert load_generator(str(path))[1].config == RESNET


def test_own_files_say_how_they_were_trained_so_nothing_replaces_it(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.safetensors")
    assert "padding" in refused(path, padding="replicate")
    assert "upsample" in refused(path, upsample="nearest")


@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
def test_upstream_resnet_loads_our_files(norm: str, tmp_path: Path) -> None:
    config = ResnetConfig(3, 1, width=2, blocks=3, norm=norm, dropout=True)
    path = save_generator(tmp_path / "net.safetensors", tiny(config), spec_of(config))
    theirs = UpstreamResnet((3, 1), 2, norm, 3, "reflect", dropout=True)
    theirs.load_state_dict(safetensors.torch.load_file(path), strict=True)
    x = picture(config)
    with torch.no_grad():
        assert torch.equal(theirs.eval()(x.clone()), tiny(config).eval()(x))


@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
def test_upstream_unet_loads_our_files(norm: str, tmp_path: Path) -> None:
    config = UnetConfig(3, 1, width=2, downs=6, norm=norm)
    path = save_generator(tmp_path / "net.safetensors", tiny(config), spec_of(config))
    theirs = UpstreamUnet((3, 1), 2, norm, 6, dropout=True)
    theirs.load_state_dict(safetensors.torch.load_file(path), strict=True)
    x = picture(config)
    with torch.no_grad():
        assert torch.equal(theirs.eval()(x.clone()), tiny(config).eval()(x))


# ---------------------------------------------------------------- upstream's files


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_upstream_files_load_without_options(config: ResnetConfig, legacy: bool, tmp_path: Path) -> None:
    module = tiny(config)
    path = upstream_file(tmp_path / "latest_net_G.pth", module.state_dict(), legacy)
    loaded, spec = load_generator(path)
    assert spec.config == config
    assert spec.repairs == ()
    assert spec.source_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert same_weights(loaded, module)


def test_upstream_networks_files_make_upstreams_pictures(tmp_path: Path) -> None:
    torch.manual_seed(3)
    for theirs in (
        UpstreamResnet((3, 3), 4, "instance", 2, "reflect", dropout=False),
        UpstreamUnet((3, 3), 2, "batch", 5, dropout=True),
    ):
        path = upstream_file(tmp_path / "latest_net_G.pth", theirs.state_dict())
        ours, spec = load_generator(path, norm_mode=None)
        x = torch.rand(1, 3, 64, 32) * 2 - 1
        for layer in theirs.modules():  # upstream's test script leaves train() on, but for dropout
            layer.train(not isinstance(layer, nn.Dropout))
        with torch.no_grad():
            assert torch.equal(ours(x), theirs(x.clone())), spec


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".model", ""])
def test_the_name_of_an_upstream_file_does_not_matter(suffix: str, tmp_path: Path) -> None:
    path = upstream_file(tmp_path / f"net{suffix}", tiny(RESNET).state_dict())
    assert load_generator(path)[1].config == RESNET


def repaired(path: Path, caplog: pytest.LogCaptureFixture) -> tuple[nn.Module, tuple[str, ...]]:
    """Load; every repair in the spec was logged with the file's name, and nothing else was."""
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        module, spec = load_generator(path)
    assert [r.getMessage() for r in caplog.records] == [
        *(f"{path.name}: repaired: {line}" for line in spec.repairs),
        *(f"{path.name}: assumed: {line}" for line in spec.assumptions),
    ]
    return module, spec.repairs


def with_stale_statistics(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """What PyTorch 0.3 wrote for InstanceNorm layers."""
    slots = ("model.2", "model.5", "model.8", "model.10.conv_block.2", "model.10.conv_block.6")
    stale = {f"{s}.{k}": torch.rand(4) for s in slots for k in ("running_mean", "running_var")}
    return {**state, **stale, "model.2.num_batches_tracked": torch.tensor(3)}


def test_data_parallel_prefix_is_removed_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = nn.DataParallel(tiny(RESNET)).state_dict()
    assert all(k.startswith("module.") for k in state)
    module, repairs = repaired(upstream_file(tmp_path / "net.pth", state), caplog)
    assert same_weights(module, tiny(RESNET))
    assert [line for line in repairs if "'module.'" in line] == list(repairs)
    assert len(repairs) == 1


def test_old_instance_norm_statistics_are_dropped_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = upstream_file(tmp_path / "net.pth", with_stale_statistics(tiny(RESNET).state_dict()))
    module, repairs = repaired(path, caplog)
    assert same_weights(module, tiny(RESNET))
    assert len(repairs) == 1
    assert "dropped 11 running statistics of InstanceNorm" in repairs[0]


def test_missing_batch_counters_are_added_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = tiny(BATCH_RESNET).state_dict()
    kept = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    module, repairs = repaired(upstream_file(tmp_path / "net.pth", kept), caplog)
    assert all(torch.equal(module.state_dict()[k], v) for k, v in kept.items())
    assert len(repairs) == 1
    assert f"added {len(state) - len(kept)} num_batches_tracked" in repairs[0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32_and_it_is_said(
    dtype: torch.dtype, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = {k: v.to(dtype) for k, v in tiny(RESNET).state_dict().items()}
    module, repairs = repaired(upstream_file(tmp_path / "net.pth", state), caplog)
    assert all(torch.equal(v, state[k].float()) for k, v in module.state_dict().items())
    assert len(repairs) == 1
    assert f"{len(state)} tensors from {str(dtype).removeprefix('torch.')} to float32" in repairs[0]


def test_all_quirks_at_once_are_each_repaired_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = {f"module.{k}": v.half() for k, v in with_stale_statistics(tiny(RESNET).state_dict()).items()}
    module, repairs = repaired(upstream_file(tmp_path / "net.pth", state, legacy=True), caplog)
    assert all(torch.equal(v, state[f"module.{k}"].float()) for k, v in module.state_dict().items())
    assert len(repairs) == 3
    for line, word in zip(repairs, ("module.", "InstanceNorm", "float16"), strict=True):
        assert word in line


def test_repairs_survive_saving(tmp_path: Path) -> None:
    half = {k: v.half() for k, v in tiny(RESNET).state_dict().items()}
    module, spec = load_generator(upstream_file(tmp_path / "net.pth", half))
    _, again = load_generator(save_generator(tmp_path / "net.safetensors", module, spec))
    assert again.repairs == spec.repairs != ()
    assert again.assumptions == spec.assumptions != ()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (RESNET, ["padding"]),
        (replace(RESNET, padding="zero"), []),
        (replace(RESNET, upsample="nearest"), ["padding", "upsampling"]),
        (replace(RESNET, norm="batch"), ["padding", "BatchNorm"]),
        (UnetConfig(width=1, downs=5), ["BatchNorm"]),
        (UnetConfig(width=1, downs=5, norm="instance"), []),
    ],
    ids=str,
)
def test_what_keys_cannot_tell_is_said_to_be_assumed(
    config: ResnetConfig, words: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = upstream_file(tmp_path / "net.pth", tiny(config).state_dict())
    repaired(path, caplog)
    assumptions = load_generator(path)[1].assumptions
    assert [line.split()[0].rstrip(":") for line in assumptions] == words
    assert all("--" in line for line in assumptions)  # each names the flag that replaces it


def test_what_the_user_knows_replaces_what_was_assumed(tmp_path: Path) -> None:
    config = ResnetConfig(width=2, blocks=2, padding="replicate", upsample="bilinear", norm="batch")
    path = upstream_file(tmp_path / "net.pth", tiny(config).state_dict())
    module, spec = load_generator(path, padding="replicate", upsample="bilinear", norm_mode="running_stats")
    assert spec.config == config
    assert spec.norm_mode == "running_stats"
    assert spec.assumptions == ()
    x = picture(config)
    with torch.no_grad():
        assert torch.equal(module(x), tiny(config).eval()(x))


def test_what_the_keys_say_cannot_be_replaced(tmp_path: Path) -> None:
    zero = upstream_file(tmp_path / "zero.pth", tiny(replace(RESNET, padding="zero")).state_dict())
    message = refused(zero, padding="reflect")
    assert "padding='reflect'" in message
    assert "padding='zero'" in message
    assert "upsample='transpose'" in refused(zero, upsample="nearest")
    unet = upstream_file(tmp_path / "unet.pth", tiny(UnetConfig(width=1, downs=5)).state_dict())
    assert "a unet has no padding" in refused(unet, padding="replicate")
    plain = upstream_file(tmp_path / "plain.pth", tiny(RESNET).state_dict())
    message = refused(plain, padding="mirror")
    assert "reflect and replicate" in message


# ---------------------------------------------------------------- normalisation at test time


def test_batch_statistics_are_the_inputs_and_change_nothing(tmp_path: Path) -> None:
    path = upstream_file(tmp_path / "net.pth", tiny(BATCH_RESNET).state_dict())
    module, spec = load_generator(path)
    assert spec.norm_mode == "batch_stats"  # upstream's default
    expected = tiny(replace(BATCH_RESNET, dropout=True)).train()
    for layer in expected.modules():
        if isinstance(layer, nn.Dropout):
            layer.eval()
    x = picture(BATCH_RESNET)
    with torch.no_grad():
        y = module(x)
        assert torch.equal(y, expected(x))
        assert not torch.equal(y, tiny(BATCH_RESNET).eval()(x))
        assert torch.equal(module(x), y)
    assert same_weights(module, tiny(BATCH_RESNET))  # counters and running statistics included


def test_running_statistics_are_those_of_training(tmp_path: Path) -> None:
    path = upstream_file(tmp_path / "net.pth", tiny(BATCH_RESNET).state_dict())
    module, spec = load_generator(path, norm_mode="running_stats")
    x = picture(BATCH_RESNET)
    assert spec.norm_mode == "running_stats"
    assert not any("BatchNorm" in line for line in spec.assumptions)
    with torch.no_grad():
        assert torch.equal(module(x), tiny(BATCH_RESNET).eval()(x))
        torch.testing.assert_close(module(x)[:1], module(x[:1]))  # pictures do not depend on neighbours
    assert same_weights(module, tiny(BATCH_RESNET))


def test_saved_norm_mode_is_kept_and_can_be_changed(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.safetensors", BATCH_RESNET, norm_mode="running_stats")
    x = picture(BATCH_RESNET)
    running, spec = load_generator(path)
    batch, changed = load_generator(path, norm_mode="batch_stats")
    assert (spec.norm_mode, changed.norm_mode) == ("running_stats", "batch_stats")
    with torch.no_grad():
        assert torch.equal(running(x), tiny(BATCH_RESNET).eval()(x))
        assert not torch.equal(running(x), batch(x))


def test_test_mode_can_be_switched_back_and_forth() -> None:
    x = picture(BATCH_RESNET)
    module = tiny(BATCH_RESNET)
    with torch.no_grad():
        running = set_test_mode(module, "running_stats")(x)
        batch = set_test_mode(module, "batch_stats")(x)
        assert torch.equal(set_test_mode(module, "running_stats")(x), running)
        assert torch.equal(set_test_mode(module, "batch_stats")(x), batch)
    assert not torch.equal(batch, running)


@pytest.mark.parametrize("mode", ["batch_stats", "running_stats"])
def test_dropout_is_off(mode: str) -> None:
    config = UnetConfig(width=2, downs=6)
    module = set_test_mode(tiny(config), mode)
    x = picture(config)
    with torch.no_grad():
        assert torch.equal(module(x), module(x))


def test_impossible_norm_modes_are_refused(tmp_path: Path) -> None:
    instance = upstream_file(tmp_path / "instance.pth", tiny(RESNET).state_dict())
    message = refused(instance, norm_mode="running_stats")
    assert "running_stats" in message
    assert "'instance'" in message
    batch = upstream_file(tmp_path / "batch.pth", tiny(BATCH_RESNET).state_dict())
    assert "allowed: batch_stats, running_stats" in refused(batch, norm_mode="eval")
    assert "'none'" in refused(batch, norm_mode="none")


# ---------------------------------------------------------------- real files


def test_real_compressed_generator_loads_with_no_options(shared_data: Path) -> None:
    path = shared_data / "checkpoints" / "gan_compression_horse2zebra" / "latest_net_G.pth"
    module, spec = load_generator(path)
    config = spec.config
    assert config.architecture == "mobile_resnet"
    assert (config.down, config.up) == ((16, 32, 128), (32, 16))
    assert config.inner == (64,) * 3 + (128,) * 6
    assert (config.norm, config.dropout, spec.norm_mode) == ("instance", True, "none")
    x = picture(config)
    with torch.no_grad():
        y = module(x)
    assert y.shape == x.shape
    assert y.isfinite().all()
    assert y.std() > 0.1


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("broken/truncated_generator_1.pth", "truncated"),
        ("broken/truncated_generator_2.pth", "truncated"),
        ("foreign/encoder_decoder_generator.pth", "layers named encoder.0.weight"),
        ("fast_neural_style/candy_nc16.model", "layers named conv1.conv2d.weight"),
        ("fast_neural_style/candy_nc16_256.onnx", "not a PyTorch file: it begins with"),
    ],
)
def test_real_foreign_and_broken_files_are_explained(shared_data: Path, name: str, found: str) -> None:
    message = refused(shared_data / "checkpoints" / name)
    assert found in message
    assert says_what_is_supported(message)


def test_every_broken_and_foreign_file_is_refused(shared_data: Path) -> None:
    folder = shared_data / "checkpoints"
    files = [p for name in ("broken", "foreign", "fast_neural_style") for p in (folder / name).iterdir()]
    assert len(files) >= 5
    for path in files:
        assert says_what_is_supported(refused(path))


# ---------------------------------------------------------------- files that are something else


def torchscript(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(nn.Conv2d(1, 1, 1)).save(path)


def training_state(path: Path) -> None:
    net = tiny(RESNET)
    optimizer = torch.optim.Adam(net.parameters())
    net(picture(RESNET)).sum().backward()
    optimizer.step()
    torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}, path)


def expanded(path: Path) -> None:
    """A few bytes that claim to be gigabytes: every tensor repeats one number."""
    with torch.device("meta"):
        shapes = {
            k: v.shape for k, v in build_generator(ResnetConfig(width=2048, blocks=1)).state_dict().items()
        }
    torch.save({k: torch.zeros(()).half().expand(s) for k, s in shapes.items()}, path)


def of_state(change: Callable[[Tensor], Tensor]) -> Callable[[Path], None]:
    return lambda path: torch.save({k: change(v) for k, v in tiny(RESNET).state_dict().items()}, path)


OTHER_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (Path.touch, "the file is empty"),
    "folder": (Path.mkdir, "a folder"),
    "missing": (lambda path: None, "no such file"),
    "random": (lambda path: path.write_bytes(random.Random(0).randbytes(5000)), "not a PyTorch file"),
    "text": (lambda path: path.write_text("Not found\n"), "it begins with b'Not foun'"),
    "page": (lambda path: path.write_text("<!DOCTYPE html><title>404</title>"), "b'<!DOCTYP'"),
    "torchscript": (torchscript, "a TorchScript archive"),
    "whole module": (lambda path: torch.save(tiny(RESNET), path), "ResnetGenerator"),
    "training state": (training_state, "it holds model, optimizer, epoch"),
    "list": (lambda path: torch.save([torch.zeros(1)], path), "it holds a list"),
    "tensor": (lambda path: torch.save(torch.zeros(3), path), "it holds a Tensor"),
    "nothing": (lambda path: torch.save({}, path), "it holds nothing"),
    "numbers": (lambda path: torch.save({"a": 1.5}, path), "it holds a"),
    "unnamed": (lambda path: torch.save({1: torch.zeros(2)}, path), "it holds 1"),
    "pickle": (lambda path: path.write_bytes(pickle.dumps({"a": 1}, protocol=4)), "some other Python pickle"),
    "old pickle": (
        lambda path: path.write_bytes(pickle.dumps({"a": 1}, protocol=2)),
        "truncated, damaged or",
    ),
    "sparse": (of_state(Tensor.to_sparse), "torch.sparse_coo"),
    "meta": (of_state(lambda v: v.to("meta")), "meta"),
    "complex": (of_state(lambda v: v.to(torch.complex64)), "torch.complex64"),
    "integers": (of_state(lambda v: v.to(torch.int8)), "torch.int8"),
    "expanded": (expanded, "claim"),
}


@pytest.mark.parametrize("kind", OTHER_FILES)
def test_other_files_are_named_for_what_they_are(kind: str, tmp_path: Path) -> None:
    write, found = OTHER_FILES[kind]
    path = tmp_path / "latest_net_G.pth"
    write(path)
    message = refused(path)
    assert found in message
    assert "upported" in message or says_what_is_supported(message)


@pytest.mark.parametrize("kind", ["empty", "folder", "missing", "random", "text", "list", "pickle"])
def test_other_files_named_safetensors_are_refused_too(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    OTHER_FILES[kind][0](path)
    assert says_what_is_supported(refused(path))


def test_files_of_gigabytes_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    with path.open("wb") as file:
        file.truncate(5 * 10**9)  # sparse: takes no room
    assert "5.0 GB" in refused(path)


def test_foreign_layers_are_named(tmp_path: Path) -> None:
    state = tiny(RESNET).state_dict()
    del state["model.12.weight"]
    state["model.4.weight"] = torch.zeros(4, 2, 5, 5)
    state["attention.weight"] = torch.zeros(3)
    message = refused(upstream_file(tmp_path / "net.pth", state))
    assert "attention.weight: (3,), expected nothing" in message
    assert "model.12.weight: missing, expected (8, 4, 3, 3)" in message
    assert "model.4.weight: (4, 2, 5, 5), expected (4, 2, 3, 3)" in message
    assert says_what_is_supported(message)


# ---------------------------------------------------------------- hostile files


class Hostile:
    """Unpickled the usual way, it runs a command."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch '{self.marker}'",)


def as_plain_pickle(protocol: int) -> Callable[[object, Path], None]:
    return lambda content, path: path.write_bytes(pickle.dumps(content, protocol))


HOSTILE_FORMATS: dict[str, Callable[[object, Path], None]] = {
    "zip": lambda content, path: torch.save(content, path),
    "legacy": lambda content, path: torch.save(content, path, _use_new_zipfile_serialization=False),
    **{f"pickle {n}": as_plain_pickle(n) for n in (0, 2, 4, 5)},
}


@pytest.mark.parametrize("form", HOSTILE_FORMATS)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_hostile_pickles_run_nothing(form: str, suffix: str, tmp_path: Path) -> None:
    folder = tmp_path / "download"
    folder.mkdir()
    marker, path = tmp_path / "marker", folder / f"net{suffix}"
    HOSTILE_FORMATS[form]({"model.0": Hostile(marker), **tiny(RESNET).state_dict()}, path)
    message = refused(path)
    assert says_what_is_supported(message)
    assert not marker.exists()
    assert names(tmp_path) == ["download"]
    assert names(folder) == [path.name]
    if suffix == ".pth" and form in ("zip", "legacy", "pickle 2"):
        assert "system" in message  # what it tried to call
        assert "Nothing of it was executed" in message


def test_the_hostile_pickle_is_one(tmp_path: Path) -> None:
    """Otherwise the test above shows nothing."""
    marker = tmp_path / "marker"
    torch.save({"a": Hostile(marker)}, tmp_path / "net.pth")
    torch.load(tmp_path / "net.pth", weights_only=False)
    assert marker.exists()


# ---------------------------------------------------------------- damaged and hostile .safetensors


def with_header(path: Path, header: object, state: dict[str, Tensor] | None = None) -> Path:
    text = header if isinstance(header, str) else json.dumps(header)
    state = tiny(RESNET).state_dict() if state is None else state
    safetensors.torch.save_file(state, path, metadata={"i2i": text})
    return path


def header_of(**config: object) -> dict[str, object]:
    """A valid header of RESNET with some options replaced."""
    header = spec_of(RESNET).to_json()
    return {**header, "config": {**header["config"], **config}}


HEADERS: dict[str, tuple[object, str]] = {
    "architecture": ({**header_of(), "architecture": "vit"}, "'vit'; supported: resnet, mobile_resnet, unet"),
    "no architecture": ({"config": {}}, "supported: resnet"),
    "option": (header_of(attention=True), "unknown options of ResnetConfig: attention"),
    "field": ({**header_of(), "run_this": "x"}, "unknown options of GeneratorSpec: run_this"),
    "norm": (header_of(norm="group"), "norm is 'group'; allowed: instance, batch, none"),
    "huge width": (header_of(width=10**12), "width is 1000000000000; allowed"),
    "huge blocks": (header_of(blocks=10**9), "blocks is 1000000000; allowed"),
    "zero": (header_of(width=0), "width is 0; allowed"),
    "negative": (header_of(width=-2), "width is -2; allowed"),
    "fraction": (header_of(width=2.0), "width is 2.0"),
    "text": (header_of(width="2"), "width is '2'"),
    "null": (header_of(width=None), "width is None"),
    "truth": (header_of(width=True), "width is True"),
    "list": (header_of(width=[2]), "width is"),
    "object": (header_of(norm={}), "norm is {}"),
    "config list": ({**header_of(), "config": []}, "needed: names and values"),
    "config text": ({**header_of(), "config": "x"}, "needed: names and values"),
    "mode": ({**header_of(), "norm_mode": "batch_stats"}, "norm_mode is 'batch_stats'"),
    "steps": ({**header_of(), "steps": "many"}, "steps is 'many'"),
    "size": ({**header_of(), "size": -1}, "size is -1"),
    "licence": ({**header_of(), "licence": ["MIT"]}, "licence is"),
    "repairs": ({**header_of(), "repairs": [1]}, "repairs is"),
    "direction": ({**header_of(), "direction": "up"}, "direction is 'up'; allowed: AtoB, BtoA"),
    "not json": ("{", "not valid"),
    "json list": ("[]", "not valid"),
    "json number": ("7", "not valid"),
    "deep": ("[" * 100_000, "not valid"),
    "long number": ('{"architecture": ' + "9" * 10_000 + "}", "not valid"),
    "other blocks": (header_of(blocks=3), "model.12.conv_block.1.weight: missing"),
    "other width": (
        header_of(width=4),
        "model.1.weight: float32 [2, 3, 7, 7], expected float32 [4, 3, 7, 7]",
    ),
    "huge list": ({"architecture": "mobile_resnet", "config": {"inner": [1] * 10**5}}, "inner has 100000"),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_headers_that_lie_are_refused(kind: str, tmp_path: Path) -> None:
    header, found = HEADERS[kind]
    assert found in refused(with_header(tmp_path / "net.safetensors", header))


def test_the_valid_header_of_those_tests_is_valid(tmp_path: Path) -> None:
    module, spec = load_generator(with_header(tmp_path / "net.safetensors", header_of()))
    assert spec.config == RESNET
    assert same_weights(module, tiny(RESNET))


def test_safetensors_without_our_header_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    safetensors.torch.save_file(tiny(RESNET).state_dict(), path)
    message = refused(path)
    assert "without i2i-sdk's header" in message
    assert "upported" in message


TENSOR_CHANGES: dict[str, Callable[[dict[str, Tensor]], dict[str, Tensor]]] = {
    "missing": lambda s: {k: v for k, v in s.items() if k != "model.4.bias"},
    "extra": lambda s: {**s, "model.99.weight": torch.zeros(1)},
    "shape": lambda s: {**s, "model.4.weight": torch.zeros(4, 2, 5, 5)},
    "flat": lambda s: {**s, "model.4.weight": s["model.4.weight"].flatten()},
    "half": lambda s: {k: v.half() for k, v in s.items()},
    "int": lambda s: {**s, "model.4.bias": torch.zeros(4, dtype=torch.int32)},
    "none": lambda s: {},
}


@pytest.mark.parametrize("kind", TENSOR_CHANGES)
def test_tensors_that_do_not_fit_the_header_are_refused(kind: str, tmp_path: Path) -> None:
    state = TENSOR_CHANGES[kind](tiny(RESNET).state_dict())
    message = refused(with_header(tmp_path / "net.safetensors", header_of(), state))
    assert "not those of the resnet in its header" in message
    assert "model." in message  # the first layer that does not fit


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", "legacy.pth"])
def test_truncated_files_are_refused_wherever_they_end(suffix: str, tmp_path: Path) -> None:
    source = tmp_path / f"whole{suffix}"
    if suffix == ".safetensors":
        saved(source)
    else:
        upstream_file(source, tiny(RESNET).state_dict(), legacy=suffix == "legacy.pth")
    content = source.read_bytes()
    path = tmp_path / f"cut{source.suffix}"
    for length in [*range(1, 40), *range(40, len(content), len(content) // 40), len(content) - 1]:
        path.write_bytes(content[:length])
        assert "upported" in refused(path)


def flippable() -> dict[str, bytes]:
    """One small valid file of each format."""
    config = ResnetConfig(1, 1, width=1, blocks=1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        saved(folder / "a.safetensors", config)
        upstream_file(folder / "b.pth", tiny(config).state_dict())
        upstream_file(folder / "c.pth", tiny(config).state_dict(), legacy=True)
        return {p.name: p.read_bytes() for p in folder.iterdir()}


FLIPPABLE = flippable()


@pytest.mark.parametrize("name", sorted(FLIPPABLE))
@settings(max_examples=150, deadline=None, derandomize=True)
@given(edits=st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), min_size=1, max_size=5))
def test_damaged_bytes_load_or_are_refused(
    name: str, tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[int, int]]
) -> None:
    content = bytearray(FLIPPABLE[name])
    for position, value in edits:
        content[position % len(content)] = value
    folder = tmp_path_factory.mktemp("damaged")
    path = folder / name
    path.write_bytes(content)
    try:
        module, spec = load_generator(path)
    except CheckpointError as error:
        assert str(error).startswith(str(path))
    else:
        assert isinstance(spec, GeneratorSpec)
        assert list(module.state_dict()) == list(build_generator(spec.config).state_dict())
    assert names(folder) == [name]
