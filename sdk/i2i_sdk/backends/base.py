"""What every engine looks like from outside."""

from __future__ import annotations

import operator
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from i2i_sdk.errors import BackendError, InputError, get_first_line
from i2i_sdk.files import Closing

CLOSED_MESSAGE = "this engine is closed: make a new Translator"

Files = tuple[Path, ...]


@dataclass(frozen=True)
class EngineOptions:
    """What a caller may ask of an engine besides its precision; None leaves it to the engine."""

    threads: int | None = None
    provider: str | None = None  # "cuda" … of ONNX Runtime (`backends/ort/providers.py`); None: the CPU
    allow_fallback: bool = False  # may the CPU run what that provider cannot?

    def require_cpu(self, engine: str) -> None:
        """Raise BackendError if another provider is named, in an engine that has none."""
        if self.provider not in (None, "cpu"):
            raise BackendError(f"{engine} has no provider {self.provider!r} here; allowed: cpu")


DEFAULT_OPTIONS = EngineOptions()


@dataclass(frozen=True)
class Timings:
    """Where the time of a translation went, in milliseconds (ms) on the clock; the sum is all of it.

    Attributes:
        pre_ms: before the first engine call: checks, color order, resizing, waiting for another thread.
        engine_ms: in the engine, all its calls together.
        post_ms: the rest: resizing back, alpha, and what lies between two engine calls.
    """

    pre_ms: float = 0.0
    engine_ms: float = 0.0
    post_ms: float = 0.0


class Stopwatch:
    """Times one translation, from when it is made until `stop`."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._pre_ms = self._engine_ms = 0.0

    @contextmanager
    def time_engine(self) -> Generator[None]:
        """Around an engine call."""
        start = time.perf_counter()
        if not self._engine_ms:
            self._pre_ms = (start - self._start) * 1000
        yield
        self._engine_ms += (time.perf_counter() - start) * 1000

    def stop(self) -> Timings:
        """The translation is done: what was neither before nor in the engine came after it."""
        post_ms = (time.perf_counter() - self._start) * 1000 - self._pre_ms - self._engine_ms
        return Timings(self._pre_ms, self._engine_ms, post_ms)


class Engine(Closing):
    """A loaded graph with one input and one output. Not thread-safe; `Translator` serializes calls.

    A backend sets `_native`, the object of its library that runs, and defines `_run`.

    Attributes:
        input_shape: as the graph declares it; None for a free dimension.
        output_shape: likewise; () where the graph does not say even how many dimensions it gives.
        input_dtype, output_dtype: NumPy's names, "uint8" for every variant of a bundle.
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
    _engine_name: str  # its name in errors
    _native: Any = None  # None once the engine is closed

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """uint8 [N, H, W, C_in] RGB -> uint8 [N, H, W, C_out] RGB, a new array. C-contiguous input.

        Raises BackendError when the engine is closed or fails.
        """
        if self._native is None:
            raise BackendError(CLOSED_MESSAGE)
        try:
            self._check_batch(batch)
            return self._run(batch)
        except Exception as error:  # most libraries' errors share no base class
            shown, reason = f"{batch.dtype} {batch.shape}", self._summarize_error(error)
            raise BackendError(f"{self._engine_name} failed on {shown}: {reason}") from error

    def close(self) -> None:
        """Free the engine's memory. Calling it twice is allowed; running afterwards raises BackendError."""
        self._native = None

    def _require_precision(self, precision: str, graph: Path) -> None:
        """Raise BackendError when the engine, once loaded, computes in something else."""
        if self.precision != precision:
            layers = f"; its layers: {dict(self.layers)}" if self.layers else ""
            asked = f"asked {self._engine_name} for {precision}"
            raise BackendError(f"{graph}: {asked}, it would compute in {self.precision}{layers}")

    def _check_batch(self, batch: NDArray[Any]) -> None:
        """Raise ValueError for what the graph does not declare: some libraries would read beyond its end."""
        sides = zip(self.input_shape, batch.shape, strict=False)
        fits = len(self.input_shape) == batch.ndim and all(side in (None, found) for side, found in sides)
        if not fits or batch.dtype != self.input_dtype:
            raise ValueError(f"it takes {self.input_dtype} {self.input_shape}")

    def _run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """As `run`, of an engine that is open; what it raises becomes a BackendError."""
        raise NotImplementedError

    def _summarize_error(self, error: Exception) -> str:
        """The line of what the library says that tells what went wrong."""
        return get_first_line(error)

    def warmup(self, runs: int = 2) -> None:
        """Run on zeros until lazy initialization is done."""
        shape = tuple(1 if side is None else side for side in self.input_shape)
        zeros = np.zeros(shape, self.input_dtype)
        for _ in range(runs):
            self.run(zeros)


class Backend(Protocol):
    """What a backend file offers: an Engine class that loads a variant's files."""

    def __call__(self, files: Files, precision: str, options: EngineOptions = DEFAULT_OPTIONS) -> Engine:
        """Load a variant's files.

        Args:
            files: of the variant, all of which were checked; the first is the one that names the rest.
            precision: one that `explain_unsupported` has nothing against.
            options: threads and provider.

        Returns:
            An engine that computes in `precision`.

        Raises:
            BackendError: the files cannot be loaded or are not what was asked for.
        """
        ...

    def explain_unsupported(self, precision: str) -> str | None:
        """Why this engine cannot run here with `precision`, with what to do; None if it can."""
        ...


def check_translator(engine: Engine, source: object, size: tuple[int, int] | None) -> tuple[int, int, int]:
    """The engine's height, width and input channels, if it maps pictures to pictures of their size.

    Files come from strangers: what a manifest or a caller says of one need not be true.

    Args:
        engine: that is loaded.
        source: what it was loaded from, for the error.
        size: height and width that it has to have, where somebody says so.

    Raises:
        InputError: it is no translator, or has another size.
    """
    input_shape, output_shape = engine.input_shape, engine.output_shape
    height, width, channels = input_shape[1:] if len(input_shape) == 4 else (None, None, None)
    if height is None or width is None or channels not in (1, 3):
        needed = "a fixed size with 1 or 3 channels is needed"
        raise InputError(f"{source}: the engine takes {input_shape}; {needed}")
    if size not in (None, (height, width)):
        raise InputError(f"{source}: the engine works at {height}x{width} only, not at {size[0]}x{size[1]}")
    if (engine.input_dtype, engine.output_dtype) != ("uint8", "uint8"):
        types = f"takes {engine.input_dtype} and gives {engine.output_dtype}"
        raise InputError(f"{source}: the engine {types}; pictures are uint8 on both sides")
    allowed = ((None, height), (None, width), (None, 1, 3))
    suits = len(output_shape) == 4 and all(map(operator.contains, allowed, output_shape[1:]))
    if output_shape and not suits:
        raise InputError(
            f"{source}: the engine gives {output_shape} for {input_shape}; a translator gives pictures of "
            f"the size it takes, with 1 or 3 channels"
        )
    return height, width, channels
