"""OpenVINO reads the canonical ONNX and decides about precision when it compiles, on the device."""

from __future__ import annotations

from i2i_export.options import ExportOptions
from i2i_export.targets.job import Job
from i2i_sdk.backends import backend_class
from i2i_sdk.manifest import Requirements, Variant

PRECISIONS = ("fp32", "bf16")


def default_precisions(options: ExportOptions) -> tuple[str, ...]:
    """What this machine can verify: FP32, and BF16 where the CPU has it."""
    backend = backend_class("openvino")
    return tuple(p for p in PRECISIONS if p == "fp32" or backend.missing(p) is None)


def export(job: Job, precision: str) -> Variant:
    """The variant, sharing the graph's file with ONNX Runtime's; parity is measured by the pipeline."""
    requires = Requirements("openvino>=2025.0", cpu=("bf16",) if precision == "bf16" else ())
    return job.variant("openvino", precision, (job.entry(job.graph),), requires)
