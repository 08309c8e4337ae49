"""OpenVINO on the CPU: the fastest engine on x86, with BF16 and INT8 where the processor has them."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# openvino's stubs are incomplete.

from __future__ import annotations

import ctypes
import importlib.util
import logging
import sys
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from i2i_sdk.backends.base import DEFAULT_OPTIONS, Engine, EngineOptions, Files
from i2i_sdk.backends.ort.onnx_layers import find_engine_precision, read_layers
from i2i_sdk.backends.ort.saturation import is_u8s8_saturating
from i2i_sdk.errors import BackendError

log = logging.getLogger(__name__)

PRECISIONS = ("fp32", "bf16", "int8")
# OpenVINO's and ours.
PRECISION_NAMES = {"f32": "fp32", "bf16": "bf16", "f16": "fp16", "u8": "int8", "i8": "int8"}
DTYPES = {"uint8", "float32"}
LAYER_TYPES = {"Convolution", "Deconvolution", "FullyConnected", "MatMul"}  # as the compiled graph calls them
# As the graph calls them.
TRANSPOSED_CONVOLUTION_OPS = {"ConvolutionBackpropData", "GroupConvolutionBackpropData"}
MATRIX_OPS = {"Convolution", "GroupConvolution", "MatMul", *TRANSPOSED_CONVOLUTION_OPS}


class OpenVinoEngine(Engine):
    """An ONNX file compiled by OpenVINO's CPU plugin, tuned for the latency of one frame."""

    _engine_name = "OpenVINO"

    def __init__(self, files: Files, precision: str, options: EngineOptions = DEFAULT_OPTIONS) -> None:
        options.require_cpu("OpenVINO")
        graph, hint = files[0], choose_float_precision(precision)
        self._model: Any = _compile_model(graph, hint, options.threads, allow_integers=precision == "int8")
        try:
            self._read_back(graph, precision, hint)
        except BaseException:
            self.close()
            raise
        self._native = self._model.create_infer_request()

    def _read_back(self, graph: Path, precision: str, hint: str) -> None:
        """Set what an engine says of itself. Raises BackendError where it is not what was asked for."""
        # OpenVINO takes a precision as a hint and may run another one; its layers need not follow either.
        found: str = self._model.get_property("INFERENCE_PRECISION_HINT").to_string()
        if found != hint:
            raise BackendError(f"{graph}: asked OpenVINO for {hint}, it would run {found}")
        self.layers = _count_layers(self._model)
        self.precision = _find_precision(self.layers, PRECISION_NAMES[hint], graph)
        self._require_precision(precision, graph)
        ports = [*self._model.inputs, *self._model.outputs]
        types = [np.dtype(port.element_type.to_dtype()).name for port in ports]
        if len(self._model.inputs) != 1 or len(ports) != 2 or not DTYPES.issuperset(types):
            names = [port.any_name if port.names else "?" for port in ports]
            found = ", ".join(f"{name} {kind}" for name, kind in zip(names, types, strict=True))
            raise BackendError(f"{graph}: one uint8 or float input and one output are needed; it has {found}")
        self.input_shape, self.output_shape = (_to_shape(port.partial_shape) for port in ports)
        self.input_dtype, self.output_dtype = types
        self.provider = ",".join(self._model.get_property("EXECUTION_DEVICES"))
        if self.provider != "CPU":
            raise BackendError(f"{graph}: asked OpenVINO for the CPU, it would run on {self.provider}")

    @staticmethod
    def explain_unsupported(precision: str) -> str | None:
        if importlib.util.find_spec("openvino") is None:
            return "the package is missing: pip install 'i2i-sdk[openvino]'"
        return explain_unsupported_cpu(query_cpu_capabilities(), precision)

    def _run(self, batch: NDArray[Any]) -> NDArray[Any]:
        outputs = self._native.infer({0: batch}, share_inputs=True, share_outputs=False)
        return outputs[0]  # a copy: the request reuses its own buffer

    def _summarize_error(self, error: Exception) -> str:
        return _get_last_line(error)

    def close(self) -> None:
        self._native = self._model = None
        _leave_signal_stack()


def choose_float_precision(precision: str) -> str:
    """What layers compute in that no Q/DQ makes INT8, as OpenVINO calls it.

    Beside INT8 that is BF16 where the CPU has it: faster, and on two trained networks within 1.5 dB of FP32
    beside INT8.
    """
    if precision == "int8":
        return "bf16" if "BF16" in query_cpu_capabilities() else "f32"
    return {"fp32": "f32", "bf16": "bf16"}[precision]


def _compile_model(graph: Path, hint: str, threads: int | None, *, allow_integers: bool = False) -> Any:
    """Read and compile `graph`; allow_integers: is it to compute in INT8? Raises BackendError."""
    import openvino as ov

    config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
    if threads is not None:
        config["INFERENCE_NUM_THREADS"] = threads
    try:
        core = ov.Core()
        model = core.read_model(str(graph))
        if hint == "bf16":
            append_identity_convolution(model)
        if allow_integers and is_u8s8_saturating() and round_weights_to_7_bits(model):
            log.warning("%s: this CPU has no VNNI; its INT8 weights are rounded to 7 bits", graph.name)
        return core.compile_model(model, "CPU", config)
    except RuntimeError as error:
        raise BackendError(f"{graph}: OpenVINO cannot load it: {_get_last_line(error)}") from error


def append_identity_convolution(model: Any) -> None:
    """Let BF16 reach the transposed convolutions at a network's end.

    OpenVINO keeps everything after the last ordinary convolution or matrix product in FP32. A transposed
    convolution does not count as one, so the whole decoder of a U-Net and all of a DCGAN stayed in FP32
    under the hint BF16. A 1x1 convolution that changes nothing, put after the last of them, ends that.
    """
    import openvino.opset13 as ops

    last = next((op for op in reversed(model.get_ordered_ops()) if op.get_type_name() in MATRIX_OPS), None)
    if last is None or last.get_type_name() not in TRANSPOSED_CONVOLUTION_OPS:
        return
    output = last.output(0)
    shape = output.get_partial_shape()
    if len(shape) != 4 or not shape[1].is_static:
        return
    readers = list(output.get_target_inputs())
    channels, no_pads = shape[1].get_length(), [0, 0]
    weights = np.eye(channels, dtype=np.float32).reshape(channels, channels, 1, 1)
    same = ops.constant(weights, dtype=output.get_element_type())
    through = ops.convolution(output, same, [1, 1], no_pads, no_pads, dilations=[1, 1])
    for reader in readers:
        reader.replace_source_output(through.output(0))


def round_weights_to_7_bits(model: Any) -> int:
    """Halve the INT8 weights of a model, in place, and double their scales; returns of how many layers.

    Where a CPU saturates (`ort.saturation`) OpenVINO has no exact kernels. Two products with weights of at
    most 64 always fit: 2 x 255 x 64 = 32640. Of a trained network 27 dB became 38; a CPU with VNNI has 44.
    """
    import openvino as ov
    import openvino.opset13 as ops

    count = 0
    for weights in model.get_ordered_ops():
        is_constant = weights.get_type_name() == "Constant" and weights.get_element_type() == ov.Type.i8
        if not is_constant or len(weights.get_output_shape(0)) < 2:  # of one dimension: zero points
            continue
        scaled = [_find_dequantize_scale(reader) for reader in weights.output(0).get_target_inputs()]
        if None in scaled:
            continue
        halved = ops.constant(np.rint(weights.data / 2).astype(np.int8))
        for reader in list(weights.output(0).get_target_inputs()):
            reader.replace_source_output(halved.output(0))
        for scale in scaled:
            doubled = ops.multiply(scale.get_source_output(), ops.constant(np.float32(2)))
            scale.replace_source_output(doubled.output(0))
        count += 1
    return count


def _find_dequantize_scale(reader: Any) -> Any:
    """Where the Multiply takes its scale that INT8 weights reach through Convert and Subtract; None without.

    `reader` takes the weights. A zero point that is not 0 would have to be halved too.
    """
    node = reader.get_node()
    for name in ("Convert", "Subtract"):
        if node.get_type_name() != name:
            continue
        if name == "Subtract" and not _is_zero(node.input_value(1).get_node()):
            return None
        readers = list(node.output(0).get_target_inputs())
        if len(readers) != 1:
            return None
        node = readers[0].get_node()
    return node.input(1) if node.get_type_name() == "Multiply" else None


def _is_zero(node: Any) -> bool:
    """Does a constant, behind operators that only change its type or shape, hold nothing but 0?"""
    while node.get_type_name() in ("Convert", "Reshape"):
        node = node.input_value(0).get_node()
    return node.get_type_name() == "Constant" and not node.data.any()


def _count_layers(compiled_model: Any) -> dict[str, int]:
    """How many layers of a compiled model compute in which precision, by its own account.

    A convolution that `append_identity_convolution` added counts with them.
    """
    counts: Counter[str] = Counter()
    for op in compiled_model.get_runtime_model().get_ops():
        fact = {key: str(value.astype(str)) for key, value in op.get_rt_info().items()}
        if fact["layerType"] in LAYER_TYPES:
            counts[PRECISION_NAMES.get(fact["runtimePrecision"], fact["runtimePrecision"])] += 1
    return dict(counts.most_common())


def _find_precision(layers: dict[str, int], hint: str, graph: Path) -> str:
    """The precision that most layers compute in; INT8 needs only most of those that are between Q/DQ."""
    floats = {name: count for name, count in layers.items() if name != "int8"}
    most = max(floats, key=lambda name: floats[name], default=hint)
    if "int8" not in layers:
        return most
    return find_engine_precision(layers, read_layers(graph).dequantized_count, most)


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


def explain_unsupported_cpu(capabilities: tuple[str, ...], precision: str) -> str | None:
    """Why a CPU with these capabilities cannot run `precision`, or None if it can."""
    if precision not in PRECISIONS:
        return f"OpenVINO runs {', '.join(PRECISIONS)} on a CPU, not {precision}"
    if precision == "bf16" and "BF16" not in capabilities:
        return "this CPU has no BF16 (needs AVX512_BF16 or AMX); take the fp32 variant"
    if precision == "int8" and "INT8" not in capabilities:
        return "OpenVINO has no INT8 on this CPU; take the fp32 variant"
    return None


@lru_cache(maxsize=1)
def query_cpu_capabilities() -> tuple[str, ...]:
    """What OpenVINO says this CPU optimizes for, for example ("FP32", "INT8", "BF16")."""
    import openvino as ov

    return tuple(str(c) for c in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def _to_shape(partial: Any) -> tuple[int | None, ...]:
    return tuple(int(side.get_length()) if side.is_static else None for side in partial)


def _get_last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]
