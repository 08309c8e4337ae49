"""TensorRT: an ONNX file typed FP16 or INT8, and engines of it for the GPUs that can be built for here.

TensorRT for RTX builds without a GPU, for many at once; TensorRT 10 and 11 build for the GPU that is here,
which this project never did. Other GPUs (a Jetson) build from the ONNX file when they first load it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import onnx
import onnxruntime

from i2i_export.int8.builder import write_graph
from i2i_export.job import Job
from i2i_export.options import ExportOptions, can_calibrate
from i2i_export.passes.fp16 import convert_graph_to_half, emulate_half
from i2i_export.verify_variant import VerifiedVariant, verify_on_device, verify_with
from i2i_sdk.backends.ort.ort_engine import OrtEngine
from i2i_sdk.backends.tensorrt import cuda
from i2i_sdk.backends.tensorrt.builder import build_engine
from i2i_sdk.backends.tensorrt.flavors import Library, find_installed, format_engine_name, parse_capability
from i2i_sdk.backends.tensorrt.trt_engine import TrtEngine
from i2i_sdk.bundle.manifest import MAX_BATCH, Requirements, Variant
from i2i_sdk.errors import BackendError, ExportError

log = logging.getLogger(__name__)

PRECISIONS = ("fp16", "int8")
LIBRARY_NAMES = {"auto": ("tensorrt", "rtx"), "tensorrt": ("tensorrt",), "rtx": ("rtx",)}
INSTALL_HINT = "pip install 'i2i-sdk[tensorrt-rtx]', which builds without a GPU, or 'i2i-sdk[tensorrt]'"


def list_default_precisions(options: ExportOptions) -> tuple[str, ...]:
    """FP16 where a builder is installed, and INT8 with frames to calibrate it on."""
    try:
        choose_library(options.flavor)
    except (ExportError, BackendError):
        return ()
    return PRECISIONS if can_calibrate(options) else ("fp16",)


def export(job: Job, precision: str) -> Variant:
    """Write `trt-PRECISION-HxW.onnx` and its engines into the bundle.

    Raises ExportError: no builder, or a GPU that it cannot build for; BackendError: a node that it cannot
    take, or an engine that is not what was asked for.
    """
    library = choose_library(job.options.flavor)
    groups = group_capabilities(library, job.options.compute_capabilities, precision)
    quantized = write_graph(job, "tensorrt") if precision == "int8" else None
    graph = job.folder / f"{job.format_name('trt', precision)}.onnx"
    onnx.save(convert_graph_to_half(onnx.load(str(quantized.path if quantized else job.graph))), str(graph))
    files = [graph]
    for group in groups:
        job.progress(f"trt {precision}: building, for compute capability {', '.join(group)}")
        engine = job.folder / format_engine_name(graph.stem, library, group)
        named = group if library.flavor.builds_without_gpu else ()
        engine.write_bytes(build_engine(library, graph, precision, named, MAX_BATCH).engine)
        files.append(engine)
    needs = Requirements("tensorrt-or-rtx>=1.2", compute_capabilities=tuple(c for g in groups for c in g))
    return job.make_variant("trt", precision, files, needs, **(quantized.facts if quantized else {}))


def verify(variant: Variant, job: Job) -> VerifiedVariant:
    """Parity of the engine where it runs, else of the same typed graph in ONNX Runtime.

    There every value that the graph types FP16 is rounded to FP16; sums inside an operator are FP32.
    Raises ParityError below the floor.
    """
    if TrtEngine.explain_unsupported(variant.precision) is None:
        return verify_on_device(variant, job)
    rounded = job.scratch / f"{variant.name}-rounded.onnx"
    onnx.save(emulate_half(onnx.load(str(job.folder / variant.files[0].path))), str(rounded))
    with OrtEngine((rounded,), "fp32") as engine:
        by = f"ONNX Runtime {onnxruntime.__version__} (the same typed graph, its FP16 values rounded)"
        return verify_with(engine, variant, job, verified_by=by)


def choose_library(flavor: str) -> Library:
    """The TensorRT that builds: of those installed the one of `flavor`, TensorRT first where there is a GPU.

    Raises ExportError saying what to install, BackendError for one that is installed and broken.
    """
    found = find_installed(LIBRARY_NAMES[flavor])
    if not found:
        raise ExportError(f"--flavor {flavor}: no TensorRT of this kind is installed: {INSTALL_HINT}")
    no_gpu = cuda.explain_missing_cuda()
    able = [library for library in found if library.flavor.builds_without_gpu or no_gpu is None]
    if not able:
        raise ExportError(
            f"--flavor {flavor}: {found[0].flavor.package} builds on the GPU that it is for; {no_gpu}"
        )
    return able[0]


def group_capabilities(
    library: Library, requested: Sequence[str], precision: str
) -> tuple[tuple[str, ...], ...]:
    """The compute capabilities that each engine is built for.

    Args:
        library: that builds.
        requested: as the user writes them, "75" or "7.5"; none: all that the library offers, or the GPU here.
        precision: "fp16" or "int8".

    Returns:
        A group for each engine: those that can share one together, the others alone.

    Raises:
        ExportError: one cannot be built for; it names those that are possible.
    """
    flavor = library.flavor
    if not flavor.builds_without_gpu:
        here = cuda.find_device().capability
        if any(parse_capability(text) != here for text in requested):
            raise ExportError(
                f"--compute-capability {','.join(requested)}: {flavor.package} builds for the GPU that is "
                f"here, {here}, and no other; --flavor rtx builds for several"
            )
        return ((here,),)
    offered = [c for c in library.capabilities if precision != "int8" or c not in flavor.without_int8]
    if not requested and (left_out := [c for c in library.capabilities if c not in offered]):
        log.warning("trt %s: no engine for %s, which has the fp16 variant", precision, ", ".join(left_out))
    chosen = [parse_capability(text) or text for text in requested] or offered
    if bad := [text for text in chosen if text not in offered]:
        raise ExportError(
            f"--compute-capability {', '.join(bad)}: {flavor.package} {library.version} builds {precision} "
            f"for {', '.join(offered)}. Others, a Jetson too, build on the device from the bundle's ONNX file"
        )
    together = tuple(dict.fromkeys(c for c in chosen if c not in flavor.built_alone))
    alone = tuple((c,) for c in dict.fromkeys(chosen) if c in flavor.built_alone)
    return ((together,) if together else ()) + alone
