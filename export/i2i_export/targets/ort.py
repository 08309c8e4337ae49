"""ONNX Runtime: the canonical graph as it is, or one whose convolutions are quantized."""

from __future__ import annotations

from i2i_export.int8.builder import make_int8_variant
from i2i_export.job import Job
from i2i_export.options import ExportOptions, can_calibrate
from i2i_sdk.bundle.manifest import Requirements, Variant

PRECISIONS = ("fp32", "int8")
ENGINE = "onnxruntime>=1.20"


def list_default_precisions(options: ExportOptions) -> tuple[str, ...]:
    """FP32, and INT8 where there are frames to calibrate on."""
    return PRECISIONS if can_calibrate(options) else ("fp32",)


def export(job: Job, precision: str) -> Variant:
    """The variant; FP32 shares the canonical graph's file."""
    requires = Requirements(ENGINE)
    if precision == "int8":
        return make_int8_variant(job, "ort", requires)
    return job.make_variant("ort", precision, [job.graph], requires)
