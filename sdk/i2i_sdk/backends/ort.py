"""ONNX Runtime. Always installed with i2i-sdk; runs every FP32 graph on the CPU."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false
# onnxruntime ships no type information.

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from i2i_sdk.backends.base import CLOSED, DEFAULT_OPTIONS, Engine, EngineOptions, Files
from i2i_sdk.errors import BackendError

DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}
PROVIDER = "CPUExecutionProvider"


class OrtEngine(Engine):
    """An ONNX file in ONNX Runtime's CPU provider."""

    def __init__(self, files: Files, precision: str, options: EngineOptions = DEFAULT_OPTIONS) -> None:
        import onnxruntime as ort

        graph = files[0]
        session = ort.SessionOptions()
        session.log_severity_level = 3  # errors; they are raised below as well
        if options.threads is not None:
            session.intra_op_num_threads = options.threads
        try:
            self._session: Any = ort.InferenceSession(str(graph), session, providers=[PROVIDER])
        except Exception as error:  # onnxruntime's errors share no base class
            raise BackendError(f"{graph}: ONNX Runtime cannot load it: {_first_line(error)}") from error
        if self._session.get_providers()[0] != PROVIDER:
            raise BackendError(f"{graph}: asked for {PROVIDER}, got {self._session.get_providers()}")
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if (
            len(inputs) != 1
            or len(outputs) != 1
            or inputs[0].type not in DTYPES
            or outputs[0].type not in DTYPES
        ):
            found = ", ".join(f"{x.name} {x.type}" for x in [*inputs, *outputs])
            raise BackendError(f"{graph}: one uint8 or float input and one output are needed; it has {found}")
        self._name: str = inputs[0].name
        self.input_shape = _shape(inputs[0].shape)
        self.output_shape = _shape(outputs[0].shape)
        self.input_dtype, self.output_dtype = DTYPES[inputs[0].type], DTYPES[outputs[0].type]
        self.precision = (
            "fp32"  # not read back: the CPU provider runs the types of the graph, ours are float32
        )
        self.provider = PROVIDER

    @staticmethod
    def missing(precision: str) -> str | None:
        if precision != "fp32":
            return f"ONNX Runtime's CPU provider has no {precision}; it runs fp32"
        try:
            import onnxruntime  # noqa: F401  # pyright: ignore[reportUnusedImport]
        except ImportError:
            return "the package is missing: pip install onnxruntime"
        return None

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        if self._session is None:
            raise BackendError(CLOSED)
        try:
            return self._session.run(None, {self._name: batch})[0]
        except Exception as error:  # onnxruntime's errors share no base class
            given = f"{batch.dtype} {batch.shape}"
            raise BackendError(f"ONNX Runtime failed on {given}: {_first_line(error)}") from error

    def close(self) -> None:
        self._session = None


def _shape(sides: list[Any]) -> tuple[int | None, ...]:
    return tuple(side if isinstance(side, int) else None for side in sides)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
