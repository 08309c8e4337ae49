"""OpenVINO on the CPU: the fastest engine on x86, with BF16 where the processor has it."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# openvino's stubs are incomplete.

from __future__ import annotations

import ctypes
import sys
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from i2i_sdk.backends.base import CLOSED, DEFAULT_OPTIONS, Engine, EngineOptions, Files
from i2i_sdk.errors import BackendError

PRECISIONS = {"fp32": "f32", "bf16": "bf16"}
DTYPES = {"uint8", "float32"}


class OpenVinoEngine(Engine):
    """An ONNX file compiled by OpenVINO's CPU plugin, tuned for the latency of one frame."""

    def __init__(self, files: Files, precision: str, options: EngineOptions = DEFAULT_OPTIONS) -> None:
        import openvino as ov

        graph = files[0]
        config: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": PRECISIONS[precision],
            "PERFORMANCE_HINT": "LATENCY",
        }
        if options.threads is not None:
            config["INFERENCE_NUM_THREADS"] = options.threads
        try:
            self._model: Any = ov.Core().compile_model(str(graph), "CPU", config)
        except RuntimeError as error:
            raise BackendError(
                f"{graph}: OpenVINO cannot load it: {str(error).strip().splitlines()[-1]}"
            ) from error
        # OpenVINO takes a precision as a hint and may run another one: read back what it decided.
        found: str = self._model.get_property("INFERENCE_PRECISION_HINT").to_string()
        self.precision = {v: k for k, v in PRECISIONS.items()}.get(found, found)
        if self.precision != precision:
            raise BackendError(f"{graph}: asked OpenVINO for {precision}, it would run {self.precision}")
        ports = [*self._model.inputs, *self._model.outputs]
        types = [np.dtype(port.element_type.to_dtype()).name for port in ports]
        if len(self._model.inputs) != 1 or len(ports) != 2 or not DTYPES.issuperset(types):
            found = ", ".join(
                f"{p.any_name if p.names else '?'} {t}" for p, t in zip(ports, types, strict=True)
            )
            raise BackendError(f"{graph}: one uint8 or float input and one output are needed; it has {found}")
        self._request: Any = self._model.create_infer_request()
        self.input_shape, self.output_shape = (_shape(port.partial_shape) for port in ports)
        self.input_dtype, self.output_dtype = types
        self.provider = ",".join(self._model.get_property("EXECUTION_DEVICES"))
        if self.provider != "CPU":
            raise BackendError(f"{graph}: asked OpenVINO for the CPU, it would run on {self.provider}")

    @staticmethod
    def missing(precision: str) -> str | None:
        try:
            return missing_with(cpu_capabilities(), precision)
        except ImportError:
            return "the package is missing: pip install 'i2i-sdk[openvino]'"

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        if self._request is None:
            raise BackendError(CLOSED)
        try:
            outputs = self._request.infer({0: batch}, share_inputs=True, share_outputs=False)
        except RuntimeError as error:
            given, reason = f"{batch.dtype} {batch.shape}", str(error).strip().splitlines()[-1]
            raise BackendError(f"OpenVINO failed on {given}: {reason}") from error
        return outputs[0]  # a copy: the request reuses its own buffer

    def close(self) -> None:
        self._request = self._model = None
        _leave_signal_stack()


def _leave_signal_stack() -> None:
    """Take the calling thread's signals off the stack that OpenVINO gave them.

    Its CPU plugin gives the thread that compiles an alternative signal stack, and closing puts back what
    was there before. Of two models closed in the order they were opened, the second puts back the freed
    stack of the first: the next Ctrl-C or SIGTERM was a segmentation fault.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.sigaltstack(ctypes.byref(_SignalStack(None, SS_DISABLE, 0)), None)


SS_DISABLE = 2  # signal.h


class _SignalStack(ctypes.Structure):
    """stack_t of signal.h on Linux."""

    _fields_ = (("pointer", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


def missing_with(capabilities: tuple[str, ...], precision: str) -> str | None:
    """Why a CPU with these capabilities cannot run `precision`, or None if it can."""
    if precision not in PRECISIONS:
        return f"OpenVINO runs {', '.join(PRECISIONS)} on a CPU, not {precision}"
    if precision == "bf16" and "BF16" not in capabilities:
        return "this CPU has no BF16 (needs AVX512_BF16 or AMX); take the fp32 variant"
    return None


@lru_cache(maxsize=1)
def cpu_capabilities() -> tuple[str, ...]:
    """What OpenVINO says this CPU optimises for, for example ("FP32", "INT8", "BF16")."""
    import openvino as ov

    return tuple(str(c) for c in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def _shape(partial: Any) -> tuple[int | None, ...]:
    return tuple(int(side.get_length()) if side.is_static else None for side in partial)
