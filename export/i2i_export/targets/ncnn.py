"""ncnn, for Android and small ARM boards, converted from the traced module by pnnx.

The one exception to the uint8 contract is in the files only: ncnn has no uint8 tensors, see
`i2i_sdk.backends.ncnn`. Precisions say what weights are stored as; the arithmetic that is verified is FP32.
"""

from __future__ import annotations

import importlib
import io
import subprocess
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from i2i_export.job import STORED_IN_HALF, Job
from i2i_export.options import ExportOptions
from i2i_sdk.backends.ncnn.ncnn_engine import NcnnEngine
from i2i_sdk.backends.ncnn.ncnn_files import read_layers
from i2i_sdk.bundle.manifest import Requirements, Variant
from i2i_sdk.errors import BackendError, ExportError

PRECISIONS = ("fp32", "fp16")


def list_default_precisions(options: ExportOptions) -> tuple[str, ...]:
    """Both: ncnn runs on every CPU."""
    return PRECISIONS


def export(job: Job, precision: str) -> Variant:
    """Write `ncnn-PRECISION-HxW.param` and `.bin` into the bundle; parity is measured by the pipeline.

    Raises ExportError: a package is missing, or ncnn lacks a layer of the network, which it names.
    """
    pnnx = _find_pnnx()
    if reason := NcnnEngine.explain_unsupported(precision):
        raise ExportError(f"ncnn cannot be verified here: {reason}")
    job.check_image_channels("ncnn")
    traced = _trace(job)
    param, weights = _convert(pnnx, traced, job.format_name("ncnn", precision), precision)
    _write_input_size(param, job)
    _check_layers(param)
    files = [path.rename(job.folder / path.name) for path in (param, weights)]
    facts = STORED_IN_HALF if precision == "fp16" else {}
    return job.make_variant(
        "ncnn", precision, files, Requirements("ncnn>=1.0.20250503"), max_batch=1, **facts
    )


class PlanarPixels(nn.Module):
    """float32 [1, C_in, H, W] of 0..255 -> float32 [1, C_out, H, W] of whole numbers 0..255.

    Pixels are centerd before they are scaled: on a phone
    that computes in FP16 the subtraction is exact, where x/127.5 - 1 would round twice.
    """

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, x: Tensor) -> Tensor:
        values = (x - 127.5) * (1 / 127.5)
        return (self.generator(values) * 127.5 + 127.5).round().clamp(0, 255)


def _find_pnnx() -> str:
    """The program inside of pnnx's wheel. Its Python part is left alone: it runs the code that it writes."""
    try:
        return str(importlib.import_module("pnnx").EXEC_PATH)
    except ImportError as error:
        raise ExportError(f"ncnn needs pnnx ({error}): pip install 'i2i-sdk[ncnn]'") from error


def _trace(job: Job) -> Path:
    """The TorchScript file that pnnx reads, made once a job."""
    path = job.scratch / "ncnn.pt"
    if path.exists():
        return path
    module = PlanarPixels(job.module.generator).eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript, which pnnx reads
        tracing: type[Warning] = torch.jit.TracerWarning  # pyright: ignore[reportPrivateImportUsage]
        warnings.simplefilter("ignore", tracing)  # sizes become constants, as they shall
        traced = torch.jit.trace(
            module, torch.zeros(1, job.spec.config.in_channels, job.height, job.width), check_trace=False
        )
        content = io.BytesIO()
        torch.jit.save(traced, content)
    path.write_bytes(content.getvalue())  # PyTorch's own writing aborts the process on a full disk
    return path


def _convert(pnnx: str, traced: Path, name: str, precision: str) -> tuple[Path, Path]:
    """Run pnnx in the folder of `traced`. Raises ExportError with the last line of its log."""
    param, weights = (traced.parent / f"{name}.{suffix}" for suffix in ("param", "bin"))
    half = f"fp16={int(precision == 'fp16')}"
    command = [pnnx, traced.name, half, f"ncnnparam={param.name}", f"ncnnbin={weights.name}"]
    done = subprocess.run(
        command, cwd=traced.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0 or not (param.is_file() and weights.is_file()):
        said = [line for line in done.stdout.splitlines() if line.strip()][-1:]
        raise ExportError(f"pnnx cannot convert this network (exit {done.returncode}): {''.join(said)}")
    return param, weights


def _write_input_size(param: Path, job: Job) -> None:
    """Write into the Input's line what it takes: width, height and channels are its options 0, 1 and 2."""
    sides = job.width, job.height, job.spec.config.in_channels
    said = " ".join(f"{option}={side}" for option, side in enumerate(sides))
    lines = param.read_text(encoding="utf-8").splitlines()
    lines = [f"{line} {said}" if line.startswith("Input ") else line for line in lines]
    param.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _check_layers(param: Path) -> None:
    """Raise ExportError naming layers that pnnx passed on but ncnn lacks, or the runtime does not know."""
    try:
        read_layers(param)
    except BackendError as error:
        raise ExportError(f"ncnn cannot run this network: {error}") from error
