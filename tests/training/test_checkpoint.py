"""Checkpoints: both formats, every repair and assumption said, BatchNorm as it is meant to run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from checkpoint_files import (
    RESNET,
    assert_refused,
    list_names,
    save_network,
    save_upstream,
    save_upstream_network,
)
from tiny_networks import CONFIGS, has_same_weights, make_picture, make_spec, make_tiny_network
from torch import Tensor, nn

from i2i_sdk.errors import CheckpointError
from i2i_sdk.files import hash_file
from i2i_training.checkpoint import load_generator, save_generator, set_test_mode
from i2i_training.networks import ResnetConfig, UnetConfig

State = dict[str, Tensor]
BATCH_RESNET = ResnetConfig(width=2, blocks=1, norm="batch", dropout=True)


# ---------------------------------------------------------------- our own files


def test_a_checkpoint_of_version_0_1_opens(root: Path) -> None:
    """Its header spells the license as it was spelled then."""
    path = root / "models" / "sketch" / "latest_net_G.safetensors"
    with safetensors.safe_open(path, "pt") as file:
        assert '"licence": "Apache-2.0"' in file.metadata()["i2i"]
    _, spec = load_generator(path)
    assert (spec.license, spec.recipe, spec.steps) == ("Apache-2.0", "pix2pix", 8000)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_saved_generators_come_back_bit_for_bit(config: ResnetConfig, tmp_path: Path) -> None:
    module = make_tiny_network(config)
    spec = make_spec(
        config,
        recipe="pix2pix",
        direction="BtoA",
        steps=1234,
        size=96,
        trained_on="maps, 400 pairs",
        license="research-only",
        repairs=("one",),
        assumptions=("two", "three"),
    )
    path = save_generator(tmp_path / "net.safetensors", module, spec)
    loaded, found = load_generator(path)
    assert found == replace(spec, source_sha256=hash_file(path))
    assert has_same_weights(loaded, module)
    assert list_names(tmp_path) == ["net.safetensors"]


def test_saving_replaces_the_file_whole_or_not_at_all(tmp_path: Path) -> None:
    path = save_network(tmp_path / "deep" / "er" / "net.safetensors")
    good = path.read_bytes()
    with pytest.raises(CheckpointError, match=r"not the resnet that its spec describes: model\.12"):
        save_generator(path, make_tiny_network(RESNET), make_spec(replace(RESNET, blocks=3)))
    assert path.read_bytes() == good
    save_generator(path, make_tiny_network(RESNET, seed=5), make_spec(RESNET))
    assert has_same_weights(load_generator(path)[0], make_tiny_network(RESNET, seed=5))
    assert list_names(path.parent) == ["net.safetensors"]


@pytest.mark.parametrize("change", [nn.Module.half, nn.Module.bfloat16, nn.Module.double])
def test_only_float32_is_saved(change: Callable[[nn.Module], nn.Module], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model\.1\.weight: .*float.*, expected float32 \[2, 3, 7"):
        save_generator(tmp_path / "net.safetensors", change(make_tiny_network(RESNET)), make_spec(RESNET))
    assert not list_names(tmp_path)


def test_texts_that_could_not_be_read_again_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"header\.license: '\\n' may not stand in a text"):
        save_network(tmp_path / "net.safetensors", license="two\nlines")
    assert not list_names(tmp_path)


def test_generators_are_written_as_safetensors_only(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"written as \.safetensors, not '\.pth'"):
        save_network(tmp_path / "net.pth")
    assert not list_names(tmp_path)


def test_any_memory_layout_is_saved(tmp_path: Path) -> None:
    module = make_tiny_network(RESNET).to(memory_format=torch.channels_last)
    path = save_generator(tmp_path / "net.safetensors", module, make_spec(RESNET))
    assert has_same_weights(load_generator(path)[0], module)


def test_own_files_say_how_they_were_trained_so_nothing_replaces_it(tmp_path: Path) -> None:
    path = save_network(tmp_path / "net.safetensors")
    assert_refused(path, "padding", padding="replicate")
    assert_refused(path, "upsample", upsample="nearest")


# ---------------------------------------------------------------- upstream's files


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_upstream_files_load_without_options(config: ResnetConfig, legacy: bool, tmp_path: Path) -> None:
    module = make_tiny_network(config)
    path = save_upstream(tmp_path / "latest_net_G.pth", module.state_dict(), legacy)
    loaded, spec = load_generator(path)
    assert (spec.config, spec.repairs) == (config, ())
    assert spec.source_sha256 == hash_file(path)
    assert has_same_weights(loaded, module)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".model", ""])
def test_the_name_of_an_upstream_file_does_not_matter(suffix: str, tmp_path: Path) -> None:
    path = save_upstream_network(tmp_path / f"net{suffix}")
    assert load_generator(path)[1].config == RESNET


def load_repaired(path: Path, caplog: pytest.LogCaptureFixture) -> tuple[nn.Module, tuple[str, ...]]:
    """Load; every repair in the spec was logged with the file's name, and nothing else was."""
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        module, spec = load_generator(path)
    assert [r.getMessage() for r in caplog.records] == [
        *(f"{path.name}: repaired: {line}" for line in spec.repairs),
        *(f"{path.name}: assumed: {line}" for line in spec.assumptions),
    ]
    return module, spec.repairs


def add_stale_statistics(state: State) -> State:
    """What PyTorch 0.3 wrote for InstanceNorm layers."""
    slots = ("model.2", "model.5", "model.8", "model.10.conv_block.2", "model.10.conv_block.6")
    stale = {f"{s}.{k}": torch.rand(4) for s in slots for k in ("running_mean", "running_var")}
    return {**state, **stale, "model.2.num_batches_tracked": torch.tensor(3)}


def add_prefix(state: State) -> State:
    """As DataParallel names its network's layers."""
    return {f"module.{k}": v for k, v in state.items()}


def drop_counters(state: State) -> State:
    return {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}


def make_cast(dtype: torch.dtype) -> Callable[[State], State]:
    return lambda state: {k: v.to(dtype) for k, v in state.items()}


QUIRKS: dict[str, tuple[ResnetConfig, list[Callable[[State], State]], list[str]]] = {
    "prefix": (RESNET, [add_prefix], ["'module.'"]),
    "statistics": (RESNET, [add_stale_statistics], ["dropped 11 running statistics of InstanceNorm"]),
    "counters": (BATCH_RESNET, [drop_counters], ["added 7 num_batches_tracked"]),
    "half": (RESNET, [make_cast(torch.float16)], ["20 tensors from float16 to float32"]),
    "brain": (RESNET, [make_cast(torch.bfloat16)], ["20 tensors from bfloat16 to float32"]),
    "double": (RESNET, [make_cast(torch.float64)], ["20 tensors from float64 to float32"]),
    "prefixed, stale and half": (
        RESNET,
        [add_stale_statistics, make_cast(torch.float16), add_prefix],
        ["module.", "InstanceNorm", "float16"],
    ),
}


@pytest.mark.parametrize("quirk", QUIRKS)
def test_every_quirk_is_repaired_and_said(
    quirk: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config, changes, words = QUIRKS[quirk]
    state = original = make_tiny_network(config).state_dict()
    for change in changes:
        state = change(state)
    path = save_upstream(tmp_path / "net.pth", state, legacy=len(changes) > 1)
    module, repairs = load_repaired(path, caplog)
    assert len(repairs) == len(words)
    assert all(word in line for word, line in zip(words, repairs, strict=True))
    found = module.state_dict()
    assert {k: v.dtype for k, v in found.items()} == {k: v.dtype for k, v in original.items()}
    for key in drop_counters(found):
        assert torch.equal(found[key], state[key if key in state else f"module.{key}"].float())


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (RESNET, ["padding"]),
        (replace(RESNET, padding="zero"), []),
        (replace(RESNET, upsample="nearest"), ["padding", "upsampling"]),
        (replace(RESNET, norm="batch"), ["padding", "BatchNorm"]),
        (UnetConfig(width=1, downs=5), ["dropout", "BatchNorm"]),
        (UnetConfig(width=1, downs=5, norm="instance"), ["dropout"]),
    ],
    ids=str,
)
def test_what_keys_cannot_tell_is_said_to_be_assumed(
    config: ResnetConfig, words: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = save_upstream_network(tmp_path / "net.pth", config)
    load_repaired(path, caplog)
    assumptions = load_generator(path)[1].assumptions
    assert [line.split()[0].rstrip(":") for line in assumptions] == words
    assert all("--" in line for line in assumptions)  # each names the flag that replaces it


def test_what_the_user_knows_replaces_what_was_assumed(tmp_path: Path) -> None:
    config = ResnetConfig(width=2, blocks=2, padding="replicate", upsample="bilinear", norm="batch")
    path = save_upstream_network(tmp_path / "net.pth", config)
    module, spec = load_generator(path, padding="replicate", upsample="bilinear", norm_mode="running_stats")
    assert (spec.config, spec.norm_mode, spec.assumptions) == (config, "running_stats", ())
    x = make_picture(config)
    with torch.no_grad():
        assert torch.equal(module(x), make_tiny_network(config).eval()(x))


def test_what_the_keys_say_cannot_be_replaced(tmp_path: Path) -> None:
    zero = save_upstream_network(tmp_path / "zero.pth", replace(RESNET, padding="zero"))
    assert_refused(zero, "padding='reflect'", "padding='zero'", padding="reflect")
    assert_refused(zero, "upsample='transpose'", upsample="nearest")
    unet = save_upstream_network(tmp_path / "unet.pth", UnetConfig(width=1, downs=5))
    assert_refused(unet, "a unet has no padding", padding="replicate")
    plain = save_upstream_network(tmp_path / "plain.pth")
    assert_refused(plain, "reflect and replicate", padding="mirror")


# ---------------------------------------------------------------- normalization at test time


def test_batch_statistics_are_the_inputs_and_change_nothing(tmp_path: Path) -> None:
    path = save_upstream_network(tmp_path / "net.pth", BATCH_RESNET)
    module, spec = load_generator(path)
    assert spec.norm_mode == "batch_stats"  # upstream's default
    expected = make_tiny_network(replace(BATCH_RESNET, dropout=True)).train()
    for layer in expected.modules():
        layer.train(not isinstance(layer, nn.Dropout))
    x = make_picture(BATCH_RESNET)
    with torch.no_grad():
        y = module(x)
        assert torch.equal(y, expected(x))
        assert not torch.equal(y, make_tiny_network(BATCH_RESNET).eval()(x))
        assert torch.equal(module(x), y)
    # Counters and running statistics included.
    assert has_same_weights(module, make_tiny_network(BATCH_RESNET))


def test_running_statistics_are_those_of_training(tmp_path: Path) -> None:
    path = save_upstream_network(tmp_path / "net.pth", BATCH_RESNET)
    module, spec = load_generator(path, norm_mode="running_stats")
    x = make_picture(BATCH_RESNET)
    assert spec.norm_mode == "running_stats"
    assert not any("BatchNorm" in line for line in spec.assumptions)
    with torch.no_grad():
        assert torch.equal(module(x), make_tiny_network(BATCH_RESNET).eval()(x))
        torch.testing.assert_close(module(x)[:1], module(x[:1]))  # pictures do not depend on neighbors
    assert has_same_weights(module, make_tiny_network(BATCH_RESNET))


def test_saved_norm_mode_is_kept_and_can_be_changed(tmp_path: Path) -> None:
    path = save_network(tmp_path / "net.safetensors", BATCH_RESNET, norm_mode="running_stats")
    x = make_picture(BATCH_RESNET)
    running, spec = load_generator(path)
    batch, changed = load_generator(path, norm_mode="batch_stats")
    assert (spec.norm_mode, changed.norm_mode) == ("running_stats", "batch_stats")
    with torch.no_grad():
        assert torch.equal(running(x), make_tiny_network(BATCH_RESNET).eval()(x))
        assert not torch.equal(running(x), batch(x))


def test_test_mode_can_be_switched_back_and_forth() -> None:
    x = make_picture(BATCH_RESNET)
    module = make_tiny_network(BATCH_RESNET)
    with torch.no_grad():
        running = set_test_mode(module, "running_stats")(x)
        batch = set_test_mode(module, "batch_stats")(x)
        assert torch.equal(set_test_mode(module, "running_stats")(x), running)
        assert torch.equal(set_test_mode(module, "batch_stats")(x), batch)
    assert not torch.equal(batch, running)


def test_impossible_norm_modes_are_refused(tmp_path: Path) -> None:
    instance = save_upstream_network(tmp_path / "instance.pth")
    assert_refused(instance, "running_stats", "'instance'", norm_mode="running_stats")
    batch = save_upstream_network(tmp_path / "batch.pth", BATCH_RESNET)
    assert_refused(batch, "allowed: batch_stats, running_stats", norm_mode="eval")
    assert_refused(batch, "'none'", norm_mode="none")


# ---------------------------------------------------------------- a real file


def test_real_compressed_generator_loads_with_no_options(shared_data: Path) -> None:
    path = shared_data / "checkpoints" / "gan_compression_horse2zebra" / "latest_net_G.pth"
    module, spec = load_generator(path)
    config = spec.config
    assert (config.architecture, config.down, config.up) == ("mobile_resnet", (16, 32, 128), (32, 16))
    assert config.inner == (64,) * 3 + (128,) * 6
    assert (config.norm, config.dropout, spec.norm_mode) == ("instance", True, "none")
    x = make_picture(config)
    with torch.no_grad():
        y = module(x)
    assert y.shape == x.shape and y.isfinite().all() and y.std() > 0.1
