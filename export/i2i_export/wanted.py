"""What `--to` asks for: "ort,openvino:bf16" as targets and precisions."""

from __future__ import annotations

from typing import NamedTuple

from i2i_export.options import ExportOptions
from i2i_export.targets import TARGETS
from i2i_sdk.errors import ExportError


class Wanted(NamedTuple):
    """One variant that is to be made."""

    target: str
    precision: str
    required: bool = True  # else it is left out, with the reason, when it cannot be made


def parse_targets(text: str, options: ExportOptions | None = None) -> list[Wanted]:
    """ "ort:fp32,openvino" -> ort in FP32, and openvino in all precisions that this machine can verify.

    A name without a precision includes INT8 only with `options.frames` or `options.calibration`. What is
    named with its precision is required, and of a name alone its first precision; "all" names every target,
    and requires the first one only. Raises ExportError for what is not known.
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
        # A target that offers nothing here is asked for its first, so that it says itself what is missing.
        default = target.default_precisions(options) or target.precisions[:1]
        precisions = (precision,) if precision else default
        for each in precisions:
            required = not found if text == "all" else each == precisions[0]
            before = found.get((name, each))
            found[name, each] = Wanted(name, each, required or (before is not None and before.required))
    return list(found.values())
