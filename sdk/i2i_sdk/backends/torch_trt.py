"""torch-tensorrt: a program compiled for the GPU of the machine that made it, run by PyTorch.

Only `ProgramEngine` was executed by this project, on a CPU with programs that were not compiled; a variant
needs a CUDA GPU. PyTorch unpickles such a file when it loads it, which can run any code in it: a
bundle's is loaded only where the user says that its maker is trusted.
"""

# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import importlib.util
import os
from typing import Any

from numpy.typing import NDArray

from i2i_sdk.backends.base import DEFAULT_OPTIONS, Engine, EngineOptions, Files
from i2i_sdk.errors import BackendError

INSTALL_HINT = "pip install 'i2i-sdk[torch-tensorrt]'"
TRUST_VARIABLE = "I2I_TRUST_PICKLES"


class ProgramEngine(Engine):
    """A torch.export.ExportedProgram with one input and one output, on "cpu" or "cuda"."""

    _engine_name = "PyTorch"

    def __init__(self, program: Any, precision: str, device: str) -> None:
        values = {node.name: node.meta.get("val") for node in program.graph.nodes}
        signature = program.graph_signature
        if (len(signature.user_inputs), len(signature.user_outputs)) != (1, 1):
            raise BackendError("one input and one output are needed; this program has others")
        ports = [values[name] for name in (*signature.user_inputs, *signature.user_outputs)]
        self.input_shape, self.output_shape = (
            tuple(side if isinstance(side, int) else None for side in port.shape) for port in ports
        )
        self.input_dtype, self.output_dtype = (str(port.dtype).removeprefix("torch.") for port in ports)
        self.precision, self.provider = precision, device
        self._native = program.module()

    def _run(self, batch: NDArray[Any]) -> NDArray[Any]:
        import torch

        with torch.no_grad():
            return self._native(torch.tensor(batch, device=self.provider)).cpu().numpy()


class TorchTrtEngine(ProgramEngine):
    """A file that torch-tensorrt compiled. Loading it runs what is pickled in it."""

    def __init__(self, files: Files, precision: str, options: EngineOptions = DEFAULT_OPTIONS) -> None:
        import torch
        import torch_tensorrt  # noqa: F401  # pyright: ignore[reportUnusedImport]  # registers its operators

        super().__init__(torch.export.load(files[0]), precision, "cuda")

    @staticmethod
    def explain_unsupported(precision: str) -> str | None:
        if precision != "fp16":
            return f"torch-tensorrt variants are fp16, not {precision}"
        if reason := explain_missing_torch_trt():
            return reason
        if os.environ.get(TRUST_VARIABLE) != "1":
            runs = "loading it runs what its maker pickled into it"
            return f"{runs}; set {TRUST_VARIABLE}=1 for bundles that you trust"
        return None


def explain_missing_torch_trt() -> str | None:
    """Why torch-tensorrt can neither compile nor run here, or None if it can."""
    if importlib.util.find_spec("torch_tensorrt") is None:
        return f"torch-tensorrt is not installed: {INSTALL_HINT}"
    import torch

    return None if torch.cuda.is_available() else "torch-tensorrt needs a CUDA GPU, and PyTorch finds none"
