"""The vendored onnxruntime-web: its files are those of the npm package, each named with its sum in NOTICE."""

from __future__ import annotations

import gzip
import hashlib
import re
from pathlib import Path

import pytest

VENDORED_PATH = Path("sdk/i2i_sdk/server/static/vendor/ort")
CHECKSUM_LINE = re.compile(r"^([0-9a-f]{64})  (\S+)$", re.MULTILINE)


@pytest.fixture
def vendored(root: Path) -> Path:
    return root / VENDORED_PATH


def read_checksums(folder: Path) -> dict[str, str]:
    """NOTICE: the SHA-256 of every original file by its name."""
    return {name: digest for digest, name in CHECKSUM_LINE.findall((folder / "NOTICE").read_text("utf-8"))}


def read_originals(folder: Path) -> dict[str, bytes]:
    """Every vendored file by its original name, unpacked."""
    files = [path for path in folder.iterdir() if path.name not in ("LICENSE", "NOTICE")]
    packed = {path.stem: gzip.decompress(path.read_bytes()) for path in files if path.suffix == ".gz"}
    return packed | {path.name: path.read_bytes() for path in files if path.suffix != ".gz"}


def test_every_file_is_the_published_one(vendored: Path) -> None:
    found = {name: hashlib.sha256(data).hexdigest() for name, data in read_originals(vendored).items()}
    assert found == read_checksums(vendored)
    assert len(found) == 6


def test_large_files_are_stored_packed_and_reproducibly(vendored: Path) -> None:
    assert not list(vendored.glob("*.wasm"))
    for path in vendored.glob("*.wasm.gz"):
        assert path.read_bytes()[3:8] == b"\0" * 5  # neither a name nor a time inside


def test_license_and_version_are_told(vendored: Path, root: Path) -> None:
    assert "Permission is hereby granted, free of charge" in (vendored / "LICENSE").read_text("utf-8")
    notice = (vendored / "NOTICE").read_text(encoding="utf-8")
    version = re.search(r"onnxruntime-web (\d+\.\d+\.\d+), from the npm package", notice)
    assert version is not None
    for name in ("ort.wasm.min.mjs", "ort.webgpu.min.mjs"):
        assert f"ONNX Runtime Web v{version[1]}" in (vendored / name).read_text(encoding="utf-8")[:200]
    # Browsers keep these files: the page asks for them with their version.
    worker = (root / VENDORED_PATH.parents[1] / "worker.js").read_text(encoding="utf-8")
    assert f'const VERSION = "{version[1]}"' in worker
