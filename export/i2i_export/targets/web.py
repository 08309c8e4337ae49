"""A browser, through onnxruntime-web: a graph that its builds run, small enough to wait for.

FP32 shares the canonical graph's file. FP16 is a file of its own, whose kernels are stored in half the bytes
and cast to FP32 when the page loads them; the arithmetic is FP32 with both. No browser runs here: `verify`
gives the same file to ONNX Runtime's CPU provider, whose kernels the WebAssembly build is compiled from.
"""

from __future__ import annotations

import copy
import logging
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from i2i_export.job import STORED_IN_HALF, Job
from i2i_export.ops import WEB
from i2i_export.options import ExportOptions
from i2i_export.passes.fp16 import MAX_HALF
from i2i_export.verify_variant import VerifiedVariant, verify_with
from i2i_sdk.backends.ort.ort_engine import OrtEngine
from i2i_sdk.bundle.manifest import MAX_PAGE_BYTES, Requirements, Variant
from i2i_sdk.errors import ExportError

log = logging.getLogger(__name__)

PRECISIONS = ("fp32", "fp16")

# Measured in WebAssembly, headless Chromium on two cores of a server: a ResNet of 16 filters and 3 blocks at
# 128x128 (0.38 GMACs) ran at 15 frames a second.
MACS_PER_SECOND = 15 * 0.38e9
MIN_LIVE_FPS = 10  # frames a second; an export that is expected to stay below says so


def list_default_precisions(options: ExportOptions) -> tuple[str, ...]:
    """The small file: its pictures are those of FP32 within its floor, and pages load in half the time."""
    return ("fp16",)


def export(job: Job, precision: str) -> Variant:
    """The canonical graph, or `web-fp16-HxW.onnx`. Raises ExportError: an operator, or the size."""
    path = job.graph
    model = onnx.load(str(path))
    check_supported(model)
    if precision == "fp16":
        path = job.folder / f"{job.format_name('web', precision)}.onnx"
        onnx.save(store_half_weights(model), str(path))
    _check_size(path, precision)
    if (rate := MACS_PER_SECOND / job.macs) < MIN_LIVE_FPS:
        log.warning(
            "web: no live video in WebAssembly: %.1f GMACs make about %.2g frames a second, estimated from a "
            "smaller network's 15 in a browser on two server cores; a smaller --size or network is faster",
            job.macs / 1e9,
            rate,
        )
    facts = STORED_IN_HALF if precision == "fp16" else {}
    return job.make_variant("web", precision, [path], Requirements("onnxruntime-web>=1.20"), **facts)


def verify(variant: Variant, job: Job) -> VerifiedVariant:
    """Parity of the file in ONNX Runtime's CPU provider. Raises BackendError, ParityError."""
    with OrtEngine((job.folder / variant.files[0].path,), "fp32") as engine:
        return verify_with(engine, variant, job, verified_by=f"ONNX Runtime, {engine.provider}")


def check_supported(model: ModelProto) -> None:
    """Raise ExportError for operators that onnxruntime-web may not run."""
    if unknown := [n for n in model.graph.node if n.op_type not in WEB]:
        named = ", ".join(f"{n.op_type} ({n.name})" for n in unknown)
        raise ExportError(f"web: not known to run in onnxruntime-web: {named}. Known: {', '.join(WEB)}")


def store_half_weights(model: ModelProto) -> ModelProto:
    """A copy with kernels stored as FP16 and a Cast to FP32 behind each; biases and gains stay FP32.

    Raises ExportError for weights that FP16 cannot hold.
    """
    result = copy.deepcopy(model)
    graph = result.graph
    casts: list[onnx.NodeProto] = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < 2:
            continue
        name = tensor.name
        values = numpy_helper.to_array(tensor)
        if np.abs(values).max(initial=0.0) > MAX_HALF:
            raise ExportError(f"web: FP16 cannot hold the weights of {name}; take web:fp32")
        half = values.astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}_fp16"))
        casts.append(
            helper.make_node("Cast", [tensor.name], [name], name=f"{name}_cast", to=TensorProto.FLOAT)
        )
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(result, full_check=True)
    return result


def _check_size(path: Path, precision: str) -> None:
    """Raise ExportError for a file that no page should load."""
    size = path.stat().st_size
    if size <= MAX_PAGE_BYTES:
        return
    advice = (
        "take web:fp16" if precision == "fp32" and size < 2 * MAX_PAGE_BYTES else "train a narrower network"
    )
    file_size, most = f"{size / 1e6:.1f} MB", f"{MAX_PAGE_BYTES / 1e6:.0f} MB"
    raise ExportError(f"web: the {precision} file has {file_size}, a page may load {most}; {advice}")
