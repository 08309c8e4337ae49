"""What every target is given, and what it offers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from i2i_export.module import Uint8Translator
from i2i_sdk.manifest import FileEntry, Variant


@dataclass(frozen=True)
class Job:
    """One network at one size, on its way into a bundle."""

    module: Uint8Translator  # for targets that convert from PyTorch
    graph: Path  # the canonical ONNX, inside `folder`
    graph_entry: FileEntry
    folder: Path  # the bundle that is being built; targets write here
    height: int
    width: int
    max_batch: int
    macs: int

    def variant_name(self, backend: str, precision: str) -> str:
        """ "openvino-bf16-256x256"."""
        return f"{backend}-{precision}-{self.height}x{self.width}"


@dataclass(frozen=True)
class Target:
    """A target file's three public names."""

    precisions: tuple[str, ...]
    default_precisions: Callable[[], tuple[str, ...]]
    export: Callable[[Job, str], Variant]
