"""From a checkpoint to a bundle: `from i2i_export import export`; `pipeline.py` tells the whole story."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from i2i_export.options import ExportOptions
    from i2i_export.pipeline import ExportResult, export
    from i2i_export.targets import TargetRequest, parse_targets

__all__ = ["ExportOptions", "ExportResult", "TargetRequest", "export", "parse_targets"]

_HOMES = {"export": "pipeline", "ExportResult": "pipeline", "ExportOptions": "options"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `i2i_export.passes` alone needs no converter."""
    if name not in __all__:
        raise AttributeError(f"module 'i2i_export' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"i2i_export.{_HOMES.get(name, 'targets')}"), name)
