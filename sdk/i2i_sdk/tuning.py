"""What was measured of a bundle on this device: kept in the user's cache, never in the bundle."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from i2i_sdk.bundle import MANIFEST, Bundle
from i2i_sdk.files import written_atomically
from i2i_sdk.measure import ENGINES, cpu_name, package_version

log = logging.getLogger(__name__)

VERSION = 3  # of the files' content and of how it was measured; others are not read


def cache_dir() -> Path:
    """$I2I_CACHE_DIR, else the user's cache folder for i2i-sdk."""
    if chosen := os.environ.get("I2I_CACHE_DIR"):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "i2i-sdk"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "i2i-sdk"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "i2i-sdk"


@dataclass(frozen=True)
class Measured:
    """One variant on this device."""

    median_ms: float  # of one frame
    p95_ms: float
    psnr: float  # dB against the bundle's reference, or as at export where no frames were at hand


def load_measured(bundle: Bundle) -> dict[str, Measured]:
    """What `save_measured` kept, by variant name; empty where nothing was tuned."""
    path = _path(bundle)
    if not path.is_file():
        return {}
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
        if data.get("version") != VERSION:
            log.warning("%s: written by another version, so it is not used; run: i2i tune", path)
            return {}
        return {str(name): _measured(values) for name, values in data["variants"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("%s: not readable (%s), so it is not used; run: i2i tune", path, error)
        return {}


def save_measured(bundle: Bundle, measured: Mapping[str, Measured]) -> Path:
    """Keep what this device measured of this exact bundle. Returns the file's path."""
    path = _path(bundle)
    variants = {name: asdict(values) for name, values in measured.items()}
    with written_atomically(path) as temporary:
        content = {"version": VERSION, "bundle": str(bundle.path), "variants": variants}
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return path


def _measured(values: dict[str, Any]) -> Measured:
    """From JSON. Raises TypeError for keys, ValueError for figures that are none."""
    found = Measured(**{name: float(value) for name, value in values.items()})
    if not all(map(math.isfinite, values.values())) or min(found.median_ms, found.p95_ms) <= 0:
        raise ValueError(f"impossible figures: {values}")
    return found


def _path(bundle: Bundle) -> Path:
    """One file per content of a bundle, processor and engine version: a change of any makes figures stale."""
    versions = [f"{name} {package_version(name)}" for name in ENGINES]
    key = "\n".join([cpu_name(), str(os.cpu_count()), *versions]).encode()
    content = (bundle.path / MANIFEST).read_bytes()
    return cache_dir() / "tuned" / f"{hashlib.sha256(key + content).hexdigest()[:24]}.json"
