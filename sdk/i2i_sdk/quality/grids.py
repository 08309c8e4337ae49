"""Rounding grids: the numbers that an 8-bit tensor can have, one definition for export and for training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class QuantizationGrid:
    """The numbers that an 8-bit tensor can have."""

    signed: bool  # symmetric around 0 (TensorRT), else any range that holds 0 (CPU engines)

    def compute_limits(self, low: float, high: float) -> tuple[float, float]:
        """The range really covered when `low` to `high` is asked for."""
        if not self.signed:
            return min(low, 0.0), max(high, 0.0)
        high = max(-low * 127 / 128, high)  # int8 goes from -128 to 127
        return -high * 128 / 127, high

    def compute_scale_and_zero(self, low: float, high: float) -> tuple[np.float32, NDArray[np.generic]]:
        """Step and zero point for a range; 0 is always hit exactly, which padding needs."""
        low, high = self.compute_limits(low, high)
        if self.signed:
            return np.float32(max(high, 1e-12) / 127), np.array(0, np.int8)
        step = max(high - low, 1e-12) / 255
        return np.float32(step), np.array(np.clip(np.rint(-low / step), 0, 255), np.uint8)
