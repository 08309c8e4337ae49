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
def horse2zebra(zebra_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its bundle at 256x256 in FP32, for ONNX Runtime and OpenVINO."""
    out = tmp_path_factory.mktemp("horse2zebra") / "h2z.i2i"
    done = run_i2i("export", zebra_checkpoint, "--to", "ort:fp32,openvino:fp32", "--size", 256, "-o", out)
    assert done.returncode == 0, done.stderr
    return out
