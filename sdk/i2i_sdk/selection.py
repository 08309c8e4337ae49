"""Selection: which variant of a bundle is taken here, by what was measured or by preference."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from i2i_sdk.backends.preference_table import AUTO_DEVICE, DEVICES, PACKAGES, PREFERENCE
from i2i_sdk.bundle.folder import MANIFEST, Bundle
from i2i_sdk.bundle.manifest import Variant
from i2i_sdk.device import find_package_version, get_cache_dir, read_cpu_name
from i2i_sdk.errors import BackendError, InputError
from i2i_sdk.files import write_atomically
from i2i_sdk.quality.floors import DEFAULT_MIN_PSNR

log = logging.getLogger(__name__)

CACHE_VERSION = 3  # of the cached figures and of how they were measured; others are not read


def choose_variant(
    variants: Sequence[Variant],
    *,
    explain_unsupported: Callable[[Variant], str | None],
    latencies: Mapping[str, TunedLatency],
    backend: str | None = None,
    precision: str | None = None,
    device: str = AUTO_DEVICE,
    size: tuple[int, int] | None = None,
    min_psnr: float = DEFAULT_MIN_PSNR,
    max_ms: float | None = None,
) -> Variant:
    """The fastest variant that runs here and keeps `min_psnr`; with `max_ms` the best that is fast enough.

    What the caller names is binding.

    Args:
        variants: of one bundle; the first one's size is the default size.
        explain_unsupported: gives the reason a variant cannot run here, or None.
        latencies: what `i2i tune` found on this device, by variant name; without it a fixed preference
            decides, and quality is what was found at export.
        backend, precision, size: keep only these.
        device: keep only what its backends in `DEVICES` run; "auto" keeps all.
        min_psnr: floor in dB. If no variant reaches it the best one is taken (within `max_ms`, where
            given), with a warning. A precision that was named is not held to it.
        max_ms: median milliseconds that a frame may take in the engine. If no variant that keeps the floor
            is so fast, the fastest of them is taken, with a warning: live video drops frames then.

    Raises InputError when no variant is what was asked for or `max_ms` has no measurements to choose from,
    BackendError when none of those can run here.
    """
    size, served = size or (variants[0].height, variants[0].width), DEVICES.get(device)
    matching = [
        v
        for v in variants
        if (v.height, v.width) == size
        and backend in (None, v.backend)
        and precision in (None, v.precision)
        and (served is None or v.backend in served)
    ]
    where = "" if served is None else f"device={device} ({', '.join(served)})"
    if not matching:
        asked = f"backend={backend}, precision={precision}, size={size[0]}x{size[1]}"
        asked = f"{where}, {asked}" if where else asked
        raise InputError(f"no variant for {asked}; the bundle has: {', '.join(v.name for v in variants)}")
    runnable = _keep_runnable(matching, explain_unsupported, where)
    quality = {v.name: find_quality(v, latencies) for v in runnable}
    good = [v for v in runnable if precision is not None or quality[v.name] >= min_psnr]
    if max_ms is not None:
        times = {v.name: latencies[v.name].median_ms for v in runnable if v.name in latencies}
        chosen = _choose_within(max_ms, good or runnable, times, quality)
    elif good:
        chosen = min(good, key=lambda v: _rank(v, latencies))
    else:
        chosen = max(runnable, key=lambda v: quality[v.name])
    if not good:
        found = chosen.name, quality[chosen.name]
        log.warning("no variant that runs here reaches %.0f dB; taking %s (%.1f dB)", min_psnr, *found)
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


def load_latencies(bundle: Bundle) -> dict[str, TunedLatency]:
    """What `save_latencies` kept, by variant name; empty where nothing was tuned."""
    path = _locate_cache(bundle)
    if not path.is_file():
        return {}
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
        if data.get("version") != CACHE_VERSION:
            log.warning("%s: written by another version, so it is not used; run: i2i tune", path)
            return {}
        return {str(name): _parse_latency(values) for name, values in data["variants"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("%s: not readable (%s), so it is not used; run: i2i tune", path, error)
        return {}


def save_latencies(bundle: Bundle, latencies: Mapping[str, TunedLatency]) -> Path:
    """Keep what this device measured of this exact bundle. Returns the file's path."""
    path = _locate_cache(bundle)
    variants = {name: asdict(values) for name, values in latencies.items()}
    with write_atomically(path) as temporary:
        content = {"version": CACHE_VERSION, "bundle": str(bundle.path), "variants": variants}
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return path


def _parse_latency(values: dict[str, Any]) -> TunedLatency:
    """From JSON. Raises TypeError for keys, ValueError for figures that are none."""
    found = TunedLatency(**{name: float(value) for name, value in values.items()})
    if not all(map(math.isfinite, values.values())) or min(found.median_ms, found.p95_ms) <= 0:
        raise ValueError(f"impossible figures: {values}")
    return found


def _locate_cache(bundle: Bundle) -> Path:
    """One file per content of a bundle, processor and engine version: a change of any makes figures stale."""
    versions = [f"{name} {find_package_version(name)}" for name in PACKAGES]
    key = "\n".join([read_cpu_name(), str(os.cpu_count()), *versions]).encode()
    content = (bundle.path / MANIFEST).read_bytes()
    return get_cache_dir() / "tuned" / f"{hashlib.sha256(key + content).hexdigest()[:24]}.json"
