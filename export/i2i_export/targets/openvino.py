"""OpenVINO reads ONNX and decides about precision when it compiles, on the device."""

from __future__ import annotations

from i2i_export.int8.builder import make_int8_variant
from i2i_export.job import Job
from i2i_export.options import ExportOptions, can_calibrate
from i2i_sdk.backends import load_backend_class
from i2i_sdk.bundle.manifest import Requirements, Variant

PRECISIONS = ("fp32", "bf16", "int8")
ENGINE = "openvino>=2025.0"


def list_default_precisions(options: ExportOptions) -> tuple[str, ...]:
    """FP32, BF16 where this CPU has it, INT8 where there are frames to calibrate on."""
    possible = {
        "fp32": True,
        "bf16": load_backend_class("openvino").explain_unsupported("bf16") is None,
        "int8": can_calibrate(options),
    }
    return tuple(precision for precision in PRECISIONS if possible[precision])


def export(job: Job, precision: str) -> Variant:
    """The variant; FP32 and BF16 share the canonical graph's file with ONNX Runtime."""
    requires = Requirements(ENGINE, cpu=("bf16",) if precision == "bf16" else ())
    if precision == "int8":
        return make_int8_variant(job, "openvino", requires)
    return job.make_variant("openvino", precision, [job.graph], requires)
