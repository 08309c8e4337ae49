"""What `--to` asks for: "ort,openvino:bf16" as targets and precisions."""

from __future__ import annotations

import logging
from typing import NamedTuple

from i2i_export.options import ExportOptions, can_calibrate
from i2i_export.targets import TARGETS
from i2i_sdk.errors import ExportError

log = logging.getLogger(__name__)


class Wanted(NamedTuple):
    """One variant that is to be made."""

    target: str
    precision: str
    named: bool = True  # by the user; others are left out, with the reason, when they cannot be made


def parse_targets(text: str, options: ExportOptions | None = None) -> list[Wanted]:
    """ "ort:fp32,openvino" -> ort in FP32, and openvino in all precisions that this machine can verify.

    "all" names every target. A name without a precision includes INT8 only with `options.frames` or
    `options.calibration`. Raises ExportError for what is not known.
    """
    options = options or ExportOptions()
    found: dict[tuple[str, str], Wanted] = {}
    for part in (",".join(TARGETS) if text == "all" else text).split(","):
        name, _, precision = part.strip().partition(":")
        if name not in TARGETS:
            raise ExportError(f"target {name!r} is not known; known: {', '.join(TARGETS)}")
        target = TARGETS[name]
        if precision and precision not in target.precisions:
            raise ExportError(
                f"target {name} has no precision {precision!r}; it has {', '.join(target.precisions)}"
            )
        precisions = (precision,) if precision else target.default_precisions(options)
        if not precision and "int8" in target.precisions and not can_calibrate(options):
            log.warning("%s: int8 is left out, it needs --frames to calibrate on", name)
        for each in precisions:
            found.setdefault((name, each), Wanted(name, each, named=bool(precision)))
    return list(found.values())
