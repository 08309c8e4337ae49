"""What a checkpoint can become. One file per target; this dict is the whole list.

A target file has PRECISIONS, `default_precisions(options)` for a `--to NAME` without a precision, and
`export(job, precision) -> Variant`, which writes files into `job.folder`. Where its engine does not run on
the machine that exports, it has `verify(variant, job) -> Checked` as well, which finds the parity elsewhere.
"""

from __future__ import annotations

from i2i_export.job import Target
from i2i_export.targets import coreml, ncnn, openvino, ort, torch_trt, trt, web

TARGETS: dict[str, Target] = {
    "ort": Target(ort.PRECISIONS, ort.default_precisions, ort.export),
    "openvino": Target(openvino.PRECISIONS, openvino.default_precisions, openvino.export),
    "coreml": Target(coreml.PRECISIONS, coreml.default_precisions, coreml.export, coreml.verify),
    "ncnn": Target(ncnn.PRECISIONS, ncnn.default_precisions, ncnn.export),
    "trt": Target(trt.PRECISIONS, trt.default_precisions, trt.export, trt.verify),
    "torch-trt": Target(
        torch_trt.PRECISIONS, torch_trt.default_precisions, torch_trt.export, torch_trt.verify
    ),
    "web": Target(web.PRECISIONS, web.default_precisions, web.export, web.verify),
}

__all__ = ["TARGETS", "Target"]
