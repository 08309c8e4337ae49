"""Checkpoints: both formats, every repair and assumption said, BatchNorm as it is meant to run."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from checkpoint_files import RESNET, assert_refused, list_files, list_names, save_network, save_upstream
from tiny_networks import CONFIGS, has_same_weights, make_picture, make_spec, make_tiny_network
from torch import Tensor, nn
from upstream_oracle import UpstreamResnet, UpstreamUnet

from i2i_sdk.errors import CheckpointError
from i2i_training.checkpoint import load_generator, save_generator, set_test_mode
from i2i_training.networks import ResnetConfig, UnetConfig

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
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert found == replace(spec, source_sha256=digest)
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
    with pytest.raises(
        CheckpointError, match=r"model\.1\.weight: .*float.*, expected float32 \[2, 3, 7, 7\]"
    ):
        save_generator(tmp_path / "net.safetensors", change(make_tiny_network(RESNET)), make_spec(RESNET))
    assert not list_names(tmp_path)


def test_generators_are_written_as_safetensors_only(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"written as \.safetensors, not '\.pth'"):
        save_network(tmp_path / "net.pth")
    assert not list_names(tmp_path)


def test_any_memory_layout_is_saved(tmp_path: Path) -> None:
    module = make_tiny_network(RESNET).to(memory_format=torch.channels_last)
    path = save_generator(tmp_path / "net.safetensors", module, make_spec(RESNET))
    assert has_same_weights(load_generator(path)[0], module)


def test_loading_changes_neither_file_nor_folder(tmp_path: Path) -> None:
    path = save_network(tmp_path / "net.safetensors")
    pth = save_upstream(tmp_path / "net.pth", make_tiny_network(RESNET).state_dict())
    before = list_files(tmp_path)
    load_generator(path)
    load_generator(pth)
    assert list_files(tmp_path) == before


def test_paths_may_be_text(tmp_path: Path) -> None:
    path = save_network(tmp_path / "net.safetensors")
    assert load_generator(str(path))[1].config == RESNET


def test_own_files_say_how_they_were_trained_so_nothing_replaces_it(tmp_path: Path) -> None:
    path = save_network(tmp_path / "net.safetensors")
    assert "padding" in assert_refused(path, padding="replicate")
    assert "upsample" in assert_refused(path, upsample="nearest")


@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
def test_upstream_resnet_loads_our_files(norm: str, tmp_path: Path) -> None:
    config = ResnetConfig(3, 1, width=2, blocks=3, norm=norm, dropout=True)
    path = save_generator(tmp_path / "net.safetensors", make_tiny_network(config), make_spec(config))
    theirs = UpstreamResnet((3, 1), 2, norm, 3, "reflect", dropout=True)
    theirs.load_state_dict(safetensors.torch.load_file(path), strict=True)
    x = make_picture(config)
    with torch.no_grad():
        assert torch.equal(theirs.eval()(x.clone()), make_tiny_network(config).eval()(x))


@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
def test_upstream_unet_loads_our_files(norm: str, tmp_path: Path) -> None:
    config = UnetConfig(3, 1, width=2, downs=6, norm=norm)
    path = save_generator(tmp_path / "net.safetensors", make_tiny_network(config), make_spec(config))
    theirs = UpstreamUnet((3, 1), 2, norm, 6, dropout=True)
    theirs.load_state_dict(safetensors.torch.load_file(path), strict=True)
    x = make_picture(config)
    with torch.no_grad():
        assert torch.equal(theirs.eval()(x.clone()), make_tiny_network(config).eval()(x))


# ---------------------------------------------------------------- upstream's files


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_upstream_files_load_without_options(config: ResnetConfig, legacy: bool, tmp_path: Path) -> None:
    module = make_tiny_network(config)
    path = save_upstream(tmp_path / "latest_net_G.pth", module.state_dict(), legacy)
    loaded, spec = load_generator(path)
    assert spec.config == config
    assert spec.repairs == ()
    assert spec.source_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert has_same_weights(loaded, module)


def test_upstream_networks_files_make_upstreams_pictures(tmp_path: Path) -> None:
    torch.manual_seed(3)
    for theirs in (
        UpstreamResnet((3, 3), 4, "instance", 2, "reflect", dropout=False),
        UpstreamUnet((3, 3), 2, "batch", 5, dropout=True),
    ):
        path = save_upstream(tmp_path / "latest_net_G.pth", theirs.state_dict())
        ours, spec = load_generator(path, norm_mode=None)
        x = torch.rand(1, 3, 64, 32) * 2 - 1
        for layer in theirs.modules():  # upstream's test script leaves train() on, but for dropout
            layer.train(not isinstance(layer, nn.Dropout))
        with torch.no_grad():
            assert torch.equal(ours(x), theirs(x.clone())), spec


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".model", ""])
def test_the_name_of_an_upstream_file_does_not_matter(suffix: str, tmp_path: Path) -> None:
    path = save_upstream(tmp_path / f"net{suffix}", make_tiny_network(RESNET).state_dict())
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


def add_stale_statistics(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """What PyTorch 0.3 wrote for InstanceNorm layers."""
    slots = ("model.2", "model.5", "model.8", "model.10.conv_block.2", "model.10.conv_block.6")
    stale = {f"{s}.{k}": torch.rand(4) for s in slots for k in ("running_mean", "running_var")}
    return {**state, **stale, "model.2.num_batches_tracked": torch.tensor(3)}


def test_data_parallel_prefix_is_removed_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = nn.DataParallel(make_tiny_network(RESNET)).state_dict()
    assert all(k.startswith("module.") for k in state)
    module, repairs = load_repaired(save_upstream(tmp_path / "net.pth", state), caplog)
    assert has_same_weights(module, make_tiny_network(RESNET))
    assert [line for line in repairs if "'module.'" in line] == list(repairs)
    assert len(repairs) == 1


def test_old_instance_norm_statistics_are_dropped_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = save_upstream(tmp_path / "net.pth", add_stale_statistics(make_tiny_network(RESNET).state_dict()))
    module, repairs = load_repaired(path, caplog)
    assert has_same_weights(module, make_tiny_network(RESNET))
    assert len(repairs) == 1
    assert "dropped 11 running statistics of InstanceNorm" in repairs[0]


def test_missing_batch_counters_are_added_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = make_tiny_network(BATCH_RESNET).state_dict()
    kept = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    module, repairs = load_repaired(save_upstream(tmp_path / "net.pth", kept), caplog)
    assert all(torch.equal(module.state_dict()[k], v) for k, v in kept.items())
    assert len(repairs) == 1
    assert f"added {len(state) - len(kept)} num_batches_tracked" in repairs[0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32_and_it_is_said(
    dtype: torch.dtype, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = {k: v.to(dtype) for k, v in make_tiny_network(RESNET).state_dict().items()}
    module, repairs = load_repaired(save_upstream(tmp_path / "net.pth", state), caplog)
    assert all(torch.equal(v, state[k].float()) for k, v in module.state_dict().items())
    assert len(repairs) == 1
    assert f"{len(state)} tensors from {str(dtype).removeprefix('torch.')} to float32" in repairs[0]


def test_all_quirks_at_once_are_each_repaired_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = {
        f"module.{k}": v.half()
        for k, v in add_stale_statistics(make_tiny_network(RESNET).state_dict()).items()
    }
    module, repairs = load_repaired(save_upstream(tmp_path / "net.pth", state, legacy=True), caplog)
    assert all(torch.equal(v, state[f"module.{k}"].float()) for k, v in module.state_dict().items())
    assert len(repairs) == 3
    for line, word in zip(repairs, ("module.", "InstanceNorm", "float16"), strict=True):
        assert word in line


def test_repairs_survive_saving(tmp_path: Path) -> None:
    half = {k: v.half() for k, v in make_tiny_network(RESNET).state_dict().items()}
    module, spec = load_generator(save_upstream(tmp_path / "net.pth", half))
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
        (UnetConfig(width=1, downs=5), ["dropout", "BatchNorm"]),
        (UnetConfig(width=1, downs=5, norm="instance"), ["dropout"]),
    ],
    ids=str,
)
def test_what_keys_cannot_tell_is_said_to_be_assumed(
    config: ResnetConfig, words: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = save_upstream(tmp_path / "net.pth", make_tiny_network(config).state_dict())
    load_repaired(path, caplog)
    assumptions = load_generator(path)[1].assumptions
    assert [line.split()[0].rstrip(":") for line in assumptions] == words
    assert all("--" in line for line in assumptions)  # each names the flag that replaces it


def test_what_the_user_knows_replaces_what_was_assumed(tmp_path: Path) -> None:
    config = ResnetConfig(width=2, blocks=2, padding="replicate", upsample="bilinear", norm="batch")
    path = save_upstream(tmp_path / "net.pth", make_tiny_network(config).state_dict())
    module, spec = load_generator(path, padding="replicate", upsample="bilinear", norm_mode="running_stats")
    assert spec.config == config
    assert spec.norm_mode == "running_stats"
    assert spec.assumptions == ()
    x = make_picture(config)
    with torch.no_grad():
        assert torch.equal(module(x), make_tiny_network(config).eval()(x))


def test_what_the_keys_say_cannot_be_replaced(tmp_path: Path) -> None:
    zero = save_upstream(
        tmp_path / "zero.pth", make_tiny_network(replace(RESNET, padding="zero")).state_dict()
    )
    message = assert_refused(zero, padding="reflect")
    assert "padding='reflect'" in message
    assert "padding='zero'" in message
    assert "upsample='transpose'" in assert_refused(zero, upsample="nearest")
    unet = save_upstream(tmp_path / "unet.pth", make_tiny_network(UnetConfig(width=1, downs=5)).state_dict())
    assert "a unet has no padding" in assert_refused(unet, padding="replicate")
    plain = save_upstream(tmp_path / "plain.pth", make_tiny_network(RESNET).state_dict())
    message = assert_refused(plain, padding="mirror")
    assert "reflect and replicate" in message


# ---------------------------------------------------------------- normalization at test time


def test_batch_statistics_are_the_inputs_and_change_nothing(tmp_path: Path) -> None:
    path = save_upstream(tmp_path / "net.pth", make_tiny_network(BATCH_RESNET).state_dict())
    module, spec = load_generator(path)
    assert spec.norm_mode == "batch_stats"  # upstream's default
    expected = make_tiny_network(replace(BATCH_RESNET, dropout=True)).train()
    for layer in expected.modules():
        if isinstance(layer, nn.Dropout):
            layer.eval()
    x = make_picture(BATCH_RESNET)
    with torch.no_grad():
        y = module(x)
        assert torch.equal(y, expected(x))
        assert not torch.equal(y, make_tiny_network(BATCH_RESNET).eval()(x))
        assert torch.equal(module(x), y)
    assert has_same_weights(
        module, make_tiny_network(BATCH_RESNET)
    )  # counters and running statistics included


def test_running_statistics_are_those_of_training(tmp_path: Path) -> None:
    path = save_upstream(tmp_path / "net.pth", make_tiny_network(BATCH_RESNET).state_dict())
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


@pytest.mark.parametrize("mode", ["batch_stats", "running_stats"])
def test_dropout_is_off(mode: str) -> None:
    config = UnetConfig(width=2, downs=6)
    module = set_test_mode(make_tiny_network(config), mode)
    x = make_picture(config)
    with torch.no_grad():
        assert torch.equal(module(x), module(x))


def test_impossible_norm_modes_are_refused(tmp_path: Path) -> None:
    instance = save_upstream(tmp_path / "instance.pth", make_tiny_network(RESNET).state_dict())
    message = assert_refused(instance, norm_mode="running_stats")
    assert "running_stats" in message
    assert "'instance'" in message
    batch = save_upstream(tmp_path / "batch.pth", make_tiny_network(BATCH_RESNET).state_dict())
    assert "allowed: batch_stats, running_stats" in assert_refused(batch, norm_mode="eval")
    assert "'none'" in assert_refused(batch, norm_mode="none")


# ---------------------------------------------------------------- a real file


def test_real_compressed_generator_loads_with_no_options(shared_data: Path) -> None:
    path = shared_data / "checkpoints" / "gan_compression_horse2zebra" / "latest_net_G.pth"
    module, spec = load_generator(path)
    config = spec.config
    assert config.architecture == "mobile_resnet"
    assert (config.down, config.up) == ((16, 32, 128), (32, 16))
    assert config.inner == (64,) * 3 + (128,) * 6
    assert (config.norm, config.dropout, spec.norm_mode) == ("instance", True, "none")
    x = make_picture(config)
    with torch.no_grad():
        y = module(x)
    assert y.shape == x.shape
    assert y.isfinite().all()
    assert y.std() > 0.1
