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
from checkpoint_files import (
    RESNET,
    assert_refused,
    list_names,
    names_supported_files,
    save_network,
    save_upstream,
    save_upstream_network,
)
from hypothesis import given
from hypothesis import strategies as st
from tiny_networks import has_same_weights, make_picture, make_spec, make_tiny_network
from torch import Tensor, nn

from i2i_sdk.errors import CheckpointError
from i2i_training.checkpoint import load_generator
from i2i_training.networks import ResnetConfig, build_generator

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
    assert names_supported_files(assert_refused(shared_data / "checkpoints" / name, found))


# ---------------------------------------------------------------- files that are something else


def write_torchscript(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(nn.Conv2d(1, 1, 1)).save(path)


def write_training_state(path: Path) -> None:
    net = make_tiny_network(RESNET)
    optimizer = torch.optim.Adam(net.parameters())
    net(make_picture(RESNET)).sum().backward()
    optimizer.step()
    torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}, path)


def write_expanded(path: Path) -> None:
    """A few bytes that claim to be gigabytes: every tensor repeats one number."""
    with torch.device("meta"):
        state = build_generator(ResnetConfig(width=2048, blocks=1)).state_dict()
    torch.save({k: torch.zeros(()).half().expand(v.shape) for k, v in state.items()}, path)


def make_state_writer(change: Callable[[Tensor], Tensor]) -> Callable[[Path], None]:
    state = make_tiny_network(RESNET).state_dict()
    return lambda path: torch.save({k: change(v) for k, v in state.items()}, path)


OTHER_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (Path.touch, "the file is empty"),
    "folder": (Path.mkdir, "a folder"),
    "missing": (lambda path: None, "no such file"),
    "random": (lambda path: path.write_bytes(random.Random(0).randbytes(5000)), "not a PyTorch file"),
    "text": (lambda path: path.write_text("Not found\n"), "it begins with b'Not foun'"),
    "page": (lambda path: path.write_text("<!DOCTYPE html><title>404</title>"), "b'<!DOCTYP'"),
    "torchscript": (write_torchscript, "a TorchScript archive"),
    "whole module": (lambda path: torch.save(make_tiny_network(RESNET), path), "ResnetGenerator"),
    "training state": (write_training_state, "it holds model, optimizer, epoch"),
    "list": (lambda path: torch.save([torch.zeros(1)], path), "it holds a list"),
    "tensor": (lambda path: torch.save(torch.zeros(3), path), "it holds a Tensor"),
    "nothing": (lambda path: torch.save({}, path), "it holds nothing"),
    "numbers": (lambda path: torch.save({"a": 1.5}, path), "it holds a"),
    "unnamed": (lambda path: torch.save({1: torch.zeros(2)}, path), "it holds 1"),
    "pickle": (lambda path: path.write_bytes(pickle.dumps({"a": 1}, protocol=4)), "some other Python pickle"),
    "old pickle": (lambda path: path.write_bytes(pickle.dumps({"a": 1}, protocol=2)), "truncated, damaged"),
    "sparse": (make_state_writer(Tensor.to_sparse), "torch.sparse_coo"),
    "meta": (make_state_writer(lambda v: v.to("meta")), "meta"),
    "complex": (make_state_writer(lambda v: v.to(torch.complex64)), "torch.complex64"),
    "integers": (make_state_writer(lambda v: v.to(torch.int8)), "torch.int8"),
    "expanded": (write_expanded, "claim"),
}


@pytest.mark.parametrize("kind", OTHER_FILES)
def test_other_files_are_named_for_what_they_are(kind: str, tmp_path: Path) -> None:
    write, found = OTHER_FILES[kind]
    path = tmp_path / "latest_net_G.pth"
    write(path)
    message = assert_refused(path, found)
    assert "upported" in message or names_supported_files(message)


@pytest.mark.parametrize("kind", ["empty", "folder", "missing", "random", "text", "list", "pickle"])
def test_other_files_named_safetensors_are_refused_too(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    OTHER_FILES[kind][0](path)
    assert names_supported_files(assert_refused(path))


def test_files_of_gigabytes_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    with path.open("wb") as file:
        file.truncate(5 * 10**9)  # sparse: takes no room
    assert_refused(path, "5.0 GB")


def test_foreign_layers_are_named(tmp_path: Path) -> None:
    state = make_tiny_network(RESNET).state_dict()
    del state["model.12.weight"]
    state["model.4.weight"] = torch.zeros(4, 2, 5, 5)
    state["attention.weight"] = torch.zeros(3)
    message = assert_refused(
        save_upstream(tmp_path / "net.pth", state),
        "attention.weight: (3,), expected nothing",
        "model.12.weight: missing, expected (8, 4, 3, 3)",
        "model.4.weight: (4, 2, 5, 5), expected (4, 2, 3, 3)",
    )
    assert names_supported_files(message)


# ---------------------------------------------------------------- hostile files


class Hostile:
    """Unpickled the usual way, it runs a command."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch '{self.marker}'",)


def make_pickle_writer(protocol: int) -> Callable[[object, Path], None]:
    return lambda content, path: path.write_bytes(pickle.dumps(content, protocol))


HOSTILE_FORMATS: dict[str, Callable[[object, Path], None]] = {
    "zip": lambda content, path: torch.save(content, path),
    "legacy": lambda content, path: torch.save(content, path, _use_new_zipfile_serialization=False),
    **{f"pickle {n}": make_pickle_writer(n) for n in (0, 2, 4, 5)},
}


@pytest.mark.parametrize("form", HOSTILE_FORMATS)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_hostile_pickles_run_nothing(form: str, suffix: str, tmp_path: Path) -> None:
    folder = tmp_path / "download"
    folder.mkdir()
    marker, path = tmp_path / "marker", folder / f"net{suffix}"
    HOSTILE_FORMATS[form]({"model.0": Hostile(marker), **make_tiny_network(RESNET).state_dict()}, path)
    is_explained = suffix == ".pth" and form in ("zip", "legacy", "pickle 2")
    parts = ["system", "Nothing of it was executed"] if is_explained else []  # system: what it tried to call
    assert names_supported_files(assert_refused(path, *parts))
    assert (list_names(tmp_path), list_names(folder)) == (["download"], [path.name])  # no marker


def test_the_hostile_pickle_is_one(tmp_path: Path) -> None:
    """Otherwise the test above shows nothing."""
    marker = tmp_path / "marker"
    torch.save({"a": Hostile(marker)}, tmp_path / "net.pth")
    torch.load(tmp_path / "net.pth", weights_only=False)
    assert marker.exists()


# ---------------------------------------------------------------- damaged and hostile .safetensors


def save_with_header(path: Path, header: object, state: dict[str, Tensor] | None = None) -> Path:
    text = header if isinstance(header, str) else json.dumps(header)
    state = make_tiny_network(RESNET).state_dict() if state is None else state
    safetensors.torch.save_file(state, path, metadata={"i2i": text})
    return path


def make_header(**config: object) -> dict[str, object]:
    """A valid header of RESNET with some options replaced."""
    header = make_spec(RESNET).to_json()
    return {**header, "config": {**header["config"], **config}}


HEADERS: dict[str, tuple[object, str]] = {
    "architecture": ({**make_header(), "architecture": "vit"}, "'vit'; supported: resnet, mobile_resnet"),
    "no architecture": ({"config": {}}, "supported: resnet"),
    "option": (make_header(attention=True), "config: unknown key 'attention'"),
    "field": ({**make_header(), "run_this": "x"}, "header: unknown key 'run_this'"),
    "norm": (make_header(norm="group"), "norm is 'group'; allowed: instance, batch, none"),
    "huge width": (make_header(width=10**12), "width is 1000000000000; allowed"),
    "zero": (make_header(width=0), "width is 0; allowed"),
    "fraction": (make_header(width=2.0), "config.width: got float, expected int"),
    "truth": (make_header(width=True), "config.width: got bool, expected int"),
    "truthy": (make_header(dropout="no"), "config.dropout: got str, expected bool"),
    "not a number": (
        {"architecture": "unet", "config": {"downs": 8.0}},
        "config.downs is 8.0; allowed: 5, 6",
    ),
    "object": (make_header(norm={}), "norm is {}"),
    "config list": ({**make_header(), "config": []}, "config: got list, expected an object"),
    "mode": ({**make_header(), "norm_mode": "batch_stats"}, "norm_mode is 'batch_stats'"),
    "steps": ({**make_header(), "steps": "many"}, "header.steps: got str, expected int"),
    "size": ({**make_header(), "size": -1}, "size -1; needed: 0 or more"),
    "license": ({**make_header(), "license": ["MIT"]}, "header.license: got list, expected str"),
    "repairs": ({**make_header(), "repairs": [1]}, "header.repairs[0]: got int, expected str"),
    "control": ({**make_header(), "trained_on": "a\x1b[2J"}, "may not stand in a text"),
    "direction": ({**make_header(), "direction": "up"}, "direction is 'up'; allowed: AtoB, BtoA"),
    "not json": ("{", "not valid"),
    "json list": ("[]", "not valid"),
    "deep": ("[" * 100_000, "not valid"),
    "long number": ('{"architecture": ' + "9" * 10_000 + "}", "not valid"),
    "other blocks": (make_header(blocks=3), "model.12.conv_block.1.weight: missing"),
    "other width": (make_header(width=4), "model.1.weight: float32 [2, 3, 7, 7], expected float32 [4, 3"),
    "huge list": ({"architecture": "mobile_resnet", "config": {"inner": [1] * 10**5}}, "inner has 100000"),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_headers_that_lie_are_refused(kind: str, tmp_path: Path) -> None:
    header, found = HEADERS[kind]
    assert_refused(save_with_header(tmp_path / "net.safetensors", header), found)


def test_the_valid_header_of_those_tests_is_valid(tmp_path: Path) -> None:
    module, spec = load_generator(save_with_header(tmp_path / "net.safetensors", make_header()))
    assert spec.config == RESNET
    assert has_same_weights(module, make_tiny_network(RESNET))


def test_safetensors_without_our_header_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    safetensors.torch.save_file(make_tiny_network(RESNET).state_dict(), path)
    assert_refused(path, "without i2i-sdk's header", "upported")


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
    state = TENSOR_CHANGES[kind](make_tiny_network(RESNET).state_dict())
    path = save_with_header(tmp_path / "net.safetensors", make_header(), state)
    assert_refused(
        path, "not those of the resnet in its header", "model."
    )  # the first layer that does not fit


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", "legacy.pth"])
def test_truncated_files_are_refused_wherever_they_end(suffix: str, tmp_path: Path) -> None:
    source = tmp_path / f"whole{suffix}"
    if suffix == ".safetensors":
        save_network(source)
    else:
        save_upstream_network(source, legacy=suffix == "legacy.pth")
    content = source.read_bytes()
    path = tmp_path / f"cut{source.suffix}"
    for length in [*range(1, 40), *range(40, len(content), len(content) // 40), len(content) - 1]:
        path.write_bytes(content[:length])
        assert_refused(path, "upported")


def make_small_files() -> dict[str, bytes]:
    """One small valid file of each format."""
    config = ResnetConfig(1, 1, width=1, blocks=1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_network(folder / "a.safetensors", config)
        save_upstream_network(folder / "b.pth", config)
        save_upstream_network(folder / "c.pth", config, legacy=True)
        return {p.name: p.read_bytes() for p in folder.iterdir()}


SMALL_FILES = make_small_files()


@pytest.mark.parametrize("name", sorted(SMALL_FILES))
@given(edits=st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), min_size=1, max_size=5))
def test_damaged_bytes_load_or_are_refused(
    name: str, tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[int, int]]
) -> None:
    content = bytearray(SMALL_FILES[name])
    for position, value in edits:
        content[position % len(content)] = value
    path = tmp_path_factory.mktemp("damaged") / name
    path.write_bytes(content)
    try:
        module, spec = load_generator(path)
    except CheckpointError as error:
        assert str(error).startswith(str(path))
    else:
        assert list(module.state_dict()) == list(build_generator(spec.config).state_dict())
    assert list_names(path.parent) == [name]
