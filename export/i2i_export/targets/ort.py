"""ONNX Runtime runs the canonical graph as it is; the variant shares its file."""

from __future__ import annotations

from i2i_export.options import ExportOptions
from i2i_export.targets.job import Job
from i2i_sdk.manifest import Requirements, Variant

PRECISIONS = ("fp32",)


def default_precisions(options: ExportOptions) -> tuple[str, ...]:
    """FP32: ONNX Runtime's CPU provider has nothing else that keeps these networks' pictures."""
    return PRECISIONS


def export(job: Job, precision: str) -> Variant:
    """The variant; parity is measured by the pipeline."""
    return job.variant("ort", precision, (job.entry(job.graph),), Requirements("onnxruntime>=1.20"))
