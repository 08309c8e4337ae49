"""What several system tests need: the real model, exported once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def run_i2i(*words: object) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does."""
    command = [sys.executable, "-m", "i2i_sdk", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def zebra_checkpoint(shared_data: Path) -> Path:
    """The real horse-to-zebra generator."""
    return shared_data / "checkpoints" / "gan_compression_horse2zebra" / "latest_net_G.pth"


@pytest.fixture(scope="session")
def horse2zebra_export(
    zebra_checkpoint: Path, shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The README's export command on a checkpoint of others: the bundle at 256x256, and what was printed."""
    out = tmp_path_factory.mktemp("horse2zebra") / "h2z.i2i"
    words = ["export", zebra_checkpoint, "--to", "ort,openvino", "--size", 256, "-o", out]
    done = run_i2i(*words, "--frames", shared_data / "photos")
    assert done.returncode == 0, done.stderr
    return out, done


@pytest.fixture(scope="session")
def horse2zebra(horse2zebra_export: tuple[Path, object]) -> Path:
    """The bundle: ort fp32 and int8, openvino fp32, int8 and, where the CPU has it, bf16."""
    return horse2zebra_export[0]
