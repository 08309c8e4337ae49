"""torch-tensorrt: the module as an ExportedProgram, which it compiles into TensorRT engines.

The program is made, saved, loaded and compared with PyTorch's pictures on any machine. Compiling needs
torch-tensorrt and a CUDA GPU and was never executed by this project: without them the export ends at that
call, with an error.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.export.passes import move_to_device_pass

from i2i_export.canonical import Uint8Translator, make_example_input
from i2i_export.job import Job
from i2i_export.options import ExportOptions
from i2i_export.passes.replace import replace_layers
from i2i_export.verify_variant import VerifiedVariant, require_parity, verify_with
from i2i_sdk.backends.torch_trt import ProgramEngine, TorchTrtEngine, explain_missing_torch_trt
from i2i_sdk.bundle.manifest import MAX_BATCH, Requirements, Variant
from i2i_sdk.errors import ExportError

PRECISIONS = ("fp16",)


def list_default_precisions(options: ExportOptions) -> tuple[str, ...]:
    """FP16 where it can be compiled."""
    return PRECISIONS if explain_missing_torch_trt() is None else ()


def export(job: Job, precision: str) -> Variant:
    """Compile and write `torch-trt-fp16-HxW.pt2`.

    Raises ExportError where torch-tensorrt or a CUDA GPU is missing, after the program was made and
    compared; ParityError when the program misses the floor.
    """
    name = job.format_name("torch-trt", precision)
    program = export_program(job, precision, job.scratch / f"{name}-program.pt2")
    job.progress(f"torch-trt {precision}: building, compiling")
    compiled = job.folder / f"{name}.pt2"
    compile_program(program, job, compiled)
    return job.make_variant("torch-trt", precision, [compiled], Requirements("torch-tensorrt>=2.9"))


def verify(variant: Variant, job: Job) -> VerifiedVariant:
    """Run what was compiled here, which needs no other trust: its parity and its time."""
    with TorchTrtEngine((job.folder / variant.files[0].path,), variant.precision) as engine:
        return verify_with(engine, variant, job)


def export_program(job: Job, precision: str, path: Path) -> ExportedProgram:
    """The module typed FP16 and exported to `path`, as read back from there and compared with PyTorch.

    Args:
        job: whose module it is.
        precision: "fp16".
        path: of the file, .pt2.

    Returns:
        uint8 [N, H, W, C] -> uint8 [N, H, W, C], N from 1 to `MAX_BATCH`.

    Raises:
        ParityError: it misses the floor.
    """
    example = make_example_input(job.spec, job.height, job.width, batch=2)
    batches = {0: Dim("batch", min=1, max=MAX_BATCH)}
    with torch.no_grad():
        made = torch.export.export(convert_module_to_half(job.module), (example,), dynamic_shapes=(batches,))
    torch.export.save(made, path)
    program = torch.export.load(path)
    with RoundedEngine(program, precision) as engine:
        require_parity(engine, f"torch-trt-{precision} before compiling", precision, job)
    return program


class RoundedEngine(ProgramEngine):
    """A program on the CPU, its FP16 convolutions in FP32 and then rounded to FP16.

    CPUs have no FP16 convolutions to speak of: PyTorch takes minutes for a picture of a full-size network.
    """

    def __init__(self, program: ExportedProgram, precision: str) -> None:
        super().__init__(program, precision, "cpu")
        self._native = _RoundingInterpreter(self._native).run


class _RoundingInterpreter(torch.fx.Interpreter):
    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        if target not in (torch.ops.aten.conv2d.default, torch.ops.aten.conv_transpose2d.input):
            return super().call_function(target, args, kwargs)
        exact = tuple(a.float() if isinstance(a, Tensor) else a for a in args)
        return super().call_function(target, exact, kwargs).to(args[0].dtype)


def compile_program(program: ExportedProgram, job: Job, path: Path) -> None:
    """Compile for the GPU that is here.

    Args:
        program: as `export_program` made it.
        job: whose size and channels it takes.
        path: of the file that is written, .pt2.

    Raises:
        ExportError: torch-tensorrt or a CUDA GPU is missing.
    """
    if reason := explain_missing_torch_trt():
        raise ExportError(
            f"the program keeps its pictures but cannot be compiled here, so nothing is written: {reason}"
        )
    import torch_tensorrt  # pyright: ignore[reportMissingImports]

    compiler: Any = torch_tensorrt
    example = make_example_input(job.spec, job.height, job.width, batch=1)
    one, most = tuple(example.shape), (MAX_BATCH, *example.shape[1:])
    input_spec = compiler.Input(min_shape=one, opt_shape=one, max_shape=most, dtype=example.dtype)
    # Types are the program's own: it says which layers are FP16.
    on_gpu = move_to_device_pass(program, "cuda")
    compiled = compiler.dynamo.compile(on_gpu, arg_inputs=[input_spec], use_explicit_typing=True)
    compiler.save(compiled, str(path), output_format="exported_program", arg_inputs=[input_spec])


def convert_module_to_half(module: Uint8Translator) -> nn.Module:
    """A copy of a deployed module, typed: FP16, but for normalization, the tanh and all outside of these.

    What `passes/fp16.py` does to a graph, for a compiler that takes modules.
    """
    generator = copy.deepcopy(module.generator).half()
    replace_layers(generator, nn.InstanceNorm2d, lambda norm: Float32Layer(norm.float(), restores_type=True))
    replace_layers(generator, nn.Tanh, lambda tanh: Float32Layer(tanh, restores_type=False))
    return HalfTranslator(generator).eval()


class HalfTranslator(Uint8Translator):
    """The same around a float16 generator; cast first, all that TensorRT does to uint8."""

    def normalize(self, images: Tensor) -> Tensor:
        return (images.float().permute(0, 3, 1, 2) / 127.5 - 1.0).half()


class Float32Layer(nn.Module):
    """A layer that computes in float32 whatever it takes; it gives that type (`restores_type`) or float32."""

    def __init__(self, layer: nn.Module, restores_type: bool) -> None:
        super().__init__()
        self.layer, self.restores_type = layer, restores_type

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x.float())
        return y.to(x.dtype) if self.restores_type else y
