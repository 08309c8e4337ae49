"""Which variant of a bundle is taken on this device."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from i2i_sdk.backends import PREFERENCE
from i2i_sdk.errors import BackendError, InputError
from i2i_sdk.manifest import Variant

log = logging.getLogger(__name__)


def choose_variant(
    variants: Sequence[Variant],
    *,
    why_not: Callable[[Variant], str | None],
    latencies: Mapping[str, float],
    backend: str | None = None,
    precision: str | None = None,
    size: tuple[int, int] | None = None,
    min_psnr: float = 35.0,
) -> Variant:
    """The fastest variant that runs here and keeps `min_psnr`; what the caller names is binding.

    Args:
        variants: of one bundle; the first one's size is the default size.
        why_not: gives the reason a variant cannot run here, or None.
        latencies: this device's tuned medians in milliseconds by variant name; without them a fixed
            preference decides.
        backend, precision, size: keep only these.
        min_psnr: floor in dB against PyTorch. If no variant reaches it the best one is taken, with a
            warning. A precision that was named is not held to it.

    Raises InputError when no variant is what was asked for, BackendError when none of those can run here.
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
    good = [v for v in runnable if precision is not None or _psnr(v) >= min_psnr]
    if not good:
        best = max(runnable, key=_psnr)
        log.warning(
            "no variant that runs here reaches %.0f dB; taking %s (%.1f dB)", min_psnr, best.name, _psnr(best)
        )
        return best
    return min(good, key=lambda v: _rank(v, latencies))


def _psnr(variant: Variant) -> float:
    return variant.parity.psnr if variant.parity else 0.0


def _rank(variant: Variant, latencies: Mapping[str, float]) -> tuple[int, float]:
    """Tuned variants by their latency, then the others by preference."""
    if variant.name in latencies:
        return 0, latencies[variant.name]
    pair = (variant.backend, variant.precision)
    return 1, PREFERENCE.index(pair) if pair in PREFERENCE else len(PREFERENCE)
