"""TensorRT on NVIDIA GPUs: an engine of the bundle, or one built on this device from the bundle's ONNX file.

Choosing, refusing and building were executed by this project, on an H200 too, which TensorRT for RTX
does not take. Loading and running an engine never were: tests/sdk/backends/test_trt_backend.py does both
where there is a GPU that it takes.
"""

# pyright: reportMissingTypeStubs=false

from __future__ import annotations

import importlib.util
import logging
from collections import Counter
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from i2i_sdk.backends.base import DEFAULT_OPTIONS, Engine, EngineOptions, Files
from i2i_sdk.backends.tensorrt import builder, cuda
from i2i_sdk.backends.tensorrt.cuda import ArraySpec, Device, GraphReplay
from i2i_sdk.backends.tensorrt.flavors import FLAVORS, Library, find_installed, parse_engine_name
from i2i_sdk.backends.tensorrt.load_or_build import (
    INSTALL_HINT,
    EnginePlan,
    locate_cached_engine,
    plan_engine,
)
from i2i_sdk.errors import BackendError
from i2i_sdk.files import hash_file, write_atomically

log = logging.getLogger(__name__)


class TrtEngine(Engine):
    """A TensorRT engine whose runs replay a CUDA graph, one for each size of batch."""

    _engine_name = "TensorRT"

    def __init__(self, files: Files, precision: str, options: EngineOptions = DEFAULT_OPTIONS) -> None:
        graph, engines = files[0], tuple(e for e in map(parse_engine_name, files) if e)
        device = cuda.find_device()
        plan = plan_engine(engines, find_installed(), device, precision)
        self._library, self._trt = plan.library, plan.library.import_module()
        self._listener = builder.make_listener(self._trt)
        self._runtime: Any = self._trt.Runtime(self._listener)
        self._native = self._load_engine(plan, graph, precision, device)
        self.layers = self._count_layers(graph, precision)
        self.precision = precision
        self.provider = f"{device.name}, {plan.library.flavor.package} {plan.library.version}"
        self._input_name, input_spec = self._find_tensor(self._trt.TensorIOMode.INPUT)
        self._output_name, output_spec = self._find_tensor(self._trt.TensorIOMode.OUTPUT)
        self.input_shape, self.output_shape = (
            tuple(None if side == -1 else side for side in spec.shape) for spec in (input_spec, output_spec)
        )
        self.input_dtype, self.output_dtype = input_spec.dtype, output_spec.dtype
        self._max_batch = int(self._native.get_tensor_profile_shape(self._input_name, 0)[2][0])
        self._replays: dict[int, GraphReplay] = {}

    @staticmethod
    def explain_unsupported(precision: str) -> str | None:
        if precision not in builder.ALLOWED_PRECISIONS:
            return f"TensorRT engines are built in {', '.join(builder.ALLOWED_PRECISIONS)}, not {precision}"
        if not any(importlib.util.find_spec(flavor.module) for flavor in FLAVORS):
            return f"the package is missing: {INSTALL_HINT}"
        if reason := cuda.explain_missing_cuda():
            return reason
        try:
            plan_engine((), find_installed(), cuda.find_device(), precision)
        except BackendError as error:
            return str(error)
        return None

    def _run(self, batch: NDArray[Any]) -> NDArray[Any]:
        count = len(batch)
        if not 1 <= count <= self._max_batch:
            raise ValueError(f"it takes 1 to {self._max_batch} frames")
        if count not in self._replays:
            self._replays[count] = self._capture_replay(count)
        return self._replays[count].run(batch)

    def close(self) -> None:
        for replay in self._replays.values():
            replay.close()
        self._replays = {}
        self._native = self._runtime = None

    def _load_engine(self, plan: EnginePlan, graph: Path, precision: str, device: Device) -> Any:
        """Deserialize the engine of the bundle, else the one built here before, else build one."""
        reason = plan.reason
        if plan.engine is not None:
            if engine := self._runtime.deserialize_cuda_engine(plan.engine.read_bytes()):
                return engine
            reason = f"{plan.engine.name} cannot be loaded: {self._listener.error}"
        kept = locate_cached_engine(hash_file(graph), plan.library, device)
        if kept.is_file() and (engine := self._runtime.deserialize_cuda_engine(kept.read_bytes())):
            return engine
        data = build_for_device(plan.library, graph, precision, device, reason)
        with write_atomically(kept) as temporary:
            temporary.write_bytes(data)
        if engine := self._runtime.deserialize_cuda_engine(data):
            return engine
        raise BackendError(f"{graph}: the engine built here cannot be loaded: {self._listener.error}")

    def _count_layers(self, graph: Path, precision: str) -> dict[str, int]:
        inspector = self._native.create_engine_inspector()
        text = inspector.get_engine_information(self._trt.LayerInformationFormat.ONELINE)
        found = builder.read_engine_layers(text)
        if found:
            builder.require_precision(found, precision, graph.name)
        else:
            log.warning("%s: the engine does not show what it computes in", graph.name)
        return dict(Counter(found.values()))

    def _find_tensor(self, mode: Any) -> tuple[str, ArraySpec]:
        names = [self._native.get_tensor_name(i) for i in range(self._native.num_io_tensors)]
        names = [name for name in names if self._native.get_tensor_mode(name) == mode]
        if len(names) != 1:
            raise BackendError(f"one input and one output are needed; this engine has {', '.join(names)}")
        dtype = self._trt.nptype(self._native.get_tensor_dtype(names[0])).__name__
        return names[0], ArraySpec(tuple(self._native.get_tensor_shape(names[0])), dtype)

    def _capture_replay(self, count: int) -> GraphReplay:
        """A context of its own for each size of batch: a graph does not survive a change of its context."""
        settings: dict[str, Any] = {}
        if self._library.flavor.compiles_lazily:  # a graph would keep the slow kernels
            settings["runtime_config"] = config = self._native.create_runtime_config()
            eager = self._trt.DynamicShapesKernelSpecializationStrategy.EAGER
            config.dynamic_shapes_kernel_specialization_strategy = eager
        context = self._native.create_execution_context(**settings)
        if context is None or not context.set_input_shape(self._input_name, (count, *self.input_shape[1:])):
            raise BackendError(f"TensorRT cannot prepare a batch of {count}: {self._listener.error}")
        input_spec = ArraySpec(tuple(context.get_tensor_shape(self._input_name)), self.input_dtype)
        output_spec = ArraySpec(tuple(context.get_tensor_shape(self._output_name)), self.output_dtype)

        def compute(stream: int, source: int, target: int) -> None:
            context.set_tensor_address(self._input_name, source)
            context.set_tensor_address(self._output_name, target)
            if not context.execute_async_v3(stream):
                raise BackendError(self._listener.error)

        return GraphReplay(input_spec, output_spec, compute)


def build_for_device(library: Library, graph: Path, precision: str, device: Device, reason: str) -> bytes:
    """Build an engine while a line on the terminal says so.

    Args:
        library: the TensorRT that builds it.
        graph: an ONNX file typed for `precision`.
        precision: "fp16" or "int8".
        device: the GPU that it is for.
        reason: why none that is there is taken, for the log.

    Returns:
        The engine's bytes.

    Raises:
        BackendError: as `build_engine`.
    """
    from rich.console import Console

    log.info("%s: building a TensorRT engine: %s", graph.name, reason)
    chosen = (device.capability,) if library.flavor.builds_without_gpu else ()
    what = f"building a TensorRT engine of {graph.name} for {device.name}; done once, and kept"
    with Console(stderr=True).status(what):
        return builder.build_engine(library, graph, precision, chosen).engine
