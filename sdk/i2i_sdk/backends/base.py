"""What every engine looks like from outside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound="Engine")

CLOSED = "this engine is closed: make a new Translator"

Files = tuple[Path, ...]


@dataclass(frozen=True)
class EngineOptions:
    """What a caller may ask of an engine besides its precision; None leaves it to the engine."""

    threads: int | None = None
    provider: str | None = None  # "cuda", "coreml" … of ONNX Runtime (`backends/providers.py`); None: the CPU
    allow_fallback: bool = False  # may the CPU run what that provider cannot?


DEFAULT_OPTIONS = EngineOptions()


class Engine(ABC):
    """A loaded graph with one input and one output. Not thread-safe; `Translator` serialises calls.

    Attributes:
        input_shape: as the graph declares it; None for a free dimension.
        output_shape: likewise; () where the graph does not say even how many dimensions it gives.
        input_dtype, output_dtype: NumPy's names, "uint8" for every variant of a bundle; a sampler takes
            "float32".
        precision: what the engine really computes in, read back after loading.
        provider: what it really runs on, read back after loading.
        layers: how many convolutions and matrix products compute in which precision, read back after
            loading: {"int8": 30, "bf16": 12}. Empty where the engine does not say.
    """

    input_shape: tuple[int | None, ...]
    output_shape: tuple[int | None, ...]
    input_dtype: str
    output_dtype: str
    precision: str
    provider: str
    layers: Mapping[str, int] = MappingProxyType({})

    @abstractmethod
    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """uint8 [N, H, W, C_in] RGB -> uint8 [N, H, W, C_out] RGB, a new array. C-contiguous input.

        A sampler takes float32 [N, z].

        Raises BackendError when the engine is closed or fails.
        """

    @abstractmethod
    def close(self) -> None:
        """Free the engine's memory. Calling it twice is allowed; running afterwards raises BackendError."""

    def warmup(self, runs: int = 2) -> None:
        """Run on zeros until lazy initialisation is done."""
        shape = tuple(1 if side is None else side for side in self.input_shape)
        zeros = np.zeros(shape, self.input_dtype)
        for _ in range(runs):
            self.run(zeros)

    def __enter__(self: T) -> T:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Backend(Protocol):
    """What a backend file offers: an Engine class that loads a variant's files."""

    def __call__(self, files: Files, precision: str, options: EngineOptions = DEFAULT_OPTIONS) -> Engine:
        """Load `files`, all of which were checked; the first is the one that names the rest.

        Raises BackendError when they cannot be loaded or are not what was asked for.
        """
        ...

    def missing(self, precision: str) -> str | None:
        """Why this engine cannot run here with `precision`, with what to do; None if it can."""
        ...
