"""From a checkpoint to a bundle: `from i2i_export import export`; `pipeline.py` tells the whole story."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from i2i_export.pipeline import ExportOptions, ExportResult, TargetRequest, export, parse_targets

__all__ = ["ExportOptions", "ExportResult", "TargetRequest", "export", "parse_targets"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: the package alone needs no converter."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from i2i_export import pipeline

    return getattr(pipeline, name)
