"""TensorRT: an ONNX file typed FP16 or INT8, and engines of it for the GPUs that can be built for here.

TensorRT for RTX builds without a GPU, for many at once; TensorRT 10 and 11 build for the GPU that is here,
which this project never did. Other GPUs (a Jetson) build from the ONNX file when they first load it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import onnx
import onnxruntime

from i2i_export.half import rounded_float, typed_half
from i2i_export.int8 import int8_graph
from i2i_export.job import Checked, Job, run_here
from i2i_export.options import ExportOptions, can_calibrate
from i2i_export.parity import require_floor
from i2i_sdk.backends import cuda
from i2i_sdk.backends.ort import OrtEngine
from i2i_sdk.backends.trt import TrtEngine
from i2i_sdk.errors import BackendError, ExportError
from i2i_sdk.manifest import Requirements, Variant
from i2i_sdk.parity import measure_parity
from i2i_sdk.trt_builder import build_engine
from i2i_sdk.trt_flavors import Library, capability_of, engine_name, installed

log = logging.getLogger(__name__)

PRECISIONS = ("fp16", "int8")
NAMES = {"auto": ("tensorrt", "rtx"), "tensorrt": ("tensorrt",), "rtx": ("rtx",)}
INSTALL = "pip install 'i2i-sdk[tensorrt-rtx]', which builds without a GPU, or 'i2i-sdk[tensorrt]'"


def default_precisions(options: ExportOptions) -> tuple[str, ...]:
    """FP16 where a builder is installed, and INT8 with frames to calibrate it on."""
    try:
        chosen_library(options.flavor)
    except ExportError:
        return ()
    return PRECISIONS if can_calibrate(options) else ("fp16",)


def export(job: Job, precision: str) -> Variant:
    """Write `trt-PRECISION-HxW.onnx` and its engines into the bundle.

    Raises ExportError: no builder, a GPU that it cannot build for, a node that it cannot take, or an
    engine that is not what was asked for.
    """
    library = chosen_library(job.options.flavor)
    groups = capability_groups(library, job.options.compute_capabilities, precision)
    quantised = int8_graph(job, "tensorrt") if precision == "int8" else None
    graph = _graph(job, precision)
    onnx.save(typed_half(onnx.load(str(quantised.path if quantised else job.graph))), str(graph))
    files = [graph]
    for group in groups:
        job.progress(f"trt {precision}: building for compute capability {', '.join(group)}")
        engine = job.folder / engine_name(graph.stem, library, group)
        try:
            named = group if library.flavor.builds_without_gpu else ()
            engine.write_bytes(build_engine(library, graph, precision, named, job.max_batch).engine)
        except BackendError as error:
            raise ExportError(str(error)) from error
        files.append(engine)
    needs = Requirements("tensorrt-or-rtx>=1.2", compute_capabilities=tuple(c for g in groups for c in g))
    variant = job.variant("trt", precision, tuple(map(job.entry, files)), needs)
    return quantised.described(variant) if quantised else variant


def verify(variant: Variant, job: Job) -> Checked:
    """Parity of the engine where it runs, else of the same typed graph in ONNX Runtime.

    There every value that the graph types FP16 is rounded to FP16; sums inside an operator are FP32.
    Raises ParityError below the floor.
    """
    if TrtEngine.missing(variant.precision) is None:
        return run_here(variant, job)
    rounded = job.scratch / f"{variant.name}-rounded.onnx"
    onnx.save(rounded_float(onnx.load(str(_graph(job, variant.precision)))), str(rounded))
    with OrtEngine((rounded,), "fp32") as engine:
        parity = measure_parity(engine, job.trial)
    require_floor(variant.name, variant.precision, parity, job.options.min_psnr)
    by = f"ONNX Runtime {onnxruntime.__version__} (the same typed graph, its FP16 values rounded)"
    return Checked(replace(variant, parity=parity, verified="graph", verified_by=by), timing=None)


def chosen_library(flavor: str) -> Library:
    """The TensorRT that builds: of those installed the one of `flavor`, TensorRT first where there is a GPU.

    Raises ExportError saying what to install.
    """
    try:
        found = installed(NAMES[flavor])
    except BackendError as error:
        raise ExportError(str(error)) from error
    if not found:
        raise ExportError(f"--flavor {flavor}: no TensorRT of this kind is installed: {INSTALL}")
    no_gpu = cuda.missing()
    able = [library for library in found if library.flavor.builds_without_gpu or no_gpu is None]
    if not able:
        raise ExportError(
            f"--flavor {flavor}: {found[0].flavor.package} builds on the GPU that it is for; {no_gpu}"
        )
    return able[0]


def capability_groups(library: Library, wanted: Sequence[str], precision: str) -> tuple[tuple[str, ...], ...]:
    """The compute capabilities that each engine is built for.

    wanted: as the user writes them, "75" or "7.5"; none: all that the library offers, or the GPU here.
    Raises ExportError naming those that are possible.
    """
    flavor = library.flavor
    if not flavor.builds_without_gpu:
        here = cuda.device().capability
        if any(capability_of(text) != here for text in wanted):
            raise ExportError(
                f"--compute-capability {','.join(wanted)}: {flavor.package} builds for the GPU that is here, "
                f"{here}, and no other; --flavor rtx builds for several"
            )
        return ((here,),)
    offered = [c for c in library.capabilities if precision != "int8" or c not in flavor.without_int8]
    if not wanted and (left_out := [c for c in library.capabilities if c not in offered]):
        log.warning("trt %s: no engine for %s, which has the fp16 variant", precision, ", ".join(left_out))
    chosen = [capability_of(text) or text for text in wanted] or offered
    if bad := [text for text in chosen if text not in offered]:
        raise ExportError(
            f"--compute-capability {', '.join(bad)}: {flavor.package} {library.version} builds {precision} "
            f"for {', '.join(offered)}. Others, a Jetson too, build on the device from the bundle's ONNX file"
        )
    together = tuple(dict.fromkeys(c for c in chosen if c not in flavor.built_alone))
    alone = tuple((c,) for c in dict.fromkeys(chosen) if c in flavor.built_alone)
    return ((together,) if together else ()) + alone


def _graph(job: Job, precision: str) -> Path:
    return job.folder / f"trt-{precision}-{job.size}.onnx"
