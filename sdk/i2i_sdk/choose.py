"""Which variant of a bundle is taken on this device."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from i2i_sdk.backends import PREFERENCE
from i2i_sdk.errors import BackendError, InputError
from i2i_sdk.manifest import Variant
from i2i_sdk.tuning import Measured

log = logging.getLogger(__name__)

DEFAULT_MIN_PSNR = 35.0  # dB: what Translator takes unless told otherwise


def choose_variant(
    variants: Sequence[Variant],
    *,
    why_not: Callable[[Variant], str | None],
    measured: Mapping[str, Measured],
    backend: str | None = None,
    precision: str | None = None,
    size: tuple[int, int] | None = None,
    min_psnr: float = DEFAULT_MIN_PSNR,
    max_ms: float | None = None,
) -> Variant:
    """The fastest variant that runs here and keeps `min_psnr`; with `max_ms` the best that is fast enough.

    What the caller names is binding.

    Args:
        variants: of one bundle; the first one's size is the default size.
        why_not: gives the reason a variant cannot run here, or None.
        measured: what `i2i tune` found on this device, by variant name; without it a fixed preference
            decides, and quality is what was found at export.
        backend, precision, size: keep only these.
        min_psnr: floor in dB. If no variant reaches it the best one is taken (within `max_ms`, where
            given), with a warning. A precision that was named is not held to it.
        max_ms: median milliseconds that a frame may take in the engine. If no variant that keeps the floor
            is so fast, the fastest of them is taken, with a warning: live video drops frames then.

    Raises InputError when no variant is what was asked for or `max_ms` has no measurements to choose from,
    BackendError when none of those can run here.
    """
    size = size or (variants[0].height, variants[0].width)
    matching = [
        v
        for v in variants
        if (v.height, v.width) == size and backend in (None, v.backend) and precision in (None, v.precision)
    ]
    if not matching:
        asked = f"backend={backend}, precision={precision}, size={size[0]}x{size[1]}"
        raise InputError(f"no variant for {asked}; the bundle has: {', '.join(v.name for v in variants)}")
    reasons = {v.name: why_not(v) for v in matching}
    runnable = [v for v in matching if reasons[v.name] is None]
    if not runnable:
        listed = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise BackendError(f"no variant can run on this device: {listed}")
    quality = {v.name: quality_of(v, measured) for v in runnable}
    good = [v for v in runnable if precision is not None or quality[v.name] >= min_psnr]
    if max_ms is not None:
        times = {v.name: measured[v.name].median_ms for v in runnable if v.name in measured}
        taken = _best_within(max_ms, good or runnable, times, quality)
    elif good:
        taken = min(good, key=lambda v: _rank(v, measured))
    else:
        taken = max(runnable, key=lambda v: quality[v.name])
    if not good:
        found = taken.name, quality[taken.name]
        log.warning("no variant that runs here reaches %.0f dB; taking %s (%.1f dB)", min_psnr, *found)
    return taken


def quality_of(variant: Variant, measured: Mapping[str, Measured]) -> float:
    """PSNR in dB as measured here, else as at export, else 0."""
    if variant.name in measured:
        return measured[variant.name].psnr
    return variant.parity.psnr if variant.parity else 0.0


def _best_within(
    max_ms: float, good: Sequence[Variant], times: Mapping[str, float], quality: Mapping[str, float]
) -> Variant:
    """The best of `good` that takes at most `max_ms`, else the fastest with a warning. Raises InputError."""
    timed = [v for v in good if v.name in times]
    if not timed:
        names = ", ".join(v.name for v in good)
        raise InputError(
            f"max_ms={max_ms:g}: none of {names} was measured on this device; first run: i2i tune"
        )
    within = [v for v in timed if times[v.name] <= max_ms]
    if within:
        return max(within, key=lambda v: (quality[v.name], -times[v.name]))
    taken = min(timed, key=lambda v: times[v.name])
    below = [name for name, ms in times.items() if ms <= max_ms]
    hint = f"; fast enough, but below min_psnr: {', '.join(f'{n} ({quality[n]:.1f} dB)' for n in below)}"
    log.warning(
        "no variant of this quality takes at most %g ms here; taking the fastest, %s (%.1f ms)%s",
        max_ms,
        taken.name,
        times[taken.name],
        hint if below else "",
    )
    return taken


def _rank(variant: Variant, measured: Mapping[str, Measured]) -> tuple[int, float]:
    """Tuned variants by their latency, then the others by preference."""
    if variant.name in measured:
        return 0, measured[variant.name].median_ms
    pair = (variant.backend, variant.precision)
    return 1, PREFERENCE.index(pair) if pair in PREFERENCE else len(PREFERENCE)
