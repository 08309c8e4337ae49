"""This device's measured latencies per bundle: kept in the user's cache, never in the bundle."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from i2i_sdk.bundle import MANIFEST, Bundle
from i2i_sdk.files import written_atomically
from i2i_sdk.measure import cpu_name, package_version

log = logging.getLogger(__name__)


def cache_dir() -> Path:
    """$I2I_CACHE_DIR, else the user's cache folder for i2i-sdk."""
    if chosen := os.environ.get("I2I_CACHE_DIR"):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "i2i-sdk"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "i2i-sdk"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "i2i-sdk"


def load_latencies(bundle: Bundle) -> dict[str, float]:
    """Median milliseconds by variant name as `save_latencies` kept them; empty where nothing was tuned."""
    path = _path(bundle)
    if not path.is_file():
        return {}
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): float(ms) for name, ms in data["median_ms"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("%s: not readable (%s), so tuned latencies are not used; run: i2i tune", path, error)
        return {}


def save_latencies(bundle: Bundle, median_ms: dict[str, float]) -> Path:
    """Keep this device's latencies for this exact bundle. Returns the file's path."""
    path = _path(bundle)
    with written_atomically(path) as temporary:
        temporary.write_text(json.dumps({"bundle": str(bundle.path), "median_ms": median_ms}, indent=1))
    return path


def _path(bundle: Bundle) -> Path:
    """One file per content of a bundle, processor and engine version: a change of any makes figures stale."""
    versions = [f"{name} {package_version(name)}" for name in ("onnxruntime", "openvino")]
    key = "\n".join([cpu_name(), str(os.cpu_count()), *versions]).encode()
    content = (bundle.path / MANIFEST).read_bytes()
    return cache_dir() / "tuned" / f"{hashlib.sha256(key + content).hexdigest()[:24]}.json"
