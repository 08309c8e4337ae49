"""What the checkpoint tests share: writing small files, and looking at a refusal from all sides."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from tiny_networks import make_spec, make_tiny_network
from torch import Tensor

from i2i_sdk.errors import CheckpointError
from i2i_training.checkpoint import load_generator, save_generator
from i2i_training.networks import GeneratorConfig, ResnetConfig

RESNET = ResnetConfig(width=2, blocks=2)


def list_names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def list_files(folder: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of everything in a folder."""
    found = sorted(folder.rglob("*"))
    return [(str(p.relative_to(folder)), p.stat().st_size, p.stat().st_mtime_ns) for p in found]


def assert_refused(path: Path, *parts: str, **options: str) -> str:
    """Loading raises one CheckpointError, of one line, that names the file and says the parts of its message
    that are given; nothing is written."""
    before = list_files(path.parent)
    with warnings.catch_warnings(record=True) as said, pytest.raises(CheckpointError) as caught:
        warnings.simplefilter("always")
        load_generator(path, **options)
    message = str(caught.value)
    assert not said  # one error, nothing else
    assert message.startswith(str(path)) and "\n" not in message
    assert "weights_only" not in message  # PyTorch's advice to unpickle anything is not passed on
    assert list_files(path.parent) == before
    for part in parts:
        assert part in message
    return message


def names_supported_files(message: str) -> bool:
    return "Supported" in message or "give a .safetensors or .pth generator" in message


def save_network(path: Path, config: GeneratorConfig = RESNET, seed: int = 0, **history: object) -> Path:
    return save_generator(path, make_tiny_network(config, seed), make_spec(config, **history))


def save_upstream_network(
    path: Path, config: GeneratorConfig = RESNET, seed: int = 0, legacy: bool = False
) -> Path:
    return save_upstream(path, make_tiny_network(config, seed).state_dict(), legacy)


def save_upstream(path: Path, state: dict[str, Tensor], legacy: bool = False) -> Path:
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    return path
