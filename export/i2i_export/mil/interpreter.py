"""A saved Core ML package, evaluated with PyTorch: what its arithmetic gives, without a Mac.

The file is read back, not what the export meant to write: colors and sizes from its description, operations
and their types from its program, weights from its weight.bin. Sums are made in float32 and every result is
rounded to the type that the program declares, so FP16 shows where values overflow or lose their digits. A
device may round inside of an operation too, and decides for itself which unit runs what: that is not shown.

The program is read with `coremltools.converters.mil.frontend.milproto`, which coremltools does not document.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from i2i_export.mil.mil_ops import OPS
from i2i_sdk.backends.base import CLOSED_MESSAGE, Engine
from i2i_sdk.backends.coreml import find_weight_precision, read_image_ports, silence_coremltools
from i2i_sdk.errors import BackendError, ExportError

ROUNDERS: dict[str, Callable[[Tensor], Tensor]] = {"fp16": lambda t: t.half().float(), "fp32": lambda t: t}


@dataclass(frozen=True)
class MilStep:
    """One operation of the program, ready to run."""

    operation: str
    inputs: dict[str, str | list[str]]  # argument -> names of constants and of what earlier operations give
    output: str
    dtype: str
    shape: tuple[int, ...]


class MilEngine(Engine):
    """The uint8 contract of a saved .mlpackage, batch 1.

    Raises ExportError for what the package does that cannot be checked here, naming the layer, and
    BackendError unless it takes one image and gives one.
    """

    provider = f"MIL interpreter, torch {torch.__version__}"

    def __init__(self, package: Path) -> None:
        spec, function = load_program(package)
        self._package = package
        self._taken, self._given = read_image_ports(spec)
        self.input_shape, self.output_shape = self._taken.shape, self._given.shape
        self.input_dtype = self.output_dtype = "uint8"
        self.precision = find_weight_precision(spec)
        self._steps: list[MilStep] = []
        self._constants: dict[str, Any] = {}
        for operation in function.operations:
            step = self._make_step(operation)
            if step.operation == "const":
                self._constants[step.output] = _to_tensor(operation.outputs[0].val)
            elif step.operation.startswith("constexpr_"):
                self._constants[step.output] = self._evaluate(step, {})
            else:
                self._steps.append(step)
        # After which step a value can go: a ResNet's activations together are more than a gigabyte.
        self._last_use = {name: i for i, step in enumerate(self._steps) for name in _list_names(step)}
        self._last_use[self._given.name] = len(self._steps)

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        if not self._steps:
            raise BackendError(CLOSED_MESSAGE)
        return np.stack([self._translate(image) for image in batch])

    def close(self) -> None:
        self._steps = []

    def _translate(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 [H, W, C] RGB or gray -> the same, through the program."""
        if image.shape != self._taken.shape[1:]:
            raise BackendError(f"{self._package}: takes {self._taken.shape}, got {image.shape}")
        turned = image[..., ::-1] if self._taken.order == "bgr" else image
        x = torch.from_numpy(np.ascontiguousarray(turned.transpose(2, 0, 1)[None], np.float32))
        values = {self._taken.name: x}
        with torch.no_grad():
            for index, step in enumerate(self._steps):
                values[step.output] = self._evaluate(step, values)
                for name in _list_names(step):
                    if self._last_use[name] == index:
                        values.pop(name, None)
        y = values[self._given.name]
        if not torch.isfinite(y).all():
            raise ExportError(
                f"{self._package}: values overflow in FP16, whose largest is 65504, and give no number. "
                "Core ML packages compute in FP16; export fp32 for another engine, for example --to ort:fp32"
            )
        if not torch.equal(y, y.round().clamp(0, 255)):
            raise ExportError(
                f"{self._package}: gives pixels from {y.min():g} to {y.max():g}, not all of them whole "
                f"numbers in 0..255; what Core ML would make of them is not documented, so rounding and "
                f"clipping belong inside the graph"
            )
        picture = y[0].numpy().astype(np.uint8).transpose(1, 2, 0)
        return np.ascontiguousarray(picture[..., ::-1] if self._given.order == "bgr" else picture)

    def _make_step(self, operation: Any) -> MilStep:
        kind, output = operation.op_type, operation.outputs[0]
        dtype = _get_type_name(output)
        if kind != "const" and (kind not in OPS or len(operation.outputs) != 1 or dtype not in ROUNDERS):
            raise ExportError(
                f"{self._package}: cannot check the operation {kind!r} ({dtype}) of layer "
                f"{operation.name!r}; known: {', '.join(OPS)}, in {', '.join(ROUNDERS)}"
            )
        inputs = {key: _get_names(var) for key, var in operation.inputs.items() if var is not None}
        return MilStep(kind, inputs, output.name, dtype, tuple(output.shape))

    def _evaluate(self, step: MilStep, values: dict[str, Tensor]) -> Tensor:
        def find(names: str | list[str]) -> Any:
            if isinstance(names, list):
                return [find(name) for name in names]
            return self._constants[names] if names in self._constants else values[names]

        try:
            result = OPS[step.operation](**{key: find(names) for key, names in step.inputs.items()})
        except (ValueError, TypeError, RuntimeError) as error:
            raise ExportError(
                f"{self._package}: cannot check {step.operation} of layer {step.output!r}: {error}"
            ) from error
        if tuple(result.shape) != step.shape:
            raise ExportError(
                f"{self._package}: {step.operation} of layer {step.output!r} gives {tuple(result.shape)}, "
                f"the package declares {step.shape}"
            )
        return ROUNDERS[step.dtype](result)


def load_program(package: Path) -> tuple[Any, Any]:
    """The specification and the main function of a saved .mlpackage. Raises ExportError."""
    try:
        with silence_coremltools():
            from coremltools.converters.mil.frontend.milproto.load import load
            from coremltools.models import MLModel

            model = MLModel(str(package), skip_model_load=True)
            spec = model.get_spec()
            program = load(spec, spec.specificationVersion, file_weights_dir=str(model.weights_dir))
            return spec, program.functions["main"]
    except Exception as error:  # coremltools' errors share no base class
        raise ExportError(f"{package}: coremltools cannot read it: {error}") from error


def _get_type_name(var: Any) -> str:
    from coremltools.converters.mil.mil import types

    return types.builtin_to_string(var.dtype)


def _to_tensor(value: Any) -> Any:
    """Arrays of floats as float32 tensors; everything else as it is."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return torch.from_numpy(value.astype(np.float32))
    return value


def _get_names(var: Any) -> str | list[str]:
    return [each.name for each in var] if isinstance(var, list | tuple) else var.name


def _list_names(step: MilStep) -> list[str]:
    """All that a step asks for."""
    return [
        name for names in step.inputs.values() for name in (names if isinstance(names, list) else [names])
    ]
