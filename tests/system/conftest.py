"""What several system tests need: the real model, exported once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def horse2zebra_export(
    shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The README's export command on a checkpoint of others: the bundle at 256x256, and what was printed."""
    out = tmp_path_factory.mktemp("horse2zebra") / "h2z.i2i"
    source = shared_data / "checkpoints" / "gan_compression_horse2zebra" / "latest_net_G.pth"
    words = [
        "export",
        source,
        "--to",
        "ort,openvino",
        "--size",
        256,
        "--frames",
        shared_data / "photos",
        "-o",
        out,
    ]
    command = [sys.executable, "-m", "i2i_sdk", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out, done


@pytest.fixture(scope="session")
def horse2zebra(horse2zebra_export: tuple[Path, object]) -> Path:
    """The bundle: ort fp32 and int8, openvino fp32, int8 and, where the CPU has it, bf16."""
    return horse2zebra_export[0]
