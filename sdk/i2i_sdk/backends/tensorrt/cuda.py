"""CUDA through NVIDIA's cuda-python: which GPU is here, and how frames get to it and back.

tests/sdk/backends/test_cuda.py runs all of it where there is a GPU, and did so on an H200: device,
page-locked memory, copies, capture and replay. Kernels of a TensorRT engine in such a graph never ran here.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false
# cuda-python's compiled modules carry no type information.

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from i2i_sdk.backends.base import CLOSED_MESSAGE
from i2i_sdk.errors import BackendError

Compute = Callable[[int, int, int], None]  # stream, address of the input, address of the output


@dataclass(frozen=True)
class Device:
    """A GPU."""

    name: str
    capability: str  # "8.6"


@dataclass(frozen=True)
class ArraySpec:
    """What an array looks like."""

    shape: tuple[int, ...]
    dtype: str  # NumPy's name

    @property
    def bytes(self) -> int:
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


def explain_missing_cuda() -> str | None:
    """Why CUDA cannot be used here, or None if it can."""
    if importlib.util.find_spec("cuda") is None or importlib.util.find_spec("cuda.bindings") is None:
        return "cuda-python is missing: pip install 'i2i-sdk[tensorrt]' or 'i2i-sdk[tensorrt-rtx]'"
    try:
        find_device()
    except BackendError as error:
        return f"no CUDA device: {error}. An NVIDIA GPU with its driver is needed"
    return None


def find_device() -> Device:
    """The GPU that CUDA takes first; CUDA_VISIBLE_DEVICES chooses among several. Raises BackendError."""
    from cuda.bindings import runtime

    properties = unwrap_result(runtime.cudaGetDeviceProperties(unwrap_result(runtime.cudaGetDevice())))
    name = bytes(properties.name).split(b"\0")[0].decode()
    return Device(name, f"{properties.major}.{properties.minor}")


def unwrap_result(result: tuple[Any, ...]) -> Any:
    """The value that a call of cuda-python gave beside its error code; None where it gives none.

    Raises BackendError with the error's name and what CUDA says of it.
    """
    from cuda.bindings import runtime

    code, *values = result
    if code != runtime.cudaError_t.cudaSuccess:
        name, text = runtime.cudaGetErrorName(code)[1], runtime.cudaGetErrorString(code)[1]
        raise BackendError(f"CUDA: {name.decode()} ({text.decode()})")
    return values[0] if values else None


class GraphReplay:
    """One shape's way over the GPU: page-locked memory -> GPU -> `compute` -> page-locked memory.

    All of it is captured once as a CUDA graph, and each run replays it. Not thread-safe.
    """

    def __init__(self, input_spec: ArraySpec, output_spec: ArraySpec, compute: Compute) -> None:
        """Allocate, run once as it is, and capture. Nothing stays allocated after an error.

        Args:
            input_spec: what `run` takes.
            output_spec: what it gives.
            compute: enqueues work on a stream; it may not wait or allocate. It is kept as long as this
                object.

        Raises:
            BackendError: naming the CUDA error.
        """
        self._undo: list[tuple[Callable[[Any], Any], Any]] = []
        self._graph: Any = None
        self._compute = compute  # the graph works in memory that belongs to what `compute` holds
        try:
            self._prepare(input_spec, output_spec)
        except BaseException:
            self.close()
            raise

    def _prepare(self, input_spec: ArraySpec, output_spec: ArraySpec) -> None:
        from cuda.bindings import runtime as cuda

        created = cuda.cudaStreamCreateWithFlags(cuda.cudaStreamNonBlocking)
        stream = self._stream = self._own(created, cuda.cudaStreamDestroy)
        specs = input_spec, output_spec
        self._input, self._output = map(self._allocate_page_locked, specs)
        source, target = (self._own(cuda.cudaMalloc(s.bytes), cuda.cudaFree) for s in specs)

        kinds = cuda.cudaMemcpyKind

        def copy(target: Any, source: Any, count: int, kind: Any) -> None:
            unwrap_result(cuda.cudaMemcpyAsync(target, source, count, kind, stream))

        def enqueue() -> None:
            copy(source, self._input.ctypes.data, self._input.nbytes, kinds.cudaMemcpyHostToDevice)
            self._compute(int(stream), int(source), int(target))
            copy(self._output.ctypes.data, target, self._output.nbytes, kinds.cudaMemcpyDeviceToHost)

        enqueue()  # what an engine does only in its first run cannot be captured
        unwrap_result(cuda.cudaStreamSynchronize(stream))
        # Thread-local: other threads may go on allocating meanwhile.
        mode = cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        unwrap_result(cuda.cudaStreamBeginCapture(stream, mode))
        try:
            enqueue()
        finally:  # a stream that stays in capture is of no use to anyone
            captured = cuda.cudaStreamEndCapture(stream)
        graph = self._own(captured, cuda.cudaGraphDestroy)
        self._graph = self._own(cuda.cudaGraphInstantiate(graph, 0), cuda.cudaGraphExecDestroy)

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """`batch` as `input_spec` describes it -> a new array as `output_spec`. Raises BackendError."""
        from cuda.bindings import runtime as cuda

        if self._graph is None:
            raise BackendError(CLOSED_MESSAGE)
        np.copyto(self._input, batch, casting="no")
        unwrap_result(cuda.cudaGraphLaunch(self._graph, self._stream))
        unwrap_result(cuda.cudaStreamSynchronize(self._stream))
        return self._output.copy()

    def close(self) -> None:
        """Free everything, in the opposite order. Calling it twice is allowed."""
        self._graph = None
        while self._undo:
            free, what = self._undo.pop()
            free(what)

    def _own(self, result: tuple[Any, ...], free: Callable[[Any], Any]) -> Any:
        value = unwrap_result(result)
        self._undo.append((free, value))
        return value

    def _allocate_page_locked(self, spec: ArraySpec) -> NDArray[Any]:
        """Memory that the GPU copies from and to while the CPU goes on."""
        from cuda.bindings import runtime as cuda

        address = self._own(cuda.cudaHostAlloc(spec.bytes, cuda.cudaHostAllocDefault), cuda.cudaFreeHost)
        return _view_as_array(address, spec)


def _view_as_array(address: int, spec: ArraySpec) -> NDArray[Any]:
    memory = (ctypes.c_uint8 * spec.bytes).from_address(int(address))
    return np.frombuffer(memory, spec.dtype).reshape(spec.shape)
