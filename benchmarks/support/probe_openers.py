"""What a probe's own process imports: how its call is opened. An engine's needs no PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from i2i_sdk.backends import load_backend_class
from i2i_sdk.backends.base import EngineOptions


@dataclass(frozen=True)
class StackShape:
    """A stack of equal convolutions, `channels` to `channels`, on a picture of side x side."""

    channels: int
    layers: int
    kernel: int
    side: int

    @property
    def weights(self) -> int:
        """Numbers in all kernels, those from and to RGB included."""
        return self.channels * (self.channels * self.layers * self.kernel**2 + 2 * 3)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of a call. ncnn does fewer for 3x3 kernels (Winograd), in models as well."""
        return self.weights * self.side**2


def open_engine(backend: str, precision: str, files: list[str], threads: int | None) -> Callable[[], object]:
    """One run of a backend's engine on noise. Raises BackendError unless it computes in `precision`.

    Args:
        backend: "ort" ….
        precision: "fp32" ….
        files: of the network.
        threads: of the engine; None: its own choice.

    Returns:
        What runs the engine once.
    """
    engine = load_backend_class(backend)(tuple(map(Path, files)), precision, EngineOptions(threads=threads))
    shape = [side or 1 for side in engine.input_shape]  # a free batch is 1
    batch = np.random.default_rng(0).integers(0, 256, shape).astype(engine.input_dtype)
    return lambda: engine.run(batch)
