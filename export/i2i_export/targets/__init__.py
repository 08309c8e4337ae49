"""What a checkpoint can become. One file per target; this dict is the whole list.

A target file has PRECISIONS, `default_precisions()` for a `--to NAME` without a precision, and
`export(job, precision) -> Variant`, which writes files into `job.folder`.
"""

from __future__ import annotations

from i2i_export.targets import openvino, ort
from i2i_export.targets.job import Job, Target

TARGETS: dict[str, Target] = {
    "ort": Target(ort.PRECISIONS, ort.default_precisions, ort.export),
    "openvino": Target(openvino.PRECISIONS, openvino.default_precisions, openvino.export),
}

__all__ = ["TARGETS", "Job", "Target"]
