"""TensorRT on NVIDIA GPUs: an engine of the bundle, or one built on this device from the bundle's ONNX file.

Choosing, refusing and building were executed by this project, on an H200 too, which TensorRT for RTX
does not take. Loading and running an engine never were: tests/sdk/test_trt_backend.py does both where
there is a GPU that it takes.
"""

# pyright: reportMissingTypeStubs=false

from __future__ import annotations

import importlib.util
import logging
from collections import Counter
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from i2i_sdk.backends import cuda
from i2i_sdk.backends.base import CLOSED, DEFAULT_OPTIONS, Engine, EngineOptions, Files
from i2i_sdk.backends.cuda import ArraySpec, Device, Replay
from i2i_sdk.errors import BackendError
from i2i_sdk.files import file_sha256, written_atomically
from i2i_sdk.trt_builder import ALLOWED, build_engine, engine_layers, new_listener, require_precision
from i2i_sdk.trt_flavors import FLAVORS, Library, installed, read_engine_name
from i2i_sdk.trt_plan import INSTALL, Plan, cached_engine, decide

log = logging.getLogger(__name__)


class TrtEngine(Engine):
    """A TensorRT engine whose runs replay a CUDA graph, one for each size of batch."""

    def __init__(self, files: Files, precision: str, options: EngineOptions = DEFAULT_OPTIONS) -> None:
        graph, engines = files[0], tuple(e for e in map(read_engine_name, files) if e)
        device = cuda.device()
        plan = decide(engines, installed(), device, precision)
        self._library, self._trt = plan.library, plan.library.module()
        self._listener = new_listener(self._trt)
        self._runtime: Any = self._trt.Runtime(self._listener)
        self._engine: Any = self._loaded(plan, graph, precision, device)
        self.layers = self._layers(graph, precision)
        self.precision = precision
        self.provider = f"{device.name}, {plan.library.flavor.package} {plan.library.version}"
        self._name, taken = self._tensor(self._trt.TensorIOMode.INPUT)
        self._given_name, given = self._tensor(self._trt.TensorIOMode.OUTPUT)
        self.input_shape, self.output_shape = (
            tuple(None if side == -1 else side for side in spec.shape) for spec in (taken, given)
        )
        self.input_dtype, self.output_dtype = taken.dtype, given.dtype
        self._largest = int(self._engine.get_tensor_profile_shape(self._name, 0)[2][0])
        self._replays: dict[int, Replay] = {}

    @staticmethod
    def missing(precision: str) -> str | None:
        if precision not in ALLOWED:
            return f"TensorRT engines are built in {', '.join(ALLOWED)}, not {precision}"
        if not any(importlib.util.find_spec(flavor.module) for flavor in FLAVORS):
            return f"the package is missing: {INSTALL}"
        if reason := cuda.missing():
            return reason
        try:
            decide((), installed(), cuda.device(), precision)
        except BackendError as error:
            return str(error)
        return None

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        if self._engine is None:
            raise BackendError(CLOSED)
        check_batch(batch, self.input_shape, self.input_dtype, self._largest)
        count = len(batch)
        if count not in self._replays:
            self._replays[count] = self._replay(count)
        return self._replays[count].run(batch)

    def close(self) -> None:
        for replay in self._replays.values():
            replay.close()
        self._replays = {}
        self._engine = self._runtime = None

    def _loaded(self, plan: Plan, graph: Path, precision: str, device: Device) -> Any:
        """Deserialise the engine of the bundle, else the one built here before, else build one."""
        reason = plan.reason
        if plan.engine is not None:
            if engine := self._runtime.deserialize_cuda_engine(plan.engine.read_bytes()):
                return engine
            reason = f"{plan.engine.name} cannot be loaded: {self._listener.error}"
        kept = cached_engine(file_sha256(graph), plan.library, device)
        if kept.is_file() and (engine := self._runtime.deserialize_cuda_engine(kept.read_bytes())):
            return engine
        data = build_here(plan.library, graph, precision, device, reason)
        with written_atomically(kept) as temporary:
            temporary.write_bytes(data)
        if engine := self._runtime.deserialize_cuda_engine(data):
            return engine
        raise BackendError(f"{graph}: the engine built here cannot be loaded: {self._listener.error}")

    def _layers(self, graph: Path, precision: str) -> dict[str, int]:
        inspector = self._engine.create_engine_inspector()
        found = engine_layers(inspector.get_engine_information(self._trt.LayerInformationFormat.ONELINE))
        if found:
            require_precision(found, precision, graph.name)
        else:
            log.warning("%s: the engine does not show what it computes in", graph.name)
        return dict(Counter(found.values()))

    def _tensor(self, mode: Any) -> tuple[str, ArraySpec]:
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        names = [name for name in names if self._engine.get_tensor_mode(name) == mode]
        if len(names) != 1:
            raise BackendError(f"one input and one output are needed; this engine has {', '.join(names)}")
        dtype = self._trt.nptype(self._engine.get_tensor_dtype(names[0])).__name__
        return names[0], ArraySpec(tuple(self._engine.get_tensor_shape(names[0])), dtype)

    def _replay(self, count: int) -> Replay:
        """A context of its own for each size of batch: a graph does not survive a change of its context."""
        settings: dict[str, Any] = {}
        if self._library.flavor.context:
            settings["runtime_config"] = config = self._engine.create_runtime_config()
            for attribute, kind, member in self._library.flavor.context:
                setattr(config, attribute, getattr(getattr(self._trt, kind), member))
        context = self._engine.create_execution_context(**settings)
        if context is None or not context.set_input_shape(self._name, (count, *self.input_shape[1:])):
            raise BackendError(f"TensorRT cannot prepare a batch of {count}: {self._listener.error}")
        taken = ArraySpec(tuple(context.get_tensor_shape(self._name)), self.input_dtype)
        given = ArraySpec(tuple(context.get_tensor_shape(self._given_name)), self.output_dtype)

        def compute(stream: int, source: int, target: int) -> None:
            context.set_tensor_address(self._name, source)
            context.set_tensor_address(self._given_name, target)
            if not context.execute_async_v3(stream):
                raise BackendError(f"TensorRT failed on a batch of {count}: {self._listener.error}")

        return Replay(taken, given, compute)


def build_here(library: Library, graph: Path, precision: str, device: Device, reason: str) -> bytes:
    """Build an engine for `device` while a line on the terminal says so. Raises BackendError."""
    from rich.console import Console

    log.info("%s: building a TensorRT engine: %s", graph.name, reason)
    chosen = (device.capability,) if library.flavor.builds_without_gpu else ()
    what = f"building a TensorRT engine of {graph.name} for {device.name}; done once, and kept"
    with Console(stderr=True).status(what):
        return build_engine(library, graph, precision, chosen).engine


def check_batch(batch: NDArray[Any], shape: tuple[int | None, ...], dtype: str, largest: int) -> None:
    """Raise BackendError unless an engine of this input, for 1 to `largest` frames, can take `batch`."""
    fits = batch.ndim == len(shape) and all(s in (None, b) for s, b in zip(shape, batch.shape, strict=True))
    if not fits or batch.dtype != dtype or not 1 <= len(batch) <= largest:
        sides = ", ".join(str(side) for side in shape[1:])
        raise BackendError(
            f"TensorRT got {batch.dtype} {batch.shape}; this engine takes {dtype} (N, {sides}), N from 1 to "
            f"{largest}"
        )
