"""What there is to measure with: checkpoints, real images, and the zoo's variants that run here."""

from __future__ import annotations

import os
from pathlib import Path

from i2i_sdk.backends import explain_unsupported_variant
from i2i_sdk.bundle.folder import Bundle
from i2i_sdk.bundle.manifest import Variant
from i2i_sdk.zoo import find_zoo_bundle

ROOT = Path(__file__).resolve().parents[2]


def get_trained_checkpoint(name: str) -> Path:
    """The checkpoint of a model that this project trained: "sketch", "maps_resnet9" …"""
    return ROOT / "models" / name / "latest_net_G.safetensors"


def name_subject(checkpoint: Path) -> str:
    """How figures of a checkpoint are called: by its folder, if it has the usual name, else by its own."""
    return checkpoint.parent.name if checkpoint.stem.startswith("latest_net") else checkpoint.stem


def list_runnable_variants(name: str, side: int) -> list[Variant]:
    """The variants of a zoo bundle at side x side pixels that this device can run."""
    path = find_zoo_bundle(name)
    assert path is not None, f"{name} is not in the zoo"
    variants = Bundle.read(path).manifest.variants
    return [
        v for v in variants if (v.height, v.width) == (side, side) and explain_unsupported_variant(v) is None
    ]


def find_shared_file(relative_path: str) -> Path | None:
    """A file or folder of the shared data: "photos"; None where it does not exist.

    They are in $I2I_SHARED_DATA, else in ../shared/data.
    """
    folder = Path(os.environ.get("I2I_SHARED_DATA", ROOT.parent / "shared" / "data"))
    path = folder.resolve() / relative_path
    return path if path.exists() else None
