"""What a checkpoint can become. One file per target; this dict is the whole list.

A target file has PRECISIONS, `list_default_precisions(options)` for a `--to NAME` without a precision, and
`export(job, precision) -> Variant`, which writes files into `job.folder`. Where its engine does not run on
the machine that exports, it has `verify(variant, job) -> VerifiedVariant` as well: parity by another engine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from i2i_export.job import Job
from i2i_export.options import ExportOptions
from i2i_export.targets import coreml, ncnn, openvino, ort, torch_trt, trt, web
from i2i_export.verify_variant import VerifiedVariant, verify_on_device
from i2i_sdk.bundle.manifest import Variant
from i2i_sdk.errors import ExportError


@dataclass(frozen=True)
class Target:
    """A target file's public names."""

    precisions: tuple[str, ...]
    list_default_precisions: Callable[[ExportOptions], tuple[str, ...]]  # for a `--to NAME` without one
    export: Callable[[Job, str], Variant]
    verify: Callable[[Variant, Job], VerifiedVariant] = verify_on_device


TARGETS: dict[str, Target] = {
    "ort": Target(ort.PRECISIONS, ort.list_default_precisions, ort.export),
    "openvino": Target(openvino.PRECISIONS, openvino.list_default_precisions, openvino.export),
    "coreml": Target(coreml.PRECISIONS, coreml.list_default_precisions, coreml.export, coreml.verify),
    "ncnn": Target(ncnn.PRECISIONS, ncnn.list_default_precisions, ncnn.export),
    "trt": Target(trt.PRECISIONS, trt.list_default_precisions, trt.export, trt.verify),
    "torch-trt": Target(
        torch_trt.PRECISIONS, torch_trt.list_default_precisions, torch_trt.export, torch_trt.verify
    ),
    "web": Target(web.PRECISIONS, web.list_default_precisions, web.export, web.verify),
}


class TargetRequest(NamedTuple):
    """One variant that is to be made."""

    target: str
    precision: str
    required: bool = True  # else it is left out, with the reason, when it cannot be made


def parse_targets(text: str, options: ExportOptions | None = None) -> list[TargetRequest]:
    """ "ort:fp32,openvino" -> ort in FP32, and openvino in all precisions that this machine can verify.

    A name without a precision includes INT8 only with `options.frames` or `options.calibration`. What is
    named with its precision is required, and of a name alone its first precision; "all" names every target,
    and requires the first one only. Raises ExportError for what is not known.
    """
    options = options or ExportOptions()
    found: dict[tuple[str, str], TargetRequest] = {}
    for part in (",".join(TARGETS) if text == "all" else text).split(","):
        name, _, precision = part.strip().partition(":")
        if name not in TARGETS:
            raise ExportError(f"target {name!r} is not known; known: {', '.join(TARGETS)}")
        target = TARGETS[name]
        if precision and precision not in target.precisions:
            raise ExportError(
                f"target {name} has no precision {precision!r}; it has {', '.join(target.precisions)}"
            )
        # A target that offers nothing here is asked for its first, so that it says itself what is missing.
        default = target.list_default_precisions(options) or target.precisions[:1]
        precisions = (precision,) if precision else default
        for each in precisions:
            required = not found if text == "all" else each == precisions[0]
            before = found.get((name, each), TargetRequest(name, each, required=False))
            found[name, each] = before._replace(required=required or before.required)
    return list(found.values())
