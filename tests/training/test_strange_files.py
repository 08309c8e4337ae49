"""Checkpoints from strangers: foreign, broken, hostile and damaged files raise one error and run nothing."""

from __future__ import annotations

import json
import os
import pickle
import random
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from checkpoint_files import RESNET, names, refused, saved, says_what_is_supported, upstream_file
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_networks import picture, same_weights, spec_of, tiny
from torch import Tensor, nn

from i2i_sdk.errors import CheckpointError
from i2i_training.checkpoint import load_generator
from i2i_training.networks import GeneratorSpec, ResnetConfig, build_generator

# ---------------------------------------------------------------- real files


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
    "truthy": (header_of(dropout="no"), "dropout is 'no'; needed: bool"),
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
