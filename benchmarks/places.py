"""Where checkpoints and real images are."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def trained(name: str) -> Path:
    """The checkpoint of a model that this project trained: "sketch", "maps_resnet9" …"""
    return ROOT / "models" / name / "latest_net_G.safetensors"


def shared_data() -> Path | None:
    """The folder $I2I_SHARED_DATA, else ../shared/data; None where it does not exist."""
    path = Path(os.environ.get("I2I_SHARED_DATA", ROOT.parent / "shared" / "data")).resolve()
    return path if path.is_dir() else None


def shared_file(inside: str) -> Path | None:
    """A file or folder of the shared data: "photos"; None where it does not exist."""
    data = shared_data()
    return data / inside if data and (data / inside).exists() else None
