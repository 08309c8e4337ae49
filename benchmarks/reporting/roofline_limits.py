"""The least time that a call can take on a device, by the peaks measured beside it.

The roofline of Williams, Waterman and Patterson (2009): a call can be no faster than its arithmetic at the
peak of its precision, nor than its memory traffic at the bandwidth. Everything is taken round by round,
because the machine's clock and its other guests change the peaks along with the calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Bytes of a weight that is stored in a precision.
WEIGHT_BYTES: dict[str, int] = {"fp32": 4, "bf16": 2, "fp16": 2, "w8": 1, "int8": 1}


@dataclass(frozen=True)
class Work:
    """What a call does at least."""

    macs: float  # multiply-accumulates
    low_share: float  # share of them in the variant's precision, 0..1; the others are in `Ceilings.rest`
    traffic: float  # bytes, see `compute_min_traffic`

    def __post_init__(self) -> None:
        if self.macs < 0 or self.traffic < 0 or not 0 <= self.low_share <= 1:
            raise ValueError(f"{self}: macs and traffic are 0 or more, low is from 0 to 1")


@dataclass(frozen=True)
class Ceilings:
    """Peaks that were measured in the same rounds as the calls, one number a round or one for all."""

    low: Sequence[float]  # MAC/s in the variant's precision
    rest: Sequence[float]  # MAC/s in the float that computes the other layers
    bandwidth: Sequence[float]  # B/s


def compute_min_traffic(parameters: int, precision: str, input_bytes: int, output_bytes: int) -> int:
    """Bytes that a call moves at least: every weight once in the variant's precision, input and output once.

    input_bytes, output_bytes: bytes of the input and of the output. Layers that were kept in a wider type
    move more, and so do values between layers that leave the caches. Weights that stay in a cache from call
    to call move less; a call that is faster for it than the bandwidth allows is marked. Raises KeyError for
    an unknown precision.
    """
    return parameters * WEIGHT_BYTES[precision] + input_bytes + output_bytes


def compute_arithmetic_ms(work: Work, ceilings: Ceilings) -> Floats:
    """Least milliseconds of the arithmetic, by round. Raises ValueError for a peak that is not above 0."""
    low, rest = _check_peaks(ceilings.low), _check_peaks(ceilings.rest)
    return 1000.0 * work.macs * (work.low_share / low + (1.0 - work.low_share) / rest)


def compute_traffic_ms(work: Work, ceilings: Ceilings) -> Floats:
    """Least milliseconds of the memory traffic, by round. Raises ValueError as `compute_arithmetic_ms`."""
    return 1000.0 * work.traffic / _check_peaks(ceilings.bandwidth)


def compute_min_ms(work: Work, ceilings: Ceilings) -> Floats:
    """Least milliseconds of a call, by round: the slower of arithmetic and traffic."""
    return np.maximum(compute_arithmetic_ms(work, ceilings), compute_traffic_ms(work, ceilings))


def compute_share_of_peak(work: Work, ceilings: Ceilings, medians: Sequence[float]) -> float:
    """Share of the peak arithmetic that a call reaches: the median of the shares of all rounds.

    medians: of the call's milliseconds in each round. Above 1 the peak was not shown: see `mark`.
    Raises ValueError for ceilings of another number of rounds.
    """
    return _compute_share(compute_arithmetic_ms(work, ceilings), medians)


def compute_share_of_roofline(work: Work, ceilings: Ceilings, medians: Sequence[float]) -> float:
    """Share of the roofline that a call reaches, as `of_peak`; never below that."""
    return _compute_share(compute_min_ms(work, ceilings), medians)


def format_mark(name: str, arithmetic: float, limit: float) -> str | None:
    """What to say of shares above 1, which no call can reach; None where there are none.

    arithmetic, limit: as `of_peak` and `compute_share_of_roofline` gave them for the variant called `name`.
    """
    if arithmetic > 1:
        return (
            f"{name} reaches {arithmetic:.0%} of the peak arithmetic: the convolution stack does not show it"
        )
    if limit > 1:
        reason = "its weights stay in a cache, or the probes do not show the bandwidth"
        return f"{name} reaches {limit:.0%} of the roofline: {reason}"
    return None


def _check_peaks(values: Sequence[float]) -> Floats:
    peaks = np.asarray(values, float)
    if not peaks.size or not (peaks > 0).all():
        raise ValueError(f"peaks are {list(values)}; each has to be above 0")
    return peaks


def _compute_share(min_ms: Floats, medians: Sequence[float]) -> float:
    times = np.asarray(medians, float)
    if not times.size or min_ms.size not in (1, times.size):
        raise ValueError(
            f"{min_ms.size} rounds of peaks for {times.size} of calls: measure both in the same run"
        )
    return float(np.median(min_ms / times))
