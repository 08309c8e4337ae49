"""Ranges of activations, from real frames, one frame at a time."""

from __future__ import annotations

METHODS = ("mse", "minmax", "percentile", "entropy")
