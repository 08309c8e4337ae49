"""Floors: how close to PyTorch a variant's pictures must be, in dB of mean PSNR on uint8 RGB."""

from __future__ import annotations

from i2i_sdk.errors import InputError

# What each precision must keep to be exported; --min-psnr replaces it.
PSNR_FLOORS = {"fp32": 50.0, "bf16": 40.0, "fp16": 40.0, "w8": 40.0, "int8": 30.0, "palette6": 30.0}
DEFAULT_MIN_PSNR = 35.0  # what Translator takes unless told otherwise


def choose_floor(precision: str, min_psnr: float | None) -> float:
    """The dB that a precision must keep, unless `min_psnr` says another."""
    if min_psnr is not None:
        return min_psnr
    if precision not in PSNR_FLOORS:
        known = ", ".join(PSNR_FLOORS)
        raise InputError(f"precision {precision!r} has no floor, but {known} have; give --min-psnr")
    return PSNR_FLOORS[precision]
