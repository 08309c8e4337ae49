"""Selection: which variant of a bundle is taken here, by what was measured or by preference."""

from __future__ import annotations

import hashlib
import json
import logging
import operator
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from i2i_sdk.backends.base import EngineOptions
from i2i_sdk.backends.preference_table import AUTO_DEVICE, DEVICES, PACKAGES, PREFERENCE
from i2i_sdk.bundle.decoding import decode
from i2i_sdk.bundle.folder import MANIFEST, Bundle
from i2i_sdk.bundle.manifest import MAX_SIDE, Variant
from i2i_sdk.device import find_package_version, get_cache_dir, read_cpu_name
from i2i_sdk.errors import BackendError, InputError
from i2i_sdk.files import write_atomically
from i2i_sdk.quality.floors import DEFAULT_MIN_PSNR

log = logging.getLogger(__name__)

Sides = tuple[int, int]  # height, width
Size = int | Sides | str

CACHE_VERSION = 3  # of the cached figures and of how they were measured; others are not read


@dataclass(frozen=True)
class VariantRequest:
    """What a caller asks for; None leaves it to the bundle and the device. See `Translator`."""

    backend: str | None = None
    precision: str | None = None
    size: Size | None = None
    fit: str | None = None
    threads: int | None = None
    min_psnr: float = DEFAULT_MIN_PSNR
    max_ms: float | None = None
    provider: str | None = None
    allow_fallback: bool = False
    device: str = AUTO_DEVICE

    @property
    def engine_options(self) -> EngineOptions:
        """What of this is the engine's business."""
        return EngineOptions(self.threads, self.provider, self.allow_fallback)


def parse_size(size: Size) -> Sides:
    """256, (height, width), "256" or "HxW" -> (height, width). Raises InputError."""
    value: Any = size
    if isinstance(value, str):
        match = re.fullmatch(r"([0-9]{1,9})(?:x([0-9]{1,9}))?", value)
        sides = [int(match[1]), int(match[2] or match[1])] if match else []
    else:
        sides = cast("Sequence[Any]", value) if isinstance(value, tuple | list) else [value, value]
    try:
        height, width = (operator.index(side) for side in sides)  # NumPy's integers too, but no fractions
    except (TypeError, ValueError):
        raise InputError(f"size is {value!r}; allowed: 256, (height, width), or a text as 480x640") from None
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
        raise InputError(f"size is {height}x{width}; sides from 1 to {MAX_SIDE} are possible")
    return height, width


def choose_variant(
    variants: Sequence[Variant],
    request: VariantRequest,
    latencies: Mapping[str, TunedLatency],
    explain_unsupported: Callable[[Variant], str | None],
) -> Variant:
    """The fastest variant that runs here and keeps `min_psnr`; with `max_ms` the best that is fast enough.

    What the caller names is binding. If no variant reaches `min_psnr`, a floor in dB, the best one is taken
    (within `max_ms`, where given), with a warning; a precision that was named is not held to it. If no
    variant that keeps the floor takes at most `max_ms`, the fastest of them is taken, with a warning: live
    video drops frames then.

    Args:
        variants: of one bundle; the first one's size is the default size.
        request: backend, precision, size and device keep only what they name.
        latencies: what `i2i tune` found on this device, by variant name; without it a fixed preference
            decides, and quality is what was found at export.
        explain_unsupported: gives the reason a variant cannot run here, or None.

    Returns:
        One of `variants`.

    Raises:
        InputError: no variant is what was asked for, or `max_ms` has no measurements to choose from.
        BackendError: none of those can run here.
    """
    backend, precision, max_ms = request.backend, request.precision, request.max_ms
    size = (variants[0].height, variants[0].width) if request.size is None else parse_size(request.size)
    served = DEVICES.get(request.device)
    matching = [
        v
        for v in variants
        if (v.height, v.width) == size
        and backend in (None, v.backend)
        and precision in (None, v.precision)
        and (served is None or v.backend in served)
    ]
    where = "" if served is None else f"device={request.device} ({', '.join(served)})"
    if not matching:
        named = {"backend": backend, "precision": precision, "size": f"{size[0]}x{size[1]}"}
        asked = ", ".join(f"{name}={value}" for name, value in named.items() if value is not None)
        asked = f"{where}, {asked}" if where else asked
        raise InputError(f"no variant for {asked}; the bundle has: {', '.join(v.name for v in variants)}")
    runnable = _keep_runnable(matching, explain_unsupported, where)
    quality = {v.name: find_quality(v, latencies) for v in runnable}
    good = [v for v in runnable if precision is not None or quality[v.name] >= request.min_psnr]
    if max_ms is not None:
        times = {v.name: latencies[v.name].median_ms for v in runnable if v.name in latencies}
        chosen = _choose_within(max_ms, good or runnable, times, quality)
    elif good:
        chosen = min(good, key=lambda v: _rank(v, latencies))
    else:
        chosen = max(runnable, key=lambda v: quality[v.name])
    if not good:
        found = request.min_psnr, chosen.name, quality[chosen.name]
        log.warning("no variant that runs here reaches %.0f dB; taking %s (%.1f dB)", *found)
    return chosen


def _keep_runnable(
    variants: Sequence[Variant], explain_unsupported: Callable[[Variant], str | None], where: str
) -> list[Variant]:
    """Those that run here. Raises BackendError with every reason where none does."""
    reasons = {v.name: explain_unsupported(v) for v in variants}
    if all(reasons.values()):
        listed = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        advice = ". device='auto' takes whatever of the bundle runs here" if where else ""
        raise BackendError(f"no variant can run on {where or 'this device'}: {listed}{advice}")
    return [v for v in variants if reasons[v.name] is None]


def find_quality(variant: Variant, latencies: Mapping[str, TunedLatency]) -> float:
    """PSNR in dB as measured here, else as at export, else 0."""
    if variant.name in latencies:
        return latencies[variant.name].psnr
    return variant.parity.psnr if variant.parity else 0.0


def _choose_within(
    max_ms: float, candidates: Sequence[Variant], times: Mapping[str, float], quality: Mapping[str, float]
) -> Variant:
    """The best of those that take at most `max_ms`, else the fastest with a warning. Raises InputError."""
    timed = [v for v in candidates if v.name in times]
    if not timed:
        names = ", ".join(v.name for v in candidates)
        advice = "was measured on this device; first run: i2i tune (it runs ort on the CPU only)"
        raise InputError(f"max_ms={max_ms:g}: none of {names} {advice}")
    if within := [v for v in timed if times[v.name] <= max_ms]:
        return max(within, key=lambda v: (quality[v.name], -times[v.name]))
    chosen = min(timed, key=lambda v: times[v.name])
    below = [name for name, ms in times.items() if ms <= max_ms]
    choice = f"{chosen.name} ({times[chosen.name]:.1f} ms)"
    if below:
        listed = ", ".join(f"{name} ({quality[name]:.1f} dB)" for name in below)
        choice += f"; fast enough, but below min_psnr: {listed}"
    log.warning("no variant of this quality takes at most %g ms here; taking the fastest, %s", max_ms, choice)
    return chosen


def _rank(variant: Variant, latencies: Mapping[str, TunedLatency]) -> tuple[int, float]:
    """Tuned variants by their latency, then the others by preference."""
    if variant.name in latencies:
        return 0, latencies[variant.name].median_ms
    pair = (variant.backend, variant.precision)
    return 1, PREFERENCE.index(pair) if pair in PREFERENCE else len(PREFERENCE)


@dataclass(frozen=True)
class TunedLatency:
    """One variant on this device."""

    median_ms: float  # of one frame
    p95_ms: float
    psnr: float  # dB against the bundle's reference, or as at export where no frames were at hand


@dataclass(frozen=True)
class _Cache:
    """The file of what was measured of one bundle."""

    version: int
    bundle: str  # its path, for people
    variants: dict[str, TunedLatency]


def load_latencies(bundle: Bundle) -> dict[str, TunedLatency]:
    """What `save_latencies` kept, by variant name; empty where nothing was tuned."""
    path = _locate_cache(bundle)
    if not path.is_file():
        return {}
    try:
        cache = decode(_Cache, json.loads(path.read_text(encoding="utf-8")), "cache")
        if cache.version != CACHE_VERSION:
            raise ValueError("it was written by another version")
    except (OSError, ValueError, RecursionError) as error:
        log.warning("%s: not readable (%s), so it is not used; run: i2i tune", path, error)
        return {}
    return cache.variants


def save_latencies(bundle: Bundle, latencies: Mapping[str, TunedLatency]) -> Path:
    """Keep what this device measured of this exact bundle. Returns the file's path."""
    path = _locate_cache(bundle)
    with write_atomically(path) as temporary:
        content = asdict(_Cache(CACHE_VERSION, str(bundle.path), dict(latencies)))
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return path


def _locate_cache(bundle: Bundle) -> Path:
    """One file per content of a bundle, processor and engine version: a change of any makes figures stale."""
    versions = [f"{name} {find_package_version(name)}" for name in PACKAGES]
    key = "\n".join([read_cpu_name(), str(os.cpu_count()), *versions]).encode()
    content = (bundle.path / MANIFEST).read_bytes()
    return get_cache_dir() / "tuned" / f"{hashlib.sha256(key + content).hexdigest()[:24]}.json"
