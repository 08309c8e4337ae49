"""torch-tensorrt: the module as an ExportedProgram, which it compiles into TensorRT engines.

The program is made, saved, loaded and compared with PyTorch's pictures on any machine. Compiling needs
torch-tensorrt and a CUDA GPU and was never executed by this project: without them the export ends at that
call, with an error.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.export.passes import move_to_device_pass

from i2i_export.job import Checked, Job
from i2i_export.module import Uint8Sampler, Uint8Translator, example_input
from i2i_export.options import ExportOptions
from i2i_export.parity import require_floor
from i2i_export.rewrites.replace import replace_layers
from i2i_sdk.backends.torch_trt import ProgramEngine, TorchTrtEngine, missing
from i2i_sdk.errors import ExportError
from i2i_sdk.manifest import Requirements, Variant
from i2i_sdk.measure import interleaved, statistics
from i2i_sdk.parity import measure_parity

PRECISIONS = ("fp16",)


def default_precisions(options: ExportOptions) -> tuple[str, ...]:
    """FP16 where it can be compiled."""
    return PRECISIONS if missing() is None else ()


def export(job: Job, precision: str) -> Variant:
    """Compile and write `torch-trt-fp16-HxW.pt2`.

    Raises ExportError where torch-tensorrt or a CUDA GPU is missing, after the program was made and
    compared; ParityError when the program misses the floor.
    """
    name = f"torch-trt-{precision}-{job.size}"
    job.progress(f"{name}: exporting the program")
    program = checked_program(job, precision, job.scratch / f"{name}-program.pt2")
    job.progress(f"{name}: compiling")
    compiled = job.folder / f"{name}.pt2"
    compile_program(program, job, compiled)
    return job.variant("torch-trt", precision, (job.entry(compiled),), Requirements("torch-tensorrt>=2.9"))


def verify(variant: Variant, job: Job) -> Checked:
    """Run what was compiled here, which needs no other trust: its parity and its time."""
    with TorchTrtEngine((job.folder / variant.files[0].path,), variant.precision) as engine:
        parity = measure_parity(engine, job.trial)
        require_floor(variant.name, variant.precision, parity, job.options.min_psnr)
        first = job.trial.inputs.arrays[0][None]
        times = interleaved({"run": lambda: engine.run(first)}, rounds=30)["run"]
        return Checked(replace(variant, parity=parity, verified="device"), statistics(times))


def checked_program(job: Job, precision: str, path: Path) -> ExportedProgram:
    """The module typed FP16 and exported to `path`, as read back from there and compared with PyTorch.

    It is uint8 [N, H, W, C] (a sampler: float32 [N, z]) -> uint8 [N, H, W, C], N from 1 to the job's largest.
    Raises ParityError.
    """
    example = example_input(job.spec, job.height, job.width, batch=2)
    batches = {0: Dim("batch", min=1, max=job.max_batch)}
    with torch.no_grad():
        made = torch.export.export(half_inside(job.module), (example,), dynamic_shapes=(batches,))
    torch.export.save(made, path)
    program = torch.export.load(path)
    with RoundedEngine(program, precision) as engine:
        parity = measure_parity(engine, job.trial)
    require_floor(f"torch-trt-{precision} before compiling", precision, parity, job.options.min_psnr)
    return program


class RoundedEngine(ProgramEngine):
    """A program on the CPU, its FP16 convolutions in FP32 and then rounded to FP16.

    CPUs have no FP16 convolutions to speak of: PyTorch takes minutes for a picture of a full-size network.
    """

    def __init__(self, program: ExportedProgram, precision: str) -> None:
        super().__init__(program, precision, "cpu")
        self._module = _Rounded(self._module).run


class _Rounded(torch.fx.Interpreter):
    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        if target not in (torch.ops.aten.conv2d.default, torch.ops.aten.conv_transpose2d.input):
            return super().call_function(target, args, kwargs)
        exact = tuple(a.float() if isinstance(a, Tensor) else a for a in args)
        return super().call_function(target, exact, kwargs).to(args[0].dtype)


def compile_program(program: ExportedProgram, job: Job, path: Path) -> None:
    """Compile for the GPU that is here and write `path`. Raises ExportError where that cannot be done."""
    if reason := missing():
        raise ExportError(
            f"the program keeps its pictures but cannot be compiled here, so nothing is written: {reason}"
        )
    import torch_tensorrt  # pyright: ignore[reportMissingImports]

    compiler: Any = torch_tensorrt
    example = example_input(job.spec, job.height, job.width, batch=1)
    one, most = tuple(example.shape), (job.max_batch, *example.shape[1:])
    taken = compiler.Input(min_shape=one, opt_shape=one, max_shape=most, dtype=example.dtype)
    # Types are the program's own: it says which layers are FP16.
    on_gpu = move_to_device_pass(program, "cuda")
    compiled = compiler.dynamo.compile(on_gpu, arg_inputs=[taken], use_explicit_typing=True)
    compiler.save(compiled, str(path), output_format="exported_program", arg_inputs=[taken])


def half_inside(module: nn.Module) -> nn.Module:
    """A copy of a deployed module, typed: FP16, but for normalisation, the tanh and all outside of these.

    What `half.py` does to a graph, for a compiler that takes modules.
    """
    if not isinstance(module, Uint8Translator | Uint8Sampler):
        raise ExportError(f"torch-trt: takes translators and samplers, this is a {type(module).__name__}")
    generator = copy.deepcopy(module.generator).half()
    replace_layers(generator, nn.InstanceNorm2d, lambda norm: InFloat(norm.float(), back=True))
    replace_layers(generator, nn.Tanh, lambda tanh: InFloat(tanh, back=False))
    first = ToHalf() if isinstance(module, Uint8Sampler) else PixelsToHalf()
    # A sampler is any generator with pixels behind it, whatever it is given.
    return Uint8Sampler(nn.Sequential(first, generator)).eval()


class ToHalf(nn.Module):
    """float32 -> float16."""

    def forward(self, latents: Tensor) -> Tensor:
        return latents.half()


class PixelsToHalf(nn.Module):
    """uint8 [N, H, W, C] -> float16 [N, C, H, W] in -1..1; cast first, all that TensorRT does to uint8."""

    def forward(self, images: Tensor) -> Tensor:
        return (images.float().permute(0, 3, 1, 2) / 127.5 - 1.0).half()


class InFloat(nn.Module):
    """A layer that computes in float32 whatever it is given, and gives that type `back`, or float32."""

    def __init__(self, layer: nn.Module, back: bool) -> None:
        super().__init__()
        self.layer, self.back = layer, back

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x.float())
        return y.to(x.dtype) if self.back else y
