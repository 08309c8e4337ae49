"""ONNX Runtime. Always installed with i2i-sdk; FP32 and INT8 on the CPU, or another execution provider."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false
# onnxruntime ships no type information.

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from i2i_sdk.backends.base import DEFAULT_OPTIONS, Engine, EngineOptions, Files
from i2i_sdk.backends.ort import providers
from i2i_sdk.backends.ort.onnx_layers import OnnxLayers, find_engine_precision, read_layers
from i2i_sdk.backends.ort.saturation import avoid_saturation
from i2i_sdk.errors import BackendError, get_first_line

DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}


class OrtEngine(Engine):
    """An ONNX file in ONNX Runtime, on the CPU or on the provider that the options name.

    On the CPU "int8" computes what is between Q/DQ in integers, "fp32" the same in floats, with the rounding
    of Q/DQ around it: slow, and how a graph typed for another engine can be evaluated here.
    """

    _engine_name = "ONNX Runtime"

    def __init__(self, files: Files, precision: str, options: EngineOptions = DEFAULT_OPTIONS) -> None:
        graph, provider = files[0], options.provider or "cpu"
        typed = _try_read_layers(graph)
        if typed.has_fp16_weights and provider == "cpu":
            instead = "which a CPU computes in FP32 between casts: take FP32"
            raise BackendError(f"{graph}: is typed FP16, {instead}")
        with tempfile.TemporaryDirectory(prefix="i2i-") as scratch:
            optimized = Path(scratch, "optimized.onnx") if provider == "cpu" and typed.is_quantized else None
            self._native = _open_session(graph, options, optimized, allow_integers=precision == "int8")
            computed = read_layers(optimized) if optimized else typed
        self.precision, self.layers = _find_precision(typed, computed, provider)
        self._require_precision(precision, graph)
        inputs, outputs = self._native.get_inputs(), self._native.get_outputs()
        ports = [*inputs, *outputs]
        if len(inputs) != 1 or len(outputs) != 1 or any(port.type not in DTYPES for port in ports):
            found = ", ".join(f"{port.name} {port.type}" for port in ports)
            raise BackendError(f"{graph}: one uint8 or float input and one output are needed; it has {found}")
        self._name: str = inputs[0].name
        self.input_shape, self.output_shape = (_to_shape(port.shape) for port in ports)
        self.input_dtype, self.output_dtype = (DTYPES[port.type] for port in ports)
        self.provider = providers.check_provider(self._native, provider, options.allow_fallback)

    @staticmethod
    def explain_unsupported(precision: str) -> str | None:
        return providers.explain_unsupported_provider("cpu", precision)

    def _run(self, batch: NDArray[Any]) -> NDArray[Any]:
        return self._native.run(None, {self._name: batch})[0]


def _open_session(
    graph: Path, options: EngineOptions, optimized: Path | None, *, allow_integers: bool
) -> Any:
    """An onnxruntime.InferenceSession; what its optimizer makes of the graph is written to `optimized`.

    allow_integers: may it take Q/DQ and what is between them for one integer operation?
    """
    import onnxruntime as ort

    session, provider = ort.SessionOptions(), options.provider or "cpu"
    session.log_severity_level = 4  # fatal: errors are raised below
    if options.threads is not None:
        session.intra_op_num_threads = options.threads
    if allow_integers:
        avoid_saturation(session)
    else:
        session.add_session_config_entry("session.disable_quant_qdq", "1")
    if optimized is not None:
        session.optimized_model_filepath = str(optimized)
    chosen = providers.configure(session, provider, options.allow_fallback)
    try:
        # Without enable_fallback=0 a failure, now or in a later run, would start again on the CPU.
        return ort.InferenceSession(str(graph), session, providers=chosen or None, enable_fallback=0)
    except Exception as error:  # onnxruntime's errors share no base class
        reason = get_first_line(error)
        if provider != "cpu":
            reason += f". Asked for provider {provider}. {providers.suggest_fix(provider)}"
        raise BackendError(f"{graph}: ONNX Runtime cannot load it: {reason}") from error


def _try_read_layers(graph: Path) -> OnnxLayers:
    """As typed in the file; of what cannot be read ONNX Runtime says itself what is wrong with it."""
    try:
        return read_layers(graph)
    except (OSError, ValueError):
        return OnnxLayers()


def _find_precision(typed: OnnxLayers, computed: OnnxLayers, provider: str) -> tuple[str, dict[str, int]]:
    """The precision that a session computes in, and its layers; of the file and of what it was optimized to.

    On the CPU what the optimizer made of Q/DQ decides: it leaves a convolution in floats whose output is not
    quantized too. Other providers keep to the types in the file; what their compilers make of a layer they
    do not say.
    """
    if provider != "cpu":
        return "int8" if typed.is_quantized else "fp16" if typed.has_fp16_weights else "fp32", {}
    layers = computed.count_by_precision()
    return find_engine_precision(layers, typed.dequantized_count, default="fp32"), layers


def _to_shape(sides: list[Any]) -> tuple[int | None, ...]:
    return tuple(side if isinstance(side, int) else None for side in sides)
